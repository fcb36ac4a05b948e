"""Where models live: schema ``ml`` of the current database, and a database in memory beside one that is read-only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import duckdb

from dbml.errors import DbmlWarning, RegistryError
from dbml.registry.migrations import migrate, schema_number
from dbml.registry.reading import first_row

SESSION = "dbml_session"


class ModelsInMemory(DbmlWarning):
    """The database is read-only, so models are kept in memory until the connection closes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A registry: a database and its schema ``ml``.

    Attributes
    ----------
    database : str
        Name of the attached database.
    """

    database: str

    @property
    def schema(self) -> str:
        """Quoted name of the schema with its database."""
        return '"' + self.database.replace('"', '""') + '".ml'

    @property
    def in_session(self) -> bool:
        """Whether the models are in memory only."""
        return self.database == SESSION


def current_place(con: duckdb.DuckDBPyConnection) -> Place:
    """Return the registry of the connection's current database, whether it exists yet or not."""
    row = first_row(con.execute("SELECT current_database()"))
    assert row is not None
    return Place(row[0])


def places(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """Return the registries that exist, in the order in which a name is looked up: the session's before the file's."""
    found = [Place(SESSION)] if _attached(con) else []
    current = current_place(con)
    return [place for place in (*found, current) if schema_number(con, place.database) > 0]


def writable_place(con: duckdb.DuckDBPyConnection) -> Place:
    """Return the registry that new models go to, its tables made or brought up to date.

    A writable database is migrated inside the open transaction. Beside a read-only one a database in memory is
    attached, with a warning.

    Raises
    ------
    RegistryError
        The user's own tables in schema ``ml`` are in the way, or a newer dbml made the registry.
    """
    place = current_place(con)
    if place.database in ("temp", "system"):
        raise RegistryError(f"models cannot be saved in database {place.database!r}; USE another one")
    if not _is_read_only(con, place.database):
        migrate(con, place.database)
        return place
    if not _attached(con):
        con.execute(f"ATTACH ':memory:' AS {SESSION} (READ_WRITE)")
        warnings.warn(
            f"database {place.database!r} is open read-only: models are kept in memory and are gone when the "
            "connection closes; open it with read_only=False to keep them",
            ModelsInMemory,
            stacklevel=2,
        )
    with con.cursor() as own:
        own.execute(f"USE {SESSION}")
        migrate(own, SESSION)
    return Place(SESSION)


def _is_read_only(con: duckdb.DuckDBPyConnection, database: str) -> bool:
    row = first_row(con.execute("SELECT readonly FROM duckdb_databases() WHERE database_name = ?", [database]))
    return bool(row and row[0])


def _attached(con: duckdb.DuckDBPyConnection) -> bool:
    return first_row(con.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = ?", [SESSION])) is not None
