"""Growing a tree over shards in memory inside a kernel, by a team of threads: splits cost microseconds of overhead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from dbml_kernels import tree_grow as kernels
from dbml_kernels.addresses import address_of
from dbml_kernels.team import MOST_TASKS, end, new_team
from dbml_kernels.tree_split import TERM
from numpy.typing import NDArray

from dbml.estimators.trees.growth import GROWTH, Grower, GrowPolicy, Rules
from dbml.estimators.trees.histograms import Buffers, Histograms
from dbml.estimators.trees.nodes import Node
from dbml.estimators.trees.shard_rows import ShardRows
from dbml.passes.shards import Shards

_MOST_LEAVES = 1_024  # every split looks through all leaves; a heap of more takes less time
_MOST_BYTES = 256 << 20  # of the sums of all leaves
_PATIENCE = float(1 << 25)  # rows that are split before Ctrl-C is looked for: some tenths of a second


class _Room:
    """Arrays over the nodes of one tree after the other, and those of each thread; the groups of `tree_grow`."""

    def __init__(self, rules: Rules, n_columns: int, n_terms: int, n_threads: int) -> None:
        assert rules.max_leaves is not None
        self.max_leaves, size = rules.max_leaves, 256 * n_columns
        self.n_threads, most, n_parts = n_threads, kernels.most_nodes(rules.max_leaves), kernels.parts_of(n_terms)
        self.orders = tuple(np.zeros(shape, np.int64) for shape in kernels.ORDERS)
        self.progress = np.zeros(5, np.int64)
        self.sums = np.empty((kernels.most_sums(rules.max_leaves), 2, size))
        self.places, self.known = np.zeros((most, 5), np.int64), np.empty((most, 6))
        at_a_time = n_threads, kernels.AHEAD
        self.histograms, self.earlier = np.zeros((*at_a_time, size), np.int64), np.zeros((*at_a_time, 2, size))
        self.added = np.zeros((*at_a_time, kernels.ADDED_SIZE), np.int64)
        self.scratch, self._moved = np.empty((n_threads, 5, 256)), np.empty((n_threads, 0), np.int32)
        looked = n_parts, kernels.MOST_LOOKED
        self.parts = np.empty((*looked, 6)), np.empty((*looked, 256), np.uint8), np.empty(looked)

    def moved(self, n_rows: int) -> NDArray[np.int32]:
        """Return room for so many row numbers of each thread."""
        if self._moved.shape[1] < n_rows:
            self._moved = np.empty((self.n_threads, n_rows), np.int32)
        return self._moved


class TeamGrower(Grower):
    """Grows the trees that `Grower` grows, to the bit; see there."""

    @cached_property
    def _room(self) -> _Room:
        return _Room(self.rules, self.binning.n_columns, self.binning.n_terms, self.shards.n_workers)

    @staticmethod
    def suits(shards: Shards, rules: Rules, policy: GrowPolicy, histograms: Histograms) -> bool:
        """Return whether it can grow such trees."""
        if policy != "leafwise" or rules.groups or rules.columns_share < 1.0 or not isinstance(histograms, Buffers):
            return False
        if rules.max_leaves is None or rules.max_leaves > _MOST_LEAVES:
            return False
        fits = rules.max_leaves * 16 * 256 * histograms.n_columns <= _MOST_BYTES
        return fits and shards.in_memory and len(shards) <= MOST_TASKS

    def _grow(self, root: Node) -> None:
        room, rules = self._room, self.rules
        chosen = np.flatnonzero(root.ends > root.begins)
        rows = [self._rows_of(self.shards[number]) for number in chosen.tolist()]
        most = len(room.places)
        runs = np.zeros((most, 2, chosen.size), np.int64)
        runs[0] = root.begins[chosen], root.ends[chosen]
        room.places[0], room.known[0] = (-1, 0, 0, 0, kernels.LEAF), root.known
        room.progress[:] = 1, 1, 0, 1, 0
        room.sums[0], root.sums = root.sums, None
        bests, sides = np.empty((most, 6)), np.empty((most, 256), np.uint8)
        search = (
            self._steps, self._terms, self.binning.layout, rules.monotonic, self._search_rules, self.binning.columns,
            *room.parts,
        )  # fmt: skip
        moved = room.moved(max((own.n_rows for own in rows), default=0))
        assert isinstance(self.histograms, Buffers)
        most_depth = most if rules.max_depth is None else rules.max_depth
        self._run(
            self._shard_arrays(rows, runs),
            (moved, room.scratch, room.histograms, room.earlier, room.added),
            search,
            (room.sums, room.places, room.known, bests, sides),
            (room.max_leaves, most_depth, rules.least_rows, self.histograms.most_rows),
        )
        self._take_nodes(root, chosen, runs, bests, sides)

    def _shard_arrays(self, rows: Sequence[ShardRows], runs: NDArray[np.int64]) -> tuple[NDArray, ...]:
        """Return the group `rows` of `tree_grow`; it holds addresses, while `rows` keeps the arrays alive."""
        table = np.empty((len(rows), 6), np.int64)
        for place, own in zip(table, rows, strict=True):
            arrays = own.order, own.bins, own.columns, own.derivative("words", self._output)
            place[:] = *map(address_of, arrays), own.n_rows, own.columns.strides[0]
        return table, runs, np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int32)

    def _run(self, rows: Any, space: Any, search: Any, tree: Any, limits: tuple[int, ...]) -> None:
        """Run the kernels until the tree is grown."""
        room = self._room
        while not room.progress[kernels.GROWN]:
            team = new_team()

            def work(rank: int, team: NDArray[np.int64] = team) -> None:
                try:
                    kernels.tree_grow(
                        team, rank, room.orders, rows, space, search, tree, limits, room.progress, _PATIENCE
                    )
                finally:
                    if rank == 0:
                        end(team)

            self.shards.together(work, GROWTH)

    def _take_nodes(
        self, root: Node, chosen: NDArray[np.intp], runs: NDArray[np.int64], bests: NDArray, sides: NDArray[np.uint8]
    ) -> None:
        """Make the nodes below the root from the arrays of the kernel."""
        places, known = self._room.places, self._room.known
        all_runs = np.zeros((len(runs), 2, root.begins.size), np.int64)
        all_runs[:, :, chosen] = runs
        waiting = [(root, 0)]
        while waiting:
            node, number = waiting.pop()
            node.best = bests[number]
            if bests[number, TERM] >= 0.0:
                node.goes_left = sides[number]
            if places[number, kernels.STATE] != kernels.NODE:
                continue
            first, children = int(places[number, kernels.LEFT]), []
            for side in range(2):
                begins, ends = all_runs[first + side]
                children.append(Node.of(node, side, begins, ends, known[first + side]))
                waiting.append((children[side], first + side))
            node.children, node.split = (children[0], children[1]), True
