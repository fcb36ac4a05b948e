"""Gradient-boosted trees on binned rows: classifier and regressor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS, CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.trees.derivatives import Precision
from dbml.estimators.trees.gradient_boosting import GradientBoosting
from dbml.estimators.trees.growth import GrowPolicy
from dbml.estimators.trees.losses import (
    ABSOLUTE,
    GAMMA,
    LOGISTIC,
    POISSON,
    SQUARED_ERROR,
    BoostingLoss,
    multinomial_loss,
    quantile_loss,
)
from dbml.estimators.trees.model import TreeClassifier, TreeRegressor
from dbml.params import Either, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data

_LOSSES = {"squared_error": SQUARED_ERROR, "absolute_error": ABSOLUTE, "poisson": POISSON, "gamma": GAMMA}


class HistGradientBoostingClassifier(GradientBoosting, TreeClassifier):
    """Gradient-boosted trees for classes: each tree lowers the log loss that those before it left.

    Parameters
    ----------
    loss : {"log_loss"}, default="log_loss"
        Binary or multinomial log loss, as the target has classes.
    learning_rate : float, default=0.1
        What the values of a tree are multiplied by.
    max_iter : int, default=100
        Most rounds; a round has one tree for two classes, else one for each class.
    max_leaf_nodes : int or None, default=31
        Most leaves of a tree; a symmetric tree has a power of two of them, the nearest one (31: 32 leaves, depth 5).
    max_depth : int or None, default=None
        Most splits from the root to a leaf; None: no limit, or 6 for symmetric trees where `max_leaf_nodes` is None.
    min_samples_leaf : int, default=20
        Fewest rows of a leaf.
    min_child_weight : float, default=0.001
        Least hessian of a leaf: for the log loss, the sum of ``p (1 - p)``.
    l2_regularization : float, default=0.0
        Penalty of the values of leaves.
    max_features : float, default=1.0
        Share of the columns that each node may be split by, drawn anew for every node.
    subsample : float, default=1.0
        Share of the rows that each tree grows from, drawn anew in every round by a hash of the row's position.
    sampling_method : {"auto", "uniform", "goss"}, default="auto"
        Which rows a tree grows from. "uniform": `subsample` of them. "goss", gradient-based one-side sampling (Ke et
        al. 2017): the `top_rate` of the largest gradients, and `other_rate` of the rows from the others, weighted to
        make up for those left out. "auto": `subsample` where that is below 1; all rows where they are few; "goss" where
        they are more than 625,000, with at least 500,000 rows a tree (`top_rate` and `other_rate` of all rows from 1.7
        million rows on); all rows for losses of quantiles. Every row's score gets the values of all trees.
    top_rate, other_rate : float, default=0.2, 0.1
        See `sampling_method`.
    precision : {"quantized", "float64"}, default="quantized"
        Of gradients and hessians: rounded at random to 11 bits each (in rounds where that tells little of most rows,
        since a few are much larger: to 32 bits, 4 bytes a row more), or as they are, which takes 12 bytes a row more,
        up to three times as long, and gives the same bits for any number of threads, but not for any partition.
    max_bins : int, default=255
        Most bins of a column; missing values have one more.
    grow_policy : {"leafwise", "depthwise", "symmetric"}, default="leafwise"
        Split the node of the largest gain first; or level by level; or all nodes of a level by one split, which makes
        trees that score fastest in SQL. A side of such a split with too few rows keeps the value of its node.
    monotonic_cst : dict of column name to -1, 0 or 1, or list in the order of the columns, optional
        1: the decision must not fall where the column rises; -1: must not rise. Two classes only.
    interaction_cst : {"pairwise", "no_interactions"} or list of sets of columns, optional
        Columns that may meet in a branch.
    warm_start : bool, default=False
        Go on from the trees of the last `fit`, on the rows given now, until there are `max_iter` rounds: on the same
        rows, those of a training at once. With early stopping, new rounds are kept if they lower the held-out loss.
    early_stopping : bool or "auto", default="auto"
        Stop when the loss of held-out rows no longer falls; "auto": where there are more than 10,000 rows.
    validation_fraction : float, default=0.1
        Share of rows held out for that, chosen by a hash of their position.
    n_iter_no_change : int, default=10
        Rounds without progress that end the training.
    tol : float, default=1e-7
        What counts as progress of the held-out loss.
    class_weight : dict or "balanced", optional
        Weight of each class.
    random_state : int, RandomState or None, default=None
        Seed of rounding, columns and held-out rows; None means 0, so that a fit can be repeated.

    Attributes
    ----------
    trees_ : Trees
        The trees; `baseline_` is the score they start from.
    n_iter_ : int
        Rounds of the model.
    train_score_, validation_score_ : ndarray of shape (n_iter_ + 1,)
        Opposite of the mean loss of the rows that trees grow from, and of those held out, after 0, 1, … rounds; empty
        without early stopping.
    feature_importances_ : ndarray of shape (n_terms,)
        Share of each term in the total gain.
    classes_ : ndarray of shape (n_classes,)
        Labels in ascending order.
    do_early_stopping_, n_trees_per_iteration_ : bool, int
        Whether rows were held out; trees of a round.
    is_categorical_ : ndarray of bool or None
        Which columns are categories; None where none is.

    Notes
    -----
    Two readings of the table (a sample of 100,000 rows for the bins, and one pass that bins all rows); the rounds pass
    over one byte a cell, in memory within the memory limit, else on disk. A round costs about two to three additions a
    cell. Gradients are rounded at random to 11 bits, without bias, so that their sums are exact and a model is the same
    bit for bit for any number of threads (Shi et al. 2022); on six public tables the mean error over five seeds is that
    of ``precision="float64"`` within 0.0002 (auc) and 0.3 % (rmse). Terms that rows rarely have together (one-hot
    columns, entries of lists) share a column of bytes, as found in the sample; a row that has two of them all the same
    counts with the last one only. A missing value goes the way that lowers the loss, or with
    the larger side where training saw none; categories are grouped by their gradients (Fisher 1958).

    References
    ----------
    Friedman 2001, greedy function approximation: a gradient boosting machine. Ke et al. 2017, LightGBM.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import HistGradientBoostingClassifier
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> y = (X[:, 0] % 100 < 50).astype(int)
    >>> HistGradientBoostingClassifier(max_iter=20).fit(X, y).predict([[10.0], [70.0], [120.0]])
    array([1, 0, 1])
    """

    model_types: ClassVar[tuple[str, ...]] = ("boosted_tree_classifier",)
    rules: ClassVar[Mapping[str, Rule]] = {
        **GradientBoosting.rules,
        "loss": Options(("log_loss",)),
        "class_weight": CLASS_WEIGHT_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        **GradientBoosting.sql_options,
        **CLASS_WEIGHT_OPTIONS,
    }

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        min_child_weight: float = 1e-3,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        subsample: float = 1.0,
        sampling_method: str = "auto",
        top_rate: float = 0.2,
        other_rate: float = 0.1,
        precision: Precision = "quantized",
        max_bins: int = 255,
        grow_policy: GrowPolicy = "leafwise",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.subsample = subsample
        self.sampling_method = sampling_method
        self.top_rate = top_rate
        self.other_rate = other_rate
        self.precision = precision
        self.max_bins = max_bins
        self.grow_policy = grow_policy
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.random_state = random_state

    def _boosting_loss(self, data: Data) -> BoostingLoss:
        n_classes = len(data.schema.classes)
        if n_classes > 2 and self.monotonic_cst is not None:
            raise InvalidParameter(
                f"{type(self).__name__}: monotonic_cst must be None where there are more than two classes, since no "
                f"one score rises with all of them; the target has {n_classes}"
            )
        return LOGISTIC if n_classes == 2 else multinomial_loss(n_classes)

    def _class_weights(self, data: Data, weighted: bool) -> Floats | None:
        return class_weights(type(self).__name__, self.class_weight, data, weighted)

    def staged_predict(self, X: Any, *, con: Any = None) -> Iterator[np.ndarray]:
        """Yield `predict` of the rows of X after each round; see `staged_predict_proba`."""
        for raw in self._staged(X, con):
            yield self.classes_[self._classes(raw)]

    def staged_predict_proba(self, X: Any, *, con: Any = None) -> Iterator[Floats]:
        """Yield `predict_proba` of the rows of X after each round, as arrays, of a relation too.

        X is read once; the leaves of each row are kept in memory, 4 bytes a tree.
        """
        for raw in self._staged(X, con):
            yield self._probabilities(raw)

    def staged_decision_function(self, X: Any, *, con: Any = None) -> Iterator[Floats]:
        """Yield `decision_function` of the rows of X after each round; see `staged_predict_proba`."""
        for raw in self._staged(X, con):
            yield self._decision(raw).copy()


class HistGradientBoostingRegressor(GradientBoosting, TreeRegressor):
    """Gradient-boosted trees for a number: each tree lowers the loss that those before it left.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "quantile", "poisson", "gamma"}, default="squared_error"
        What is minimised. ``poisson`` (targets >= 0) and ``gamma`` (targets > 0) predict the exponential of the score.
    quantile : float, default=None
        Which quantile, for ``loss="quantile"``: between 0 and 1.
    learning_rate, max_iter, max_leaf_nodes, max_depth, min_samples_leaf, min_child_weight, l2_regularization, \
    max_features, subsample, sampling_method, top_rate, other_rate, precision, max_bins, grow_policy, monotonic_cst, \
    interaction_cst, warm_start, early_stopping, \
    validation_fraction, n_iter_no_change, tol, random_state
        As in `HistGradientBoostingClassifier`.

    Attributes
    ----------
    trees_, baseline_, n_iter_, train_score_, validation_score_, feature_importances_, do_early_stopping_, \
    n_trees_per_iteration_, is_categorical_
        As in `HistGradientBoostingClassifier`.

    Notes
    -----
    As in `HistGradientBoostingClassifier`. With ``absolute_error`` and ``quantile`` the value of a leaf is the median
    or quantile of its residuals, which takes 16 bytes a row more.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import HistGradientBoostingRegressor
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> model = HistGradientBoostingRegressor(max_iter=50).fit(X, np.floor(X[:, 0] / 50))
    >>> model.predict([[10.0], [60.0], [190.0]]).round(1)
    array([0., 1., 3.])
    """

    model_types: ClassVar[tuple[str, ...]] = ("boosted_tree_regressor",)
    rules: ClassVar[Mapping[str, Rule]] = {
        **GradientBoosting.rules,
        "loss": Options((*_LOSSES, "quantile")),
        "quantile": Either((Options((None,)), Real(ge=0, le=1))),
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        quantile: float | None = None,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        min_child_weight: float = 1e-3,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        subsample: float = 1.0,
        sampling_method: str = "auto",
        top_rate: float = 0.2,
        other_rate: float = 0.1,
        precision: Precision = "quantized",
        max_bins: int = 255,
        grow_policy: GrowPolicy = "leafwise",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.quantile = quantile
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.min_child_weight = min_child_weight
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.subsample = subsample
        self.sampling_method = sampling_method
        self.top_rate = top_rate
        self.other_rate = other_rate
        self.precision = precision
        self.max_bins = max_bins
        self.grow_policy = grow_policy
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state

    def staged_predict(self, X: Any, *, con: Any = None) -> Iterator[Floats]:
        """Yield `predict` of the rows of X after each round, as arrays, of a relation too.

        X is read once; the leaves of each row are kept in memory, 4 bytes a tree.
        """
        for raw in self._staged(X, con):
            yield self._numbers(raw).copy()

    def _check_params(self) -> None:
        super()._check_params()
        if self.loss == "quantile" and self.quantile is None:
            raise InvalidParameter(f"{type(self).__name__}: quantile must be a number in [0, 1] for loss='quantile'")

    def _boosting_loss(self, data: Data) -> BoostingLoss:
        if self.loss == "quantile":
            assert self.quantile is not None
            return quantile_loss(self.quantile)
        loss = _LOSSES[self.loss]
        if loss.link == "log":
            self._check_domain(data, loss)
        return loss

    def _check_domain(self, data: Data, loss: BoostingLoss) -> None:
        lowest = min((float(y) for y in data.map(_lowest, purpose="smallest target")), default=1.0)
        if (loss.at_least is not None and lowest < loss.at_least) or (loss.above is not None and lowest <= loss.above):
            raise InvalidData(
                f"{type(self).__name__}: the target must be {loss.domain()} for loss={self.loss!r}; its smallest "
                f"value is {lowest:g}"
            )


def _lowest(block: Any) -> float:
    return block.y.min() if block.n_rows else float("inf")
