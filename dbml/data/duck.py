"""The few calls of DuckDB's client API that reading data needs."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dbml_sql.query_text import looks_like_query, writing_part

from dbml.errors import ExhaustedMemory, InvalidData
from dbml.passes.memory import memory_budget

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_numbers = itertools.count(1)
VIEW = "dbml_source"  # how our queries call the relation that a person passed


def what_is_no_query(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return what text is besides one query that only reads, "" for such a query. Nothing runs.

    DuckDB runs whatever else it is given when it is asked for a relation.

    Raises
    ------
    duckdb.ParserException
        The text is no SQL.
    """
    found = [statement.type.name for statement in connection.extract_statements(text)]
    if len(found) != 1:
        return " and ".join(found) or "an empty text"
    # A query with a PIVOT is MULTI, since it looks up its columns first, and so is a CREATE TABLE from one.
    if found[0] not in ("SELECT", "MULTI"):
        return found[0]
    if found[0] == "MULTI" and not looks_like_query(text):
        return text.split(None, 1)[0].upper()
    part = writing_part(text)
    return f"a query with {part} in it" if part else ""


def is_relation(X: Any) -> bool:
    """Return whether X is a DuckDB relation, without importing DuckDB."""
    module = sys.modules.get("duckdb")
    return module is not None and isinstance(X, module.DuckDBPyRelation)


def unwrap(con: Any) -> duckdb.DuckDBPyConnection:
    """Return the DuckDB connection inside a dbml connection (its attribute `duckdb`), or the connection itself."""
    return getattr(con, "duckdb", con)


def plain_query(con: Any, text: str) -> str:
    """Return a query as DuckDB understands it: a dbml connection replaces its calls about models."""
    rewritten = getattr(con, "rewritten", None)
    return text if rewritten is None else str(rewritten(text))


def private_connection() -> duckdb.DuckDBPyConnection:
    """Return a connection to a database in memory of our own, that prints no progress and keeps to its memory.

    Others share the database, which takes 20 ms to open: what is made in it must be temporary.
    """
    con = _private_database(os.getpid(), memory_budget().database).cursor()
    con.execute("SET enable_progress_bar = false")
    return con


@lru_cache(maxsize=4)
def _private_database(process: int, memory_limit: int) -> duckdb.DuckDBPyConnection:
    """Open a database for a process, as a fork has none of the threads, and for what computes within a limit."""
    import duckdb

    # Left alone it would spill into the working directory.
    spill = os.path.join(tempfile.gettempdir(), f"dbml-{process}-{next(_numbers)}")
    found = duckdb.connect(":memory:", config={"memory_limit": f"{memory_limit >> 20}MiB", "temp_directory": spill})
    # Times without a zone are in UTC, as in Arrow and NumPy: not in the zone of this machine.
    found.execute("SET GLOBAL TimeZone = 'UTC'")
    return found


def error_class(kind: str = "Error") -> type[Exception]:
    """Return a class of errors of DuckDB by its name, by default that of all."""
    import duckdb

    return getattr(duckdb, kind)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say what to do where DuckDB has too little memory or a busy connection; other errors pass as they are."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ExhaustedMemory(
            f"{name}: DuckDB, which has half of memory_limit, ran out of it while reading the rows. Raise "
            "memory_limit, or select fewer columns: each that is read takes up to 512 KiB for each of DuckDB's threads "
            "(SET threads = 1)"
        ) from error
    except duckdb.Error as error:
        if "unfinished result" in str(error):
            raise InvalidData(
                f"{name}: its connection has an unfinished result, which reading the rows would break. Fetch that "
                "result to the end first, or pass a relation of another connection: con.cursor().table(…)"
            ) from error
        raise


@contextmanager
def turned(kind: str, ours: Exception) -> Iterator[None]:
    """Turn errors of DuckDB of a class, by its name, into one of ours; other errors pass as they are."""
    try:
        yield
    except error_class(kind) as error:
        raise ours from error


def query(relation: duckdb.DuckDBPyRelation, sql: str) -> duckdb.DuckDBPyRelation:
    """Return a query in the connection of a relation, which the query may call `VIEW`. Nothing runs yet.

    Temporary tables, registered frames and the open transaction of that connection are seen.
    """
    connection = getattr(relation, "_con", None)
    if connection is not None and VIEW not in sql:
        # Not over the relation: its connection binds the query once, `relation.query` three times.
        return connection.sql(sql)
    made = relation.query(VIEW, sql)
    assert made is not None
    return made


def fetch(relation: duckdb.DuckDBPyRelation, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a small query, types that Arrow turns into Python values."""
    table = fetch_table(relation, sql)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def ask(relation: duckdb.DuckDBPyRelation, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a small query: in half the time of `fetch`, whose query is a relation that is planned twice.

    It would end a result that the person has not read out: `fetch` must have found that there is none.
    """
    connection = getattr(relation, "_con", None)
    if connection is None or VIEW in sql:
        return fetch(relation, sql)
    with explained(relation.alias):
        return connection.execute(sql).fetchall()


def fetch_table(relation: duckdb.DuckDBPyRelation, sql: str) -> pa.Table:
    """Return all rows of a query."""
    with explained(relation.alias):
        return query(relation, sql).to_arrow_table()


def in_transaction(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a connection has an open transaction: the number of the transaction then stays the same."""
    asked = "SELECT txid_current()"
    return connection.execute(asked).fetchall() == connection.execute(asked).fetchall()


def in_transaction_between_queries(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a connection has an open transaction; False inside a query of its own, where it cannot be asked."""
    import duckdb

    try:
        return in_transaction(connection)
    except duckdb.ResourceInUseException:
        return False


def begin(relation: duckdb.DuckDBPyRelation) -> bool:
    """Begin a transaction in the connection of a relation, and return whether that was possible and needed."""
    connection = getattr(relation, "_con", None)
    if connection is None:
        return False
    with explained(relation.alias):
        if in_transaction(connection):
            return False
        connection.begin()
    return True


def end(relation: duckdb.DuckDBPyRelation) -> None:
    """End the transaction of `begin`, if it did not end with its connection.

    Nothing was written in it, unless the person did so before the data were closed: that is kept.
    """
    import duckdb

    connection = getattr(relation, "_con", None)
    if connection is not None:
        with suppress(duckdb.TransactionException, duckdb.ConnectionException):
            connection.commit()


def keep(relation: duckdb.DuckDBPyRelation, sql: str, table: str) -> bool:
    """Run a query, which may call the relation `VIEW`, into a temporary table; return False if there is no room."""
    import duckdb

    with explained(relation.alias):
        try:
            relation.query(VIEW, f"CREATE TEMP TABLE {table} AS {sql}")
        except duckdb.OutOfMemoryException:
            return False
    return True


def drop(relation: duckdb.DuckDBPyRelation, table: str) -> None:
    """Drop the temporary table of `keep`, unless it went with its connection or transaction."""
    import duckdb

    connection = getattr(relation, "_con", None)
    if connection is not None:
        with suppress(duckdb.ConnectionException, duckdb.TransactionException):
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def stream(relation: duckdb.DuckDBPyRelation, sql: str, batch_rows: int) -> Generator[pa.RecordBatch, None, None]:
    """Yield the rows of a query as record batches, in order. Closing the iterator ends the query."""
    with explained(relation.alias):
        reader = query(relation, sql).to_arrow_reader(batch_rows)
        try:
            yield from reader
        finally:
            reader.close()


def interrupt(relation: duckdb.DuckDBPyRelation) -> None:
    """Make a query of ours that runs in the connection of a relation end with an error."""
    connection = getattr(relation, "_con", None)
    if connection is not None:
        connection.interrupt()


def temp_directory(relation: duckdb.DuckDBPyRelation) -> str | None:
    """Return where the database of a relation spills, None where it says nothing."""
    return fetch(relation, "SELECT current_setting('temp_directory')")[0][0] or None


def columns_of(relation: duckdb.DuckDBPyRelation) -> dict[str, str]:
    """Return the DuckDB type of each column of a relation."""
    return dict(zip(relation.columns, map(str, relation.types), strict=True))
