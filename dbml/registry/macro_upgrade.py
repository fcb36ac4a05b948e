"""Macros of models that an older dbml wrote, written anew: their text is what that dbml knew."""

from __future__ import annotations

import warnings
from dataclasses import replace

import duckdb

from dbml.errors import RegistryError, listing
from dbml.registry.database import Place
from dbml.registry.dependents import held_by, holders
from dbml.registry.macros import native_reason, replace_macros
from dbml.registry.store import load_version
from dbml.registry.upgrade import OutdatedRegistry
from dbml.registry.versions import Version, kept_versions


def rewrite_macros(con: duckdb.DuckDBPyConnection, place: Place) -> None:
    """Write the macros of all versions in a registry anew. Runs in the caller's transaction.

    A version that cannot be read keeps what it has, with a warning, and so does one whose macros a table or an index
    holds. One that has no native form any more keeps it too, since calls that are kept in views count on its macros.
    """
    unread: list[str] = []
    kept: dict[str, list[str]] = {}
    held = holders(con, place)
    query = f"SELECT model_id, name, current_version FROM {place.schema}.registered_models ORDER BY model_id"
    for model_id, name, last in con.execute(query).fetchall():
        current = Version(place, model_id, name, last)
        for of in [replace(current, version=number) for number in kept_versions(con, current)]:
            if not _has_macros(con, of):
                continue
            in_use = held_by(held, [f"{name}@{of.version}", *([name] if of == current else [])])
            if in_use:
                kept[str(of)] = in_use
                continue
            try:
                model = load_version(con, of)
            except RegistryError:
                unread.append(str(of))
                continue
            form = model.form()
            if form is not None and native_reason(form, model.schema_) is None:
                replace_macros(con, of, model, form, current=of == current)
    if unread:
        warnings.warn(
            f"the macros of {listing(unread)} stay as an older dbml wrote them, because what is stored of the model "
            "cannot be read: load it to see why (con.load_model, dbml doctor --db)",
            OutdatedRegistry,
            stacklevel=2,
        )
    if kept:
        users = dict.fromkeys(user for in_use in kept.values() for user in in_use)
        warnings.warn(
            f"the macros of {listing(kept)} stay as an older dbml wrote them, because {listing(users)} "
            f"{'hold' if len(users) > 1 else 'holds'} them: after dropping {'these' if len(users) > 1 else 'it'}, "
            "training and ALTER MODEL … ROLLBACK TO VERSION write them anew",
            OutdatedRegistry,
            stacklevel=2,
        )


def _has_macros(con: duckdb.DuckDBPyConnection, of: Version) -> bool:
    query = f"SELECT link FROM {of.place.schema}.model_versions WHERE model_id = ? AND version = ?"
    return any(link is not None for (link,) in con.execute(query, [of.model_id, of.version]).fetchall())
