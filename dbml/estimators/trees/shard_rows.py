"""The rows that trees grow from, shard by shard: all of them where they lie, or copies of those drawn for a tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from dbml_kernels.tree_rows import bins_copy, rows_number, runs_split
from numpy.typing import NDArray

from dbml.passes.shards import Arrays, Shard, Shards

Bins = NDArray[np.uint8]

_PART = 1 << 17  # copied rows that are worked on at a time


class ShardRows:
    """All rows of a shard.

    Made anew for each pass: bins of a spilled shard are read when they are first asked for.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    order : ndarray of shape (n_rows,), int32
        Numbers of rows, in which every node of a tree has a run of its own.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.n_rows = shard.n_rows
        self.order: NDArray[np.int32] = shard.resident["order"]

    @cached_property
    def bins(self) -> Bins:
        """Bins row by row, flat."""
        return self._shard.read("bins").reshape(-1)

    @property
    def columns(self) -> Bins:
        """Bins column by column, shape (n_columns, at least n_rows)."""
        return self._shard.read("columns")

    def split(
        self,
        begins: NDArray[np.int64],
        ends: NDArray[np.int64],
        columns: NDArray[np.int64],
        goes_left: NDArray[np.uint8],
        scratch: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        """Put the rows of each run of the order that go left before the others; return where those begin.

        Shapes: `begins`, `ends`, `columns` (n,): what run i is split by, `goes_left` (n, 256) of its bins, `scratch`
        (n_rows,).
        """
        middles = np.empty_like(begins)
        matrix, numbers = self._columns_of(columns)
        runs_split(self.order, begins, ends, matrix, numbers, goes_left, scratch, middles)
        return middles

    def _columns_of(self, numbers: NDArray[np.int64]) -> tuple[Bins, NDArray[np.int64]]:
        """Return a matrix of columns, and where in it those of these numbers are."""
        return self._shard.read_parts("columns", numbers)

    def derivative(self, name: str, output: int) -> NDArray:
        """Return derivatives of one output, shape (n_rows,)."""
        return self._shard.resident[name][output]


class CopiedRows(ShardRows):
    """Copies of some rows, close together; see `ShardRows`."""

    def __init__(self, n_columns: int) -> None:
        self.n_rows, self._n_columns = 0, n_columns
        self._order, self._bins, self._columns = (
            np.empty(0, np.int32),
            np.empty(0, np.uint8),
            np.empty((0, 0), np.uint8),
        )
        self._derivatives: Arrays = {}

    def make_room(self, n_rows: int, like: Arrays) -> None:
        """Begin anew with so many rows, and derivatives as in arrays of shape (n_outputs, any)."""
        self.n_rows = n_rows
        if n_rows > self._order.size:
            most = n_rows + n_rows // 32  # the next draw may have some more
            self._order, self._bins = np.empty(most, np.int32), np.empty(most * self._n_columns, np.uint8)
            self._columns = np.empty((self._n_columns, most), np.uint8)
            self._derivatives = {name: np.empty((len(array), most), array.dtype) for name, array in like.items()}
        self.order = self._order[:n_rows]

    @property
    def bins(self) -> Bins:
        return self._bins[: self.n_rows * self._n_columns]

    @property
    def columns(self) -> Bins:
        return self._columns

    def _columns_of(self, numbers: NDArray[np.int64]) -> tuple[Bins, NDArray[np.int64]]:
        return self._columns, numbers

    def derivative(self, name: str, output: int) -> NDArray:
        return self._derivatives[name][output, : self.n_rows]

    def copy(self, rows: NDArray[np.int32], shard: Shard, begin: int) -> None:
        """Take rows of a shard, by their positions in it, as those from `begin` on."""
        end = begin + rows.size
        bins = shard.read("bins").reshape(-1)
        copies, columns = self._bins[begin * self._n_columns : end * self._n_columns], self._columns.reshape(-1)
        bins_copy(bins, self._n_columns, rows, copies, columns, begin, self._columns.shape[1])
        for name, copies in self._derivatives.items():
            np.take(shard.resident[name], rows, axis=1, out=copies[:, begin:end], mode="clip")

    def number(self) -> None:
        """Put the rows in order."""
        rows_number(self.order)


class CopiedShards:
    """Copies of the rows that are drawn for a tree, of some shards together: the first one of these stands for them.

    Parameters
    ----------
    shards : Shards
    n_columns : int
        Columns of the bins.
    share : float
        About how many of the rows are drawn.
    names : sequence of str
        Resident arrays of derivatives, shape (n_outputs, n_rows).
    """

    def __init__(self, shards: Shards, n_columns: int, share: float, names: Sequence[str]) -> None:
        self._shards, self._names = shards, names
        n_parts = min(max(1, -(-int(share * shards.n_rows) // _PART)), len(shards))
        self._parts = np.array_split(np.arange(len(shards)), n_parts)
        self._of = {number: CopiedRows(n_columns) for number in self.standing}

    def __call__(self, shard: Shard) -> CopiedRows:
        """Return the copies that a shard stands for."""
        return self._of[shard.number]

    @property
    def standing(self) -> list[int]:
        """Shards that stand for others."""
        return [int(part[0]) for part in self._parts]

    def take(self, drawn: NDArray[np.int64], purpose: str) -> NDArray[np.int64]:
        """Copy the first rows of the order of every shard; return how many rows each shard stands for.

        Shape of both: (n_shards,).
        """
        sizes, begins, place = np.zeros_like(drawn), np.zeros_like(drawn), np.zeros_like(drawn)
        for part in self._parts:
            sizes[part[0]], place[part] = drawn[part].sum(), part[0]
            begins[part] = np.cumsum(drawn[part]) - drawn[part]
        for number, copies in self._of.items():
            like = {name: self._shards[number].resident[name] for name in self._names}
            copies.make_room(int(sizes[number]), like)

        def work(shard: Shard) -> None:
            number = shard.number
            rows = shard.resident["order"][: drawn[number]]
            self._of[int(place[number])].copy(rows, shard, int(begins[number]))

        self._shards.each(work, purpose)
        return sizes
