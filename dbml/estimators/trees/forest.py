"""Growing the trees of a forest: each from a copy of its rows where that fits in memory, the threads sharing the trees.

    shards of bins ─► rows that a tree drew, copied ─► tree grown by one kernel call ─► node numbers, sums of leaves

Where the rows of a tree do not fit, its upper nodes are split by sums over the shards first (`forest_levels`). Every
number that decides is a whole one, so that both ways make the same trees, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from dbml_kernels.forest_grow import BEGIN, COLUMN, DEPTH, END, LEFT, tree_grow
from dbml_kernels.forest_rows import (
    Units,
    leaves_sum,
    reached_add,
    reached_copy,
    rows_drawn,
    rows_reach,
)
from dbml_kernels.forest_split import Columns
from dbml_kernels.forest_sums import ENTROPY, Rule
from numpy.typing import NDArray

from dbml.estimators.trees.forest_plan import Draws, Facts, gain_unit, mean_bits, units, weights_of
from dbml.estimators.trees.grown import Grown
from dbml.passes.block import Floats
from dbml.passes.engine import current
from dbml.passes.memory import memory_budget
from dbml.passes.shards import Shard, Shards

_NODE_BYTES, _ROW_BYTES = 64, 48  # of a table of nodes; of a row's copy, besides its bins


@dataclass(frozen=True)
class Growth:
    """How the trees of a forest grow.

    Attributes
    ----------
    rule : Rule
        When nodes are split; its `least_weight` and `least_gain` are set for each tree.
    columns : Columns
        What bins are.
    draws : Draws
        Rows of each tree.
    facts : Facts
        What weights and targets are like.
    of_classes : ndarray
        Weight of each class, (1,) for all the same.
    by_tree : bool
        Whether classes are balanced in each tree by the rows that it drew.
    weighted : bool
        Whether rows have weights.
    weight_share, least_decrease : float
        Least share of a tree's weight on a side; decrease of the mean impurity that a split must have.
    max_leaves : int or None
        Most leaves of a tree.
    price : float
        Of a leaf, in cost-complexity pruning.
    """

    rule: Rule
    columns: Columns
    draws: Draws
    facts: Facts
    of_classes: Floats
    by_tree: bool = False
    weighted: bool = False
    weight_share: float = 0.0
    least_decrease: float = 0.0
    max_leaves: int | None = None
    price: float = 0.0

    @property
    def by_class(self) -> bool:
        """Whether targets are classes."""
        return self.rule.criterion <= ENTROPY

    @property
    def n_values(self) -> int:
        """Numbers that a leaf has."""
        return self.rule.slots if self.by_class else 1

    def most_nodes(self, n_rows: int, depth: int = 0) -> int:
        """Return the most nodes that a tree of some rows can have."""
        levels = min(self.rule.max_depth - depth, 40)
        return max(1, min(2 * (n_rows // max(1, self.rule.min_leaf)), 2 ** (levels + 1)) + 1)


class TreeRows(NamedTuple):
    """Rows that lie together, copied for a tree: see `dbml_kernels.forest_rows`."""

    bins: NDArray[np.uint8]
    payload: NDArray[np.int64]
    exact: Floats

    @classmethod
    def room(cls, n: int, width: int) -> TreeRows:
        """Return room for rows."""
        return cls(np.empty(n * width, np.uint8), np.empty(2 * n, np.int64), np.empty((n, 2)))

    def part(self, first: int, last: int) -> TreeRows:
        """Return some of the rows."""
        width = self.bins.size // max(1, len(self.exact))
        return TreeRows(
            self.bins[first * width : last * width], self.payload[2 * first : 2 * last], self.exact[first:last]
        )


class Part(NamedTuple):
    """A tree or a part of one: its table of nodes, node 0 first, and the sums of its leaves."""

    nodes: NDArray[np.int32]
    gains: Floats
    values: Floats
    weights: Floats


class Table(NamedTuple):
    """Nodes while they grow; see `dbml_kernels.forest_grow`."""

    nodes: NDArray[np.int32]
    gains: Floats
    bounds: Floats
    keys: NDArray[np.uint64]

    @classmethod
    def room(cls, n: int) -> Table:
        """Return room for nodes."""
        return cls(np.empty((n, 8), np.int32), np.zeros(n), np.empty((n, 2)), np.empty(n, np.uint64))

    def begin(self, n_rows: int, depth: int, key: np.uint64, low: float = -np.inf, high: float = np.inf) -> None:
        """Make the first node."""
        self.nodes[0] = 0
        self.nodes[0, [COLUMN, LEFT, BEGIN, END, DEPTH]] = -1, -1, 0, n_rows, depth
        self.bounds[0], self.keys[0] = (low, high), key


class Forest:
    """Grows trees over shards that hold ``bins``, ``y`` and, where rows have weights, ``weight``.

    Parameters
    ----------
    shards : Shards
        The rows.
    growth : Growth
        How.
    threads : int
        Most trees that grow at once.
    """

    def __init__(self, shards: Shards, growth: Growth, threads: int) -> None:
        self.shards, self.growth = shards, growth
        self.threads = threads
        self._root = Table.room(1)
        self._root.begin(0, 0, np.uint64(0))
        self._job = np.zeros(1, np.int32)

    # rows of a tree --------------------------------------------------------------------------------------------

    def arrays(self, shard: Shard) -> tuple[NDArray, Floats, Floats]:
        """Return bins, y and weights of a shard."""
        return shard.read("bins").reshape(-1), shard.read("y"), weights_of(shard, self.growth.weighted)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.growth.columns.ways)

    def drawn(self, shard: Shard, tree: int, sizes: NDArray[np.int64], weight: Floats) -> NDArray[np.int32]:
        """Return how often a tree draws each row of a shard; 0 where `weight` is."""
        draws = self.growth.draws
        counts = np.empty(shard.n_rows, np.int32)
        rows_drawn(draws.n_rows, shard.start, sizes, draws.key(tree), weight, counts)
        return counts

    @cached_property
    def _units(self) -> Units:
        growth = self.growth
        return units(growth.rule.criterion, growth.facts, growth.of_classes, growth.draws)

    def units(self, totals: Floats | None) -> Units:
        """Return the units of a tree; `totals` is the weight of each class that it drew, where classes are balanced."""
        growth = self.growth
        if totals is None:
            return self._units
        balanced = totals.sum() / (np.count_nonzero(totals) * np.where(totals > 0.0, totals, 1.0))
        return units(growth.rule.criterion, growth.facts, np.where(totals > 0.0, balanced, 1.0), growth.draws)

    def copied(self, tree: int) -> tuple[TreeRows, Units]:
        """Return copies of all rows of a tree, which must be in memory, and its units."""
        growth = self.growth
        sizes = growth.draws.sizes(tree)
        shards = [self.shards[number] for number in range(len(self.shards))]
        counts = [self.drawn(shard, tree, sizes, weights_of(shard, growth.weighted)) for shard in shards]
        totals = None
        if growth.by_tree:
            by_shard = [self.class_totals(shard, own) for shard, own in zip(shards, counts, strict=True)]
            totals = np.sum(by_shard, axis=0)
        own_units = self.units(totals)
        rows = TreeRows.room(sum(int(np.count_nonzero(own)) for own in counts), self.width)
        places = np.zeros(1, np.int64)
        for shard, own in zip(shards, counts, strict=True):
            reached = np.where(own > 0, 0, -1).astype(np.int32)
            bins, y, weight = self.arrays(shard)
            reached_copy(bins, self.width, y, weight, own, own_units, reached, self._job, places, *rows)
        return rows, own_units

    def class_totals(self, shard: Shard, counts: NDArray[np.int32]) -> Floats:
        """Return the weight of each class among the rows that a tree drew."""
        weight = weights_of(shard, self.growth.weighted)
        drawn = counts * weight if weight.size else counts
        return np.bincount(shard.read("y").astype(np.intp), drawn, self.growth.rule.slots).astype(float)

    # trees -----------------------------------------------------------------------------------------------------

    def rule(self, weight: int, own: Units) -> Rule:
        """Return the rule of a tree of some weight, in units."""
        growth = self.growth
        gain = growth.least_decrease * weight / (gain_unit(growth.rule, own) * own.per_weight)
        least = max(1, int(np.ceil(growth.weight_share * weight - 1e-9)))
        gain = float(gain) if growth.least_decrease else -np.inf
        return growth.rule._replace(least_weight=least, least_gain=gain, coarse=mean_bits(own, growth.facts))

    def part(self, rows: TreeRows, rule: Rule, depth: int, key: np.uint64, low: float, high: float) -> Part:
        """Grow a tree, or a part of one below a node of some depth."""
        growth = self.growth
        n_rows = len(rows.exact)
        table = Table.room(growth.most_nodes(n_rows, depth))
        table.begin(n_rows, depth, key, low, high)
        order = np.arange(n_rows, dtype=np.int32)
        n = 1
        if n_rows:
            n = tree_grow(rows.bins, self.width, rows.payload, order, 0, rule, growth.columns, tuple(table), 1)
        values, weights = np.zeros((n, growth.n_values)), np.zeros(n)
        leaves_sum(table.nodes, n, 0, order, rows.payload, rows.exact, growth.by_class, values, weights)
        return Part(table.nodes[:n].copy(), table.gains[:n].copy(), values, weights)

    def finished(self, whole: Part, weight: int, own: Units) -> Grown:
        """Return a tree of some weight, in units, with its gains in weighted impurity, cut back as asked for."""
        growth = self.growth
        gains = whole.gains * gain_unit(growth.rule, own)
        grown = Grown.of(whole.nodes, gains, whole.weights, whole.values)
        if grown.weights[0] == 0.0:  # no row that weighs anything was drawn
            grown.values[0] = growth.facts.totals / max(growth.facts.weight, 1e-300)
            grown.weights[0] = 1.0
        if growth.max_leaves is None and growth.price == 0.0:
            return grown
        return grown.cut(growth.max_leaves, growth.price * weight / own.per_weight)

    def _tree(self, tree: int) -> Grown:
        rows, own = self.copied(tree)
        weight = int(rows.payload[::2].sum())
        rule = self.rule(weight, own)
        return self.finished(self.part(rows, rule, 0, self.growth.draws.key(tree), -np.inf, np.inf), weight, own)

    def row_bytes(self) -> int:
        """Return about what a row of a tree takes while the tree grows."""
        return self.width + _ROW_BYTES + 2 * _NODE_BYTES + 8 * self.growth.n_values

    def most_rows(self) -> int:
        """Return the rows that a thread may hold copies of."""
        return max(1, memory_budget().blocks // (self.threads * self.row_bytes()))

    def grow(self, trees: Sequence[int], report: Callable[[int, list[Grown]], None]) -> None:
        """Grow trees by number, each whole; `report` gets the number of the first and some trees, as they are done."""
        crew = current().crew(self.threads)
        try:
            step = max(4, -(-len(trees) // (4 * self.threads))) * self.threads
            for first in range(0, len(trees), step):
                report(trees[first], crew.each(self._tree, trees[first : first + step], "trees"))
        finally:
            crew.close()

    # rows out of the bag ---------------------------------------------------------------------------------------

    def vote(self, first: int, trees: list[Grown], sums: Sequence[Floats], counts: Sequence[NDArray[np.int64]]) -> None:
        """Add the predictions of trees for the rows that they did not draw; `sums` and `counts` are by shard."""
        tables = [(tree.nodes, tree.means()) for tree in trees]

        def work(shard: Shard) -> None:
            bins = shard.read("bins").reshape(-1)
            reached = np.empty(shard.n_rows, np.int32)
            for number, (nodes, means) in enumerate(tables, first):
                drawn = self.drawn(shard, number, self.growth.draws.sizes(number), np.empty(0))
                rows_reach(bins, self.width, nodes, drawn, False, reached)
                reached_add(reached, means, sums[shard.number], counts[shard.number])

        self.shards.each(work, "trees: rows that were not drawn")
