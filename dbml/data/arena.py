"""Memory for the arrays of many kept blocks or shards, taken in large pieces.

The system backs large pieces by large pages: filling them takes fewer page faults, and reading rows from all over
them fewer misses of the address cache, than arrays that were allocated one by one.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dbml.passes.block import Block, SparseRows

_PIECE = 32 << 20  # bytes
_LINE = 64


class Arena:
    """Hands out its memory, from any thread; it lives as long as an array in it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._piece = np.empty(0, np.uint8)
        self._used = 0

    def _take(self, size: int) -> NDArray[np.uint8]:
        with self._lock:
            if self._used + size + _LINE > self._piece.size:
                self._piece = np.empty(max(_PIECE, size + _LINE), np.uint8)
                self._used = -self._piece.ctypes.data % _LINE
            taken = self._piece[self._used : self._used + size]
            self._used += -(-size // _LINE) * _LINE
            return taken

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
        """Return an array that is not cleared, row-major, 64-byte aligned."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self._take(size).view(dtype).reshape(shape)

    def copy(self, array: NDArray) -> NDArray:
        """Return a copy of an array, column-major, 64-byte aligned."""
        out = self._take(array.nbytes).view(array.dtype).reshape(array.shape, order="F")
        out[...] = array
        return out

    def keep_sparse(self, rows: SparseRows | None) -> SparseRows | None:
        """Return a copy of sparse rows."""
        if rows is None:
            return None
        return SparseRows(self.copy(rows.indptr), self.copy(rows.indices), self.copy(rows.values))

    def keep(self, block: Block) -> Block:
        """Return a copy of a block."""
        y, weight = (None if array is None else self.copy(array) for array in (block.y, block.weight))
        sparse = self.keep_sparse(block.sparse)
        return Block(self.copy(block.X), sparse, y, weight, block.start)
