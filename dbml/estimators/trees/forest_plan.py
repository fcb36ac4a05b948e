"""What a forest is grown by: the rule of its nodes, which rows each tree draws, and the units of its sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_bag import BAG_ROWS, bag_sizes
from dbml_kernels.forest_rows import Units
from dbml_kernels.forest_sums import (
    ENTROPY,
    GINI,
    POISSON,
    SQUARED,
    Rule,
)
from numpy.typing import NDArray

from dbml.passes.block import Floats
from dbml.passes.shards import Shard, Shards

_BITS = 62  # of a sum
_MEAN_BITS = 24
_UNITS = 40  # bits of a weight that is no whole number


@dataclass(frozen=True)
class Draws:
    """Which rows a tree learns from.

    Attributes
    ----------
    seed : int
        Of all trees.
    n_rows : int
        Rows of the table.
    n_draws : int or None
        Rows drawn for a tree, with replacement; None: every row once.
    """

    seed: int
    n_rows: int
    n_draws: int | None

    def key(self, tree: int) -> np.uint64:
        """Return the seed of a tree."""
        return np.uint64(hash_mix(tree, np.uint64(self.seed)))

    def sizes(self, tree: int) -> NDArray[np.int64]:
        """Return the draws that fall on each block of rows; (0,) where every row is taken once."""
        if self.n_draws is None:
            return np.empty(0, np.int64)
        sizes = np.zeros(-(-self.n_rows // BAG_ROWS), np.int64)
        bag_sizes(self.n_rows, self.n_draws, self.key(tree), sizes)
        return sizes

    @property
    def most(self) -> int:
        """Rows that a tree may have, counted as often as they were drawn."""
        return self.n_rows if self.n_draws is None else self.n_draws


@dataclass(frozen=True)
class Facts:
    """What weights and targets are like.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    heaviest, whole : float, bool
        Largest weight, and whether all of them are whole numbers.
    weight : float
        Sum of the weights.
    least, largest : float
        Of the target.
    totals : ndarray
        Weight of each class; of numbers, the weighted sum of the target.
    """

    n_rows: int
    heaviest: float
    whole: bool
    weight: float
    least: float
    largest: float
    totals: Floats

    @classmethod
    def of(cls, shards: Shards, n_classes: int, weighted: bool) -> Facts:
        """Read the facts."""
        found = shards.each(lambda shard: _facts(shard, n_classes, weighted), "trees: weights and targets")
        heaviest, whole, weight, least, largest, totals = zip(*found, strict=True)
        sums = np.sum(totals, axis=0)
        return cls(shards.n_rows, max(heaviest), all(whole), sum(weight), min(least), max(largest), sums)


def weights_of(shard: Shard, weighted: bool) -> Floats:
    """Return the weights of a shard's rows, (0,) where all are 1."""
    return shard.read("weight") if weighted else _NONE


_NONE = np.empty(0)
_NONE.flags.writeable = False


def _facts(shard: Shard, n_classes: int, weighted: bool) -> tuple[float, bool, float, float, float, Floats]:
    y = shard.read("y")
    w = shard.read("weight") if weighted else np.ones(y.size)
    known = y[w > 0.0]
    least, largest = float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))
    totals = np.bincount(y.astype(np.intp), w, n_classes).astype(float) if n_classes else np.array([w @ y])
    return float(w.max(initial=0.0)), bool((w == np.floor(w)).all()), float(w.sum()), least, largest, totals


def units(criterion: int, facts: Facts, of_classes: Floats, draws: Draws) -> Units:
    """Return units in which all sums of a tree are whole numbers of 64 bits.

    Whole weights stay what they are. Others get 2 ** -40 of the heaviest for a unit; of numbers, a third of the bits
    that there are.
    """
    bits = _BITS - math.ceil(math.log2(max(draws.most, 1) + 1))
    heaviest = max(facts.heaviest * float(of_classes.max()), 1e-300)
    if facts.whole and (of_classes == np.floor(of_classes)).all() and heaviest < 2.0 ** (bits // 3):
        per_weight = 1.0
    else:
        of_weight = min(_UNITS, bits) if criterion <= ENTROPY else bits // 3
        per_weight = 2.0 ** math.floor(of_weight - math.log2(heaviest) - 1e-9)
    if criterion <= ENTROPY:
        return Units(of_classes, per_weight, 0.0, 1.0)
    centre = 0.5 * facts.least + 0.5 * facts.largest if criterion == SQUARED else 0.0
    spread = max(abs(facts.largest - centre), abs(facts.least - centre))
    if not 0.0 < spread < np.inf:
        return Units(of_classes, per_weight, centre if math.isfinite(centre) else 0.0, 1.0)
    bits -= math.ceil(math.log2(heaviest * per_weight + 1.0))
    return Units(of_classes, per_weight, centre, math.ldexp(1.0, min(bits - math.frexp(spread)[1], 1000)))


def gain_unit(rule: Rule, own: Units) -> float:
    """Return what a unit of the kernels' gain is, in weighted impurity."""
    if rule.criterion == GINI:
        return (2.0 if rule.slots == 2 else 1.0) / own.per_weight
    if rule.criterion == ENTROPY:
        return 1.0 / (own.per_weight * math.log(2.0))
    if rule.criterion == POISSON:
        return 1.0 / (own.per_weight * own.per_target)
    return 1.0 / own.per_weight / own.per_target / own.per_target


def mean_bits(own: Units, facts: Facts) -> int:
    """Return the bits of a target below the 24 highest."""
    largest = max(abs(facts.largest - own.centre), abs(facts.least - own.centre)) * own.per_target
    return max(0, math.frexp(largest)[1] - _MEAN_BITS) if math.isfinite(largest) else 0
