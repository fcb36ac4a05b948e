"""One grown tree of a forest: its nodes in order, cut back where that was asked for, and as `Trees`."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from dbml_kernels.forest_grow import LEFT
from dbml_kernels.forest_rows import nodes_number, splits_worth, sums_up
from dbml_kernels.forest_split import BIN, COLUMN, MISSING_LEFT
from numpy.typing import NDArray

from dbml.estimators.trees.ensemble import Trees
from dbml.estimators.trees.forest_bins import ForestBins
from dbml.passes.block import Floats


@dataclass(frozen=True)
class Grown:
    """A tree: nodes depth first, siblings together, so that every way to grow it gives the same arrays.

    Attributes
    ----------
    nodes : ndarray of shape (n_nodes, 8), int32
        See `dbml_kernels.forest_grow`.
    gains, weights : ndarray of shape (n_nodes,)
        What splits lower the weighted impurity by; weight of the rows.
    values : ndarray of shape (n_nodes, n_values)
        Sums over the rows: weight of each class, or weighted targets.
    """

    nodes: NDArray[np.int32]
    gains: Floats
    weights: Floats
    values: Floats

    @classmethod
    def of(cls, nodes: NDArray[np.int32], gains: Floats, weights: Floats, values: Floats) -> Grown:
        """Return the tree of a table of nodes whose leaves have their sums; node 0 is the root."""
        numbers = np.empty(len(nodes), np.int32)
        n = nodes_number(np.ascontiguousarray(nodes[:, LEFT]), numbers)
        numbers = numbers[:n]
        place = np.empty(len(nodes), np.int32)
        place[numbers] = np.arange(n)
        own = nodes[numbers]
        inner = own[:, LEFT] >= 0
        own[inner, LEFT] = place[own[inner, LEFT]]
        own[~inner, COLUMN] = -1
        made = cls(own, np.where(inner, gains[numbers], 0.0), weights[numbers], values[numbers])
        sums_up(made.left, made.values, made.weights)
        return made

    @property
    def left(self) -> NDArray[np.int32]:
        """Left child of each node, -1 in leaves."""
        return np.ascontiguousarray(self.nodes[:, LEFT])

    def cut(self, max_leaves: int | None, price: float) -> Grown:
        """Return the tree with at most `max_leaves` leaves, the largest gains first, each worth its `price`."""
        left = self.left
        kept = left >= 0
        if max_leaves is not None and kept.sum() >= max_leaves:
            kept = _largest_gains(left, self.gains, max_leaves)
        if price > 0.0:
            splits_worth(np.where(kept, left, -1).astype(np.int32), self.gains, price, kept)
        if kept.sum() == (left >= 0).sum():
            return self
        nodes = self.nodes.copy()
        nodes[~kept, LEFT] = -1
        return Grown.of(nodes, self.gains, self.weights, self.values)

    def means(self) -> Floats:
        """Return the shares of the classes, or the mean target, of each node."""
        return self.values / np.maximum(self.weights, 1e-300)[:, None]

    def trees(self, bins: ForestBins, values: Floats) -> Trees:
        """Return the tree as an ensemble of one; shape of `values` (n_nodes, n_values)."""
        column, bound = self.nodes[:, COLUMN].astype(np.int64), self.nodes[:, BIN].astype(np.int64)
        inner = self.nodes[:, LEFT] >= 0
        missing_left = inner & (self.nodes[:, MISSING_LEFT] != 0)
        bound[~inner] = 0
        threshold, category_set, sets = bins.tests(column, bound, missing_left)
        return Trees(
            roots=np.array([0, len(self.nodes)]),
            outputs=np.zeros(1, np.int64),
            term=column.astype(np.int32),
            threshold=threshold,
            category_set=category_set,
            category_sets=sets,
            missing_left=missing_left,
            left=self.left,
            value=values,
            gain=self.gains,
            weight=self.weights,
        )


def _largest_gains(left: NDArray[np.int32], gains: Floats, max_leaves: int) -> NDArray[np.bool_]:
    """Return the splits that are made when the node of the largest gain is split first, until there are enough."""
    kept = np.zeros(left.size, bool)
    waiting = [(-float(gains[0]), 0)] if left[0] >= 0 else []
    for _ in range(max_leaves - 1):
        if not waiting:
            break
        _, node = heapq.heappop(waiting)
        kept[node] = True
        for child in (int(left[node]), int(left[node]) + 1):
            if left[child] >= 0:
                heapq.heappush(waiting, (-float(gains[child]), child))
    return kept
