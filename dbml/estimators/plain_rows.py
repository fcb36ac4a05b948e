"""Rows on the user's scale, products of matrices with them: for models of what values are, not how they vary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dbml.passes.block import Block, Floats

_TILE_BYTES = 4 << 20


def sparse_matrix(block: Block, n_terms: int) -> Any:
    """Return the sparse terms of a block as a SciPy matrix of shape (n, n_terms - n_dense), or None without any."""
    if block.sparse is None:
        return None
    from scipy.sparse import csr_array

    indptr, indices, values = block.sparse
    n_dense = block.X.shape[1]
    return csr_array((values, indices - np.int32(n_dense), indptr), shape=(block.n_rows, n_terms - n_dense))


def rows_times(block: Block, matrix: Floats, centre: Floats) -> Floats:
    """Return ``(X + centre) matrix`` for the rows of a block; matrix (n_terms, m), result (n, m) row-major."""
    n_dense = block.X.shape[1]
    out = np.empty((block.n_rows, matrix.shape[1]))
    np.matmul(block.X, matrix[:n_dense], out=out)
    out += centre @ matrix
    sparse = sparse_matrix(block, len(matrix))
    if sparse is not None:
        out += sparse @ matrix[n_dense:]
    return out


def times_rows(codes: Floats, block: Block, centre: Floats) -> Floats:
    """Return ``codes' (X + centre)`` for the rows of a block; codes (n, m), result (m, n_terms)."""
    n_dense = block.X.shape[1]
    out = np.outer(codes.sum(axis=0), centre)
    out[:, :n_dense] += codes.T @ block.X
    sparse = sparse_matrix(block, len(centre))
    if sparse is not None:
        out[:, n_dense:] += (sparse.T @ codes).T
    return out


def squared_norms(block: Block, centre: Floats) -> Floats:
    """Return ``|x + centre|^2`` of each row, shape (n,)."""
    n_dense = block.X.shape[1]
    total = np.zeros(block.n_rows)
    for column in range(n_dense):
        values = block.X[:, column] + centre[column]
        total += values * values
    if block.sparse is not None:
        indptr, _, values = block.sparse
        rows = np.repeat(np.arange(block.n_rows), np.diff(indptr))
        total += np.bincount(rows, weights=values * values, minlength=block.n_rows)
    return total


def plain_tiles(block: Block, centre: Floats, size: int | None = None) -> Iterator[tuple[int, Floats]]:
    """Yield runs of rows as row-major matrices of all terms, on the user's scale: first row, (n, n_terms).

    `size` is the rows of a run; None: as many as fit in 4 MiB.
    """
    n_dense, n_terms = block.X.shape[1], len(centre)
    size = size or max(1, _TILE_BYTES // (8 * max(1, n_terms)))
    sparse = sparse_matrix(block, n_terms)
    for start in range(0, block.n_rows, size):
        stop = min(start + size, block.n_rows)
        tile = np.empty((stop - start, n_terms))
        np.add(block.X[start:stop], centre[:n_dense], out=tile[:, :n_dense])
        if sparse is not None:
            tile[:, n_dense:] = sparse[start:stop].toarray()
        yield start, tile


def lowest_values(block: Block, centre: Floats) -> Floats:
    """Return the least value of each term, 0 where none is below, shape (n_terms,)."""
    n_dense = block.X.shape[1]
    lowest = np.zeros(len(centre))
    if block.n_rows:
        lowest[:n_dense] = np.minimum(block.X.min(axis=0, initial=np.inf) + centre[:n_dense], 0.0)
    if block.sparse is not None:
        np.minimum.at(lowest, block.sparse.indices, block.sparse.values)
    return lowest
