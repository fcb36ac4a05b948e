"""Metrics by name: what kernels compute, how rows are placed among cells, what a person is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.vector_distance import COSINE, EUCLIDEAN, INNER_PRODUCT, MANHATTAN

from dbml.passes.block import Block, Floats

METRICS = {
    "euclidean": EUCLIDEAN,
    "l2": EUCLIDEAN,
    "cosine": COSINE,
    "inner_product": INNER_PRODUCT,
    "manhattan": MANHATTAN,
    "l1": MANHATTAN,
    "cityblock": MANHATTAN,
}
_NAMES = {code: name for name, code in reversed(METRICS.items())}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of `dbml_kernels.vector_distance`.

    Attributes
    ----------
    code : int
        Its number there.
    """

    code: int

    @classmethod
    def of(cls, name: str) -> Metric:
        """Return the metric of a name."""
        return cls(METRICS[name])

    @property
    def name(self) -> str:
        """Its first name."""
        return _NAMES[self.code]

    @property
    def cell_code(self) -> int:
        """The metric that cells are made in."""
        return MANHATTAN if self.code == MANHATTAN else EUCLIDEAN

    @property
    def shifts(self) -> bool:
        """Whether distances stay the same when all vectors are shifted."""
        return self.code in (EUCLIDEAN, MANHATTAN)

    def placed(self, rows: Floats) -> Floats:
        """Return the vectors that cells are made of: of length 1 for the cosine, 0 where all entries are."""
        if self.code != COSINE:
            return rows
        largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
        scaled = rows / np.where(largest == 0.0, 1.0, largest)
        length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
        return scaled / np.where(length == 0.0, 1.0, length)

    def told(self, distance: Floats) -> Floats:
        """Return distances from what neighbours are ordered by."""
        return np.sqrt(distance) if self.code == EUCLIDEAN else distance

    def ordered(self, distance: float) -> float:
        """Return what neighbours are ordered by from a distance; below 0 where no row is so near."""
        return distance * abs(distance) if self.code == EUCLIDEAN else distance


def block_vectors(block: Block, centre: Floats, dtype: str) -> Floats:
    """Return the rows of a block on the scale of their columns, rounded to the type that they are stored in.

    Shape (n, n_terms), float64: sparse terms become numbers as the others.
    """
    n_dense = block.X.shape[1]
    rows = np.zeros((block.n_rows, len(centre)))
    np.add(block.X, centre[:n_dense], out=rows[:, :n_dense])
    if block.sparse is not None:
        indptr, indices, values = block.sparse
        rows[np.repeat(np.arange(block.n_rows), np.diff(indptr)), indices] = values
    return rows if dtype == "float64" else rows.astype(np.float32).astype(np.float64)
