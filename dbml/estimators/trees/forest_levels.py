"""Trees whose rows do not fit in memory: upper nodes are split by sums over the shards, many trees in one pass.

    pass: sums of every large node of every tree ─► splits ─► … ─► nodes whose rows fit ─► passes that copy their rows,
    as many as fit at once ─► subtrees grown from the copies

Rows are walked down the upper nodes in every pass: nothing is kept of a row but its bins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from dbml_kernels.forest_grow import BEGIN, DEPTH, END, LEFT, children_add, columns_of, level_search, may_split
from dbml_kernels.forest_rows import (
    Units,
    level_add,
    reached_copy,
    reached_count,
    reached_sum,
    rows_reach,
    units_sum,
)
from dbml_kernels.forest_split import BIN, COLUMN, MISSING_LEFT
from dbml_kernels.forest_sums import MISSING, N_BINS, Rule
from numpy.typing import NDArray

from dbml.estimators.trees.forest import Forest, Part, Table, TreeRows
from dbml.estimators.trees.grown import Grown
from dbml.passes.block import Floats
from dbml.passes.engine import current
from dbml.passes.memory import memory_budget
from dbml.passes.shards import Shard

_TREES = 16  # that grow at once
_FEW_ROWS = 65_536  # of a part of a tree that is worth a thread


def grow_trees(forest: Forest, trees: Sequence[int], report: Callable[[int, list[Grown]], None]) -> None:
    """Grow trees by number; `report` gets the number of the first and some trees, as they are done.

    Trees whose rows fit in memory, and that keep all threads busy, grow whole; others by `Levels`. They are the same.
    """
    shards, most = forest.shards, forest.most_rows()
    busy = len(trees) >= 2 * forest.threads or shards.n_rows <= _FEW_ROWS
    if not busy:
        most = min(most, max(_FEW_ROWS // 4, shards.n_rows // (4 * forest.threads)))
    if shards.in_memory and shards.n_rows <= most:
        forest.grow(trees, report)
    else:
        Levels(forest, most).grow(trees, report)


@dataclass
class _Top:
    """The upper nodes of a tree.

    `waiting` are nodes that may be split by sums, with the number of columns they have looked at; `jobs` nodes whose
    rows are to be copied, `large` leaves whose rows are too many for that.
    """

    tree: int
    sizes: NDArray[np.int64]
    units: Units
    rule: Rule
    weight: int
    table: Table
    n_nodes: int = 1
    waiting: dict[int, int] = field(default_factory=dict)
    jobs: list[int] = field(default_factory=list)
    large: list[int] = field(default_factory=list)
    parts: dict[int, Part] = field(default_factory=dict)

    def rows_of(self, node: int) -> int:
        return int(self.table.nodes[node, END])

    def place(self, node: int, most: int) -> None:
        """Decide what is done with a new node."""
        if self.rows_of(node) <= most:
            self.jobs.append(node)
        elif may_split(self.rule, self.rows_of(node), int(self.table.nodes[node, DEPTH]), False):
            self.waiting[node] = 0
        else:
            self.large.append(node)

    def end(self, node: int) -> None:
        """Make a node a leaf."""
        del self.waiting[node]
        self.large.append(node)

    def reserve(self) -> None:
        """Make room for two nodes more."""
        if self.n_nodes + 2 > len(self.table.nodes):
            more = Table.room(2 * len(self.table.nodes) + 2)
            for name in Table._fields:
                getattr(more, name)[: self.n_nodes] = getattr(self.table, name)[: self.n_nodes]
            self.table = more


class _Slot(NamedTuple):
    """A node that a pass adds up sums of."""

    top: _Top
    node: int
    first: int  # number of the first of its columns


class Levels:
    """Grows trees level by level.

    Parameters
    ----------
    forest : Forest
        The rows, and how trees grow.
    most : int
        Rows of a part that is grown from copies.
    """

    def __init__(self, forest: Forest, most: int) -> None:
        self.forest, self.most = forest, most
        self.shards, self.growth, self.width = forest.shards, forest.growth, forest.width

    def grow(self, trees: Sequence[int], report: Callable[[int, list[Grown]], None]) -> None:
        """Grow trees; see `grow_trees`."""
        for first in range(0, len(trees), _TREES):
            group = trees[first : first + _TREES]
            tops = self._tops(group)
            while any(top.waiting for top in tops):
                self._level([_Slot(top, node, at) for top in tops for node, at in top.waiting.items()])
            self._copies(tops)
            report(group[0], [self._whole(top) for top in tops])

    # upper nodes -----------------------------------------------------------------------------------------------

    def _tops(self, trees: Sequence[int]) -> list[_Top]:
        forest, growth = self.forest, self.growth
        sizes = [growth.draws.sizes(tree) for tree in trees]

        def counts(shard: Shard) -> Iterator[NDArray[np.int32]]:
            weight = forest.arrays(shard)[2]
            return (forest.drawn(shard, tree, own, weight) for tree, own in zip(trees, sizes, strict=True))

        totals: list[Floats | None] = [None] * len(trees)
        if growth.by_tree:
            found = self.shards.each(
                lambda shard: [forest.class_totals(shard, own) for own in counts(shard)], "trees: classes of each tree"
            )
            totals = list(np.sum(found, axis=0))
        units = [forest.units(own) for own in totals]

        def weigh(shard: Shard) -> list[tuple[int, int]]:
            _, y, weight = forest.arrays(shard)
            return [units_sum(y, weight, own, unit) for own, unit in zip(counts(shard), units, strict=True)]

        weighed: NDArray[np.int64] = np.array(self.shards.each(weigh, "trees: weight of each tree"), np.int64).sum(
            axis=0
        )
        tops = []
        for tree, own, unit, (weight, n_rows) in zip(trees, sizes, units, weighed.tolist(), strict=True):
            table = Table.room(64)
            table.begin(n_rows, 0, growth.draws.key(tree))
            top = _Top(tree, own, unit, forest.rule(weight, unit), weight, table)
            top.place(0, self.most)
            tops.append(top)
        return tops

    def _reached(self, shard: Shard, top: _Top) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return how often each row was drawn, and the upper node it is in."""
        bins, _, weight = self.forest.arrays(shard)
        counts = self.forest.drawn(shard, top.tree, top.sizes, weight)
        reached = np.empty(shard.n_rows, np.int32)
        rows_reach(bins, self.width, top.table.nodes, counts, True, reached)
        return counts, reached

    def _level(self, slots: list[_Slot]) -> None:
        """Split nodes, as many in a pass as there is memory for."""
        size = 8 * self.growth.rule.n_drawn * N_BINS * (self.growth.rule.slots + 1)
        room = max(1, memory_budget().blocks // (size * (self.forest.threads + 1)))
        for first in range(0, len(slots), room):
            self._split(slots[first : first + room])

    def _split(self, slots: list[_Slot]) -> None:
        rule = self.growth.rule._replace(counted=1)
        drawn = np.zeros((len(slots), rule.n_drawn), np.int64)
        known = np.zeros(len(slots), np.int64)
        for number, (top, node, first) in enumerate(slots):
            columns = np.zeros(self.width, np.int64)
            known[number] = columns_of(top.table.keys[node], first, rule.n_drawn, columns)
            drawn[number] = columns[: rule.n_drawn]
        sums = np.zeros((len(slots), rule.n_drawn, N_BINS * (rule.slots + 1)), np.int64)
        about = about_none(len(slots))
        lock = threading.Lock()
        by_top = {id(top): top for top, _, _ in slots}

        def work(shard: Shard) -> None:
            own_sums, own_about = np.zeros_like(sums), about_none(len(slots))
            bins, y, weight = self.forest.arrays(shard)
            for top in by_top.values():
                numbers = np.full(top.n_nodes, -1, np.int32)
                for number, (other, node, _) in enumerate(slots):
                    if other is top:
                        numbers[node] = number
                counts, reached = self._reached(shard, top)
                level_add(
                    bins, self.width, y, weight, counts, top.units, reached, numbers, drawn, rule, own_sums, own_about
                )
            with lock:
                np.add(sums, own_sums, out=sums)
                about[:, 0] += own_about[:, 0]
                np.minimum(about[:, 1], own_about[:, 1], out=about[:, 1])
                np.maximum(about[:, 2], own_about[:, 2], out=about[:, 2])

        self.shards.each(work, "trees: sums of upper nodes")
        for number, slot in enumerate(slots):
            self._decide(slot, sums[number], drawn[number, : known[number]], about[number])

    def _decide(self, slot: _Slot, sums: NDArray, drawn: NDArray, about: NDArray) -> None:
        """Split a node by its sums, or make it a leaf, or let it look at further columns."""
        top, node, first = slot
        if about[1] == about[2]:
            top.end(node)
            return
        rule = top.rule._replace(counted=1)
        totals = sums[0].reshape(N_BINS, -1).sum(axis=0)
        low, high = top.table.bounds[node]
        split = np.zeros(8, np.int64)
        key = top.table.keys[node]
        varies, found, gain = level_search(
            sums, drawn, first > 0, rule, self.growth.columns, totals, low, high, key, split
        )
        if not varies and first + drawn.size < self.width:
            top.waiting[node] = first + drawn.size
            return
        if not found:
            top.end(node)
            return
        own = sums[int(np.flatnonzero(drawn == split[COLUMN])[0])].reshape(N_BINS, -1)
        left = own[: split[BIN] + 1].sum(axis=0)
        if split[MISSING_LEFT]:
            left = left + own[MISSING]
        left_rows = int(left[-1])
        values = np.array([self._value(left), self._value(totals - left)])
        del top.waiting[node]
        top.reserve()
        ways = self.growth.columns.ways
        top.n_nodes = children_add(*top.table, top.n_nodes, node, split, gain, left_rows, ways, values)
        for child, rows in ((top.n_nodes - 2, left_rows), (top.n_nodes - 1, int(totals[-1]) - left_rows)):
            top.table.nodes[child, [BEGIN, END]] = 0, rows
            top.place(child, self.most)

    def _value(self, sums: NDArray) -> float:
        h, g = int(sums[0]), int(sums[1])
        return float(g) / float(sums[:-1].sum() if self.growth.by_class else h)

    # subtrees --------------------------------------------------------------------------------------------------

    def _copies(self, tops: list[_Top]) -> None:
        """Grow what is below the upper nodes."""
        jobs = [(top, node) for top in tops for node in sorted(top.jobs)]
        numbers = _numbers(jobs)

        def count(shard: Shard) -> NDArray[np.int64]:
            sizes = np.zeros(len(jobs), np.int64)
            for top in {id(top): top for top, _ in jobs}.values():
                reached_count(self._reached(shard, top)[1], numbers[id(top)], sizes)
            return sizes

        found = np.array(self.shards.each(count, "trees: rows of each part")).reshape(len(self.shards), len(jobs))
        begin, room = 0, self.most * self.forest.threads
        while begin < len(jobs):
            end, rows = begin, 0
            while end < len(jobs) and (end == begin or rows + int(found[:, end].sum()) <= room):
                rows += int(found[:, end].sum())
                end += 1
            self._batch(jobs[begin:end], found[:, begin:end])
            begin = end

    def _batch(self, jobs: list[tuple[_Top, int]], found: NDArray[np.int64]) -> None:
        """Copy the rows of some parts, and grow them; `found` are their rows in each shard."""
        starts = np.concatenate([[0], np.cumsum(found.sum(axis=0))])
        places = starts[:-1] + np.cumsum(found, axis=0) - found
        copied = TreeRows.room(int(starts[-1]), self.width)
        numbers, tops = _numbers(jobs), {id(top): top for top, _ in jobs}

        def copy(shard: Shard) -> None:
            bins, y, weight = self.forest.arrays(shard)
            at = places[shard.number].copy()
            for top in tops.values():
                counts, reached = self._reached(shard, top)
                own = numbers[id(top)]
                reached_copy(bins, self.width, y, weight, counts, top.units, reached, own, at, *copied)

        self.shards.each(copy, "trees: rows of some parts")

        def grow(number: int) -> Part:
            top, node = jobs[number]
            rows = copied.part(int(starts[number]), int(starts[number + 1]))
            table = top.table
            depth, (low, high) = int(table.nodes[node, DEPTH]), table.bounds[node]
            return self.forest.part(rows, top.rule, depth, table.keys[node], float(low), float(high))

        crew = current().crew(self.forest.threads)
        try:
            for (top, node), part in zip(jobs, crew.each(grow, range(len(jobs)), "trees"), strict=True):
                top.parts[node] = part
        finally:
            crew.close()

    def _large(self, top: _Top, values: Floats, weights: Floats) -> None:
        """Add the sums of leaves of more rows than are copied, in the order of the rows."""
        wanted = np.zeros(top.n_nodes, bool)
        wanted[top.large] = True
        for number in range(len(self.shards)):
            shard = self.shards[number]
            _, y, weight = self.forest.arrays(shard)
            counts, reached = self._reached(shard, top)
            by_class = self.growth.by_class
            reached_sum(y, weight, counts, top.units, by_class, reached, wanted, values, weights)

    def _whole(self, top: _Top) -> Grown:
        """Return a tree of its upper nodes and the parts below them."""
        n = top.n_nodes
        values, weights = np.zeros((n, self.growth.n_values)), np.zeros(n)
        if top.large:
            self._large(top, values, weights)
        nodes, gains = top.table.nodes[:n].copy(), top.table.gains[:n].copy()
        pieces = [Part(nodes, gains, values, weights)]
        for node, part in top.parts.items():
            moved = part.nodes.copy()
            inner = moved[:, LEFT] >= 0
            moved[inner, LEFT] += n - 1
            nodes[node] = moved[0]
            gains[node], values[node], weights[node] = part.gains[0], part.values[0], part.weights[0]
            pieces.append(Part(moved[1:], part.gains[1:], part.values[1:], part.weights[1:]))
            n += len(moved) - 1
        whole = Part(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))
        return self.forest.finished(whole, top.weight, top.units)


def about_none(n: int) -> NDArray[np.int64]:
    """Return what is known of nodes without rows: rows, least and largest target."""
    about = np.zeros((n, 3), np.int64)
    about[:, 1], about[:, 2] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    return about


def _numbers(jobs: list[tuple[_Top, int]]) -> dict[int, NDArray[np.int32]]:
    """Return the job of each node of each tree, -1 for none."""
    numbers = {id(top): np.full(top.n_nodes, -1, np.int32) for top, _ in jobs}
    for number, (top, node) in enumerate(jobs):
        numbers[id(top)][node] = number
    return numbers
