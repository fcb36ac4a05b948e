"""What X is: the rows of a relation, whatever a person passed, with the base table under them where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dbml_sql.encode import both
from dbml_sql.expressions import identifier, string
from dbml_sql.query_text import looks_like_query

from dbml.data import duck
from dbml.data.base_table import BaseTable, Extent, find_base, measure, within
from dbml.data.frames import frame_relation, refuse_duplicates
from dbml.data.parquet import ParquetFiles, find_files
from dbml.errors import InvalidData, UnknownName, listing, nearest

if TYPE_CHECKING:
    import duckdb

_FILES = (".parquet", ".csv", ".tsv", ".json", ".csv.gz", ".parq")
_FRAMES = ("pandas.", "polars.", "pyarrow.")
_KINDS = ("DataFrame", "LazyFrame", "Table", "RecordBatch", "Dataset")


@dataclass(frozen=True)
class Source:
    """Rows to read.

    Attributes
    ----------
    name : str
        What a person calls it: table, file, query, kind of frame.
    relation : DuckDBPyRelation
        The rows; runs again for every read, in its own connection.
    columns : dict of str to str
        DuckDB type of each column, in order.
    base : BaseTable or None
        The table whose rows these are one by one, if there is one: it has statistics, and is read by row groups.
    extent : Extent or None
        Row numbers of `base`, if it can be read by them.
    filters : tuple of str
        Conditions of ours, as SQL over `columns`.
    table : str
        What stands after FROM for a source without `base`.
    files : ParquetFiles or None
        The files whose rows these are one by one: they are read by row groups.
    steady : bool
        The rows lie in memory: they can be read again at little cost, and are then the same.
    """

    name: str
    relation: duckdb.DuckDBPyRelation
    columns: dict[str, str]
    base: BaseTable | None = None
    extent: Extent | None = None
    filters: tuple[str, ...] = ()
    table: str = duck.VIEW
    files: ParquetFiles | None = None
    steady: bool = False

    def select(self, expressions: Sequence[str], ranges: Sequence[tuple[int, int]] | None = None) -> str:
        """Return SQL that reads expressions of the rows, in order; of some ranges of row numbers of `base`."""
        where = f" WHERE {both(self.filters)}" if self.filters else ""
        listed = ", ".join(f"{sql} AS c{number}" for number, sql in enumerate(expressions)) or "1 AS c0"
        if self.base is not None and self.base.bare:
            # Not over the query: a query that names its columns is bound whole for a scan of few of them.
            conditions = [*([] if ranges is None else [f"({within(ranges)})"]), *self.filters]
            where = f" WHERE {both(conditions)}" if conditions else ""
            return f"SELECT {listed} FROM {self.base.qualified}{where}"
        if ranges is None:
            return f"SELECT {listed} FROM {self.rows()}{where}"
        if self.files is None:
            # One scan with all ranges in its condition: bound once, and no slower to read, even where ranges are long.
            assert self.base is not None
            return f"SELECT {listed} FROM {self.base.rows(*ranges)}{where}"
        places = [place for bounds in ranges for place in self.files.rows(bounds)]
        return " UNION ALL ".join(f"(SELECT {listed} FROM {place}{where})" for place in places)

    def rows(self) -> str:
        """Return what stands after FROM to read all rows, before `filters`."""
        return self.table if self.base is None else self.base.rows()

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a small query over `rows`."""
        # Where there is a base table, it was looked up by `duck.fetch`.
        return (duck.fetch if self.base is None else duck.ask)(self.relation, sql)

    def count(self) -> int:
        """Return the number of rows."""
        if self.extent is not None and not self.filters and not self.conditions:
            return self.extent.n_rows
        return self.fetch(self.select(["count(*)"]))[0][0]

    def filtered(self, condition: str) -> Source:
        """Return the source with one more condition."""
        return replace(self, filters=(*self.filters, condition))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions of the person's query, where they are known."""
        under = self.base or self.files
        return () if under is None else under.filters

    @property
    def described(self) -> str:
        """The name, with the conditions of the person's query."""
        return f"{self.name} WHERE {self._condition()}" if self.conditions else self.name

    def _condition(self) -> str:
        return self.conditions[0] if len(self.conditions) == 1 else both(self.conditions)

    def no_rows(self) -> InvalidData:
        """Return the error that there is no row to learn from, and why."""
        n_rows = 0 if self.extent is None else self.extent.n_rows
        if self.files is not None:
            n_rows = sum(partition.n_rows for partition in self.files.partitions)
        if not self.conditions or not n_rows:
            return InvalidData(f"{self.name} has no rows to learn from")
        return InvalidData(
            f"the filter leaves none of the {n_rows:,} rows of {self.name} to learn from: {self._condition()}"
        )

    def renamed(self, names: Mapping[str, str]) -> Source:
        """Return a source without a table under it with other names for columns, old -> new; others keep theirs."""
        assert self.base is None and self.files is None, "names of a table are its own"
        listed = [f"{identifier(old)} AS {identifier(names.get(old, old))}" for old in self.columns]
        columns = {names.get(old, old): kind for old, kind in self.columns.items()}
        return replace(self, relation=self.relation.project(", ".join(listed)), columns=columns)

    def find(self, column: str, what: str = "column") -> str:
        """Return the column as the source spells it: names match as in DuckDB, whatever their case.

        Raises
        ------
        UnknownName
            There is none.
        """
        return find_column(column, self.columns, f"{what} {column!r} in {self.name}")


def find_column(column: str, names: Mapping[str, object] | Sequence[str], described: str) -> str:
    """Return the name among `names` that equals `column`, case aside (the same case first)."""
    if column in names:
        return column
    for name in names:
        if name.casefold() == column.casefold():
            return name
    raise UnknownName(f"no {described}{nearest(column, names)} (columns: {listing(names)})")


def accepts(X: Any) -> bool:
    """Return whether X is something that DuckDB reads; packages of frames are not imported to find out."""
    return duck.is_relation(X) or isinstance(X, (str, Mapping, Source)) or is_stream(X) or _is_frame(X, _KINDS)


def is_frame(X: Any) -> bool:
    """Return whether X is a frame, an Arrow table or a dict of arrays."""
    return isinstance(X, Mapping) or _is_frame(X, _KINDS)


def is_stream(X: Any) -> bool:
    """Return whether X gives its rows only once."""
    return _is_frame(X, ("RecordBatchReader",))


def _is_frame(X: Any, names: Sequence[str]) -> bool:
    kinds = type(X).__mro__
    return any(kind.__name__ in names and f"{kind.__module__}.".startswith(_FRAMES) for kind in kinds)


def open_source(X: Any, con: Any = None, measured: bool = True) -> Source:
    """Return the source of what a person passed; a source is one already.

    Not `measured` is for who holds the rows afterwards (`dbml.data.steady`), and measures them then.

    Raises
    ------
    UnknownName
        No such table or file.
    InvalidData
        A table name without a connection, or columns whose names differ in nothing but case.
    """
    if isinstance(X, Source):
        return X
    steady = False
    if isinstance(X, str):
        relation, name = _named(X, con)
    elif duck.is_relation(X):
        relation, name = X, ""
    else:
        relation, name = frame_relation(X)
        # A dataset is files that DuckDB reads through Arrow.
        steady = not name.endswith("Dataset")
    refuse_duplicates(relation.columns, name or "the query")
    columns = duck.columns_of(relation)
    # A stream was put into a table; frames lie in memory as they are.
    has_base = not name or isinstance(X, str) or is_stream(X)
    base = find_base(relation) if has_base else None
    files = find_files(relation) if base is None and (not name or isinstance(X, str)) else None
    if not name or name == "the query":
        name = base.name if base is not None else "the query"
    extent = measure(relation, base) if base is not None and measured else None
    is_file = isinstance(X, str) and base is None and name == X and X.lower().endswith(_FILES)
    table = f"(SELECT * FROM {string(name)})" if is_file else duck.VIEW
    return Source(
        name,
        relation,
        columns,
        base,
        extent if extent is not None and extent.end >= 0 else None,
        table=table,
        files=files,
        steady=steady,
    )


def _named(text: str, con: Any) -> tuple[duckdb.DuckDBPyRelation, str]:
    """Return the relation of a table name, SQL or a file path."""
    import duckdb

    is_file = text.lower().endswith(_FILES)
    is_query = looks_like_query(text)
    if con is None and not is_file:
        raise InvalidData(
            f"X is the text {text!r}: a table name or SQL needs the connection to look it up, con=…; without one, X "
            "must be the path of a .parquet or .csv file"
        )
    connection = duck.private_connection() if con is None else duck.unwrap(con)
    try:
        if _is_table(connection, text):
            return connection.table(identifier(text)), text
        if is_query:
            query = duck.plain_query(con, text)
            _refuse_no_query(connection, query)
            return connection.sql(query), "the query"
        if is_file:
            return connection.sql(f"SELECT * FROM {string(text)}"), text
        return connection.table(text), text
    except (duckdb.CatalogException, duckdb.IOException) as error:
        if is_query:
            raise
        if not is_file and len(text.split()) > 1:
            _refuse_no_query(connection, text)
        raise UnknownName(_no_table(connection, text, is_file)) from error


def _refuse_no_query(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Raise `InvalidData` for SQL that is anything but one query; text that is no SQL passes."""
    import duckdb

    try:
        came = duck.what_is_no_query(connection, text)
    except duckdb.ParserException:
        return
    if came:
        raise InvalidData(
            f"X, as SQL, must be one query that only reads (SELECT, FROM, WITH, …); got {came}. Nothing was run"
        )


def _is_table(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Return whether a table or view has exactly this name; else the text may still be ``schema.table``."""
    known = f"SELECT 1 FROM duckdb_tables() WHERE table_name = {string(name)} UNION ALL "
    known += f"SELECT 1 FROM duckdb_views() WHERE view_name = {string(name)}"
    return bool(connection.sql(known).fetchall())


def _no_table(connection: duckdb.DuckDBPyConnection, name: str, is_file: bool) -> str:
    if is_file:
        return f"no file {name!r} that DuckDB can read"
    # Schema ml holds the registry, which nobody learns from.
    rows = connection.sql(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name <> 'ml' UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name <> 'ml'"
    ).fetchall()
    names = sorted({row[0] for row in rows})
    return f"no table {name!r}{nearest(name, names)} (tables: {listing(names)})"
