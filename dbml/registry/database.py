"""Where models live: schema ``ml`` of a database, and a database in memory beside one that is read-only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import duckdb

from dbml.errors import DbmlWarning, RegistryError, UnknownName, listing, nearest
from dbml.registry.migrations import is_up_to_date, migrate, schema_number
from dbml.registry.reading import first_row
from dbml.registry.transaction import in_transaction, transact

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
        return f"{self.quoted}.ml"

    @property
    def quoted(self) -> str:
        """Quoted name of the database."""
        return '"' + self.database.replace('"', '""') + '"'

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


def attached_place(con: duckdb.DuckDBPyConnection, database: str) -> Place | None:
    """Return the registry of an attached database by its name in any case, whether it exists yet or not, or None."""
    query = "SELECT database_name FROM duckdb_databases() WHERE lower(database_name) = lower(?) AND NOT internal"
    row = first_row(con.execute(query, [database]))
    return None if row is None else Place(row[0])


def named_place(con: duckdb.DuckDBPyConnection, database: str) -> Place:
    """Return the registry of an attached database.

    Raises
    ------
    UnknownName
        No database of this name is attached.
    """
    found = attached_place(con, database)
    if found is None:
        names = attached_databases(con)
        raise UnknownName(
            f"no database {database!r} is attached{nearest(database, names)} (databases: {listing(names)}); "
            "models are named model, or database.model"
        )
    return found


def attached_databases(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of the attached databases, in alphabetical order."""
    query = "SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY 1"
    return [name for (name,) in con.execute(query).fetchall()]


def other_places(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """Return the registries that exist in attached databases in which a bare name is not looked up."""
    searched = [SESSION, current_place(con).database]
    found = [Place(name) for name in attached_databases(con) if name not in searched]
    return [place for place in found if schema_number(con, place.database) > 0]


def prepare_place(con: duckdb.DuckDBPyConnection, database: str | None) -> None:
    """Make the registry of another database than the current one, if it has none: in a transaction of its own.

    The tables are made in the current database, which a cursor of its own changes and the connection keeps.

    Raises
    ------
    RegistryError
        A transaction is open, which would not see the tables; or a database has the name of the schema.
    """
    _check_databases(con)
    place = current_place(con) if database is None else named_place(con, database)
    if place == current_place(con) or is_up_to_date(con, place.database) or is_read_only(con, place.database):
        return
    if in_transaction(con):
        raise RegistryError(
            f"database {place.database!r} has no models yet, and its first one cannot be made inside a transaction "
            f"that was begun elsewhere: end it, or begin it after USE {place.database}"
        )
    with con.cursor() as own:
        own.execute(f"USE {place.quoted}")
        transact(own, f"schema ml of database {place.database!r} was not made", lambda: migrate(own, place.database))


def writable_place(con: duckdb.DuckDBPyConnection, database: str | None = None) -> Place:
    """Return the registry that new models go to, its tables made or brought up to date.

    The current database, if it is writable, is migrated inside the open transaction; another one was, by
    `prepare_place`. Beside a read-only current one a database in memory is attached, with a warning.

    Raises
    ------
    RegistryError
        The user's own tables in schema ``ml`` are in the way, a newer dbml made the registry, or a database has the
        name of the schema.
    """
    _check_databases(con)
    place = current_place(con) if database is None else named_place(con, database)
    if place.database in ("temp", "system"):
        raise RegistryError(f"models cannot be saved in database {place.database!r}; USE another one")
    if place != current_place(con):
        if is_read_only(con, place.database):
            raise RegistryError(f"database {place.database!r} is open read-only: models cannot be saved in it")
        return place
    if not is_read_only(con, place.database):
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


def _check_databases(con: duckdb.DuckDBPyConnection) -> None:
    """Raise `RegistryError` where a database has the name of the schema: DuckDB could not tell ``ml.t`` of the two."""
    found = attached_place(con, "ml")
    if found is not None:
        raise RegistryError(
            f"models lie in schema ml of a database, and DuckDB cannot tell it from the database {found.database!r}: "
            "rename its file, or attach it under another name (ATTACH 'ml.duckdb' AS mine; USE mine)"
        )


def is_read_only(con: duckdb.DuckDBPyConnection, database: str) -> bool:
    """Whether a database is open read-only."""
    row = first_row(con.execute("SELECT readonly FROM duckdb_databases() WHERE database_name = ?", [database]))
    return bool(row and row[0])


def _attached(con: duckdb.DuckDBPyConnection) -> bool:
    return first_row(con.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = ?", [SESSION])) is not None
