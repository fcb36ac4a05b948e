"""Extremely randomised trees: classifier and regressor."""

from __future__ import annotations

from typing import Any

from dbml.estimators.trees.averaging import AveragedClassifier, AveragedRegressor


class ExtraTreesClassifier(AveragedClassifier):
    """Many trees that draw the threshold of each column, too: smoother than a random forest, and faster to grow.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    bootstrap : bool, default=False
        Whether a tree learns from rows drawn with replacement, or from all.
    criterion, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_features, max_leaf_nodes, \
min_impurity_decrease, oob_score, n_jobs, random_state, warm_start, class_weight, ccp_alpha, max_samples, \
monotonic_cst, max_bins
        As in `RandomForestClassifier`.

    Attributes
    ----------
    trees_, max_features_, feature_importances_, classes_, oob_score_, oob_decision_function_
        As in `RandomForestClassifier`.

    Notes
    -----
    Passes and memory are those of `RandomForestClassifier`. A threshold is drawn evenly between the values of the least
    and the largest bin of a column in the node.

    References
    ----------
    Geurts, Ernst & Wehenkel 2006, extremely randomized trees.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import ExtraTreesClassifier
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> y = np.where(X[:, 0] % 100 < 50, "low", "high")
    >>> ExtraTreesClassifier(n_estimators=20).fit(X, y).predict([[10.0], [70.0], [120.0]]).tolist()
    ['low', 'high', 'low']
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: str | float | None = "sqrt",
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = False,
        oob_score: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        max_samples: float | None = None,
        monotonic_cst: Any = None,
        max_bins: int = 255,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins

    def _random_cuts(self) -> bool:
        return True


class ExtraTreesRegressor(AveragedRegressor):
    """Many trees that draw the threshold of each column, too: the mean of their predictions of a number.

    Parameters
    ----------
    criterion : {"squared_error", "poisson"}, default="squared_error"
        Impurity that splits lower; ``poisson``: for targets >= 0.
    max_features : int, float, "sqrt", "log2" or None, default=1.0
        Columns that a node is split by; 1.0: all.
    n_estimators, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_leaf_nodes, \
min_impurity_decrease, bootstrap, oob_score, n_jobs, random_state, warm_start, ccp_alpha, max_samples, \
monotonic_cst, max_bins
        As in `RandomForestRegressor`.

    Attributes
    ----------
    trees_, max_features_, feature_importances_
        As in `RandomForestRegressor`.
    oob_score_, oob_prediction_
        With ``oob_score=True``: r2, and predictions of shape (n_rows,), NaN where all trees drew a row.

    Notes
    -----
    As in `RandomForestRegressor` and `DecisionTreeRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import ExtraTreesRegressor
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> model = ExtraTreesRegressor(n_estimators=20).fit(X, np.floor(X[:, 0] / 50))
    >>> model.predict([[10.0], [70.0], [190.0]]).round(2)
    array([0., 1., 3.])
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "squared_error",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: str | float | None = 1.0,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = False,
        oob_score: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        ccp_alpha: float = 0.0,
        max_samples: float | None = None,
        monotonic_cst: Any = None,
        max_bins: int = 255,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins

    def _random_cuts(self) -> bool:
        return True
