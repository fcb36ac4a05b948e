"""Rows of a fitted model in this process: arrays in memory, or shards that were spilled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dbml.passes.shards import Shards
from dbml.passes.vectors import CellSizes, Reading, Rows, Vectors


class ResidentRows:
    """Rows in memory.

    Parameters
    ----------
    rows : Rows
        All of them, in the order of their cells.
    n_cells : int
        Number of cells.
    """

    def __init__(self, rows: Rows, n_cells: int) -> None:
        self.rows, self.n_cells = rows.sealed(), n_cells

    def __reduce__(self) -> tuple[type[ResidentRows], tuple[Rows, int]]:
        """Copies are made anew: arrays that were pickled are no longer read only."""
        return ResidentRows, (self.rows, self.n_cells)

    def reading(self) -> AbstractContextManager[Reading]:
        """Return a context in which the rows stay as they are: they always do."""
        return nullcontext(self)

    @cached_property
    def sizes(self) -> CellSizes:
        """The cells."""
        return CellSizes.of(self.rows.cell, self.rows.radius, self.n_cells)

    def pieces(self, cells: NDArray[np.intp] | None = None) -> Iterator[Rows]:
        """Yield all rows."""
        yield self.rows


class SpilledRows:
    """Rows in shards, which lie on disk as far as they do not fit in memory.

    Parameters
    ----------
    shards : Shards
        Arrays ``vectors``, ``cell``, ``radius``, ``label`` in the order of cells; ``place``: the row inside the shard.
    n_cells : int
        Number of cells.
    """

    def __init__(self, shards: Shards, n_cells: int) -> None:
        self.shards, self.n_cells = shards, n_cells

    def reading(self) -> AbstractContextManager[Reading]:
        """Return a context in which the rows stay as they are: they always do."""
        return nullcontext(self)

    @cached_property
    def _of_shards(self) -> list[CellSizes]:
        sizes = []
        for number in range(len(self.shards)):
            shard = self.shards[number]
            sizes.append(CellSizes.of(shard.read("cell"), shard.read("radius"), self.n_cells))
        return sizes

    @cached_property
    def sizes(self) -> CellSizes:
        """The cells."""
        whole = CellSizes.of(np.zeros(0, np.int32), np.zeros(0), self.n_cells)
        for sizes in self._of_shards:
            whole = whole.joined(sizes)
        return whole

    def pieces(self, cells: NDArray[np.intp] | None = None) -> Iterator[Rows]:
        """Yield the shards that hold rows of the cells."""
        for number, sizes in enumerate(self._of_shards):
            if cells is not None and not sizes.counts[cells].any():
                continue
            shard = self.shards[number]
            position = shard.read("place").astype(np.int64) + shard.start
            others = (shard.read(name) for name in ("cell", "radius", "label"))
            yield Rows(shard.read("vectors"), position, *others).sealed()

    def __reduce__(self) -> tuple[type[ResidentRows], tuple[Rows, int]]:
        """Copies and pickles hold the rows in memory."""
        return ResidentRows, (gathered(self), self.n_cells)


def gathered(vectors: Vectors) -> Rows:
    """Return all rows as arrays in memory, in the order of cells."""
    with vectors.reading() as reading:
        parts = [Rows(*(np.array(array) for array in _arrays(piece))) for piece in reading.pieces()]
    joined = Rows(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True)))
    return joined.in_order()


def _arrays(rows: Rows) -> tuple[NDArray, ...]:
    return rows.vectors, rows.position, rows.cell, rows.radius, rows.label
