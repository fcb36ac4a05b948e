"""A registry that an older dbml made, brought up to date when its database is opened."""

from __future__ import annotations

import warnings

import duckdb
from dbml_sql.catalogue import migrations

from dbml.data import duck
from dbml.errors import DbmlWarning, RegistryError
from dbml.registry.database import attached, current_place
from dbml.registry.freshness import registry_changed
from dbml.registry.migrations import migrate, schema_number
from dbml.registry.transaction import commit


class OutdatedRegistry(DbmlWarning):
    """The registry of a database, or macros of it, are still those of an older dbml."""


def bring_up_to_date(con: duckdb.DuckDBPyConnection) -> None:
    """Apply the migrations that the registry of the current database lacks; a connection does so when it is opened.

    In one transaction of a cursor of its own, whatever the connection is about. A registry that cannot be written, or
    that another connection is writing, keeps what it has until it can: it is read as it is.
    """
    with con.cursor() as own:
        place = current_place(con)
        try:
            if schema_number(own, place.database) in (0, migrations()[-1].number):
                return
        except RegistryError:  # made by a newer dbml: told when a model is asked for
            return
        if attached(own).is_read_only(place):
            return
        own.execute(f"USE {place.quoted}")
        try:
            commit(own, "the registry was not brought up to date", lambda: migrate(own, place.database))
        except (duck.error_class(), RegistryError) as error:
            warnings.warn(
                f"database {place.database!r}: its registry is still that of an older dbml ({error}); it is brought up "
                "to date when the database is opened next, or a model is saved",
                OutdatedRegistry,
                stacklevel=2,
            )
            return
    registry_changed()
