"""Multinomial naive Bayes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dbml.estimators.discrete_bayes import CountNB
from dbml.estimators.naive_bayes import logs
from dbml.passes.block import Floats


class MultinomialNB(CountNB):
    """Naive Bayes on counts, as of words in documents: each class draws terms with probabilities of its own.

    Parameters
    ----------
    alpha : float or array of shape (n_terms,), default=1.0
        Added to every count (Laplace smoothing).
    force_alpha : bool, default=True
        Without, alpha is at least 1e-10.
    fit_prior : bool, default=True
        Whether classes have their shares of the rows as probabilities, or all the same.
    class_prior : array of shape (n_classes,), optional
        Probabilities of the classes instead.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    class_count_, class_log_prior_ : ndarray of shape (n_classes,)
        Weight of the rows of each class, and the logarithm of its probability.
    feature_count_, feature_log_prob_ : ndarray of shape (n_classes, n_terms)
        Sum of each term (`terms_`) in each class, and the logarithm of its smoothed probability; -1e9 for 0.
    coef_, intercept_ : ndarray of shape (n_classes, n_terms), (n_classes,)
        The same as a linear model: `feature_log_prob_` and `class_log_prior_`.

    Notes
    -----
    One pass; memory for 3 numbers a class and term. Sums of whole numbers are exact, in any order, and so are
    `partial_fit` and `forget`. Numbers are read as they are and must not be negative; a missing one counts 0, and a
    term of its own marks it. A level of a category counts 1. A row without any count has the class priors.

    References
    ----------
    Manning, Raghavan & Schuetze 2008, introduction to information retrieval, chapter 13.

    Examples
    --------
    >>> from dbml import MultinomialNB
    >>> X = [[3, 0, 1], [2, 0, 0], [0, 4, 1], [0, 2, 2]]
    >>> MultinomialNB().fit(X, ["fruit", "fruit", "tool", "tool"]).predict([[1, 0, 0], [0, 1, 1]])
    array(['fruit', 'tool'], dtype='<U5')
    """

    def __init__(
        self, *, alpha: Any = 1.0, force_alpha: bool = True, fit_prior: bool = True, class_prior: Any = None
    ) -> None:
        self.alpha = alpha
        self.force_alpha = force_alpha
        self.fit_prior = fit_prior
        self.class_prior = class_prior

    def _smooth(self, sums: Floats, weight: Floats, alpha: Floats) -> None:
        smoothed = sums + alpha
        self.feature_log_prob_ = logs(smoothed) - logs(smoothed.sum(axis=1, keepdims=True))
        self.coef_, self.intercept_ = self.feature_log_prob_, np.array(self.class_log_prior_)
