"""Data over SciPy sparse matrices: kept compressed where that pays, one ``lists`` feature as wide as the matrix."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from dbml_sql.features import Encoding, Feature, Reading, style_of
from numpy.typing import NDArray

from dbml.data.array_input import check_scored, check_shape, check_target, check_weight, check_width, encode_target
from dbml.data.chunked import Chunk, ChunkedData, Workspace, rows_per_block
from dbml.data.dense import DenseDesign, centres, number_features, value_features
from dbml.data.matrix import Index, MatrixData
from dbml.data.sampling import describe_terms, take_sparse
from dbml.data.selection import Selection
from dbml.errors import InvalidData
from dbml.passes.block import Block, SparseRows
from dbml.passes.data import Data
from dbml.passes.dispatch import register_reader
from dbml.passes.memory import memory_budget
from dbml.passes.plan import Partition
from dbml.passes.schema import Schema, Statistics, Target, Task

_NARROW = 32  # columns up to which a matrix is read as dense
_DENSE = 1 / 3  # share of stored entries from which it is
_RUN = 16


@dataclass(frozen=True, slots=True)
class SparseChunk:
    """Rows `index` of the matrix of `data`."""

    data: SparseData
    index: Index
    start: int
    n_rows: int

    def encode(self, workspace: Workspace) -> Block:
        """Copy the rows, as the encoding says: compressed, or dense and centred."""
        data = self.data
        target = data.target_of(self.index)
        X = workspace.dense(self.n_rows, data.n_dense)
        if data.design is None:
            return Block(X, data.rows(self.index), *target, self.start)
        data.design.fill(X, data.X[self.index].toarray(), slice(0, self.n_rows))
        return Block(X, None, *target, self.start)


class SparseData(MatrixData):
    """Rows of a CSR matrix in memory. A stored value that is NaN or infinite counts as 0.

    Parameters
    ----------
    X : scipy.sparse.csr_array of shape (n_rows, n_columns)
        Canonical: ascending column numbers, no duplicates.
    schema : Schema
        Encoding (one ``lists`` feature, or a ``number`` per column) and target.
    y, weight : ndarray of shape (n_rows,), float64, or None
        Encoded target and weights.
    """

    def __init__(self, X: Any, schema: Schema, y: NDArray | None = None, weight: NDArray | None = None) -> None:
        super().__init__(X.shape[0], schema, y, weight)
        self.X = X
        features = schema.encoding.features
        self.design = DenseDesign(features) if features[0].kind == "number" else None
        source = f"sparse matrix of {X.shape[0]:,} x {X.shape[1]:,} ({X.nnz:,} stored, {X.dtype})"
        self.plan = self._first_plan(source)

    @property
    def n_dense(self) -> int:
        return 0 if self.design is None else self.design.n_terms

    @property
    def n_terms(self) -> int:
        return self.X.shape[1] if self.design is None else self.design.n_terms

    @property
    def row_bytes(self) -> int:
        """About what an encoded row takes."""
        return 8 * (self.n_dense + 3) + (0 if self.design else 12 * (1 + self.X.nnz // self.n_rows))

    @property
    def block_rows(self) -> int:
        """Most rows of a block: by the mean of stored entries where rows stay compressed."""
        return rows_per_block(self.n_dense if self.design else int(1.5 * self.X.nnz / self.n_rows))

    def chunk(self, index: Index, start: int, n_rows: int) -> Chunk:
        return SparseChunk(self, index, start, n_rows)

    def rows(self, index: Index) -> SparseRows:
        """Return rows of the matrix, as arrays of their own."""
        if isinstance(index, slice):
            indptr = self.X.indptr[index.start : index.stop + 1].astype(np.int64)
            stored = slice(int(indptr[0]), int(indptr[-1]))
            rows = SparseRows(
                indptr - indptr[0], self.X.indices[stored].astype(np.int32), self.X.data[stored].astype(np.float64)
            )
        else:
            rows = take_sparse(SparseRows(self.X.indptr, self.X.indices, self.X.data), index)
            rows = SparseRows(rows.indptr, rows.indices.astype(np.int32), rows.values.astype(np.float64))
        if not np.isfinite(rows.values.sum()):
            rows.values[~np.isfinite(rows.values)] = 0.0
        return rows

    @cached_property
    def _statistics(self) -> Statistics:
        if self.design is not None:
            return super()._statistics
        rows = self.rows(slice(0, self.n_rows))
        whole = Block(np.empty((self.n_rows, 0), order="F"), rows, None, None, 0)
        return describe_terms(whole, self.n_terms, self.n_rows)

    @cached_property
    def _by_column(self) -> Any:
        return self.X.tocsc()

    def reader(self, selection: Selection) -> Callable[[Sequence[Partition] | None], Iterator[Chunk]]:
        """Return `chunks` for some terms only: cut from a column-major copy where memory allows one."""
        if self.design is not None or 12 * self.X.nnz > memory_budget().kept:
            return super().reader(selection)
        return SparseData(self._by_column[:, selection.terms].tocsr(), self.schema, self.y, self.weight).chunks

    def materialise(self) -> ChunkedData:
        """Return the data itself where it is compressed: its rows need no encoding."""
        return self if self.design is None else super().materialise()

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Not for sparse matrices: they have no key column."""
        raise InvalidData(f"rows of a sparse matrix cannot be looked up by {column!r}; pass a table or an array")


def to_csr(X: Any) -> Any:
    """Return a sparse matrix in canonical CSR form; the caller's matrix is left as it is.

    Raises
    ------
    InvalidData
        Not two-dimensional, no rows, no columns, or complex numbers.
    """
    if X.dtype.kind == "c":
        raise InvalidData(f"X must hold real numbers; got dtype {X.dtype}. Complex data not supported")
    if X.ndim != 2:
        raise InvalidData(f"X must be a matrix. Expected 2D array, got a {X.ndim}D sparse array instead")
    csr = X.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy() if csr is X else csr
        csr.sum_duplicates()
    return csr


def learn_encoding(X: Any, reading: Reading) -> Encoding:
    """Return the encoding of a CSR matrix: dense where it is narrow or nearly full."""
    n, p = X.shape
    if p > _NARROW and X.nnz < _DENSE * n * p:
        return Encoding((Feature("indices", "INTEGER[]", "lists", width=p, values="values", style=style_of(reading)),))
    if reading == "values":
        return Encoding(value_features(X.dtype, p))
    values = X.data.astype(np.float64)
    finite = np.isfinite(values)
    missing = np.bincount(X.indices[~finite], minlength=p)
    total = np.bincount(X.indices[finite], values[finite], minlength=p)
    mean = total / np.maximum(1, n - missing)
    return Encoding(number_features(X.dtype, centres(mean, reading), missing > 0))


def read_sparse(
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any,
    task: Task,
    schema: Schema | None,
    con: Any,
    options: dict[str, Any],
    encode: Reading = "terms",
) -> Data:
    """Return the `Data` over a sparse matrix; see `dbml.passes.dispatch.as_data`."""
    X = to_csr(X)
    n_rows = X.shape[0]
    if schema is not None:
        check_width(X.shape[1], schema, options)
        check_shape(*X.shape)
        check_scored(y, task, schema)
        weight = check_weight(sample_weight, n_rows)
        if any(f.kind not in ("number", "lists") or f.part for f in schema.encoding.features):
            raise InvalidData("X must be a table or a DataFrame: the model was trained on one; got a sparse matrix")
        return SparseData(X, schema, None if y is None else encode_target(y, n_rows, schema.target, task), weight)
    check_shape(*X.shape)
    target: Target | None = None
    if task != "none":
        y, target = check_target(y, n_rows, task)
    if encode == "keys":
        raise InvalidData(
            "X must be a table or an array with a row for each pair of keys; got a sparse matrix. "
            "Hint: X = X.tocoo(), then numpy.column_stack([X.row, X.col]) with y = X.data"
        )
    schema = Schema(learn_encoding(X, encode), target, named=False)
    return SparseData(X, schema, y, check_weight(sample_weight, n_rows))


def _is_sparse(X: Any) -> bool:
    scipy_sparse = sys.modules.get("scipy.sparse")
    return scipy_sparse is not None and scipy_sparse.issparse(X)


register_reader(_is_sparse, read_sparse)
