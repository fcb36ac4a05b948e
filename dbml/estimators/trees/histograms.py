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
    histogram_add_runs,
    histogram_widen,
)
from numpy.typing import NDArray

from dbml.estimators.trees.shard_rows import ShardRows
from dbml.passes.block import Floats

Places = NDArray[np.int64]


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
    def add(self, rows: ShardRows, output: int, begins: Places, ends: Places) -> None:
        """Add runs of the order of rows to the histograms of nodes, shapes (n_nodes,)."""

    @abstractmethod
    def add_all(self, rows: ShardRows, output: int) -> None:
        """Add all rows, which are in order, to the histogram of the first node."""


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
        self.most_rows = most_rows
        self.words = np.zeros((n_nodes, N_BINS * n_columns), np.int64)
        self._added = 0  # rows, at most, that a node has in its words
        self._earlier: Floats | None = None  # sums of words that would have overflowed

    def add(self, rows: ShardRows, output: int, begins: Places, ends: Places) -> None:
        words = rows.derivative("words", output)
        while (most := int((ends - begins).max(initial=0))) > 0:
            if self._added + most > self.most_rows:
                self._widen()
                most = min(most, self.most_rows)
            until = np.minimum(ends, begins + most)
            histogram_add_runs(rows.bins, self.n_columns, words, rows.order, begins, until, self.words)
            self._added += most
            begins = until

    def add_all(self, rows: ShardRows, output: int) -> None:
        words = rows.derivative("words", output)
        for begin in range(0, rows.n_rows, self.most_rows):
            end = min(rows.n_rows, begin + self.most_rows)
            if self._added + end - begin > self.most_rows:
                self._widen()
            histogram_add(rows.bins, self.n_columns, words, begin, end, self.words[0])
            self._added += end - begin

    def _widen(self) -> None:
        """Make room in the words."""
        if self._earlier is None:
            self._earlier = np.zeros((len(self.words), 2, self.words.shape[1]))
        for words, sums in zip(self.words, self._earlier, strict=True):
            histogram_widen(words, sums)
        self._added = 0

    def drain(self, made: Sequence[Floats]) -> None:
        """Add the sums of the first nodes to `made`, (2, 256 n_columns) each, and clear them."""
        if self._added or self._earlier is not None:
            for node, sums in enumerate(made):
                histogram_widen(self.words[node], sums)
                if self._earlier is not None:
                    np.add(sums, self._earlier[node], out=sums)
        self._added, self._earlier = 0, None


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
            buffer.drain(made)
        return made


class FloatBuffer(HistogramBuffer):
    """Sums over one shard of resident ``gradient`` and ``hessian``."""

    def __init__(self, n_nodes: int, n_columns: int, shard: int) -> None:
        super().__init__(n_columns)
        self.shard = shard
        self.sums = np.zeros((n_nodes, 2, N_BINS * n_columns))

    def add(self, rows: ShardRows, output: int, begins: Places, ends: Places) -> None:
        derivatives = [rows.derivative(name, output) for name in ("gradient", "hessian")]
        for begin, end, sums in zip(begins, ends, self.sums, strict=True):
            histogram_add_floats(rows.bins, self.n_columns, *derivatives, rows.order, begin, end, sums)

    def add_all(self, rows: ShardRows, output: int) -> None:
        self.add(rows, output, np.array([0]), np.array([rows.n_rows]))


class FloatHistograms(Histograms):
    """Sums as float64: each shard's own, merged in the order of the shards.

    So threads do not change them; another cut into shards does, in the last bits, unless they are of whole numbers.
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
