"""Growing a tree over a single shard in memory: one call of a kernel, where every split costs a few microseconds."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from dbml_kernels.tree_grow import BEGIN, END, LEFT, tree_grow
from dbml_kernels.tree_split import TERM

from dbml.estimators.trees.growth import GROWTH, Grower, GrowPolicy, Rules
from dbml.estimators.trees.histograms import Buffers, Histograms
from dbml.estimators.trees.nodes import Node
from dbml.passes.shards import Shard, Shards

_MOST_LEAVES = 1_024  # every split looks through all leaves; a heap of more takes less time, and less room


class _Room:
    """Arrays over the nodes of one tree after the other."""

    def __init__(self, max_leaves: int, n_columns: int) -> None:
        most, size = 2 * max_leaves - 1, 256 * n_columns
        self.sums, self.histogram = np.empty((max_leaves, 2, size)), np.zeros(size, np.int64)
        self.places, self.known = np.zeros((most, 5), np.int64), np.empty((most, 6))
        self.moved = np.empty(0, np.int32)


class LoneGrower(Grower):
    """Grows the trees that `Grower` grows, where there is nothing to share among threads; see there."""

    @cached_property
    def _room(self) -> _Room:
        assert self.rules.max_leaves is not None
        return _Room(self.rules.max_leaves, self.binning.n_columns)

    @staticmethod
    def suits(shards: Shards, rules: Rules, policy: GrowPolicy, histograms: Histograms) -> bool:
        """Return whether it can grow such trees."""
        free = not rules.groups and rules.columns_share >= 1.0
        few = rules.max_leaves is not None and rules.max_leaves <= _MOST_LEAVES
        alone = len(shards) == 1 and shards.in_memory
        return (
            free and few and alone and policy == "leafwise"
            and isinstance(histograms, Buffers) and shards.n_rows <= histograms.most_rows
        )  # fmt: skip

    def _grow(self, root: Node) -> None:
        self.shards.each(lambda shard: self._grow_over(shard, root), GROWTH)

    def _grow_over(self, shard: Shard, root: Node) -> None:
        rules, rows, room = self.rules, self._rows_of(shard), self._room
        places, known, sums = room.places, room.known, room.sums
        if room.moved.size < rows.n_rows:
            room.moved = np.empty(rows.n_rows, np.int32)
        places[0], known[0] = (int(root.begins[0]), int(root.ends[0]), -1, 0, 0), root.known
        sums[0], root.sums = root.sums, None
        bests, goes_left = np.empty((len(places), 6)), np.empty((len(places), 256), np.uint8)
        most_depth = len(places) if rules.max_depth is None else rules.max_depth
        n_nodes = tree_grow(
            rows.order, rows.columns, rows.bins, rows.derivative("words", self._output), self.binning.columns,
            self._steps, self._terms, self.binning.layout, rules.monotonic, self._search_rules,
            (len(sums), most_depth, rules.least_rows), self._scratch, room.moved, room.histogram, sums, places, known,
            bests, goes_left,
        )  # fmt: skip
        nodes: list[Node] = [root] * n_nodes
        for number in range(n_nodes):
            node, left = nodes[number], int(places[number, LEFT])
            node.best = bests[number]
            if bests[number, TERM] >= 0.0:
                node.goes_left = goes_left[number]
            if left < 0:
                continue
            for side in range(2):
                begins, ends = places[left + side, [BEGIN]], places[left + side, [END]]
                nodes[left + side] = Node.of(node, side, begins, ends, known[left + side])
            node.children, node.split = (nodes[left], nodes[left + 1]), True
