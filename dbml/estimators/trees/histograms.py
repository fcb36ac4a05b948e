"""Histograms over shards: threads fill buffers of their own, whose whole sums are exact in any order."""

from __future__ import annotations

import threading

import numpy as np
from dbml_kernels.tree_histogram import MOST_ROWS, N_BINS, histogram_add, histogram_add_rows, histogram_widen

from dbml.passes.block import Floats
from dbml.passes.shards import Shard


class Buffer:
    """Histograms of some nodes, filled by one thread at a time."""

    def __init__(self, n_nodes: int, n_columns: int) -> None:
        size = N_BINS * n_columns
        self.n_columns = n_columns
        self.words = np.zeros((n_nodes, size), np.int64)
        self.sums = np.zeros((n_nodes, 2, size))
        self.rows = np.zeros(n_nodes, np.int64)
        self.used = np.zeros(n_nodes, bool)

    def add(self, node: int, shard: Shard, output: int, rows: tuple[int, int] | None) -> None:
        """Add rows of a shard to the histogram of a node for an output: a run of its order, or all of them."""
        begin, end = (0, shard.n_rows) if rows is None else rows
        if begin == end:
            return
        bins = shard.read("bins").reshape(-1)
        words, order = shard.resident["words"][output], shard.resident["order"]
        for first in range(begin, end, MOST_ROWS):
            last = min(end, first + MOST_ROWS)
            if self.rows[node] + last - first > MOST_ROWS:
                self._widen(node)
            if rows is None:
                histogram_add(bins, self.n_columns, words, first, last, self.words[node])
            else:
                histogram_add_rows(bins, self.n_columns, words, order, first, last, self.words[node])
            self.rows[node] += last - first
        self.used[node] = True

    def _widen(self, node: int) -> None:
        histogram_widen(self.words[node], self.sums[node])
        self.rows[node] = 0

    def drain(self, node: int, into: Floats) -> None:
        """Add the sums of a node to `into`, shape (2, 256 n_columns), and clear them."""
        if not self.used[node]:
            return
        self._widen(node)
        into += self.sums[node]
        self.sums[node] = 0.0
        self.used[node] = False


class Buffers:
    """Buffers that threads take and give back.

    Parameters
    ----------
    n_columns : int
        Columns of the bins.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self._n_nodes = 0
        self._all: list[Buffer] = []
        self._free: list[Buffer] = []
        self._lock = threading.Lock()

    def need(self, n_nodes: int) -> None:
        """Make room for the histograms of `n_nodes` nodes at once."""
        if n_nodes > self._n_nodes:
            self._n_nodes, self._all, self._free = n_nodes, [], []

    def take(self) -> Buffer:
        """Return a buffer that no other thread has."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self._all.append(Buffer(self._n_nodes, self.n_columns))
            return self._all[-1]

    def give(self, buffer: Buffer) -> None:
        """Take a buffer back, with what it holds."""
        with self._lock:
            self._free.append(buffer)

    def drain(self, n_nodes: int) -> list[Floats]:
        """Return the sums of the first `n_nodes` nodes over all threads, each (2, 256 n_columns), and clear them."""
        made = [np.zeros((2, N_BINS * self.n_columns)) for _ in range(n_nodes)]
        for buffer in self._all:
            for node, sums in enumerate(made):
                buffer.drain(node, sums)
        return made
