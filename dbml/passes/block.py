"""Blocks: the encoded rows that a step sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class SparseRows(NamedTuple):
    """Rows in compressed form; `indices` are term numbers in ``[n_dense, n_terms)``, ascending within a row.

    Shapes: `indptr` (n + 1,) int64, `indices` (nnz,) int32, `values` (nnz,) float64.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Floats

    def copied(self) -> SparseRows:
        """Return a copy whose arrays are its own."""
        return SparseRows(self.indptr.copy(), self.indices.copy(), self.values.copy())


@dataclass(slots=True)
class Block:
    """A run of encoded rows. Its buffers are reused: they are valid during one `Step.update` only.

    Attributes
    ----------
    X : ndarray of shape (n, n_dense), float64, Fortran order
        Dense terms, centred (`Encoding.centre` subtracted), finite: a missing value is 0, its flag term is 1. With an
        encoding of style ``values``: numbers and codes of categories as they are, NaN where missing, never infinite.
    sparse : SparseRows or None
        Sparse terms (0/1 levels, lists, maps), not centred, always finite. None when the encoding has none.
    y : ndarray of shape (n,), float64, or None
        Target: the value, or the class index (0, 1, …) of a classifier. Never missing.
    weight : ndarray of shape (n,), float64, or None
        Sample weights, positive or 0. None means 1 for all rows.
    start : int
        Position of the first row in the source, counted in the order of a sequential pass. With `Shuffled` order
        the rows of a block are not consecutive and `start` is -1.
    """

    X: Floats
    sparse: SparseRows | None
    y: Floats | None
    weight: Floats | None
    start: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def weights(self) -> Floats:
        """Weight of each row: `weight`, or ones of its own."""
        return np.ones(self.n_rows) if self.weight is None else self.weight
