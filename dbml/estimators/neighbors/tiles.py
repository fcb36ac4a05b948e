"""Rows packed into tiles for the kernels that compare many rows with many queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dbml_kernels.vector_distance import EUCLIDEAN, MANHATTAN
from dbml_kernels.vector_tile import GROUP, queries_pack, rows_pack, tile_nearest
from numpy.typing import NDArray

from dbml.passes.block import Floats

_TILE_BYTES = 64 << 10
_MOST_WIDE = 512


def tile_width(d: int) -> int:
    """Return the rows of a tile: a power of two that lets it stay in the cache of a core."""
    width = _MOST_WIDE
    while width > 32 and width * d * 4 > _TILE_BYTES:
        width //= 2
    return width


@dataclass(frozen=True, slots=True)
class Tiles:
    """Rows as tiles: packed (n_tiles, d, width) float32, half (n_tiles, width) float32, largest norm (n_tiles,)."""

    packed: NDArray[np.float32]
    half: NDArray[np.float32]
    largest: Floats

    @classmethod
    def empty(cls, n_rows: int, d: int) -> Tiles:
        """Return tiles to be filled."""
        width = tile_width(d)
        n_tiles = -(-n_rows // width)
        return cls(np.empty((n_tiles, d, width), np.float32), np.empty((n_tiles, width), np.float32), np.empty(n_tiles))

    def fill(self, metric: int, rows: NDArray[Any], shift: Floats, tiles: range) -> None:
        """Pack the rows of some tiles."""
        scratch, width = np.empty(rows.shape[1]), self.packed.shape[2]
        for tile in tiles:
            self.largest[tile] = rows_pack(
                metric, rows, tile * width, len(rows), shift, self.packed[tile], self.half[tile], scratch
            )


class CellCentres:
    """Centres of cells, ready to find the nearest one of each row, up to rounding in single precision.

    Parameters
    ----------
    code : int
        EUCLIDEAN or MANHATTAN.
    centres : ndarray of shape (n_cells, d)
        The centres.
    """

    def __init__(self, code: int, centres: Floats) -> None:
        assert code in (EUCLIDEAN, MANHATTAN)
        self.code, self.centres = code, centres
        self.shift = centres.mean(axis=0)
        self.tiles = Tiles.empty(*centres.shape)
        self.tiles.fill(code, centres, self.shift, range(len(self.tiles.packed)))

    def nearest(self, rows: Floats) -> NDArray[np.int32]:
        """Return the number of the nearest centre of each row."""
        small, sizes = np.empty(rows.shape, np.float32), np.empty(len(rows))
        queries_pack(self.code, rows, self.shift, small, sizes)
        best, number = np.full(len(rows), np.inf, np.float32), np.zeros(len(rows), np.int32)
        width = self.tiles.packed.shape[2]
        sums = np.empty((GROUP, width), np.float32)
        for tile, packed in enumerate(self.tiles.packed):
            tile_nearest(self.code, packed, self.tiles.half[tile], tile * width, small, sums, best, number)
        return number
