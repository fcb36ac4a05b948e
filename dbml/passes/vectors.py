"""Rows that a model keeps as vectors and searches: in memory, spilled, or in a table of the user's database.

They lie in cells: rows near each other, which are read together. Who searches asks for some cells and gets pieces of
bounded size; where the rows lie is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Floats


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in the order of their cells; inside a cell, of their radius.

    Attributes
    ----------
    vectors : ndarray of shape (n, d), float32 or float64, C order
        The rows.
    position : ndarray of shape (n,), int64
        Number of each row in the order of the training, later additions after it.
    cell : ndarray of shape (n,), int32
        Number of its cell.
    radius : ndarray of shape (n,), float64
        Distance to the centre of the cell.
    label : ndarray of shape (n,), float64
        Target: the value or the number of the class; 0 without a target.
    """

    vectors: NDArray[Any]
    position: NDArray[np.int64]
    cell: NDArray[np.int32]
    radius: Floats
    label: Floats

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.position)

    def offsets(self, n_cells: int) -> NDArray[np.int64]:
        """Return where each cell begins, and the end: shape (n_cells + 1,)."""
        return np.searchsorted(self.cell, np.arange(n_cells + 1, dtype=np.int32)).astype(np.int64)

    def part(self, start: int, stop: int) -> Rows:
        """Return some of the rows, as views."""
        run = slice(start, stop)
        return Rows(self.vectors[run], self.position[run], self.cell[run], self.radius[run], self.label[run])

    def in_order(self) -> Rows:
        """Return the rows in the order of cells and radii, as they are if they lie so."""
        after = self.cell[1:] > self.cell[:-1]
        same = (self.cell[1:] == self.cell[:-1]) & (self.radius[1:] >= self.radius[:-1])
        if (after | same).all():
            return self
        order = np.lexsort((self.position, self.radius, self.cell))
        return Rows(
            self.vectors[order], self.position[order], self.cell[order], self.radius[order], self.label[order]
        ).sealed()

    def sealed(self) -> Rows:
        """Let the arrays be read only, as those of a database are: kernels are compiled once."""
        for array in (self.vectors, self.position, self.cell, self.radius, self.label):
            array.flags.writeable = False
        return self


@dataclass(frozen=True, slots=True)
class CellSizes:
    """Rows of each cell and their smallest and largest radius (infinite and 0 for an empty cell), each (n_cells,)."""

    counts: NDArray[np.int64]
    low: Floats
    high: Floats

    @classmethod
    def of(cls, cell: NDArray[np.int32], radius: Floats, n_cells: int) -> CellSizes:
        """Return the sizes of the cells of some rows, in any order."""
        low, high = np.full(n_cells, np.inf), np.zeros(n_cells)
        np.minimum.at(low, cell, radius)
        np.maximum.at(high, cell, radius)
        return cls(np.bincount(cell, minlength=n_cells), low, high)

    def joined(self, other: CellSizes) -> CellSizes:
        """Return the sizes with other rows besides."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return CellSizes(self.counts + other.counts, low, high)


class Reading(Protocol):
    """One state of the rows, while they are searched."""

    @property
    def sizes(self) -> CellSizes:
        """The cells."""

    def pieces(self, cells: NDArray[np.intp] | None = None) -> Iterator[Rows]:
        """Yield the rows of some cells (ascending), or all; others may come along. A piece is valid until the next."""


class Vectors(Protocol):
    """Rows that are kept."""

    def reading(self) -> AbstractContextManager[Reading]:
        """Return a context in which the rows stay as they are."""
