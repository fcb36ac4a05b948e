"""The nodes of a tree that grows, and the grown tree as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from dbml_kernels.tree_split import BIN, GAIN, MISSING_LEFT, TERM
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.estimators.trees.ensemble import Trees
from dbml.passes.block import Floats


@dataclass(eq=False, slots=True)
class Node:
    """A node of the tree that is growing.

    `begins` and `ends` are its run in the order of each shard; `sums` its histogram, kept while a child may need it;
    `low` and `high` bound its value (monotonic constraints); `used` are the terms tested above it; `inherited` is its
    value where it has too few rows for one of its own (symmetric trees).
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
    inherited: float | None = None
    children: tuple[Node, Node] | None = None
    split: bool = False

    @classmethod
    def of(
        cls,
        parent: Node,
        side: int,
        begins: NDArray[np.int64],
        ends: NDArray[np.int64],
        known: Sequence[float],
        best: Floats,
        used: frozenset[int] = frozenset(),
    ) -> Node:
        """Return the left (0) or right (1) child of a node; see `known`."""
        gradient, hessian, rows, low, high, least_rows = known
        path = 2 * parent.path + side
        node = cls(parent.depth + 1, begins, ends, gradient, hessian, int(rows), low, high, used, path, None, best)
        node.least_rows = least_rows
        return node

    @property
    def place(self) -> int:
        """How many rows lie to its left: whatever the partition, and in whichever order nodes are split."""
        return int(self.begins.sum())

    @property
    def can_split(self) -> bool:
        """Whether a split was found."""
        return self.goes_left is not None

    @property
    def known(self) -> tuple[float, ...]:
        """What a search for its split takes, in the order of `dbml_kernels.tree_split`."""
        return self.gradient, self.hessian, self.rows, self.low, self.high, self.least_rows


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

    Shapes: `column` (0 in leaves) and `left` (-1 in leaves) (n_nodes,) int64, `goes_left` (n_nodes, 256) uint8.
    """

    nodes: list[Node]
    column: NDArray[np.int64]
    left: NDArray[np.int64]
    goes_left: NDArray[np.uint8]

    @classmethod
    def of(cls, root: Node, binning: Binning) -> Flat:
        """Return a grown tree as arrays."""
        nodes = all_nodes(root)
        inner = np.array([node.split for node in nodes])
        left = np.where(inner, 2 * np.cumsum(inner) - 1, -1)
        term = np.array([int(node.best[TERM]) if node.split else 0 for node in nodes], np.int64)
        column = np.where(inner, binning.columns[term], 0)
        goes_left = np.zeros((len(nodes), 256), np.uint8)
        for number, node in enumerate(nodes):
            if node.split and node.goes_left is not None:
                goes_left[number] = node.goes_left
        return cls(nodes, column, left, goes_left)

    @property
    def leaves(self) -> NDArray[np.intp]:
        """Numbers of the leaves."""
        return np.flatnonzero(self.left < 0)

    def walk(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return `column`, `left` and `goes_left` of a tree whose leaves lead to themselves."""
        leaf = self.left < 0
        left = np.where(leaf, np.arange(self.left.size), self.left)
        return self.column, left, np.where(leaf[:, None], np.uint8(1), self.goes_left)

    def runs(self, numbers: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the runs of some nodes begin and end, each (n, n_shards)."""
        begins, ends = (np.array([getattr(self.nodes[n], name) for n in numbers]) for name in ("begins", "ends"))
        return begins, ends

    def trees(self, values: Floats, binning: Binning, output: int) -> Trees:
        """Return the tree as an ensemble of one; shape of `values` (n_nodes,)."""
        inner, n = self.left >= 0, len(self.nodes)
        best = np.array([node.best for node in self.nodes])
        term = np.where(inner, best[:, TERM], -1).astype(np.int32)
        by_set = inner & binning.categorical[term]
        threshold = np.full(n, np.nan)
        for number in np.flatnonzero(inner & ~by_set):
            edges, bin = binning.edges[term[number]], int(best[number, BIN])
            threshold[number] = edges[bin] if bin < edges.size else np.inf
        category_set = np.full(n, -1, np.int32)
        category_set[by_set] = np.arange(by_set.sum())
        return Trees(
            roots=np.array([0, n]),
            outputs=np.array([output]),
            term=term,
            threshold=threshold,
            category_set=category_set,
            category_sets=self.goes_left[by_set].astype(bool),
            missing_left=inner & (best[:, MISSING_LEFT] > 0.0),
            left=self.left.astype(np.int32),
            value=values[:, None],
            gain=0.5 * np.where(inner, best[:, GAIN], 0.0),  # of leaves it may be anything
            weight=np.array([float(node.rows) for node in self.nodes]),
        )
