"""Growing one tree over binned shards: best split first, or level by level."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from dbml_kernels.tree_split import (
    GAIN,
    LEFT_HESSIAN,
    TERM,
    children_know,
    children_search,
    node_search,
    node_values,
)
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.histograms import Buffers, Histograms
from dbml.estimators.trees.nodes import Node
from dbml.estimators.trees.shard_rows import ShardRows
from dbml.passes.block import Floats
from dbml.passes.shards import Shard, Shards

GrowPolicy = Literal["leafwise", "depthwise", "symmetric"]

_AHEAD = 4  # nodes that are split together in memory
GROWTH = "trees: split rows, add histograms"


@dataclass(frozen=True)
class Rules:
    """When a node may be split, and how.

    Attributes
    ----------
    max_leaves, max_depth : int or None
        Limits of a tree.
    least_rows : int
        Rows on each side.
    least_hessian, l2, least_gain : float
        Hessian on each side, l2 penalty of values, and the gain that a split must have.
    monotonic : ndarray of shape (n_terms,), int64
        -1, 0 or 1 for each term.
    groups : tuple of frozenset of int
        Interaction constraints: terms that may meet in a branch; empty for no constraint.
    columns_share : float
        Share of the terms that a node is split by, drawn for each node.
    """

    monotonic: NDArray[np.int64]
    max_leaves: int | None = 31
    max_depth: int | None = None
    least_rows: int = 20
    least_hessian: float = 1e-3
    l2: float = 0.0
    least_gain: float = 0.0
    groups: tuple[frozenset[int], ...] = ()
    columns_share: float = 1.0


class Grower:
    """Grows trees over shards that hold ``bins`` and ``columns`` (the same, column by column) and, resident, ``order``
    and what `histograms` adds (``words``).

    Parameters
    ----------
    shards : Shards
        Binned rows.
    binning : Binning
        What the bins are.
    rules : Rules
        When and how nodes are split.
    policy : {"leafwise", "depthwise"}
        Which nodes are split next.
    histograms : Histograms, optional
        What adds up gradients; exact sums of ``words`` by default.
    rows_of : callable
        The rows of a shard that trees grow from.
    """

    def __init__(
        self,
        shards: Shards,
        binning: Binning,
        rules: Rules,
        policy: GrowPolicy,
        histograms: Histograms | None = None,
        rows_of: Callable[[Shard], ShardRows] = ShardRows,
    ) -> None:
        self.shards, self.binning, self.rules, self.policy = shards, binning, rules, policy
        self._rows_of = rows_of
        self.histograms: Histograms = Buffers(binning.n_columns) if histograms is None else histograms
        self._scratch = np.empty((5, 256))
        self._terms = np.arange(binning.n_terms)
        self._columns, self._ways = binning.columns.tolist(), rules.monotonic.tolist()
        self._search_rules = (float(rules.l2), float(rules.least_hessian), float(rules.least_gain))

    # one tree --------------------------------------------------------------------------------------------------

    def grow(self, sums: Floats, begins: NDArray, ends: NDArray, steps: Floats, output: int, seed: int) -> Node:
        """Grow a tree from the histogram of its root.

        Parameters
        ----------
        sums : ndarray of shape (2, 256 n_columns)
            Histogram of the root.
        begins, ends : ndarray of shape (n_shards,), int64
            The root's run in the order of each shard.
        steps : ndarray of shape (2,)
            What a unit of the sums is: of gradients, of hessians.
        output : int
            Which words of the rows to read.
        seed : int
            Of the columns drawn for each node.

        Returns
        -------
        Node
            The root; nodes with `split` True have children.
        """
        self._steps, self._output, self._seed = steps, output, seed
        gradient, hessian = sums[:, :256].sum(axis=1) * steps  # every row is in one bin of the first column
        root = Node(0, begins, ends, float(gradient), float(hessian), int((ends - begins).sum()), sums=sums)
        root.least_rows = self.rules.least_rows
        self._grow(root)
        return root

    def _grow(self, root: Node) -> None:
        self._search(root)
        if self.policy == "leafwise":
            self._leafwise(root)
        else:
            self._depthwise(root)

    def _leafwise(self, root: Node) -> None:
        """Split the node of the largest gain, the leftmost one of several, until there are enough leaves."""
        leaves, most = 1, self.rules.max_leaves or np.inf
        heap: list[tuple[float, int, Node]] = []
        waiting = [root]
        while leaves < most:
            for node in waiting:
                if node.can_split:
                    heapq.heappush(heap, (-float(node.best[GAIN]), node.place, node))
            if not heap:
                return
            gain, _, node = heapq.heappop(heap)
            if -gain != node.best[GAIN] or not node.can_split:  # split ahead, with too few rows on a side:
                waiting = [node]  # it has another split now, or none
                continue
            if node.children is None:
                room = min(most - leaves, len(heap) + 1)
                if self.shards.in_memory:  # only those that are nearly sure to be split: fewer rounds of threads
                    room = min(room, _AHEAD, 1 + (most - leaves) // _AHEAD)
                ahead = heapq.nsmallest(int(room) - 1, heap) if room > 1 else []
                batch = [node, *(other for _, _, other in ahead if other.children is None and other.can_split)]
                self._split(batch, last=leaves + 1 == most)
            if node.children is None:  # too few rows on a side: another split was looked for
                waiting = [node]
                continue
            node.split = True
            leaves += 1
            waiting = list(node.children)

    def _depthwise(self, root: Node) -> None:
        """Split all nodes of a level, the largest gains first where leaves are limited."""
        leaves, most = 1, self.rules.max_leaves or np.inf
        level = [root]
        while level and leaves < most:
            batch = sorted((node for node in level if node.can_split), key=lambda node: -node.best[GAIN])
            batch = batch[: int(min(most - leaves, len(batch)))]
            if not batch:
                return
            self._split(batch, last=leaves + len(batch) >= most)
            level = []
            for node in batch:
                if node.children is None:
                    level.append(node)
                    continue
                node.split = True
                leaves += 1
                level.extend(node.children)

    # splitting -------------------------------------------------------------------------------------------------

    def _split(self, nodes: Sequence[Node], last: bool) -> None:
        """Split nodes at their best splits: rows, and histograms of the children (not where these are `last`)."""
        small_left = np.array([2.0 * node.best[LEFT_HESSIAN] <= node.hessian for node in nodes])
        begins, ends = (np.array([getattr(node, name) for node in nodes]) for name in ("begins", "ends"))
        goes_left = np.array([node.goes_left for node in nodes])
        columns = np.array([self._columns[int(node.best[TERM])] for node in nodes])
        middles = begins.copy()
        chosen = np.flatnonzero((ends > begins).any(axis=0)).tolist()
        self.histograms.need(len(nodes), chosen)

        def work(shard: Shard) -> None:
            number = shard.number
            runs = begins[:, number].copy(), ends[:, number].copy()
            rows = self._rows_of(shard)
            with self.histograms.filling(number) as buffer:
                split = rows.split(*runs, columns, goes_left, buffer.scratch(rows.n_rows))
                middles[:, number] = split
                if not last:
                    small = np.where(small_left, runs[0], split), np.where(small_left, split, runs[1])
                    buffer.add(rows, self._output, *small)

        self.shards.each(work, GROWTH, only=chosen)
        sums = self.histograms.drain(0 if last else len(nodes))
        for number, node in enumerate(nodes):
            self._finish(node, middles[number], None if last else sums[number], bool(small_left[number]))

    def _finish(self, node: Node, middles: NDArray[np.int64], sums: Floats | None, small_left: bool) -> None:
        """Make the children of a node whose rows were split, and look for their splits."""
        left_rows = int((middles - node.begins).sum())
        if min(left_rows, node.rows - left_rows) < self.rules.least_rows:
            # Rows were estimated from hessians; ask for more of them.
            node.least_rows *= 1.5
            self._search(node)
            return
        children = self._children(node, middles, left_rows)
        if sums is not None:
            self._search_children(node, children, sums, small_left)
        node.sums, node.children = None, children

    def _search_children(self, node: Node, children: tuple[Node, Node], sums: Floats, small_left: bool) -> None:
        """Find the best splits of a node's children from the sums of the smaller one and its own."""
        assert node.sums is not None
        if self.rules.max_depth is not None and node.depth + 1 >= self.rules.max_depth:
            return
        known = np.array([child.known for child in children])
        terms = self._allowed(children[0]), self._allowed(children[1])
        bests, goes_left = np.empty((2, 6)), np.empty((2, 256), np.uint8)
        children_search(
            sums, node.sums, small_left, self._steps, terms, self.binning.layout, self.rules.monotonic, known,
            self._search_rules, self._scratch, bests, goes_left,
        )  # fmt: skip
        for number, child in enumerate(children):
            if bests[number, TERM] >= 0.0:
                child.best, child.goes_left = bests[number], goes_left[number]
                child.sums = sums if small_left == (number == 0) else node.sums

    def _children(self, node: Node, middles: NDArray[np.int64], left_rows: int) -> tuple[Node, Node]:
        term, known = int(node.best[TERM]), np.empty((2, 6))
        way, least_rows = self._ways[term], float(self.rules.least_rows)
        children_know(np.array(node.known), node.best, left_rows, way, self._search_rules[0], least_rows, known)
        used = node.used | {term} if self.rules.groups else node.used
        runs = (node.begins, middles), (middles, node.ends)
        facts = known.tolist()
        left, right = (Node.of(node, side, *runs[side], facts[side], np.zeros(6), used) for side in range(2))
        return left, right

    def values(self, nodes: Sequence[Node]) -> Floats:
        """Return the value of each node: what lowers the loss most, within its bounds."""
        values = np.empty(len(nodes))
        node_values(np.array([node.known for node in nodes]), float(self.rules.l2), values)
        return values

    def _search(self, node: Node) -> None:
        """Find the best split of a node from its histogram."""
        rules = self.rules
        node.goes_left = None
        if node.rows >= 2 * node.least_rows and (rules.max_depth is None or node.depth < rules.max_depth):
            goes_left = np.empty(256, np.uint8)
            node_search(
                node.sums, self._steps, self._allowed(node), self.binning.layout, rules.monotonic,
                np.array(node.known), self._search_rules, self._scratch, node.best, goes_left,
            )  # fmt: skip
            if node.best[TERM] >= 0.0:
                node.goes_left = goes_left
        if node.goes_left is None:
            node.sums = None

    def _allowed(self, node: Node) -> NDArray[np.int64]:
        """Return the terms that a node may be split by."""
        terms = self._terms
        if self.rules.groups:
            reachable = frozenset().union(*(group for group in self.rules.groups if node.used <= group))
            terms = np.array(sorted(reachable), np.int64)
        if self.rules.columns_share < 1.0:
            n = max(1, int(np.ceil(self.rules.columns_share * terms.size)))
            drawn = np.random.default_rng([self._seed, node.path]).permutation(terms)[:n]
            terms = np.sort(drawn)
        return terms
