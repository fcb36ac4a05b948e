"""Kernel functions as data, and their values between the rows of a block and stored vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from dbml_kernels import kernel_rows as codes
from numpy.typing import NDArray
from scipy import sparse

from dbml.estimators.design import dense_rows
from dbml.passes.block import Block, Floats

Singles = NDArray[np.float32]

CODES: Mapping[str, int] = {
    "linear": codes.LINEAR,
    "poly": codes.POLY,
    "sigmoid": codes.SIGMOID,
    "rbf": codes.RBF,
    "laplacian": codes.LAPLACIAN,
}
_SHIFTED = ("linear", "rbf", "laplacian")  # moving the origin changes no value, or only the intercept of a model
_TILE_BYTES = 4 << 20  # of the values that are made at a time


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel function with its parameters.

    Attributes
    ----------
    name : {"linear", "poly", "sigmoid", "rbf", "laplacian"}
    gamma, coef0 : float
    degree : int
    """

    name: str
    gamma: float
    coef0: float = 0.0
    degree: int = 3

    @property
    def code(self) -> int:
        """Number of the kernel in `dbml_kernels.kernel_rows`."""
        return CODES[self.name]

    @property
    def moves(self) -> bool:
        """Whether values depend on the origin: rows are then taken in the units of the columns, else centred."""
        return self.name not in _SHIFTED

    def origin(self, centre: Floats) -> Floats:
        """Return what is added to centred terms before the kernel sees them."""
        return centre if self.moves else np.zeros_like(centre)


@dataclass(frozen=True)
class Vectors:
    """Vectors that rows are compared with: landmarks or support vectors.

    Attributes
    ----------
    rows : ndarray of shape (m, n_terms)
        The vectors, from `origin` on as the kernel sees rows.
    origin : ndarray of shape (n_terms,)
        What is added to the centred terms of a block: see `KernelFunction.origin`.
    kernel : KernelFunction
    """

    rows: Floats
    origin: Floats
    kernel: KernelFunction

    def values(self, block: Block) -> Floats:
        """Return the values of the kernel between the rows of a block and the vectors, shape (n, m), column-major."""
        out = np.empty((len(self.rows), block.n_rows))
        for part, tile in self._tiles(block):
            out[:, part] = tile
        return out.T

    def expand(self, block: Block, coef: Floats) -> Floats:
        """Return sums of the values with weights; coef (k, m), result (n, k), column-major."""
        out = np.empty((len(coef), block.n_rows))
        for part, tile in self._tiles(block):
            out[:, part] = coef @ tile
        return out.T

    def _tiles(self, block: Block) -> Iterator[tuple[slice, Floats]]:
        """Yield runs of rows with their values, shape (m, rows)."""
        k, n_terms = self.kernel, self.rows.shape[1]
        step = max(64, _TILE_BYTES // (8 * max(1, len(self.rows))))
        parts = [slice(start, min(start + step, block.n_rows)) for start in range(0, block.n_rows, step)]
        if k.name == "laplacian":
            for part in parts:
                X = dense_rows(block, n_terms, part)
                out = np.empty((len(self.rows), len(X)))
                codes.laplacian_values(float(k.gamma), self.rows, X, out)
                yield part, out
            return
        d = block.X.shape[1]
        dense, rest = np.ascontiguousarray(self.rows[:, :d]), np.ascontiguousarray(self.rows[:, d:].T)
        constant = (self.rows @ self.origin)[:, None]
        squares = np.einsum("ij,ij->i", self.rows, self.rows)
        matrix = sparse_terms(block, n_terms)
        for part in parts:
            X = block.X[part]
            products, own = dense @ X.T, np.einsum("ij,ij->i", X, X)
            if k.moves:
                products += constant
            if matrix is not None:
                S = matrix[part]
                products += (S @ rest).T
                own += S.power(2).sum(axis=1)
            codes.kernel_values(k.code, float(k.gamma), float(k.coef0), int(k.degree), squares, own, products)
            yield part, products


def sparse_terms(block: Block, n_terms: int) -> sparse.csr_array | None:
    """Return the sparse terms of a block, numbered from 0, shape (n, n_terms - n_dense); None where it has none."""
    if block.sparse is None:
        return None
    indptr, indices, values = block.sparse
    d = block.X.shape[1]
    return sparse.csr_array((values, indices - d, indptr), shape=(block.n_rows, n_terms - d))
