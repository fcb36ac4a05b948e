"""One tree: classifier and regressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS
from dbml.estimators.trees.forest_model import ForestClassifier, ForestModel, ForestRegressor
from dbml.params import Options, Rule


class SingleTree(ForestModel):
    """Base of single trees."""

    rules: ClassVar[Mapping[str, Rule]] = {"splitter": Options(("best", "random"))}
    sql_options: ClassVar[Mapping[str, Any]] = {"max_tree_depth": lambda value: {"max_depth": value}}

    splitter: str

    def _random_cuts(self) -> bool:
        return self.splitter == "random"

    def get_depth(self) -> int:
        """Return the most splits from the root to a leaf."""
        self._check_fitted()
        return max(self.trees_.depths())

    def get_n_leaves(self) -> int:
        """Return the number of leaves."""
        self._check_fitted()
        return int((self.trees_.left < 0).sum())


class DecisionTreeClassifier(SingleTree, ForestClassifier):
    """A tree of questions about the columns that ends in the shares of the classes.

    Parameters
    ----------
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        Impurity that splits lower.
    splitter : {"best", "random"}, default="best"
        The best threshold of a column, or one drawn between its least and largest value in the node.
    max_depth : int or None, default=None
        Most splits from the root to a leaf; None: until leaves are pure.
    min_samples_split : int or float, default=2
        Fewest rows of a node that is split; a float is a share of the rows.
    min_samples_leaf : int or float, default=1
        Fewest rows of a leaf; a float is a share of the rows.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the total weight in a leaf.
    max_features : int, float, "sqrt", "log2" or None, default=None
        Columns that a node is split by, drawn anew for each node; a float is a share; None: all.
    random_state : int, RandomState or None, default=None
        Seed of the columns and thresholds that are drawn; None means 0, so that a fit can be repeated.
    max_leaf_nodes : int or None, default=None
        Most leaves: the splits of the largest gain are made first.
    min_impurity_decrease : float, default=0.0
        Decrease of the mean impurity that a split must have.
    class_weight : dict or "balanced", optional
        Weight of each class.
    ccp_alpha : float, default=0.0
        Price of a leaf in minimal cost-complexity pruning.
    monotonic_cst : dict of column name to -1, 0 or 1, or list in the order of the columns, optional
        1: the probability of the second class must not fall where the column rises; -1: must not rise. Two classes.
    max_bins : int, default=255
        Most bins of a column; missing values have one more.

    Attributes
    ----------
    trees_ : Trees
        The tree.
    max_features_ : int
        Columns that a node is split by.
    feature_importances_ : ndarray of shape (n_terms,)
        Share of each term in the gain of all splits.
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order; `n_classes_` of them, and `n_outputs_` is 1.

    Notes
    -----
    Two readings of the table (a sample of 100,000 rows for the bins, and one pass that bins all rows). Thresholds lie
    between bins: where a column has at most `max_bins` values, they are those between all values. The sums that decide
    are whole numbers, so that a model is the same bit for bit for any number of threads and any memory limit. A
    missing value goes the way that lowers the impurity, or with the larger side where training saw none. The levels of
    a category are put in the order of their targets once (Wright & König 2019), and then split like numbers.

    References
    ----------
    Breiman, Friedman, Olshen & Stone 1984, classification and regression trees.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import DecisionTreeClassifier
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> y = np.where(X[:, 0] % 100 < 50, "low", "high")
    >>> tree = DecisionTreeClassifier().fit(X, y)
    >>> tree.predict([[10.0], [70.0], [120.0]]).tolist(), tree.get_n_leaves()
    (['low', 'high', 'low'], 4)
    """

    rules: ClassVar[Mapping[str, Rule]] = {**ForestClassifier.rules, **SingleTree.rules}
    sql_options: ClassVar[Mapping[str, Any]] = {
        **SingleTree.sql_options,
        **CLASS_WEIGHT_OPTIONS,
    }

    def __init__(
        self,
        *,
        criterion: str = "gini",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: str | float | None = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        max_bins: int = 255,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins


class DecisionTreeRegressor(SingleTree, ForestRegressor):
    """A tree of questions about the columns that ends in the mean of a number.

    Parameters
    ----------
    criterion : {"squared_error", "poisson"}, default="squared_error"
        Impurity that splits lower; ``poisson``: for targets >= 0.
    splitter, max_depth, min_samples_split, min_samples_leaf, min_weight_fraction_leaf, max_features, random_state, \
    max_leaf_nodes, min_impurity_decrease, ccp_alpha, monotonic_cst, max_bins
        As in `DecisionTreeClassifier`.

    Attributes
    ----------
    trees_, max_features_, feature_importances_, n_outputs_
        As in `DecisionTreeClassifier`.

    Notes
    -----
    As in `DecisionTreeClassifier`. Targets are compared in fixed point, of 62 bits less those of the number of rows;
    the value of a leaf is the mean of the targets themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import DecisionTreeRegressor
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> DecisionTreeRegressor().fit(X, np.floor(X[:, 0] / 50)).predict([[10.0], [60.0], [190.0]])
    array([0., 1., 3.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {**ForestRegressor.rules, **SingleTree.rules}

    def __init__(
        self,
        *,
        criterion: str = "squared_error",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: str | float | None = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
        max_bins: int = 255,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
        self.max_bins = max_bins
