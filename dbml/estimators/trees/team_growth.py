"""Growing a tree over shards in memory inside a kernel, by a team of threads: splits cost microseconds of overhead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from dbml_kernels import tree_arrays as arrays
from dbml_kernels.team import MOST_TASKS, end, new_team
from dbml_kernels.tree_grow import tree_grow
from dbml_kernels.tree_split import TERM
from numpy.typing import NDArray

from dbml.estimators.trees.growth import GROWTH, Grower, GrowPolicy, Rules
from dbml.estimators.trees.histograms import Buffers, Histograms
from dbml.estimators.trees.nodes import Node
from dbml.estimators.trees.shard_rows import ShardRows
from dbml.passes.block import Floats
from dbml.passes.shards import Shards

_MOST_LEAVES = 1_024  # every split looks through all leaves; a heap of more takes less time
_MOST_BYTES = 256 << 20  # of the sums of all leaves
_PATIENCE = float(1 << 25)  # rows that are split before Ctrl-C is looked for: some tenths of a second


class TeamGrower(Grower):
    """Grows the trees that `Grower` grows, to the bit; see there."""

    # Made for the first tree, used by all.

    @cached_property
    def _nodes(self) -> tuple[Floats, NDArray[np.int64], Floats]:
        assert self.rules.max_leaves is not None
        most, size = arrays.most_nodes(self.rules.max_leaves), 256 * self.binning.n_columns
        sums = np.empty((arrays.most_sums(self.rules.max_leaves), 2, size))
        return sums, np.zeros((most, 5), np.int64), np.empty((most, 6))

    @cached_property
    def _room(self) -> arrays.Room:
        return arrays.new_room(self.shards.n_workers, self.binning.n_columns)

    @cached_property
    def _orders(self) -> arrays.Orders:
        return arrays.new_orders()

    @cached_property
    def _parts(self) -> tuple[Floats, NDArray[np.uint8], Floats]:
        return arrays.new_parts(self.binning.n_terms)

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
        rules = self.rules
        chosen = np.flatnonzero(root.ends > root.begins)
        rows = [self._rows_of(self.shards[number]) for number in chosen.tolist()]
        sums, places, known = self._nodes
        tree = arrays.Tree(sums, places, known, np.empty((len(places), 6)), np.empty((len(places), 256), np.uint8))
        runs = np.zeros((len(places), 2, chosen.size), np.int64)
        runs[0] = root.begins[chosen], root.ends[chosen]
        places[0], known[0] = (-1, 0, 0, 0, arrays.LEAF), root.known
        sums[0], root.sums = root.sums, None
        search = arrays.Search(
            self._steps, self._terms, self.binning.layout, rules.monotonic, self._search_rules, self.binning.columns,
            *self._parts,
        )  # fmt: skip
        assert isinstance(self.histograms, Buffers) and rules.max_leaves is not None
        most_depth = len(places) if rules.max_depth is None else rules.max_depth
        limits = rules.max_leaves, most_depth, rules.least_rows, self.histograms.most_rows
        self._run(self._shard_arrays(rows, runs), search, tree, limits)
        self._take_nodes(root, chosen, runs, tree)

    def _shard_arrays(self, rows: Sequence[ShardRows], runs: NDArray[np.int64]) -> arrays.Rows:
        """Return the addresses of the rows, whose arrays `rows` keeps alive, and room for what is moved."""
        table = np.empty((len(rows), 6), np.int64)
        for place, own in zip(table, rows, strict=True):
            found = own.order, own.bins, own.columns, own.derivative("words", self._output)
            if not all(array.flags.c_contiguous for array in found):
                raise ValueError("arrays that are handed over by their addresses must be C contiguous")
            place[:] = *(array.ctypes.data for array in found), own.n_rows, own.columns.strides[0]
        most = max((own.n_rows for own in rows), default=0)
        if self._room.moved.shape[1] < most:
            self._room = self._room._replace(moved=np.empty((len(self._room.moved), most), np.int32))
        return arrays.Rows(table, runs)

    def _run(self, rows: arrays.Rows, search: arrays.Search, tree: arrays.Tree, limits: tuple[int, ...]) -> None:
        """Run the kernel until the tree is grown."""
        progress, room, orders = np.array([1, 1, 0, 1, 0]), self._room, self._orders
        while not progress[arrays.GROWN]:
            team = new_team()

            def work(rank: int, team: NDArray[np.int64] = team) -> None:
                try:
                    tree_grow(team, rank, orders, rows, room, search, tree, limits, progress, _PATIENCE)
                finally:
                    if rank == 0:
                        end(team)

            self.shards.together(work, GROWTH)

    def _take_nodes(
        self, root: Node, chosen: NDArray[np.intp], of_chosen: NDArray[np.int64], tree: arrays.Tree
    ) -> None:
        """Make the nodes below the root from the arrays of the kernel, whose runs are those of the chosen shards."""
        all_runs = np.zeros((len(tree.places), 2, root.begins.size), np.int64)
        all_runs[:, :, chosen] = of_chosen
        places, known, found = tree.places.tolist(), tree.known.tolist(), (tree.bests[:, TERM] >= 0.0).tolist()
        root.best[:] = tree.bests[0]
        waiting = [(root, 0)]
        while waiting:
            node, number = waiting.pop()
            if found[number]:
                node.goes_left = tree.sides[number]
            if places[number][arrays.STATE] != arrays.NODE:
                continue
            left = places[number][arrays.LEFT]
            first, second = (
                Node.of(node, side, runs[0], runs[1], known[left + side], tree.bests[left + side])
                for side, runs in enumerate(all_runs[left : left + 2])
            )
            waiting += (first, left), (second, left + 1)
            node.children, node.split = (first, second), True
