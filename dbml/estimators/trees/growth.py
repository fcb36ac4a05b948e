"""Growing one tree over binned shards: best split first, level by level, or one split for a whole level."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from dbml_kernels.tree_rows import rows_split
from dbml_kernels.tree_split import (
    BIN,
    COLUMN,
    GAIN,
    LEFT_GRADIENT,
    LEFT_HESSIAN,
    MISSING_LEFT,
    side_gain,
    side_value,
    split_find,
)
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.histograms import Buffer, Buffers
from dbml.passes.block import Floats
from dbml.passes.shards import Shard, Shards

GrowPolicy = Literal["leafwise", "depthwise", "symmetric"]

_SEARCH = "trees: split rows, add histograms"


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
    monotonic : ndarray of shape (n_columns,), int64
        -1, 0 or 1 for each column.
    groups : tuple of frozenset of int
        Interaction constraints: columns that may meet in a branch; empty for no constraint.
    columns_share : float
        Share of the columns that a node is split by, drawn for each node.
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


@dataclass(eq=False, slots=True)
class Node:
    """A node of the tree that is growing.

    `begins` and `ends` are its run in the order of each shard; `sums` its histogram, kept while a child may need it;
    `low` and `high` bound its value (monotonic constraints); `used` are the columns tested above it.
    """

    depth: int
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    gradient: float
    hessian: float
    rows: int
    low: float = -np.inf
    high: float = np.inf
    used: frozenset[int] = frozenset()
    path: int = 1
    sums: Floats | None = None
    best: Floats = field(default_factory=lambda: np.zeros(6))
    goes_left: NDArray[np.uint8] | None = None
    least_rows: float = 0.0
    children: tuple[Node, Node] | None = None
    split: bool = False

    @property
    def can_split(self) -> bool:
        """Whether a split was found."""
        return self.goes_left is not None


class Grower:
    """Grows trees over shards that hold ``bins`` and ``columns`` (the same, column by column) and, resident, ``words``
    and ``order``.

    Parameters
    ----------
    shards : Shards
        Binned rows.
    binning : Binning
        What the bins are.
    rules : Rules
        When and how nodes are split.
    policy : {"leafwise", "depthwise", "symmetric"}
        Which nodes are split next.
    """

    def __init__(self, shards: Shards, binning: Binning, rules: Rules, policy: GrowPolicy) -> None:
        self.shards, self.binning, self.rules, self.policy = shards, binning, rules, policy
        self.buffers = Buffers(binning.n_columns)
        self._scratch = np.empty((5, 256))
        self._columns = np.arange(binning.n_columns)

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
        gradient, hessian = sums[:, :256].sum(axis=1) * steps
        root = Node(0, begins, ends, float(gradient), float(hessian), int((ends - begins).sum()), sums=sums)
        root.least_rows = self.rules.least_rows
        self._search(root)
        if self.policy == "leafwise":
            self._leafwise(root)
        else:
            self._depthwise(root)
        return root

    def _leafwise(self, root: Node) -> None:
        """Split the node of the largest gain until there are enough leaves."""
        leaves, most = 1, self.rules.max_leaves or np.inf
        heap: list[tuple[float, int, Node]] = []
        waiting = [root]
        while leaves < most:
            for node in waiting:
                if node.can_split:
                    heapq.heappush(heap, (-float(node.best[GAIN]), node.path, node))
            if not heap:
                return
            gain, _, node = heapq.heappop(heap)
            if -gain != node.best[GAIN]:  # split ahead, with too few rows on a side: it has another split now
                waiting = [node]
                continue
            if node.children is None:
                room = min(most - leaves, len(heap) + 1) if not self.shards.in_memory else 1
                ahead = heapq.nsmallest(int(room) - 1, heap) if room > 1 else []
                batch = [node, *(other for _, _, other in ahead if other.children is None)]
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
        small_left = [2.0 * node.best[LEFT_HESSIAN] <= node.hessian for node in nodes]
        n_shards = len(self.shards)
        middles = np.empty((len(nodes), n_shards), np.int64)
        self.buffers.need(len(nodes))

        def work(shard: Shard) -> None:
            buffer = self.buffers.take()
            try:
                self._split_shard(shard, nodes, small_left, middles[:, shard.number], None if last else buffer)
            finally:
                self.buffers.give(buffer)

        touched = np.any([node.ends > node.begins for node in nodes], axis=0)
        for untouched in np.flatnonzero(~touched):
            middles[:, untouched] = [node.begins[untouched] for node in nodes]
        self.shards.each(work, _SEARCH, only=np.flatnonzero(touched).tolist())
        sums = [None] * len(nodes) if last else self.buffers.drain(len(nodes))
        for number, node in enumerate(nodes):
            self._finish(node, middles[number], sums[number], small_left[number])

    def _split_shard(
        self,
        shard: Shard,
        nodes: Sequence[Node],
        small_left: Sequence[bool],
        middles: NDArray[np.int64],
        buffer: Buffer | None,
    ) -> None:
        order, scratch = shard.resident["order"], shard.resident["scratch"]
        for number, node in enumerate(nodes):
            begin, end = int(node.begins[shard.number]), int(node.ends[shard.number])
            middles[number] = begin
            if begin == end:
                continue
            column = shard.read_part("columns", int(node.best[COLUMN]))
            middle = int(rows_split(order, begin, end, column, node.goes_left, scratch))
            middles[number] = middle
            if buffer is not None:
                run = (begin, middle) if small_left[number] else (middle, end)
                buffer.add(number, shard, self._output, run)

    def _finish(self, node: Node, middles: NDArray[np.int64], sums: Floats | None, small_left: bool) -> None:
        """Make the children of a node whose rows were split, and look for their splits."""
        left_rows = int((middles - node.begins).sum())
        if min(left_rows, node.rows - left_rows) < self.rules.least_rows:
            # Rows were estimated from hessians; ask for more of them.
            node.least_rows *= 1.5
            self._search(node)
            return
        left, right = self._children(node, middles, left_rows)
        if sums is not None:
            assert node.sums is not None
            small, large = (left, right) if small_left else (right, left)
            small.sums, large.sums = sums, node.sums
            large.sums -= sums
            self._search(left)
            self._search(right)
        node.sums, node.children = None, (left, right)

    def _children(self, node: Node, middles: NDArray[np.int64], left_rows: int) -> tuple[Node, Node]:
        gradient, hessian = float(node.best[LEFT_GRADIENT]), float(node.best[LEFT_HESSIAN])
        column = int(node.best[COLUMN])
        used = node.used | {column} if self.rules.groups else node.used
        depth, path = node.depth + 1, 2 * node.path
        left = Node(depth, node.begins, middles, gradient, hessian, left_rows, node.low, node.high, used, path)
        rest = node.gradient - gradient, node.hessian - hessian, node.rows - left_rows
        right = Node(depth, middles, node.ends, *rest, node.low, node.high, used, path + 1)
        way = int(self.rules.monotonic[column])
        if way:
            values = [self.value(child) for child in (left, right)]
            middle = 0.5 * (values[0] + values[1])
            if way > 0:
                left.high = right.low = middle
            else:
                left.low = right.high = middle
        for child in (left, right):
            child.least_rows = self.rules.least_rows
        return left, right

    def value(self, node: Node) -> float:
        """Return the value of a node: what lowers the loss most, within its bounds."""
        return float(side_value(node.gradient, node.hessian, self.rules.l2, node.low, node.high))

    def _search(self, node: Node) -> None:
        """Find the best split of a node from its histogram."""
        rules = self.rules
        node.goes_left = None
        if node.rows < 2 * node.least_rows or (rules.max_depth is not None and node.depth >= rules.max_depth):
            node.sums = None
            return
        columns = self._allowed(node)
        about = (node.gradient, node.hessian, node.rows / max(node.hessian, 1e-300), node.low, node.high)
        rule = (rules.l2, float(node.least_rows), rules.least_hessian)
        without = float(side_gain(node.gradient, node.hessian, rules.l2, node.low, node.high))
        least = without + 2.0 * rules.least_gain + 1e-12 * abs(without)
        node.best[:] = 0.0
        node.best[GAIN], node.best[COLUMN] = least, -1.0
        goes_left = np.empty(256, np.uint8)
        binning = self.binning
        split_find(
            node.sums, self._steps, columns, binning.n_bins, binning.categorical, rules.monotonic, about, rule,
            self._scratch, node.best, goes_left,
        )  # fmt: skip
        if node.best[COLUMN] < 0.0:
            node.sums = None
            return
        node.best[GAIN] -= without
        node.goes_left = goes_left

    def _allowed(self, node: Node) -> NDArray[np.int64]:
        """Return the columns that a node may be split by."""
        columns = self._columns
        if self.rules.groups:
            reachable = frozenset().union(*(group for group in self.rules.groups if node.used <= group))
            columns = np.array(sorted(reachable), np.int64)
        if self.rules.columns_share < 1.0:
            n = max(1, int(np.ceil(self.rules.columns_share * columns.size)))
            drawn = np.random.default_rng([self._seed, node.path]).permutation(columns)[:n]
            columns = np.sort(drawn)
        return columns


def all_nodes(root: Node) -> list[Node]:
    """Return the nodes of a grown tree: a parent before its children, which follow each other."""
    nodes, place = [root], 0
    while place < len(nodes):
        node = nodes[place]
        if node.split and node.children is not None:
            nodes += node.children
        place += 1
    return nodes


@dataclass(frozen=True)
class Flat:
    """A grown tree as arrays over its nodes, in the order of `all_nodes`, as its bins are walked.

    Shapes: `column`, `left` (n_nodes,) int64 (-1 in leaves), `goes_left` (n_nodes, 256) uint8.
    """

    nodes: list[Node]
    column: NDArray[np.int64]
    left: NDArray[np.int64]
    goes_left: NDArray[np.uint8]

    @classmethod
    def of(cls, root: Node) -> Flat:
        """Return a grown tree as arrays."""
        nodes = all_nodes(root)
        inner = np.array([node.split for node in nodes])
        left = np.where(inner, 2 * np.cumsum(inner) - 1, -1)
        column = np.array([int(node.best[COLUMN]) if node.split else -1 for node in nodes], np.int64)
        goes_left = np.zeros((len(nodes), 256), np.uint8)
        for number, node in enumerate(nodes):
            if node.split and node.goes_left is not None:
                goes_left[number] = node.goes_left
        return cls(nodes, column, left, goes_left)

    def trees(self, values: Floats, binning: Binning, output: int) -> Trees:
        """Return the tree as an ensemble of one; shape of `values` (n_nodes,)."""
        inner, n = self.left >= 0, len(self.nodes)
        by_set = inner & binning.categorical[self.column]
        threshold = np.full(n, np.nan)
        for number in np.flatnonzero(inner & ~by_set):
            edges, bin = binning.edges[self.column[number]], int(self.nodes[number].best[BIN])
            threshold[number] = edges[bin] if bin < edges.size else np.inf
        category_set = np.full(n, -1, np.int32)
        category_set[by_set] = np.arange(by_set.sum())
        best = np.array([node.best for node in self.nodes])
        return Trees(
            roots=np.array([0, n]),
            outputs=np.array([output]),
            term=self.column.astype(np.int32),
            threshold=threshold,
            category_set=category_set,
            category_sets=self.goes_left[by_set].astype(bool),
            missing_left=inner & (best[:, MISSING_LEFT] > 0.0),
            left=self.left.astype(np.int32),
            value=values[:, None],
            gain=np.where(inner, 0.5 * best[:, GAIN], 0.0),
            weight=np.array([float(node.rows) for node in self.nodes]),
        )
