"""The macros of a model in its database: written with the version that is current, taken away with the model."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
from dbml_sql.forms import Form
from dbml_sql.macros import create_macros, drop_macros
from dbml_sql.score import too_large

from dbml.passes.schema import Schema
from dbml.registry.versions import Version


def native_reason(form: Form | None, schema: Schema) -> str | None:
    """Return why a model cannot be native SQL, or None where it can."""
    if form is None:
        return "the model has no form that SQL can compute"
    if schema.target is None:
        return "the model has no target"
    return too_large(form, schema.encoding)


def replace_macros(con: duckdb.DuckDBPyConnection, of: Version, schema: Schema, form: Form | None) -> None:
    """Let the macros of a model compute this version; without a form it has none. Runs in the caller's transaction."""
    if of.place.in_session:
        return
    names = (of.name, f"{of.name}@{of.version}")
    _drop(con, of, names)
    if native_reason(form, schema) is not None:
        return
    assert form is not None and schema.target is not None
    for name in names:
        for statement in create_macros(name, form, schema.encoding, schema.target, of.place.schema):
            con.execute(statement)


def remove_macros(con: duckdb.DuckDBPyConnection, of: Version, versions: Iterable[int], current: bool) -> None:
    """Drop the macros of some versions, and of the bare name if `current`. Runs in the caller's transaction."""
    if not of.place.in_session:
        _drop(con, of, [f"{of.name}@{version}" for version in versions] + [of.name] * current)


def _drop(con: duckdb.DuckDBPyConnection, of: Version, names: Iterable[str]) -> None:
    for name in names:
        for statement in drop_macros(name, of.place.schema):
            con.execute(statement)
