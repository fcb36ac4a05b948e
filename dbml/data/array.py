"""Data over NumPy arrays: columns are called x0, x1, …; rows are encoded block by block, never copied as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dbml_sql.features import Encoding, Feature
from numpy.typing import NDArray

from dbml.data.array_input import check_shape, check_target, check_weight, duckdb_type, encode_target, to_matrix
from dbml.data.chunked import ROW_GROUP, Chunk, ChunkedData, Workspace
from dbml.data.shuffle import shuffled_runs
from dbml.errors import InvalidData, UnknownName, listing, nearest
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data, register_reader
from dbml.passes.plan import Partition, Plan
from dbml.passes.schema import Schema, Task
from dbml.passes.step import Shuffled

_RUN = 16  # rows that stay neighbours in a shuffled block of a large array: two cache lines of a column
_TILE = 512  # rows that are transposed at once


@dataclass(frozen=True, slots=True)
class ArrayChunk:
    """Rows `index` (a slice, or numbers in any order) of the arrays of `data`."""

    data: ArrayData
    index: slice | NDArray[np.intp]
    start: int
    n_rows: int

    def encode(self, workspace: Workspace) -> Block:
        """Copy the rows, centred and without missing values."""
        data, index = self.data, self.index
        X = workspace.dense(self.n_rows, data.schema.encoding.n_dense)
        data.design.fill(X, index)
        y = None if data.y is None else data.y[index]
        weight = None if data.weight is None else data.weight[index]
        return Block(X, None, y, weight, self.start)


class DenseDesign:
    """The terms of a dense matrix: which input column each one copies, or whose missing values it marks.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Any real dtype and layout.
    features : tuple of Feature
        One ``number`` per column of X.
    terms : ndarray of int
        Terms of the encoding of `features` that are wanted, ascending.
    """

    def __init__(self, X: NDArray, features: tuple[Feature, ...], terms: NDArray[np.intp] | None = None) -> None:
        columns, flags, fills = [], [], []
        for number, feature in enumerate(features):
            columns.append(number)
            flags.append(False)
            fills.append(feature.fill[0])
            if feature.flag:
                columns.append(number)
                flags.append(True)
                fills.append(0.0)
        chosen = slice(None) if terms is None else terms
        self.X = X
        self.columns = np.array(columns, np.intp)[chosen]
        self.flags = np.array(flags, bool)[chosen]
        self.fills = np.array(fills, float)[chosen]
        self.plain = self.columns.size == X.shape[1] and not self.flags.any()
        self.flagged = np.flatnonzero(self.flags).tolist()

    def fill(self, out: NDArray[np.float64], index: slice | NDArray[np.intp]) -> None:
        """Write the terms of some rows to `out`, shape (n_rows, n_terms), Fortran order."""
        if self.X.flags.f_contiguous:
            for term, column in enumerate(self.columns):
                np.subtract(self.X[:, column][index], self.fills[term], out=out[:, term])
        else:
            self._transpose(out, index)
        for term in self.flagged:
            out[:, term] = ~np.isfinite(self.X[index, self.columns[term]])
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not np.isfinite(out.sum())
        if suspect:
            out[~np.isfinite(out)] = 0.0

    def _transpose(self, out: NDArray[np.float64], index: slice | NDArray[np.intp]) -> None:
        """Fill `out` from row-major X tile by tile, through a tile whose columns do not share cache sets."""
        n = len(out)
        turned = np.empty((self.columns.size, min(n, _TILE)))
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            if isinstance(index, slice):
                rows = self.X[index.start + start : index.start + stop]
            else:
                rows = self.X[index[start:stop]]
            if not self.plain:
                rows = rows[:, self.columns]
            tile = turned[:, : stop - start]
            np.subtract(rows.T, self.fills[:, None], out=tile, dtype=np.float64, casting="unsafe")
            out[start:stop] = tile.T


class ArrayData(ChunkedData):
    """Rows of a dense array in memory.

    A value that is NaN or infinite is missing. Shuffled passes see a full permutation.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Any real dtype and memory layout; not copied.
    schema : Schema
        Encoding and target.
    y, weight : ndarray of shape (n_rows,), float64, or None
        Encoded target and weights.
    """

    seekable = True

    def __init__(
        self, X: NDArray, schema: Schema, y: NDArray | None = None, weight: NDArray | None = None, source: str = ""
    ) -> None:
        self.X, self.schema, self.y, self.weight = X, schema, y, weight
        self.design = DenseDesign(X, schema.encoding.features)
        starts = range(0, len(X), ROW_GROUP)
        self.partitions = tuple(Partition(i, s, min(ROW_GROUP, len(X) - s)) for i, s in enumerate(starts))
        source = source or f"array of {X.shape[0]:,} x {X.shape[1]:,} ({X.dtype})"
        self.plan = Plan(source, schema.encoding.columns, partitions=self.partitions, block_rows=self.block_rows)

    @property
    def n_rows(self) -> int:
        """Rows of the array."""
        return len(self.X)

    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield runs of rows; see `ChunkedData.chunks`."""
        for partition in self.partitions if partitions is None else partitions:
            end = partition.start + partition.n_rows
            for start in range(partition.start, end, self.block_rows):
                stop = min(start + self.block_rows, end)
                yield ArrayChunk(self, slice(start, stop), start, stop - start)

    def _shuffled(self, order: Shuffled, reason: str) -> tuple[Iterator[Chunk], Callable[[], None]]:
        self.plan = self.plan.decide("order", "shuffled", reason)
        generator = np.random.default_rng([order.seed, order.epoch])
        run = 1 if self.n_rows <= ROW_GROUP else _RUN
        return (
            ArrayChunk(self, index, -1, index.size)
            for index in shuffled_runs(self.n_rows, self.block_rows, run, generator)
        ), self.interrupt

    def clustering(self) -> tuple[bool, str]:
        """Shuffle always: rows in memory are permuted at little cost."""
        return True, "rows in memory: a full permutation costs little"

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Return the rows whose `column` is one of `keys`; compares every row."""
        names = self.schema.encoding.columns
        if column not in names:
            raise UnknownName(f"no column {column!r} in the array{nearest(column, names)} (columns: {listing(names)})")
        index = np.flatnonzero(np.isin(self.X[:, names.index(column)], keys))
        return ArrayChunk(self, index, -1, index.size).encode(Workspace())


def learn_features(X: NDArray) -> tuple[Feature, ...]:
    """Return one ``number`` feature per column of X: its mean, and a flag where it has missing values.

    One pass over the rows; a second one over a block at a time where a value is missing or sums overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = X.sum(axis=0, dtype=np.float64)
    finite = np.isfinite(total)
    mean = total / len(X)
    count = np.full(X.shape[1], len(X))
    for column in np.flatnonzero(~finite):
        values = X[:, column].astype(np.float64)
        values = values[np.isfinite(values)]
        count[column] = values.size
        mean[column] = np.mean(values / 2) * 2 if values.size else 0.0
    name = duckdb_type(X.dtype)
    return tuple(
        Feature(f"x{j}", name, "number", fill=(float(mean[j]),), flag=bool(count[j] < len(X)))
        for j in range(X.shape[1])
    )


def check_width(n_columns: int, schema: Schema, options: dict[str, Any]) -> None:
    """Raise `InvalidData` where X has another number of columns than the model was trained on."""
    expected = schema.n_features
    if n_columns != expected:
        owner = options.get("owner", "the model")
        raise InvalidData(f"X has {n_columns} features, but {owner} is expecting {expected} features as input")


def read_array(
    X: Any, y: Any = None, *, sample_weight: Any, task: Task, schema: Schema | None, con: Any, options: dict[str, Any]
) -> Data:
    """Return the `Data` over a dense array (or what converts to one); see `dbml.passes.dispatch.as_data`."""
    if schema is not None and any(feature.kind != "number" or feature.part for feature in schema.encoding.features):
        return _read_by_position(np.asarray(X), y, sample_weight, task, schema, con, options)
    X = to_matrix(X)
    weight = check_weight(sample_weight, len(X))
    if schema is not None:
        check_width(X.shape[1], schema, options)
        check_shape(*X.shape)
        return ArrayData(X, schema, None if y is None else encode_target(y, len(X), schema.target, task), weight)
    check_shape(*X.shape)
    y, target = check_target(y, len(X), task) if task != "none" else (None, None)
    return ArrayData(X, Schema(Encoding(learn_features(X)), target, named=False), y, weight)


def _read_by_position(
    X: NDArray, y: Any, weight: Any, task: Task, schema: Schema, con: Any, options: dict[str, Any]
) -> Data:
    """Read an array for a model with categories or dates: its columns are those of training, in order."""
    import pyarrow as pa

    if X.ndim != 2:
        to_matrix(X)
    check_width(X.shape[1], schema, options)
    names = schema.encoding.columns
    columns = [pa.array(X[:, j].tolist() if X.dtype.kind == "O" else X[:, j]) for j in range(len(names))]
    table = pa.table(dict(zip(names, columns, strict=True)))
    return as_data(table, y, sample_weight=weight, task=task, schema=schema, con=con, options=options)


def _is_array_like(X: Any) -> bool:
    return hasattr(X, "__array__") or isinstance(X, (list, tuple))


register_reader(_is_array_like, read_array)
