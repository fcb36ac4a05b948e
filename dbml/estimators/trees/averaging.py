"""Averages of trees: how many, which rows each learns from, and the score of rows that were not drawn."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.class_weight import CLASS_WEIGHT_OPTIONS
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.trees.forest import Forest
from dbml.estimators.trees.forest_model import ForestClassifier, ForestModel, ForestRegressor, Votes
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data


def _fewest_rows(value: Any) -> dict[str, Any]:
    """Return the hyperparameter of BigQuery's ``min_tree_child_weight``: of a forest, a row weighs 1."""
    rule = Real(ge=0)
    if not rule.allows(value):
        raise InvalidParameter(f"min_tree_child_weight must be {rule.describe()}; got {value!r}")
    return {"min_samples_leaf": max(1, int(np.ceil(value)))}


class AveragedTrees(ForestModel):
    """Base of averages of trees."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "n_estimators": Integer(ge=1),
        "bootstrap": Boolean(),
        "oob_score": Boolean(),
        "n_jobs": JOBS_RULE,
        "warm_start": Boolean(),
        "max_samples": Either((Options((None,)), Integer(ge=1), Real(gt=0, le=1))),
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_parallel_tree": lambda value: {"n_estimators": value},
        "max_tree_depth": lambda value: {"max_depth": value},
        "min_tree_child_weight": _fewest_rows,
        "subsample": lambda value: {"max_samples": value},
        "colsample_bynode": lambda value: {"max_features": float(value) if isinstance(value, int) else value},
    }

    n_estimators: int
    bootstrap: bool
    oob_score: bool
    n_jobs: int | None
    warm_start: bool
    max_samples: float | None
    oob_score_: float
    oob_votes_: NDArray[np.int64]

    # The fitted attribute that holds the predictions of rows by the trees that did not draw them.
    _oob_means: ClassVar[str]

    def _check_params(self) -> None:
        super()._check_params()
        name = type(self).__name__
        if not self.bootstrap and self.max_samples is not None:
            raise InvalidParameter(
                f"{name}: max_samples must be None where bootstrap=False, since then every tree learns from all rows; "
                f"got {self.max_samples!r}"
            )
        if not self.bootstrap and self.oob_score:
            raise InvalidParameter(
                f"{name}: oob_score must be False where bootstrap=False: out of bag estimation needs rows that a tree "
                "did not draw"
            )

    @property
    def _goes_on(self) -> bool:
        """Whether training continues with the trees there are."""
        return self.warm_start and "trees_" in vars(self)

    def _n_trees(self) -> int:
        return self.n_estimators

    def _first_tree(self) -> int:
        if not self._goes_on:
            return 0
        done = self.trees_.n_trees
        if self.n_estimators < done:
            raise InvalidParameter(
                f"{type(self).__name__}: n_estimators must be at least the {done} trees that warm_start=True goes on "
                f"from; got {self.n_estimators}"
            )
        return done

    def _n_draws(self, n_rows: int) -> int | None:
        if not self.bootstrap:
            return None
        if self.max_samples is None:
            return n_rows
        if isinstance(self.max_samples, numbers.Integral):
            return int(self.max_samples)
        return max(1, round(n_rows * self.max_samples))

    def _votes(self, forest: Forest) -> Votes | None:
        names = ("oob_score_", "oob_votes_", self._oob_means)
        earlier = {name: vars(self).pop(name) for name in names if name in vars(self)}
        if not self.oob_score:
            return None
        votes = Votes(forest)
        if self._goes_on:
            self._go_on(votes, earlier)
        return votes

    def _go_on(self, votes: Votes, earlier: dict[str, Any]) -> None:
        """Begin with the votes of the trees there are already."""
        name, instead = type(self).__name__, "for an out of bag score of all trees fit them anew, with warm_start=False"
        if "oob_votes_" not in earlier:
            raise InvalidParameter(
                f"{name}: oob_score must be False where warm_start=True goes on from trees that were fitted without "
                f"it; {instead}"
            )
        n_rows, n_voted = sum(part.size for part in votes.counts), earlier["oob_votes_"].size
        if n_rows != n_voted:
            raise InvalidData(
                f"{name}: with oob_score=True warm_start=True goes on with the same rows, of which there were "
                f"{n_voted:,}; got {n_rows:,}. Hint: {instead}"
            )
        votes.add_means(earlier[self._oob_means].reshape(n_rows, -1), earlier["oob_votes_"])

    def _score_votes(self, votes: Votes, forest: Forest) -> None:
        means = votes.means()
        known = ~np.isnan(means[:, 0])
        if not known.all():
            warnings.warn(
                f"{type(self).__name__}: {int((~known).sum()):,} rows were drawn by every tree and have no out of bag "
                "prediction; more trees (n_estimators) give one",
                UserWarning,
                stacklevel=6,
            )
        self.oob_votes_ = np.concatenate(votes.counts)
        y = np.concatenate([forest.shards[number].read("y") for number in range(len(forest.shards))])
        self._keep_votes(means, y, known)

    def _keep_votes(self, means: Floats, y: Floats, known: np.ndarray) -> None:
        raise NotImplementedError


class AveragedClassifier(AveragedTrees, ForestClassifier):
    """Base of averages of trees of a class.

    Attributes
    ----------
    oob_decision_function_ : ndarray of shape (n_rows, n_classes)
        With ``oob_score=True``: probabilities by the trees that did not draw a row; NaN where all did.
    oob_votes_ : ndarray of shape (n_rows,)
        How many trees did not.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **ForestClassifier.rules,
        **AveragedTrees.rules,
        "class_weight": Either((Options((None, "balanced", "balanced_subsample")), Instance((dict,), "a dict"))),
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        **AveragedTrees.sql_options,
        **CLASS_WEIGHT_OPTIONS,
    }
    oob_decision_function_: Floats
    _oob_means: ClassVar[str] = "oob_decision_function_"

    def _of_classes(self, data: Data, weighted: bool) -> tuple[Floats, bool]:
        if self.class_weight == "balanced_subsample" and not self.bootstrap:
            # Every tree draws all rows: the same as 'balanced'.
            self_weight, self.class_weight = self.class_weight, "balanced"
            try:
                return super()._of_classes(data, weighted)
            finally:
                self.class_weight = self_weight
        return super()._of_classes(data, weighted)

    def _keep_votes(self, means: Floats, y: Floats, known: np.ndarray) -> None:
        self.oob_decision_function_ = means
        self.oob_score_ = float((means[known].argmax(axis=1) == y[known]).mean()) if known.any() else float("nan")


class AveragedRegressor(AveragedTrees, ForestRegressor):
    """Base of averages of trees of a number.

    Attributes
    ----------
    oob_prediction_ : ndarray of shape (n_rows,)
        With ``oob_score=True``: the prediction by the trees that did not draw a row; NaN where all did.
    oob_votes_ : ndarray of shape (n_rows,)
        How many trees did not.
    """

    rules: ClassVar[Mapping[str, Rule]] = {**ForestRegressor.rules, **AveragedTrees.rules}
    oob_prediction_: Floats
    _oob_means: ClassVar[str] = "oob_prediction_"

    def _keep_votes(self, means: Floats, y: Floats, known: np.ndarray) -> None:
        self.oob_prediction_ = means[:, 0]
        left = y[known] - means[known, 0]
        spread = y[known] - y[known].mean() if known.any() else left
        self.oob_score_ = float(1.0 - (left @ left) / (spread @ spread)) if spread.any() else float("nan")
