"""The macros of a model in its database: written with the version that is current, taken away with the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import duckdb
from dbml_sql.forms import Form
from dbml_sql.groups import GROUP_LINKS, group_macros
from dbml_sql.macros import create_macros, drop_macros
from dbml_sql.score import too_large
from dbml_sql.transform import TRANSFORM_LINKS, transform_macros

from dbml.estimators.base import Estimator
from dbml.passes.schema import Schema
from dbml.registry.versions import Version


def native_reason(form: Form | None, schema: Schema) -> str | None:
    """Return why a model cannot be native SQL, or None where it can."""
    if form is None:
        return "the model has no form that SQL can compute"
    if schema.target is None and form.link not in (*GROUP_LINKS, *TRANSFORM_LINKS):
        return "the model has no target"
    return too_large(form, schema.encoding)


def replace_macros(
    con: duckdb.DuckDBPyConnection, of: Version, model: Estimator, form: Form | None, current: bool = True
) -> None:
    """Let the macros of a version, and if `current` of the bare name, compute it; without a form there are none.

    Runs in the caller's transaction.
    """
    remove_macros(con, of, [of.version], current)
    write_macros(con, of, model, form, current)


def write_macros(
    con: duckdb.DuckDBPyConnection, of: Version, model: Estimator, form: Form | None, current: bool = True
) -> None:
    """Do the same as `replace_macros` for names that have no macros yet."""
    if of.place.in_session or form is None or native_reason(form, model.schema_) is not None:
        return
    for name in (of.name, f"{of.name}@{of.version}")[0 if current else 1 :]:
        for statement in _statements(name, model, form, of.place.schema):
            con.execute(statement)


def _statements(name: str, model: Estimator, form: Form, schema: str) -> Iterator[str]:
    encoding, target = model.schema_.encoding, model.schema_.target
    if target is not None:
        yield from create_macros(name, form, encoding, target, schema)
        return
    if form.link in GROUP_LINKS:
        yield from group_macros(name, form, encoding, schema)
    if form.link in TRANSFORM_LINKS:
        yield from transform_macros(name, form, encoding, outputs_of(model), schema)


def outputs_of(model: Estimator) -> list[str]:
    """Return the names of the columns that a model's `transform` makes."""
    return [str(name) for name in model.get_feature_names_out()]  # type: ignore[attr-defined]


def remove_macros(con: duckdb.DuckDBPyConnection, of: Version, versions: Iterable[int], current: bool) -> None:
    """Drop the macros of some versions, and of the bare name if `current`. Runs in the caller's transaction."""
    if of.place.in_session:
        return
    for name in [f"{of.name}@{version}" for version in versions] + [of.name] * current:
        for statement in drop_macros(name, of.place.schema):
            con.execute(statement)
