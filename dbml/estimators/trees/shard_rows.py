"""The rows of a shard that trees grow from: all of them where they lie, or copies of those drawn for a tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from dbml_kernels.tree_rows import bins_copy, rows_number
from numpy.typing import NDArray

from dbml.passes.shards import Arrays, Shard, Shards

Bins = NDArray[np.uint8]


class ShardRows:
    """All rows of a shard, by their positions in it.

    Made anew for each pass: bins of a spilled shard are read when they are first asked for.

    Attributes
    ----------
    order : ndarray of shape (n_rows,), int32
        Numbers of rows, in which every node of a tree has a run of its own.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.order: NDArray[np.int32] = shard.resident["order"]
        self.n_rows = shard.n_rows

    @cached_property
    def bins(self) -> Bins:
        """Bins row by row, flat."""
        return self._shard.read("bins").reshape(-1)

    def column(self, number: int) -> Bins:
        """Return the bins of one column, by the positions of rows in the shard."""
        return self._shard.read_part("columns", number)

    def derivative(self, name: str, output: int) -> NDArray:
        """Return a resident array of derivatives of one output, shape (n_rows,)."""
        return self._shard.resident[name][output]

    @property
    def positions(self) -> NDArray[np.int32] | None:
        """Positions in the shard of rows by their numbers; None: they are the same."""
        return None

    def placed(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the positions in the shard of some rows by their numbers."""
        return rows if self.positions is None else self.positions[rows]


class CopiedRows(ShardRows):
    """Copies of some rows of a shard, close together, numbered from 0."""

    def __init__(self, shard: Shard, n_columns: int, names: Sequence[str]) -> None:
        super().__init__(shard)
        self._n_columns, self._names = n_columns, names
        self._bins, self._positions = np.empty(0, np.uint8), np.empty(0, np.int32)
        self._derivatives: Arrays = {}

    def take(self, n_rows: int) -> None:
        """Copy the rows that are the first `n_rows` of the order, and number them there."""
        if n_rows > self._positions.size:
            most = min(self._shard.n_rows, n_rows + n_rows // 32)  # the next draw may have some more
            self._positions = np.empty(most, np.int32)
            self._bins = np.empty(most * self._n_columns, np.uint8)
            own = {name: self._shard.resident[name] for name in self._names}
            self._derivatives = {name: np.empty((len(array), most), array.dtype) for name, array in own.items()}
        self.n_rows = n_rows
        rows = self._positions[:n_rows]
        rows[:] = self.order[:n_rows]
        bins_copy(self._shard.read("bins").reshape(-1), self._n_columns, rows, self._bins)
        for name, copies in self._derivatives.items():
            np.take(self._shard.resident[name], rows, axis=1, out=copies[:, :n_rows], mode="clip")
        rows_number(self.order[:n_rows])

    @property
    def bins(self) -> Bins:  # type: ignore[override]
        return self._bins[: self.n_rows * self._n_columns]

    def derivative(self, name: str, output: int) -> NDArray:
        return self._derivatives[name][output, : self.n_rows]

    @property
    def positions(self) -> NDArray[np.int32] | None:
        return self._positions


class CopiedShards:
    """Room for copies of the rows drawn in all shards; kept from tree to tree.

    Parameters
    ----------
    shards : Shards
    n_columns : int
    names : sequence of str
        Resident arrays of derivatives.
    """

    def __init__(self, shards: Shards, n_columns: int, names: Sequence[str]) -> None:
        self._of = [CopiedRows(shards[number], n_columns, names) for number in range(len(shards))]

    def __call__(self, shard: Shard) -> CopiedRows:
        return self._of[shard.number]
