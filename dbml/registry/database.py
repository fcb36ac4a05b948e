"""Where models live: schema ``ml`` of a database, and a database in memory beside one that is read-only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import duckdb
from dbml_sql.expressions import identifier

from dbml.errors import DbmlWarning, RegistryError, UnknownName, listing, nearest
from dbml.registry.migrations import is_up_to_date, migrate, schema_number
from dbml.registry.reading import first_row
from dbml.registry.transaction import commit, in_transaction

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
        return identifier(self.database)

    @property
    def in_session(self) -> bool:
        """Whether the models are in memory only."""
        return self.database == SESSION


@dataclass(frozen=True, slots=True)
class Attached:
    """The databases of a connection, as they were when it was asked.

    Attributes
    ----------
    current : Place
        The registry of the current database, whether it exists yet or not.
    read_only : dict of str to bool
        By name, in alphabetical order, those that are DuckDB's own left out.
    """

    current: Place
    read_only: dict[str, bool]

    def find(self, database: str) -> Place | None:
        """Return the registry of a database by its name in any case, whether it exists yet or not, or None."""
        return next((Place(name) for name in self.read_only if name.lower() == database.lower()), None)

    def named(self, database: str) -> Place:
        """Do the same as `find`.

        Raises
        ------
        UnknownName
            No database of this name is attached.
        """
        found = self.find(database)
        if found is None:
            names = list(self.read_only)
            raise UnknownName(
                f"no database {database!r} is attached{nearest(database, names)} (databases: {listing(names)}); "
                "models are named model, or database.model"
            )
        return found

    def is_read_only(self, place: Place) -> bool:
        """Whether the database of a registry is open read-only."""
        return self.read_only.get(place.database, False)

    def check_names(self) -> None:
        """Raise `RegistryError` where one has the name of the schema: DuckDB could not tell ``ml.t`` of the two."""
        found = self.find("ml")
        if found is not None:
            raise RegistryError(
                "models lie in schema ml of a database, and DuckDB cannot tell it from the database "
                f"{found.database!r}: rename its file, or attach it under another name (ATTACH 'ml.duckdb' AS mine; "
                "USE mine)"
            )


def attached(con: duckdb.DuckDBPyConnection) -> Attached:
    """Return the databases of a connection."""
    query = "SELECT database_name, readonly, internal, current_database() FROM duckdb_databases()"
    rows = sorted(con.execute(query).fetchall())
    return Attached(Place(rows[0][-1]), {name: read_only for name, read_only, internal, _ in rows if not internal})


def current_place(con: duckdb.DuckDBPyConnection) -> Place:
    """Return the registry of the connection's current database, whether it exists yet or not."""
    row = first_row(con.execute("SELECT current_database()"))
    assert row is not None
    return Place(row[0])


def places(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """Return the registries that exist, in the order in which a name is looked up: the session's before the file's."""
    found = attached(con)
    session = [Place(SESSION)] if SESSION in found.read_only else []
    return [place for place in (*session, found.current) if schema_number(con, place.database) > 0]


def other_places(con: duckdb.DuckDBPyConnection) -> list[Place]:
    """Return the registries that exist in attached databases in which a bare name is not looked up."""
    found = attached(con)
    others = [Place(name) for name in found.read_only if name not in (SESSION, found.current.database)]
    return [place for place in others if schema_number(con, place.database) > 0]


def prepare_place(con: duckdb.DuckDBPyConnection, database: str | None) -> None:
    """Make the registry of another database than the current one, if it has none: in a transaction of its own.

    The tables are made in the current database, which a cursor of its own changes and the connection keeps.

    Raises
    ------
    RegistryError
        A transaction is open, which would not see the tables; or a database has the name of the schema.
    """
    found = attached(con)
    found.check_names()
    place = found.current if database is None else found.named(database)
    if place == found.current or is_up_to_date(con, place.database) or found.is_read_only(place):
        return
    if in_transaction(con):
        raise RegistryError(
            f"database {place.database!r} has no models yet, and its first one cannot be made inside a transaction "
            f"that was begun elsewhere: end it, or begin it after USE {place.database}"
        )
    with con.cursor() as own:
        own.execute(f"USE {place.quoted}")
        commit(own, f"schema ml of database {place.database!r} was not made", lambda: migrate(own, place.database))


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
    found = attached(con)
    found.check_names()
    place = found.current if database is None else found.named(database)
    if place.database in ("temp", "system"):
        raise RegistryError(f"models cannot be saved in database {place.database!r}; USE another one")
    if place != found.current:
        if found.is_read_only(place):
            raise RegistryError(f"database {place.database!r} is open read-only: models cannot be saved in it")
        return place
    if not found.is_read_only(place):
        migrate(con, place.database)
        return place
    if SESSION not in found.read_only:
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
