"""Products of a block's design with a vector or with several: dense and sparse terms together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from dbml_kernels.column_products import STRIP, columns_times_add, matrix_of, tiles_empty, tiles_of
from dbml_kernels.linear_predictor import (
    predictor_add,
    predictor_add_sparse,
    squares_add,
    transposed_add,
    transposed_add_sparse,
)
from dbml_kernels.sparse_products import sparse_times_add

from dbml.passes.block import Block, Floats


def flat(X: Floats) -> Floats:
    """Return the memory of a column-major matrix as one vector, without a copy if it is contiguous."""
    return X.reshape(-1, order="F")


def times(block: Block, coef: Floats, intercept: float = 0.0) -> Floats:
    """Return ``intercept + [X S] coef`` for the rows of a block; coef (n_terms,), result (n,)."""
    n, d = block.X.shape
    out = np.full(n, float(intercept))
    coef = np.ascontiguousarray(coef, dtype=np.float64)
    if d:
        predictor_add(flat(block.X), n, d, coef, out)
    if block.sparse is not None:
        predictor_add_sparse(*block.sparse, coef, out)
    return out


def transposed(block: Block, r: Floats, n_terms: int) -> Floats:
    """Return ``[X S]' r`` for the rows of a block; r (n,), result (n_terms,)."""
    n, d = block.X.shape
    out = np.zeros(n_terms)
    if d:
        transposed_add(flat(block.X), n, d, r, out)
    if block.sparse is not None:
        transposed_add_sparse(*block.sparse, r, out)
    return out


def squared_transposed(block: Block, r: Floats, n_terms: int) -> Floats:
    """Return ``[X S]^2' r``, squares entry by entry, for the rows of a block; r (n,), result (n_terms,)."""
    n, d = block.X.shape
    out = np.zeros(n_terms)
    if d:
        squares_add(flat(block.X), n, d, r, out)
    if block.sparse is not None:
        indptr, indices, values = block.sparse
        transposed_add_sparse(indptr, indices, values * values, r, out)
    return out


def times_columns(block: Block, columns: Floats) -> Floats:
    """Return ``[X S] M`` for the rows of a block; M (n_terms, l), result (n, l)."""
    (n, d), width = block.X.shape, columns.shape[1]
    columns = np.ascontiguousarray(columns, dtype=np.float64)
    made = np.zeros((n, width))
    if d:
        tiles, scores = tiles_of(columns[:d], np.float64), tiles_empty(n, width, np.float64)
        columns_times_add(flat(block.X), n, d, tiles, np.empty(STRIP * tiles.shape[1]), scores)
        made = matrix_of(scores, n, width)
    if block.sparse is not None:
        sparse_times_add(*block.sparse, columns, made)
    return made


def dense_rows(block: Block, n_terms: int, part: slice = slice(None), order: Literal["C", "F"] = "C") -> Floats:
    """Return ``[X S]`` of a run of rows of a block as one dense matrix of its own, shape (n, n_terms)."""
    start, stop, _ = part.indices(block.n_rows)
    out = np.zeros((stop - start, n_terms), order=order)
    out[:, : block.X.shape[1]] = block.X[start:stop]
    if block.sparse is not None:
        indptr, indices, values = block.sparse
        entries = slice(indptr[start], indptr[stop])
        row = np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1]))
        np.add.at(out, (row, indices[entries]), values[entries])
    return out
