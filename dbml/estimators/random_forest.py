"""Random forests: classifier and regressor."""

from __future__ import annotations

from typing import Any, ClassVar

from dbml.estimators.trees.averaging import AveragedClassifier, AveragedRegressor


class RandomForestClassifier(AveragedClassifier):
    """Many trees, each from rows drawn at random, its nodes from columns drawn at random: their mean shares of classes.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity that splits lower.
    max_depth : int or None, default=None
        Most splits from the root to a leaf; None: until leaves are pure.
    min_samples_split : int or float, default=2
        Fewest rows of a node that is split; a float is a share of the rows. A row counts once, however often drawn.
    min_samples_leaf : int or float, default=1
        Fewest rows of a leaf; a float is a share of the rows.
    min_weight_fraction_leaf : float, default=0.0
        Least share of a tree's weight in a leaf.
    max_features : int, float, "sqrt", "log2" or None, default="sqrt"
        Columns that a node is split by, drawn anew for each node; a float is a share; None: all.
    max_leaf_nodes : int or None, default=None
        Most leaves of a tree: the splits of the largest gain are made first.
    min_impurity_decrease : float, default=0.0
        Decrease of the mean impurity that a split must have.
    bootstrap : bool, default=True
        Whether a tree learns from rows drawn with replacement, or from all.
    oob_score : bool, default=False
        Whether rows are scored by the trees that did not draw them.
    n_jobs : int or None, default=None
        Most trees that grow at once; None or -1: as many as the engine has threads. The trees are the same.
    random_state : int, RandomState or None, default=None
        Seed of the rows and columns that are drawn; None means 0, so that a fit can be repeated.
    warm_start : bool, default=False
        Go on from the trees of the last `fit`, on the rows given now, until there are `n_estimators`.
    class_weight : dict, "balanced" or "balanced_subsample", optional
        Weight of each class; ``balanced_subsample``: balanced among the rows that a tree drew.
    ccp_alpha : float, default=0.0
        Price of a leaf in minimal cost-complexity pruning.
    max_samples : int, float or None, default=None
        Rows drawn for a tree; a float is a share of the rows; None: as many as there are.
    monotonic_cst : dict of column name to -1, 0 or 1, or list in the order of the columns, optional
        1: the probability of the second class must not fall where the column rises; -1: must not rise. Two classes.
    max_bins : int, default=255
        Most bins of a column; missing values have one more.

    Attributes
    ----------
    trees_ : Trees
        The trees; shares of the classes are divided by their number.
    max_features_ : int
        Columns that a node is split by.
    feature_importances_ : ndarray of shape (n_terms,)
        Share of each term in the gain of all splits, averaged over the trees.
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order; `n_classes_` of them, and `n_outputs_` is 1.
    oob_score_, oob_decision_function_, oob_votes_
        With ``oob_score=True``: accuracy, and probabilities of shape (n_rows, n_classes); NaN where all trees drew a
        row.

    Notes
    -----
    Two readings of the table (a sample of 100,000 rows for the bins, and one pass that bins all rows). A tree grows
    from a copy of its rows, a byte a cell; where the bins or these copies exceed the memory limit, upper nodes are
    split in passes over the bins on disk that serve many trees at once. How often a row
    is drawn depends on the seed, the tree and the numbers of rows alone.
    Missing values, categories and the whole numbers that make a model the same bit for bit for any number of threads
    and any memory limit: as in `DecisionTreeClassifier`.

    References
    ----------
    Breiman 2001, random forests.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import RandomForestClassifier
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> y = np.where(X[:, 0] % 100 < 50, "low", "high")
    >>> RandomForestClassifier(n_estimators=20).fit(X, y).predict([[10.0], [70.0], [120.0]]).tolist()
    ['low', 'high', 'low']
    """

    model_types: ClassVar[tuple[str, ...]] = ("random_forest_classifier",)

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
        bootstrap: bool = True,
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


class RandomForestRegressor(AveragedRegressor):
    """Many trees, each from rows drawn at random: the mean of their predictions of a number.

    Parameters
    ----------
    criterion : {"squared_error", "poisson"}, default="squared_error"
        Impurity that splits lower; ``poisson``: for targets >= 0.
    max_features : int, float, "sqrt", "log2" or None, default=1.0
        Columns that a node is split by; 1.0: all.
    n_estimators, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_leaf_nodes, \
    min_impurity_decrease, bootstrap, oob_score, n_jobs, random_state, warm_start, ccp_alpha, max_samples, \
    monotonic_cst, max_bins
        As in `RandomForestClassifier`.

    Attributes
    ----------
    trees_, max_features_, feature_importances_, n_outputs_
        As in `RandomForestClassifier`.
    oob_score_, oob_prediction_, oob_votes_
        With ``oob_score=True``: r2, and predictions of shape (n_rows,), NaN where all trees drew a row.

    Notes
    -----
    As in `RandomForestClassifier` and `DecisionTreeRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import RandomForestRegressor
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> model = RandomForestRegressor(n_estimators=20).fit(X, np.floor(X[:, 0] / 50))
    >>> model.predict([[10.0], [70.0], [190.0]]).round(2)
    array([0., 1., 3.])
    """

    model_types: ClassVar[tuple[str, ...]] = ("random_forest_regressor",)

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
        bootstrap: bool = True,
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
