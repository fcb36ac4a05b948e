"""The tables of schema ``ml``: made and brought up to date, side by side with tables of the user's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from importlib import metadata

import duckdb
from dbml_sql.catalogue import Migration, migrations
from dbml_sql.expressions import identifier

from dbml.errors import RegistryError, listing

_CREATED = re.compile(r"^CREATE\s+(?:TABLE|VIEW)\s+ml\.(\w+)", re.IGNORECASE | re.MULTILINE)
_COLUMNS = {"number": "INTEGER", "name": "VARCHAR", "dbml_version": "VARCHAR", "applied_at": "TIMESTAMP"}


@cache
def installed_version() -> str:
    """Return the version of this dbml, which takes a millisecond to find."""
    return metadata.version("dbml")


def schema_number(con: duckdb.DuckDBPyConnection, database: str) -> int:
    """Return the number of the last migration applied to schema ``ml`` of a database; 0 where there is no registry.

    Raises
    ------
    RegistryError
        A newer dbml made the schema.
    """
    # By what the table holds, not by its comment: EXPORT DATABASE leaves comments out.
    columns = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = 'ml' AND table_name = 'migrations'",
        [database],
    ).fetchall()
    if dict(columns) != _COLUMNS:
        return 0
    # Sorted here: an ORDER BY adds half to what DuckDB takes for a query as small as this.
    applied = sorted(
        con.execute(f"SELECT number, name, dbml_version FROM {identifier(database)}.ml.migrations").fetchall()
    )
    if not applied or applied[0][1] != migrations()[0].name:
        return 0
    number, _, version = applied[-1]
    known = migrations()[-1].number
    if number > known:
        raise RegistryError(
            f"database {database!r}: the registry (schema ml) was made by dbml {version}, number {number}; this dbml "
            f"knows up to number {known}: install dbml {version} or newer (pip install --upgrade dbml)"
        )
    return int(number)


def is_up_to_date(con: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Whether schema ``ml`` of a database is there, with all migrations applied."""
    return schema_number(con, database) == migrations()[-1].number


def migrate(con: duckdb.DuckDBPyConnection, database: str) -> None:
    """Make or update the tables of the registry in the connection's current database, named `database`.

    Runs inside the caller's transaction.
    """
    number = schema_number(con, database)
    missing = [migration for migration in migrations() if migration.number > number]
    if not missing:
        return
    _check_names(con, database, missing)
    for migration in missing:
        con.execute(migration.sql)
    con.execute(
        "INSERT INTO ml.migrations SELECT unnest(?::INTEGER[]), unnest(?::VARCHAR[]), ?, ?",
        [
            [migration.number for migration in missing],
            [migration.name for migration in missing],
            installed_version(),
            datetime.now(UTC).replace(tzinfo=None),
        ],
    )
    if number > 0 and any(migration.writes_macros for migration in missing):
        from dbml.registry.database import Place
        from dbml.registry.macro_upgrade import rewrite_macros

        rewrite_macros(con, Place(database))


def _check_names(con: duckdb.DuckDBPyConnection, database: str, missing: list[Migration]) -> None:
    """Raise `RegistryError` where the user's own tables in a schema ``ml`` have the names of ours."""
    wanted = {name.lower() for migration in missing for name in _CREATED.findall(migration.sql)}
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND schema_name = 'ml' UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE database_name = $1 AND schema_name = 'ml'",
        [database],
    ).fetchall()
    taken = sorted(name for (name,) in rows if name.lower() in wanted)
    if taken:
        raise RegistryError(
            f"database {database!r}: dbml keeps its models in schema ml, and tables of yours have the names it needs "
            f"there: {listing(taken)}; move them to another schema (CREATE TABLE other.t AS FROM ml.t; DROP TABLE ml.t)"
        )
