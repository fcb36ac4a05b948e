"""Raw Arrow columns -> blocks, for the scoring function inside DuckDB: the same bits as the training scan in SQL.

Usual types are converted here, column by column; all others by DuckDB itself, with the SQL of the training scan.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.encode import Layout, ScanColumn, part_codes, part_values, rest_codes, scan_column
from dbml_sql.expressions import MICROSECONDS_PER_DAY
from dbml_sql.features import Encoding, Feature
from dbml_sql.retyped import refused_types
from numpy.typing import NDArray

from dbml.data import duck
from dbml.data.arrow_arrays import numbers_of
from dbml.data.category_codes import CategoryCodes
from dbml.data.gather import ExportedBatch, Gather, Rows
from dbml.errors import UnsupportedColumn
from dbml.passes.block import Block
from dbml.passes.engine import Workspace

Convert = Callable[[pa.Array], pa.Array]

_NATIVE: dict[pa.DataType, Layout] = {
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
}
_SMALL = (pa.bool_(), pa.int8(), pa.int16(), pa.uint8(), pa.uint16())
_MOST_DAYS = 106_751_991  # beyond, a DATE is no TIMESTAMP
_PER_SECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}


class ArrowEncoder:
    """Encodes columns of any Arrow types for a model.

    Parameters
    ----------
    encoding : Encoding
        Features of the model. Columns come in the order of `encoding.columns`.
    who : str
        The model, for errors.

    Notes
    -----
    Safe to call from several threads: buffers are kept per thread. A block is valid until the next call on its thread.
    """

    def __init__(self, encoding: Encoding, who: str = "the model") -> None:
        self.encoding, self.who = encoding, who
        self._readers: dict[tuple[pa.DataType, ...], _Reader] = {}
        self._local = threading.local()
        self._lock = threading.Lock()

    def encode(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> Block:
        """Return the rows as a block: terms as in training, no target.

        Raises
        ------
        UnsupportedColumn
            The type of a column holds no value for the model.
        """
        arrays = [_whole(column) for column in columns]
        types = tuple(array.type for array in arrays)
        reader = self._readers.get(types)
        if reader is None:
            with self._lock:
                reader = self._readers.setdefault(types, _Reader(self.encoding, types, self.who))
        space = getattr(self._local, "space", None)
        if space is None:
            space = self._local.space = Workspace()
        return reader.encode(arrays, space)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class _Reader:
    """Conversions for one combination of column types."""

    def __init__(self, encoding: Encoding, types: Sequence[pa.DataType], who: str) -> None:
        place = {name: number for number, name in enumerate(encoding.columns)}
        self._steps: list[tuple[int, Convert]] = []
        scan = []
        by_duckdb = None
        for feature in encoding.features:
            number = place[feature.column]
            found = _converter(feature, types[number])
            if feature.kind == "lists":
                values = place[feature.values or ""]
                found = _pairs(types[number], types[values])
                if found is not None:
                    layout, convert = found
                    self._steps += [(number, convert), (values, _to_list(pa.float64()))]
                    scan.append(ScanColumn("", layout, values=""))
                    continue
            if feature.kind == "text" and feature.levels and pa.types.is_string(types[number]):
                self._steps += [(number, _same), (number, _no_values)]
                scan.append(ScanColumn("", "words", values=""))
                continue
            if found is None:
                by_duckdb = by_duckdb or _ByDuckDB(encoding, types, who)
                column = by_duckdb.add(feature)
                self._steps += [(-1, convert) for convert in by_duckdb.results(column)]
                scan.append(column)
                continue
            layout, convert = found
            self._steps.append((number, convert))
            scan.append(ScanColumn("", layout))
        self._by_duckdb = by_duckdb
        self._gather = Gather(encoding, scan)
        self._names = [f"c{number}" for number in range(len(self._steps))]

    def encode(self, arrays: Sequence[pa.Array], space: Workspace) -> Block:
        n = len(arrays[0])
        converted = self._by_duckdb.run(arrays) if self._by_duckdb is not None else None
        made = [convert(converted if number < 0 else arrays[number]) for number, convert in self._steps]
        batch = pa.RecordBatch.from_arrays(made, names=self._names)
        parts = self._gather.coded([Rows(batch, 0, n)])
        X, sparse = self._gather.design(parts, [ExportedBatch(rows.batch) for rows in parts], n, space)
        return Block(X, sparse, None, None, 0)


class _ByDuckDB:
    """Columns of unusual types: converted by the SQL of the training scan in a database of our own."""

    def __init__(self, encoding: Encoding, types: Sequence[pa.DataType], who: str) -> None:
        self._names = encoding.columns
        self._connection = duck.private_connection()
        self._local = threading.local()
        empty = pa.table({name: pa.array([], t) for name, t in zip(self._names, types, strict=True)})
        self._types = duck.columns_of(self._connection.from_arrow(empty))
        reason = refused_types(who, encoding, self._types)
        if reason is not None:
            raise UnsupportedColumn(reason)
        self._expressions: list[str] = []

    def add(self, feature: Feature) -> ScanColumn:
        """Add a feature to what is converted; return its scan column."""
        column = scan_column(feature, self._types[feature.column])
        self._expressions += [column.sql] if column.values is None else [column.sql, column.values]
        return column

    def results(self, column: ScanColumn) -> list[Convert]:
        """Return what picks the columns of the feature added last from the converted table."""
        n = 1 if column.values is None else 2
        first = len(self._expressions) - n
        return [lambda table, at=first + k: _whole(table.column(at)) for k in range(n)]  # type: ignore[misc]

    def run(self, arrays: Sequence[pa.Array]) -> pa.Table:
        """Convert rows; each thread has a cursor of its own."""
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self._connection.cursor()
        rows = cursor.from_arrow(pa.table(list(arrays), names=list(self._names)))
        listed = ", ".join(f"{sql} AS c{number}" for number, sql in enumerate(self._expressions))
        return duck.query(rows, f"SELECT {listed} FROM {duck.VIEW}").to_arrow_table()


def _converter(feature: Feature, kind: pa.DataType) -> tuple[Layout, Convert] | None:
    """Return the layout and the conversion of a column, None where DuckDB has to do it."""
    if feature.part is not None:
        return _calendar(feature, kind)
    if feature.kind == "number":
        return _number(kind)
    if feature.kind == "category":
        return _category(feature, kind)
    if feature.kind == "vector" and pa.types.is_fixed_size_list(kind) and kind.list_size == feature.width:
        layouts: dict[pa.DataType, Layout] = {pa.float64(): "DOUBLE[]", pa.float32(): "FLOAT[]"}
        layout = layouts.get(kind.value_type)
        return None if layout is None else (layout, _same)
    return None


def _same(column: pa.Array) -> pa.Array:
    return column


def _no_values(column: pa.Array) -> pa.Array:
    """Return what stands in for the values of words until they are counted."""
    return pa.nulls(len(column), pa.list_(pa.float64()))


def _number(kind: pa.DataType) -> tuple[Layout, Convert] | None:
    if kind in _NATIVE:
        return _NATIVE[kind], _same
    if kind in _SMALL:
        return "INTEGER", lambda column: pc.cast(column, pa.int32())
    if kind == pa.uint32():
        return "BIGINT", lambda column: pc.cast(column, pa.int64())
    if kind == pa.uint64():
        return "DOUBLE", lambda column: pc.cast(column, pa.float64(), safe=False)
    return None


# categories ----------------------------------------------------------------------------------------------------------


def _category(feature: Feature, kind: pa.DataType) -> tuple[Layout, Convert] | None:
    codes = CategoryCodes(feature)
    if pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return "codes", codes.of_texts
    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
        return "codes", codes.of_dictionary
    return None


# calendar ------------------------------------------------------------------------------------------------------------


def _calendar(feature: Feature, kind: pa.DataType) -> tuple[Layout, Convert] | None:
    read = _microseconds(kind)
    if read is None or feature.part == "year":
        return None
    if feature.part == "epoch":

        def epoch(column: pa.Array) -> pa.Array:
            microseconds, missing = read(column)
            days = microseconds / MICROSECONDS_PER_DAY
            days[missing] = np.nan
            return pa.array(days)

        return "DOUBLE", epoch
    if feature.kind == "number":
        codes, null = list(part_values(feature)), -1  # a negative code is missing
    else:
        codes, null = part_codes(feature), rest_codes(feature)[0]
    table = np.array(codes, np.int32)

    def part(column: pa.Array) -> pa.Array:
        microseconds, missing = read(column)
        found = table[_part(microseconds, feature.part)]
        found[missing] = null
        return pa.array(found)

    return "codes", part


def _part(microseconds: NDArray[np.int64], part: Any) -> NDArray[np.int64]:
    """Return the month from 0, the weekday (0 = Sunday) or the hour."""
    days = microseconds // MICROSECONDS_PER_DAY
    if part == "hour":
        return (microseconds - days * MICROSECONDS_PER_DAY) // 3_600_000_000
    if part == "weekday":
        return (days + 4) % 7  # 1970-01-01 was a Thursday
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12


def _microseconds(kind: pa.DataType) -> Callable[[pa.Array], tuple[NDArray[np.int64], NDArray[np.bool_]]] | None:
    """Return what reads dates as microseconds since 1970, and which of them are missing or infinite."""
    if pa.types.is_date32(kind):
        storage, scale, most = pa.int32(), MICROSECONDS_PER_DAY, _MOST_DAYS
    elif pa.types.is_timestamp(kind) and kind.unit in _PER_SECOND:
        scale = _PER_SECOND[kind.unit]
        storage, most = pa.int64(), np.iinfo(np.int64).max // scale - 1
    else:
        return None

    def read(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        raw = numbers_of(pc.fill_null(column.view(storage), 0)).astype(np.int64)
        missing = (raw > most) | (raw < -most)
        raw[missing] = 0
        if column.null_count:
            missing |= numbers_of(column.is_null())
        return raw * scale, missing

    return read


# sparse rows ---------------------------------------------------------------------------------------------------------


def _to_list(element: pa.DataType) -> Convert:
    return lambda column: column if column.type.value_type == element else pc.cast(column, pa.list_(element))


def _pairs(indices: pa.DataType, values: pa.DataType) -> tuple[Layout, Convert] | None:
    if not (pa.types.is_list(indices) and pa.types.is_list(values)):
        return None
    element = values.value_type
    if not pa.types.is_integer(indices.value_type) or indices.value_type == pa.uint64():
        return None
    if not (pa.types.is_floating(element) or (pa.types.is_integer(element) and element.bit_width < 64)):
        return None
    return "pairs", _to_list(pa.int64())
