"""Data over NumPy arrays: columns are called x0, x1, …; rows are encoded block by block, never copied as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dbml_sql.features import Encoding, Reading
from numpy.typing import NDArray

from dbml.data.array_input import (
    check_scored,
    check_shape,
    check_target,
    check_weight,
    check_width,
    encode_target,
    to_matrix,
)
from dbml.data.chunked import Chunk, Workspace, rows_per_block
from dbml.data.columns import EncodingOptions
from dbml.data.dense import DenseDesign, learn_features
from dbml.data.matrix import Index, MatrixData
from dbml.data.selection import Selection
from dbml.errors import InvalidData, UnknownName, UnsupportedColumn, listing, nearest
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data, register_reader
from dbml.passes.plan import Partition
from dbml.passes.schema import Schema, Task


@dataclass(frozen=True, slots=True)
class ArrayChunk:
    """Rows `index` of the array of `data`."""

    data: ArrayData
    design: DenseDesign
    index: Index
    start: int
    n_rows: int

    def encode(self, workspace: Workspace) -> Block:
        """Copy the rows, centred and without missing values."""
        X = workspace.dense(self.n_rows, self.design.n_terms)
        self.design.fill(X, self.data.X, self.index)
        return Block(X, None, *self.data.target_of(self.index), self.start)


class ArrayData(MatrixData):
    """Rows of a dense array. A value that is NaN or infinite is missing.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Any real dtype and memory layout; not copied.
    schema : Schema
        Encoding (a ``number`` per column) and target.
    y, weight : ndarray of shape (n_rows,), float64, or None
        Encoded target and weights.
    """

    def __init__(self, X: NDArray, schema: Schema, y: NDArray | None = None, weight: NDArray | None = None) -> None:
        super().__init__(len(X), schema, y, weight)
        self.X = X
        self.design = DenseDesign(schema.encoding.features)
        source = f"array of {X.shape[0]:,} x {X.shape[1]:,} ({X.dtype})"
        self.plan = self._first_plan(source)

    def chunk(self, index: Index, start: int, n_rows: int) -> Chunk:
        return ArrayChunk(self, self.design, index, start, n_rows)

    def reader(self, selection: Selection) -> Callable[[Sequence[Partition] | None], Iterator[Chunk]]:
        """Return `chunks` for some terms only: no other column is touched."""
        design = DenseDesign(self.schema.encoding.features, selection.terms)
        size = rows_per_block(design.n_terms)
        return lambda partitions: (ArrayChunk(self, design, *rows) for rows in self.runs(partitions, size))

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Return the rows whose `column` is one of `keys`; compares every row."""
        names = self.schema.encoding.columns
        if column not in names:
            raise UnknownName(f"no column {column!r} in the array{nearest(column, names)} (columns: {listing(names)})")
        index = np.flatnonzero(np.isin(self.X[:, names.index(column)], keys))
        return self.chunk(index, -1, index.size).encode(Workspace())


def read_array(
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
    """Return the `Data` over a dense array (or what converts to one); see `dbml.passes.dispatch.as_data`."""
    if schema is not None and any(feature.kind != "number" or feature.part for feature in schema.encoding.features):
        return _read_as_trained(X, y, sample_weight, schema, {"task": task, "con": con, "options": options})
    EncodingOptions.of(options, encode)
    if schema is None and options.get("every_level") and _holds_objects(X):
        return _read_columns(
            X, y, {"task": task, "con": con, "options": options, "sample_weight": sample_weight}, encode
        )
    X = to_matrix(X)
    weight = check_weight(sample_weight, len(X))
    if schema is not None:
        check_width(X.shape[1], schema, options)
        check_shape(*X.shape)
        check_scored(y, task, schema)
        return ArrayData(X, schema, None if y is None else encode_target(y, len(X), schema.target, task), weight)
    check_shape(*X.shape)
    if encode == "keys" and X.shape[1] != len(options["keys"]):
        names = " and ".join(options["keys"])
        raise InvalidData(
            f"X must have {len(options['keys'])} columns of keys ({names}) where it is an array; got {X.shape[1]}"
        )
    y, target = check_target(y, len(X), task) if task != "none" else (None, None)
    features = learn_features(X, "values" if encode == "keys" else encode)
    return ArrayData(X, Schema(Encoding(features), target, named=False), y, weight)


def _read_as_trained(X: Any, y: Any, weight: Any, schema: Schema, how: dict[str, Any]) -> Data:
    """Read an array for a model trained on something else: its columns are those of training, in order."""
    X = np.asarray(X)
    if X.ndim != 2:
        to_matrix(X)
    check_width(X.shape[1], schema, how["options"])
    check_shape(*X.shape)
    check_scored(y, how["task"], schema)
    if not schema.named and schema.encoding.has_entries:
        from scipy.sparse import csr_array

        return as_data(csr_array(to_matrix(X)), y, sample_weight=weight, schema=schema, **how)
    return as_data(_columns_of(X, schema.encoding.columns), y, sample_weight=weight, schema=schema, **how)


def _holds_objects(X: Any) -> bool:
    """Return whether X converts to a matrix of texts or objects."""
    try:
        found = np.asarray(X)
    except ValueError:  # lists of different lengths, of which `to_matrix` tells
        return False
    return found.ndim == 2 and found.dtype.kind in "OUT"


def _read_columns(X: Any, y: Any, how: dict[str, Any], encode: Reading) -> Data:
    """Read an array of texts or objects column by column, each with a type of its own, for who takes categories."""
    X = np.asarray(X)
    check_shape(*X.shape)
    data = as_data(_columns_of(X, [f"x{j}" for j in range(X.shape[1])]), y, encode=encode, **how)
    data.schema = replace(data.schema, named=False)
    return data


def _columns_of(X: NDArray, names: Sequence[str]) -> Any:
    """Return the columns of an array as an Arrow table; None and NaN among objects are missing."""
    import pyarrow as pa

    try:
        columns = [
            pa.array(X[:, j].tolist(), from_pandas=True) if X.dtype.kind in "OT" else pa.array(X[:, j])
            for j in range(len(names))
        ]
    except (pa.ArrowException, TypeError) as error:
        raise UnsupportedColumn(
            f"X must hold values of one kind in each column, numbers or text; got an array of dtype {X.dtype}: {error}"
        ) from error
    return pa.table(dict(zip(names, columns, strict=True)))


def _is_array_like(X: Any) -> bool:
    return hasattr(X, "__array__") or isinstance(X, (list, tuple))


register_reader(_is_array_like, read_array)
