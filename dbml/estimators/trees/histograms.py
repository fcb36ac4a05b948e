"""Histograms over shards: of words, exact in any order; or of floats, merged in the order of the shards."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from dbml_kernels.tree_histogram import (
    MOST_ROWS,
    N_BINS,
    histogram_add,
    histogram_add_floats,
    histogram_add_rows,
    histogram_widen,
)
from numpy.typing import NDArray

from dbml.estimators.trees.shard_rows import ShardRows
from dbml.passes.block import Floats

Run = tuple[int, int]


class HistogramBuffer(ABC):
    """Histograms of some nodes, filled by one thread at a time."""

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self._scratch = np.empty(0, np.int32)

    def scratch(self, n_rows: int) -> NDArray[np.int32]:
        """Return room for `n_rows` row numbers."""
        if self._scratch.size < n_rows:
            self._scratch = np.empty(n_rows, np.int32)
        return self._scratch

    @abstractmethod
    def add(self, node: int, rows: ShardRows, output: int, run: Run | None) -> None:
        """Add rows to the histogram of a node: a run of their order, or (None) all of them."""


class Histograms(ABC):
    """What threads fill in one pass over shards."""

    @abstractmethod
    def need(self, n_nodes: int, shards: Sequence[int]) -> None:
        """Begin a pass over the shards of these numbers, for the histograms of `n_nodes` nodes."""

    @abstractmethod
    def filling(self, shard: int) -> AbstractContextManager[HistogramBuffer]:
        """Return a context with the buffer to add the rows of a shard to."""

    @abstractmethod
    def drain(self, n_nodes: int) -> list[Floats]:
        """Return the sums of the first `n_nodes` nodes over all shards, each (2, 256 n_columns), and clear them."""


class Buffer(HistogramBuffer):
    """Exact sums of resident ``words``."""

    def __init__(self, n_nodes: int, n_columns: int, most_rows: int) -> None:
        super().__init__(n_columns)
        size = N_BINS * n_columns
        self.most_rows = most_rows
        self.words = np.zeros((n_nodes, size), np.int64)
        self.earlier: dict[int, Floats] = {}  # sums of words that would have overflowed
        self.rows = np.zeros(n_nodes, np.int64)
        self.used = np.zeros(n_nodes, bool)

    def add(self, node: int, rows: ShardRows, output: int, run: Run | None) -> None:
        begin, end = (0, rows.n_rows) if run is None else run
        if begin == end:
            return
        words, bins = rows.derivative("words", output), rows.bins
        for first in range(begin, end, self.most_rows):
            last = min(end, first + self.most_rows)
            if self.rows[node] + last - first > self.most_rows:
                self._widen(node, self.earlier.setdefault(node, np.zeros((2, self.words.shape[1]))))
            if run is None:
                histogram_add(bins, self.n_columns, words, first, last, self.words[node])
            else:
                histogram_add_rows(bins, self.n_columns, words, rows.order, first, last, self.words[node])
            self.rows[node] += last - first
        self.used[node] = True

    def _widen(self, node: int, into: Floats) -> None:
        histogram_widen(self.words[node], into)
        self.rows[node] = 0

    def drain(self, node: int, into: Floats) -> None:
        """Add the sums of a node to `into`, shape (2, 256 n_columns), and clear them."""
        if not self.used[node]:
            return
        self._widen(node, into)
        if node in self.earlier:
            into += self.earlier.pop(node)
        self.used[node] = False


class Buffers(Histograms):
    """Exact sums, in buffers that threads take and give back.

    Parameters
    ----------
    n_columns : int
        Columns of the bins.
    largest : int
        What the words of a row may be multiplied by.
    """

    def __init__(self, n_columns: int, largest: int = 1) -> None:
        self.n_columns, self.most_rows = n_columns, MOST_ROWS // largest
        self._n_nodes = 0
        self._all: list[Buffer] = []
        self._free: list[Buffer] = []
        self._lock = threading.Lock()

    def need(self, n_nodes: int, shards: Sequence[int] = ()) -> None:
        if n_nodes > self._n_nodes:
            self._n_nodes, self._all, self._free = n_nodes, [], []

    @contextmanager
    def filling(self, shard: int) -> Iterator[Buffer]:
        buffer = self.take()
        try:
            yield buffer
        finally:
            self.give(buffer)

    def take(self) -> Buffer:
        """Return a buffer that no other thread has."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self._all.append(Buffer(self._n_nodes, self.n_columns, self.most_rows))
            return self._all[-1]

    def give(self, buffer: Buffer) -> None:
        """Take a buffer back, with what it holds."""
        with self._lock:
            self._free.append(buffer)

    def drain(self, n_nodes: int) -> list[Floats]:
        made = [np.zeros((2, N_BINS * self.n_columns)) for _ in range(n_nodes)]
        for buffer in self._all:
            for node, sums in enumerate(made):
                buffer.drain(node, sums)
        return made


class FloatBuffer(HistogramBuffer):
    """Sums over one shard of resident ``gradient`` and ``hessian``."""

    def __init__(self, n_nodes: int, n_columns: int, shard: int) -> None:
        super().__init__(n_columns)
        self.shard = shard
        self.sums = np.zeros((n_nodes, 2, N_BINS * n_columns))

    def add(self, node: int, rows: ShardRows, output: int, run: Run | None) -> None:
        begin, end = (0, rows.n_rows) if run is None else run
        derivatives = (rows.derivative(name, output) for name in ("gradient", "hessian"))
        histogram_add_floats(rows.bins, self.n_columns, *derivatives, rows.order, begin, end, self.sums[node])


class FloatHistograms(Histograms):
    """Sums in full precision: each shard's own, merged in the order of the shards.

    So threads do not change them; another cut into shards does, in the last bits.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_columns = n_columns
        self._lock = threading.Lock()
        self._sums = np.empty(0)
        self._waiting: dict[int, Floats] = {}
        self._turn: list[int] = []

    def need(self, n_nodes: int, shards: Sequence[int]) -> None:
        self._sums = np.zeros((n_nodes, 2, N_BINS * self.n_columns))
        self._turn, self._waiting = list(shards)[::-1], {}

    @contextmanager
    def filling(self, shard: int) -> Iterator[FloatBuffer]:
        buffer = FloatBuffer(len(self._sums), self.n_columns, shard)
        yield buffer
        with self._lock:
            self._waiting[shard] = buffer.sums
            while self._turn and self._turn[-1] in self._waiting:
                self._sums += self._waiting.pop(self._turn.pop())

    def drain(self, n_nodes: int) -> list[Floats]:
        return [sums.copy() for sums in self._sums[:n_nodes]]
