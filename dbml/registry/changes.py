"""Changes of saved models, each in one transaction with the macros: drop, rename, alias, roll back, prune."""

from __future__ import annotations

from dataclasses import replace

import duckdb
from dbml_sql.statements import ModelReference

from dbml.errors import InvalidParameter, RegistryError, listing
from dbml.registry import versions
from dbml.registry.dependents import warn_of_columns, warn_of_names
from dbml.registry.freshness import registry_changed
from dbml.registry.macros import remove_macros, replace_macros
from dbml.registry.store import load_version
from dbml.registry.transaction import transact
from dbml.registry.versions import Version, find_version, one_version


def drop_model(con: duckdb.DuckDBPyConnection, reference: str | ModelReference) -> None:
    """Drop a model with all versions, or one version (``late@3``). The current version can only go with the model.

    Raises
    ------
    UnknownName
        No such model or version.
    RegistryError
        The version is the current one.
    """
    wanted = versions.read_reference(reference)
    one = wanted.version is not None or wanted.alias is not None

    def work() -> tuple[Version, list[str]]:
        found = find_version(con, wanted)
        if one:
            _check_not_current(con, found)
        kept = [found.version] if one else versions.kept_versions(con, found)
        remove_macros(con, found, kept, current=not one)
        versions.delete_rows(con, found, whole=not one)
        return found, _macro_names(found, kept, current=not one)

    found, gone = transact(con, f"model '{wanted}' was not dropped", work)
    registry_changed()
    warn_of_names(con, found.place, gone, f"{found if one else f'model {found.name!r}'} is dropped")


def _check_not_current(con: duckdb.DuckDBPyConnection, found: Version) -> None:
    if find_version(con, ModelReference(found.name, database=found.place.database)).version == found.version:
        raise RegistryError(
            f"{found} is the current version: roll back to another one first (ALTER MODEL … ROLLBACK TO VERSION n), "
            "or drop the whole model"
        )


def _macro_names(of: Version, versions: list[int], current: bool) -> list[str]:
    return [*([of.name] if current else []), *(f"{of.name}@{version}" for version in versions)]


def rename_model(con: duckdb.DuckDBPyConnection, name: str | ModelReference, new_name: str) -> None:
    """Give a model another name; versions, aliases and macros follow.

    Raises
    ------
    UnknownName
        No such model.
    RegistryError
        The new name is taken.
    """

    def work() -> tuple[Version, list[str]]:
        found = find_version(con, one_version(name))
        kept = versions.kept_versions(con, found)
        remove_macros(con, found, kept, current=True)
        renamed = versions.rename_row(con, found, new_name)
        for number in [*(n for n in kept if n != found.version), found.version]:  # the current one last: the bare name
            _write_macros(con, replace(renamed, version=number))
        return found, _macro_names(found, kept, current=True)

    found, gone = transact(con, f"model '{name}' was not renamed", work)
    registry_changed()
    if found.name.casefold() != new_name.casefold():
        warn_of_names(con, found.place, gone, f"model {found.name!r} is {new_name!r} now")


def set_alias(
    con: duckdb.DuckDBPyConnection, name: str | ModelReference, alias: str, version: int | None = None
) -> None:
    """Let ``name@alias`` mean a version (the current one by default), whatever it meant before."""
    reference = one_version(name, version)
    transact(con, f"alias {alias!r} was not set", lambda: versions.set_alias(con, reference, alias))
    registry_changed()


def drop_alias(con: duckdb.DuckDBPyConnection, name: str | ModelReference, alias: str) -> None:
    """Remove an alias."""
    transact(con, f"alias {alias!r} was not dropped", lambda: versions.remove_alias(con, name, alias))
    registry_changed()


def roll_back(con: duckdb.DuckDBPyConnection, name: str | ModelReference, version: int | None = None) -> int:
    """Make an older (or newer) version the current one, with its macros; return its number.

    Parameters
    ----------
    version : int, optional
        None: the newest one that is older than the current version.
    """

    def work() -> tuple[Version, Version]:
        current = find_version(con, one_version(name))
        number = version
        if number is None:
            older = [kept for kept in versions.kept_versions(con, current) if kept < current.version]
            if not older:
                raise RegistryError(f"{current} cannot be rolled back: there is no older version")
            number = older[-1]
        found = find_version(con, one_version(name, number))
        versions.set_current(con, found)
        _write_macros(con, found)
        return current, found

    current, found = transact(con, f"model '{name}' was not rolled back", work)
    registry_changed()
    warn_of_columns(con, current, found)
    return found.version


def prune_versions(con: duckdb.DuckDBPyConnection, name: str | ModelReference, keep: int = 1) -> list[int]:
    """Drop old versions of a model and return their numbers.

    The `keep` newest ones stay, and so do the current one and those that have an alias.
    """
    if not isinstance(keep, int) or keep < 1:
        raise InvalidParameter(f"keep must be an integer >= 1; got {keep!r}")

    def work() -> tuple[Version, list[int]]:
        current = find_version(con, one_version(name))
        query = f"SELECT version FROM {current.place.schema}.aliases WHERE model_id = ?"
        aliased = {number for (number,) in con.execute(query, [current.model_id]).fetchall()}
        gone = [n for n in versions.kept_versions(con, current)[:-keep] if n != current.version and n not in aliased]
        remove_macros(con, current, gone, current=False)
        for number in gone:
            versions.delete_rows(con, find_version(con, one_version(name, number)), whole=False)
        return current, gone

    current, gone = transact(con, f"versions of '{name}' were not dropped", work)
    registry_changed()
    what = f"versions {listing(map(str, gone))} of model {current.name!r} are dropped"
    warn_of_names(con, current.place, _macro_names(current, gone, current=False), what)
    return gone


def _write_macros(con: duckdb.DuckDBPyConnection, of: Version) -> None:
    model = load_version(con, of)
    replace_macros(con, of, model, model.form())
