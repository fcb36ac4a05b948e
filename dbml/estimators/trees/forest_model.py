"""What single trees and forests share: hyperparameters, and the training from data to trees."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_kernels.forest_sums import (
    ENTROPY,
    GINI,
    POISSON,
    SQUARED,
    Rule,
)
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.class_weight import CLASS_WEIGHT_RULE, class_weights
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.trees.binning import MOST_BINS, sample_rows
from dbml.estimators.trees.constraints import monotonic_columns
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.forest import Forest, Growth
from dbml.estimators.trees.forest_bins import ForestBins
from dbml.estimators.trees.forest_levels import grow_trees
from dbml.estimators.trees.forest_plan import Draws, Facts
from dbml.estimators.trees.grown import Grown
from dbml.estimators.trees.model import TreeClassifier, TreeModel, TreeRegressor
from dbml.params import Either, Instance, Integer, Options, Real
from dbml.params import Rule as ParameterRule
from dbml.passes.block import Block, Floats, SparseRows
from dbml.passes.data import Data
from dbml.passes.engine import current
from dbml.passes.shards import Arrays, Shards

_CRITERIA = {"gini": GINI, "entropy": ENTROPY, "log_loss": ENTROPY, "squared_error": SQUARED, "poisson": POISSON}
_NO_LIMIT = 2**31 - 1
_STEPS = 2.0**52  # of a probability: sums of them are exact, in any order


def _count_or_share(least: int) -> Either:
    return Either((Integer(ge=least), Real(gt=0, le=1)))


class ForestModel(TreeModel):
    """Base of single trees and of averages of trees."""

    rules: ClassVar[Mapping[str, ParameterRule]] = {
        "max_depth": Either((Options((None,)), Integer(ge=1))),
        "min_samples_split": _count_or_share(2),
        "min_samples_leaf": _count_or_share(1),
        "min_weight_fraction_leaf": Real(ge=0, le=0.5),
        "max_features": Either((Options(("sqrt", "log2", None)), Integer(ge=1), Real(gt=0, le=1))),
        "max_leaf_nodes": Either((Options((None,)), Integer(ge=2))),
        "min_impurity_decrease": Real(ge=0),
        "ccp_alpha": Real(ge=0),
        "monotonic_cst": Either((Options((None,)), Instance((Mapping, list, tuple, np.ndarray), "a dict or a list"))),
        "max_bins": Integer(ge=2, le=MOST_BINS),
        "random_state": RANDOM_STATE_RULE,
    }

    criterion: str
    max_depth: int | None
    min_samples_split: float
    min_samples_leaf: float
    min_weight_fraction_leaf: float
    max_features: str | float | None
    max_leaf_nodes: int | None
    min_impurity_decrease: float
    ccp_alpha: float
    monotonic_cst: Any
    max_bins: int
    random_state: Any
    max_features_: int

    def _check_params(self) -> None:
        if isinstance(self.min_samples_split, numbers.Integral) and self.min_samples_split < 2:
            rule = self.rules["min_samples_split"].describe()
            raise InvalidParameter(f"{type(self).__name__}: min_samples_split must be {rule}; got 1")

    # what a subclass decides -----------------------------------------------------------------------------------

    def _n_trees(self) -> int:
        return 1

    def _first_tree(self) -> int:
        """Return how many trees there are already."""
        return 0

    def _n_draws(self, n_rows: int) -> int | None:
        """Return how many rows are drawn for a tree, with replacement; None: every row once."""
        return None

    def _random_cuts(self) -> bool:
        return False

    def _of_classes(self, data: Data, weighted: bool) -> tuple[Floats, bool]:
        """Return the weights of the classes, and whether they are balanced tree by tree."""
        return np.ones(1), False

    def _n_classes(self, data: Data) -> int:
        """Return the number of classes; 0 for numbers."""
        return 0

    def _check_facts(self, facts: Facts) -> None:
        """Raise `InvalidData` for a target that the criterion does not take."""

    def _votes(self, forest: Forest) -> Votes | None:
        """Return where predictions for rows that were not drawn are added up, if they are wanted."""
        return None

    def _score_votes(self, votes: Votes, forest: Forest) -> None:
        """Set the fitted attributes of rows that were not drawn."""

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        n_classes = self._n_classes(data)
        seed = seed_of(self.random_state)
        sample = data.sample(sample_rows(data.schema.encoding), seed)
        if not sample.n_rows:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        weighted = sample.weight is not None
        of_classes, by_tree = self._of_classes(data, weighted)
        ways = monotonic_columns(type(self).__name__, self.monotonic_cst, data.schema)
        if n_classes > 2 and ways.any():
            raise InvalidParameter(
                f"{type(self).__name__}: monotonic_cst must be None where there are more than two classes; the target "
                f"has {n_classes}"
            )
        if weighted:
            sample = _weighing(sample)
        bins = ForestBins.learn(sample, data.schema.encoding, self.max_bins, n_classes)
        del sample
        with _binned(data, bins, weighted) as shards:
            facts = Facts.of(shards, n_classes, weighted)
            self._check_facts(facts)
            draws = Draws(seed, facts.n_rows, self._n_draws(facts.n_rows))
            growth = Growth(
                self._rule(facts.n_rows, bins.n_columns, n_classes),
                bins.columns(ways),
                draws,
                facts,
                of_classes,
                by_tree,
                weighted,
                self.min_weight_fraction_leaf,
                self.min_impurity_decrease,
                self.max_leaf_nodes,
                self.ccp_alpha,
            )
            self._grow(Forest(shards, growth, self._crew_size()), bins, data)

    def _crew_size(self) -> int:
        crew = current().crew(_NO_LIMIT)
        try:
            return crew.size
        finally:
            crew.close()

    def _grow(self, forest: Forest, bins: ForestBins, data: Data) -> None:
        first, n_trees = self._first_tree(), self._n_trees()
        parts = [_scaled(self.trees_, float(first))] if first else []
        votes = self._votes(forest)
        done = first

        def report(number: int, some: list[Grown]) -> None:
            nonlocal done
            parts.extend(tree.trees(bins, tree.means()) for tree in some)
            if votes is not None:
                forest.vote(number, some, votes.sums, votes.counts)
            done = number + len(some)
            self._iteration(done)

        try:
            grow_trees(forest, range(first, n_trees), report)
        except KeyboardInterrupt:
            if done:
                self._keep(**self._fitted(parts, done, forest))
            raise
        vars(self).update(self._fitted(parts, done, forest))
        if votes is not None:
            self._score_votes(votes, forest)
        leaves = int((self.trees_.left < 0).sum())
        data.plan = data.plan.decide("trees", f"{self.trees_.n_trees:,}", f"{leaves:,} leaves")

    def _fitted(self, parts: list[Trees], n_trees: int, forest: Forest) -> dict[str, Any]:
        trees = Trees.joined(parts)
        value = trees.value
        value *= 1.0 / n_trees
        if self.task == "classification":
            value *= _STEPS
            np.floor(value, out=value)
            value /= _STEPS
        return {
            "trees_": trees,
            "baseline_": np.zeros(trees.value.shape[1]),
            "link_": "probability" if self.task == "classification" else "identity",
            "max_features_": int(forest.growth.rule.n_drawn),
        }

    def _rule(self, n_rows: int, n_columns: int, n_classes: int) -> Rule:
        def rows(value: float, least: int) -> int:
            whole = value if isinstance(value, numbers.Integral) else math.ceil(value * n_rows)
            return max(least, int(whole))

        min_leaf = rows(self.min_samples_leaf, 1)
        return Rule(
            criterion=_CRITERIA[self.criterion],
            slots=n_classes or 2,
            counted=int(min_leaf > 1),
            random_cuts=int(self._random_cuts()),
            n_drawn=self._drawn_columns(n_columns),
            max_depth=self.max_depth or _NO_LIMIT,
            min_split=rows(self.min_samples_split, 2),
            min_leaf=min_leaf,
            least_weight=1,
            least_gain=-math.inf,
            coarse=0,
        )

    def _drawn_columns(self, n_columns: int) -> int:
        wanted = self.max_features
        if wanted is None:
            return n_columns
        if wanted == "sqrt":
            return max(1, int(math.sqrt(n_columns)))
        if wanted == "log2":
            return max(1, int(math.log2(n_columns)))
        if isinstance(wanted, numbers.Integral):
            return min(int(wanted), n_columns)
        return max(1, int(float(wanted) * n_columns))

    # the model -------------------------------------------------------------------------------------------------

    @property
    def feature_importances_(self) -> Floats:
        """Share of each term in the gain of the splits, averaged over the trees; shape (n_terms,); they sum to 1."""
        self._check_fitted()
        trees, n_terms = self.trees_, self.schema_.encoding.n_terms
        inner = trees.left >= 0
        tree = np.repeat(np.arange(trees.n_trees), np.diff(trees.roots))[inner]
        gain = trees.gain[inner]
        whole = np.bincount(tree, gain, trees.n_trees)
        share = gain / np.where(whole > 0.0, whole, 1.0)[tree]
        total: Floats = np.bincount(trees.term[inner], share, n_terms).astype(float)
        return total / total.sum() if total.sum() > 0.0 else total

    @property
    def n_outputs_(self) -> int:
        """Targets of the model: always one."""
        self._check_fitted()
        return 1

    def apply(self, X: Any, *, con: Any = None) -> NDArray[np.int32]:
        """Return the leaf that each row ends in, in each tree: numbers among the nodes of that tree."""
        return self._score(X, "apply", lambda block: self.trees_.leaves(block) - self.trees_.roots[:-1], con)


class Votes:
    """Sums of predictions for rows that trees did not draw, by shard."""

    def __init__(self, forest: Forest) -> None:
        sizes = [forest.shards[number].n_rows for number in range(len(forest.shards))]
        self.sums = [np.zeros((n, forest.growth.n_values)) for n in sizes]
        self.counts = [np.zeros(n, np.int64) for n in sizes]

    def add_means(self, means: Floats, counts: NDArray[np.int64]) -> None:
        """Add earlier votes, as `means` gives them and how many they are; shapes (n_rows, n_values) and (n_rows,)."""
        sums = np.where(counts[:, None] > 0, means, 0.0) * counts[:, None]
        ends = np.cumsum([part.size for part in self.counts])[:-1]
        self.sums = [own + more for own, more in zip(self.sums, np.split(sums, ends), strict=True)]
        self.counts = [own + more for own, more in zip(self.counts, np.split(counts, ends), strict=True)]

    def means(self) -> Floats:
        """Return the mean prediction of each row, NaN where every tree drew it."""
        sums, counts = np.concatenate(self.sums), np.concatenate(self.counts)
        return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.nan)


def _weighing(block: Block) -> Block:
    """Return the rows of a block that weigh something (all of them, where none does)."""
    assert block.weight is not None and block.y is not None
    rows = np.flatnonzero(block.weight > 0.0)
    if rows.size in (0, block.n_rows):
        return block
    sparse = None
    if block.sparse is not None:
        indptr, indices, values = block.sparse
        sizes = np.diff(indptr)
        entries = np.repeat(block.weight > 0.0, sizes)
        sparse = SparseRows(np.concatenate([[0], np.cumsum(sizes[rows])]), indices[entries], values[entries])
    return Block(np.asfortranarray(block.X[rows]), sparse, block.y[rows], block.weight[rows], -1)


def _scaled(trees: Trees, factor: float) -> Trees:
    return Trees(**{**trees.arrays(), "value": trees.value * factor})


def _binned(data: Data, bins: ForestBins, weighted: bool) -> Shards:
    """Return the rows as shards of bins, targets and weights."""

    def make(block: Block) -> Arrays:
        assert block.y is not None
        made: Arrays = {"bins": bins.bins_of(block), "y": block.y.copy()}
        if weighted:
            made["weight"] = block.weights.copy()
        return made

    return data.derive(make, purpose="trees: bins of all rows")


class ForestClassifier(ForestModel, TreeClassifier):
    """Base of trees and forests of a class."""

    rules: ClassVar[Mapping[str, ParameterRule]] = {
        **ForestModel.rules,
        "criterion": Options(("gini", "entropy", "log_loss")),
        "class_weight": CLASS_WEIGHT_RULE,
    }

    class_weight: Any

    def _n_classes(self, data: Data) -> int:
        return len(data.schema.classes)

    @property
    def n_classes_(self) -> int:
        """Number of classes."""
        self._check_fitted()
        return int(self.classes_.size)

    def _decision(self, raw: Floats) -> Floats:
        """Return how far the probability of the second class is from a half, twice; of more classes, probabilities."""
        return 2.0 * raw[:, 1] - 1.0 if self.classes_.size == 2 else raw

    def _of_classes(self, data: Data, weighted: bool) -> tuple[Floats, bool]:
        if self.class_weight == "balanced_subsample":
            return np.ones(1), True
        found = class_weights(type(self).__name__, self.class_weight, data, weighted)
        return (np.ones(1) if found is None else found), False


class ForestRegressor(ForestModel, TreeRegressor):
    """Base of trees and forests of a number."""

    rules: ClassVar[Mapping[str, ParameterRule]] = {
        **ForestModel.rules,
        "criterion": Options(("squared_error", "poisson")),
    }

    def _check_facts(self, facts: Facts) -> None:
        if self.criterion == "poisson" and (facts.least < 0.0 or facts.largest <= 0.0):
            raise InvalidData(
                f"{type(self).__name__}: the target must be >= 0, and above 0 somewhere, for criterion='poisson'; it "
                f"is from {facts.least:g} to {facts.largest:g}"
            )
