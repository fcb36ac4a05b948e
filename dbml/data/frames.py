"""Frames, Arrow objects and dicts of arrays as relations, in a connection of our own.

Columns of types that DuckDB does not read become the nearest type that it does (float16 is read as FLOAT, decimals of
more than 38 digits as DOUBLE); where there is none, the column is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbml.data import duck
from dbml.errors import InvalidData, UnsupportedColumn, listing

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MOST_DIGITS = 38  # of a DECIMAL in DuckDB

_WITHOUT = {"pandas": "X.drop(columns=[{0!r}])", "polars": "X.drop({0!r})", "pyarrow": "X.drop_columns([{0!r}])"}


def frame_relation(X: Any) -> tuple[duckdb.DuckDBPyRelation, str]:
    """Return the relation over a frame, an Arrow object or a dict of arrays, and the kind of X in words.

    Raises
    ------
    UnsupportedColumn
        A column has a type that DuckDB does not read, and no other fits; it is named, with what to do.
    InvalidData
        Names of columns that do not differ, or arrays of different lengths.
    """
    import pyarrow as pa

    kind = f"{type(X).__module__.partition('.')[0]} {type(X).__name__}"
    connection = duck.private_connection()
    if isinstance(X, Mapping):
        kind = "dict of arrays"
        X = _table_of(X)
    if kind.startswith("pandas"):
        return _from_pandas(connection, X, kind), kind
    if kind.startswith("polars"):
        X = _from_polars(X.collect() if type(X).__name__ == "LazyFrame" else X, kind)
    if isinstance(X, pa.RecordBatch):
        X = pa.Table.from_batches([X])
    refuse_duplicates(X.schema.names, kind)
    X = _readable(connection, X, kind)
    if isinstance(X, pa.RecordBatchReader):
        # A reader gives its rows once, and training reads them several times.
        connection.register("stream", X)
        connection.execute("CREATE TEMP TABLE rows AS FROM stream")
        connection.unregister("stream")
        return connection.table("rows"), kind
    return connection.from_arrow(X), kind


def _table_of(columns: Mapping[Any, Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.table({str(name): pa.array(values) for name, values in columns.items()})
    except (pa.ArrowException, TypeError) as error:
        raise InvalidData(f"X, a dict, must hold one array per column, all of one length: {error}") from error


def refuse_duplicates(names: Sequence[str], kind: str) -> None:
    """Raise `InvalidData` where names differ in nothing but case."""
    folded = [name.casefold() for name in names]
    twice = (
        sorted({name for name in names if folded.count(name.casefold()) > 1}) if len(set(folded)) < len(names) else []
    )
    if twice:
        raise InvalidData(
            f"{kind}: column names must differ in more than case; these do not: {listing(twice)}. Rename them with AS"
        )


def _refuse(kind: str, columns: Iterable[tuple[str, Any]]) -> None:
    """Raise `UnsupportedColumn` for columns with their types, if there are any."""
    named = list(columns)
    if named:
        without = _WITHOUT.get(kind.partition(" ")[0], "")
        raise UnsupportedColumn(
            f"{kind}: DuckDB does not read the type of {listing([f'{name} ({dtype})' for name, dtype in named])}. "
            f"Convert it to numbers or text, or leave it out{': ' * bool(without)}{without.format(named[0][0])}"
        )


def _fails(read: Callable[[Any], Any], rows: Any, errors: type[Exception] | tuple[type[Exception], ...]) -> bool:
    try:
        read(rows)
    except errors:
        return True
    return False


# Arrow -----------------------------------------------------------------------------------------------------------


def _readable(connection: duckdb.DuckDBPyConnection, X: Any, kind: str) -> Any:
    """Return a table, reader or dataset whose columns DuckDB reads."""
    import pyarrow as pa

    schema = pa.schema([field.with_type(readable_type(field.type)) for field in X.schema])
    changed = not schema.equals(X.schema)
    if changed and isinstance(X, pa.Table):
        X = pa.table(
            [_cast(column, field.type) for column, field in zip(X.columns, schema, strict=True)], schema=schema
        )
    elif changed and isinstance(X, pa.RecordBatchReader):
        X = pa.RecordBatchReader.from_batches(schema, _cast_batches(X, schema))
    elif changed:  # a dataset is read by DuckDB itself
        fields = zip(X.schema, schema, strict=True)
        _refuse(kind, [(old.name, old.type) for old, new in fields if not old.type.equals(new.type)])
    _refuse_unread(connection, X, schema, kind)
    return X


def _refuse_unread(connection: duckdb.DuckDBPyConnection, X: Any, schema: pa.Schema, kind: str) -> None:
    import pyarrow as pa

    def read(names: list[str]) -> Any:
        # Not of every type can rows be made, so of a table its own are taken.
        own = X.select(names).slice(0, 0) if isinstance(X, pa.Table) else None
        return connection.from_arrow(pa.schema([schema.field(n) for n in names]).empty_table() if own is None else own)

    failed = (duck.error_class(), pa.ArrowException)
    if _fails(read, schema.names, failed):
        _refuse(kind, [(field.name, field.type) for field in schema if _fails(read, [field.name], failed)])


def readable_type(given: pa.DataType) -> pa.DataType:
    """Return the type that DuckDB reads a column of an Arrow type as: mostly the type itself."""
    import pyarrow as pa

    if pa.types.is_float16(given):
        return pa.float32()
    if pa.types.is_decimal256(given):
        return pa.decimal128(given.precision, given.scale) if given.precision <= _MOST_DIGITS else pa.float64()
    if pa.types.is_dictionary(given) or pa.types.is_run_end_encoded(given):
        inner = readable_type(given.value_type)
        return given if inner.equals(given.value_type) else inner
    for is_list, make in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
        if is_list(given):
            return make(given.value_field.with_type(readable_type(given.value_type)))
    if pa.types.is_fixed_size_list(given):
        return pa.list_(given.value_field.with_type(readable_type(given.value_type)), given.list_size)
    return given


def _cast(column: Any, wanted: pa.DataType) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type.equals(wanted):
        return column
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return column.cast(wanted)


def _cast_batches(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterable[pa.RecordBatch]:
    import pyarrow as pa

    for batch in reader:
        yield pa.record_batch(
            [_cast(column, field.type) for column, field in zip(batch.columns, schema, strict=True)], schema=schema
        )


# pandas and polars -----------------------------------------------------------------------------------------------


def _from_pandas(connection: duckdb.DuckDBPyConnection, X: Any, kind: str) -> duckdb.DuckDBPyRelation:
    names = [str(name) for name in X.columns]
    refuse_duplicates(names, kind)
    X = X.set_axis(names, axis=1).reset_index(drop=True)
    failed = duck.error_class()
    try:
        return connection.from_df(X)
    except failed:
        unread = [name for name in names if _fails(connection.from_df, X[[name]].head(0), failed)]
    dtypes = {name: dtype for name in unread if (dtype := _readable_dtype(X[name].dtype)) is not None}
    _refuse(kind, [(name, X[name].dtype) for name in unread if name not in dtypes])
    return connection.from_df(X.astype(dtypes))


def _readable_dtype(dtype: Any) -> Any:
    """Return a dtype of pandas that DuckDB reads, for one that it does not read; None where there is none."""
    if hasattr(dtype, "subtype") and type(dtype).__name__ == "SparseDtype":
        return dtype.subtype
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is None:
        return None
    wanted = readable_type(arrow)
    return None if wanted.equals(arrow) else type(dtype)(wanted)


def _from_polars(X: Any, kind: str) -> pa.Table:
    import pyarrow as pa

    try:
        return X.to_arrow()
    except pa.ArrowException:
        unread = [
            name
            for name in X.columns
            if _fails(lambda rows: rows.to_arrow(), X.select(name).head(0), pa.ArrowException)
        ]
        _refuse(kind, [(name, X.schema[name]) for name in unread])
        raise
