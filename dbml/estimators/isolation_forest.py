"""Isolation forest: rows that few random questions tell from the others are anomalies."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import ExhaustedMemory, InvalidData
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.isolation import Drawn, grow_isolation, path_length, rows_of_trees
from dbml.estimators.trees.model import TreeModel
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan_text import size_text
from dbml.passes.schema import Task

_SHARES = 1001  # of the training rows, whose scores are kept


class IsolationForest(TreeModel):
    """Anomalies: rows that random splits isolate early.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : "auto", int or float, default="auto"
        Rows that a tree is grown from; "auto": 256, or all if there are fewer; a float is a share of the rows.
    contamination : "auto" or float, default="auto"
        Share of the training rows that count as anomalies; "auto": rows of a score above 0.5.
    max_features : int or float, default=1.0
        Columns of a tree, drawn for each; a float is a share.
    bootstrap : bool, default=False
        Whether the rows of a tree are drawn with replacement.
    random_state : int, RandomState or None, default=None
        Seed of rows, columns and thresholds; None means 0, so that a fit can be repeated.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    trees_ : Trees
        The trees. A leaf's value is the splits on the way to it, and those that its rows would still need, as a share
        of what the rows of a tree need on average; divided by the number of trees.
    max_samples_ : int
        Rows of a tree.
    offset_ : float
        Of `decision_function`: rows with `score_samples` below it are anomalies.
    score_quantiles_ : list of float
        Scores (0 to 1, anomalies near 1) of the training rows at 1,001 even shares, for other contaminations.

    Notes
    -----
    One pass over the table for the rows of all trees, and one more that scores all rows. Of sample weights: a row is
    drawn in proportion to its weight. A missing value goes either way at random where a node has some, else with the
    larger side. Levels of a category are ordered by how frequent they are, so that rare ones are isolated first.

    References
    ----------
    Liu, Ting & Zhou 2008, isolation forest.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import IsolationForest
    >>> X = np.append(np.linspace(0.0, 1.0, 200), 9.0).reshape(-1, 1)
    >>> IsolationForest().fit(X).predict([[0.5], [9.0]])
    array([ 1, -1])
    """

    task: ClassVar[Task] = "none"
    _estimator_type = "outlier_detector"
    model_types: ClassVar[tuple[str, ...]] = ("isolation_forest",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_estimators": Integer(ge=1),
        "max_samples": Either((Options(("auto",)), Integer(ge=1), Real(gt=0, le=1))),
        "contamination": Either((Options(("auto",)), Real(gt=0, le=0.5))),
        "max_features": Either((Integer(ge=1), Real(gt=0, le=1))),
        "bootstrap": Boolean(),
        "random_state": RANDOM_STATE_RULE,
        "n_jobs": JOBS_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_parallel_tree": lambda value: {"n_estimators": value},
        "subsample": lambda value: {"max_samples": value},
    }

    max_samples_: int
    offset_: float
    score_quantiles_: list[float]

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_samples: str | float = "auto",
        contamination: str | float = "auto",
        max_features: float = 1.0,
        bootstrap: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.random_state = random_state
        self.n_jobs = n_jobs

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        seed = seed_of(self.random_state)
        weights = _weights(data)
        n_rows, n_terms = weights.size, data.schema.encoding.n_terms
        if not (weights > 0.0).any():
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        size = self._rows_of_a_tree(int((weights > 0.0).sum()))
        needed = 8 * n_terms * min(n_rows, size * self.n_estimators)
        if needed > memory_budget().kept:
            raise ExhaustedMemory(
                f"{type(self).__name__}: the rows of {self.n_estimators:,} trees take {size_text(needed)}, and "
                f"{size_text(memory_budget().kept)} of memory_limit are for kept rows. Lower max_samples or "
                "n_estimators, or raise memory_limit"
            )
        drawn = Drawn.of(weights, size, self.n_estimators, self.bootstrap, seed)
        rows = rows_of_trees(data, drawn)
        width = self._columns_of_a_tree(n_terms)
        trees = [grow_isolation(rows, drawn.of_tree(tree), width, seed, tree) for tree in range(self.n_estimators)]
        whole = Trees.joined(trees)
        whole.value[:] /= max(path_length(size), 1.0) * self.n_estimators
        self.trees_, self.baseline_, self.link_ = whole, np.zeros(1), "identity"
        self.max_samples_ = size
        scores = np.concatenate(list(data.map(self._anomaly_block, purpose="anomaly scores")))[weights > 0.0]
        self.score_quantiles_ = np.quantile(scores, np.linspace(0.0, 1.0, _SHARES)).tolist()
        if self.contamination == "auto":
            self.offset_ = -0.5
        else:
            self.offset_ = float(np.percentile(-scores, 100.0 * float(self.contamination)))
        data.plan = data.plan.decide("trees", f"{self.n_estimators:,}", f"{size:,} rows each")

    def _rows_of_a_tree(self, n_rows: int) -> int:
        if self.max_samples == "auto":
            return min(256, n_rows)
        if isinstance(self.max_samples, numbers.Integral):
            return min(int(self.max_samples), n_rows)
        return max(1, int(float(self.max_samples) * n_rows))

    def _columns_of_a_tree(self, n_terms: int) -> int:
        if isinstance(self.max_features, numbers.Integral):
            return min(int(self.max_features), n_terms)
        return max(1, math.floor(self.max_features * n_terms))

    # prediction ------------------------------------------------------------------------------------------------

    def _anomaly_block(self, block: Block) -> Floats:
        """Return how anomalous each row is, between 0 and 1."""
        return np.exp2(-self._raw_block(block)[:, 0])

    def _samples_block(self, block: Block) -> Floats:
        return -self._anomaly_block(block)

    def _decision_block(self, block: Block) -> Floats:
        return self._samples_block(block) - self.offset_

    def _predict_block(self, block: Block) -> Floats:
        return np.where(self._decision_block(block) < 0.0, -1.0, 1.0)

    def score_samples(self, X: Any, *, con: Any = None) -> Any:
        """Return the opposite of how anomalous each row is: from -1, an anomaly, to 0; shape (n_rows,)."""
        return self._score(X, "score_samples", self._samples_block, con)

    def decision_function(self, X: Any, *, con: Any = None) -> Any:
        """Return `score_samples` less `offset_`: below 0 for anomalies; shape (n_rows,)."""
        return self._score(X, "decision_function", self._decision_block, con)

    def predict(self, X: Any, *, con: Any = None) -> Any:
        """Return -1 for each row that is an anomaly, else 1; shape (n_rows,)."""
        return self._score(X, "predict", lambda block: self._predict_block(block).astype(np.int64), con)

    def fit_predict(self, X: Any, y: Any = None, *, con: Any = None, **fit_params: Any) -> Any:
        """Learn from the rows of X, and return `predict` of them; parameters are those of `fit`."""
        return self._fit_and_apply("predict", X, y, con, fit_params)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: an outlier detector."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags


def _weights(data: Data) -> Floats:
    """Return the weight of every row, in order."""
    parts = data.map(lambda block: block.weights.copy(), "weights")
    return np.concatenate([np.empty(0), *parts])
