"""Values that an estimator takes: counts and codes are not negative."""

import numpy as np


def suited(X, estimator):
    """Return X as it is, or moved to what the tags of an estimator (or its class) ask for."""
    tags = (estimator() if isinstance(estimator, type) else estimator).__sklearn_tags__().input_tags
    X = X - X.min(axis=0) if tags.positive_only else X
    return np.rint(2.0 * X) if tags.categorical else X
