"""What the person made that calls a model's macros.

Views and macros are kept as text: DuckDB binds them when they are read, against the macros that exist by then. A
warning tells of them when the model changes beneath them. Tables and indexes are bound when they are made (generated
columns, CHECK, DEFAULT), and DuckDB then neither drops nor replaces the macro.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
from dbml_sql.expressions import string
from dbml_sql.tokens import significant

from dbml.errors import DbmlWarning, listing
from dbml.registry.database import Place
from dbml.registry.plain_json import labels_of
from dbml.registry.reading import first_row
from dbml.registry.versions import Version, read_inputs

_DEFINITIONS = """
SELECT database_name, schema_name, view_name, sql FROM duckdb_views()
WHERE NOT internal AND regexp_matches(lower(sql), 'predict_|transform_')
UNION ALL
SELECT database_name, schema_name, function_name, macro_definition FROM duckdb_functions()
WHERE NOT internal AND schema_name <> 'ml' AND regexp_matches(lower(macro_definition), 'predict_|transform_')
ORDER BY ALL"""
_HOLDERS = """
SELECT 'table ' || table_name, sql FROM duckdb_tables()
WHERE NOT internal AND database_name = $1 AND regexp_matches(lower(sql), 'predict_|transform_')
UNION ALL
SELECT 'index ' || index_name, sql FROM duckdb_indexes()
WHERE database_name = $1 AND regexp_matches(lower(sql), 'predict_|transform_')
ORDER BY ALL"""
_STARTS = ("predict_", "predict_proba_", "transform_")


class OutdatedViews(DbmlWarning):
    """Views or macros call a model that takes other columns now, has another label or other classes, or is gone."""


def dependents(con: duckdb.DuckDBPyConnection, place: Place, names: Iterable[str]) -> list[str]:
    """Return the views and macros that call ``ml.predict_<name>`` or another macro of a model of a registry."""
    wanted = _macros(names)
    found = []
    for database, schema, name, text in con.execute(_DEFINITIONS).fetchall():
        home = place.database if database == "temp" else database
        if any(called in wanted and where == place.database.casefold() for where, called in _calls(text, home)):
            found.append(name if schema == "main" else f"{schema}.{name}")
    return list(dict.fromkeys(found))


def holders(con: duckdb.DuckDBPyConnection, place: Place) -> dict[str, list[str]]:
    """Return the tables and indexes that hold macros of a registry, by the name of the macro in lower case."""
    found: dict[str, list[str]] = {}
    for name, text in con.execute(_HOLDERS, [place.database]).fetchall():
        for _, called in _calls(text, place.database):
            found.setdefault(called, []).append(name)
    return found


def held_by(held: dict[str, list[str]], names: Iterable[str]) -> list[str]:
    """Return what of `holders` holds macros of some models or versions, by their names."""
    return [name for macro in sorted(_macros(names)) for name in held.get(macro, ())]


def _macros(names: Iterable[str]) -> set[str]:
    return {f"{start}{name}".casefold() for name in names for start in _STARTS}


def _calls(text: str, home: str) -> Iterable[tuple[str, str]]:
    """Yield database and name of what a text calls in a schema ml; without a database it is that of the text."""
    names = [token.name.casefold() for token in significant(text)]
    for i in range(2, len(names)):
        if names[i - 2 : i] == ["ml", "."]:
            yield names[i - 4] if i >= 4 and names[i - 3] == "." else home.casefold(), names[i]


def warn_of_columns(con: duckdb.DuckDBPyConnection, before: Version | None, now: Version) -> None:
    """Warn of views that call a model whose current version has other columns, label or classes than the one before."""
    if before is None or before.version == now.version:
        return
    old, new = read_inputs(con, before).columns, read_inputs(con, now).columns
    had, has = _label(con, before), _label(con, now)
    if [column.casefold() for column in old] != [column.casefold() for column in new]:
        what = f"{now} takes the columns {listing(new)} (version {before.version}: {listing(old)})"
    elif had != has:
        what = f"{now} predicts {_named(*has)} (version {before.version}: {_named(*had)})"
    else:
        return
    kept = f"predict({string(f'{now.name}@{before.version}')}, …)"
    _warn(con, now.place, [now.name], what, f"make them again, or let them keep version {before.version}: {kept}")


def _label(con: duckdb.DuckDBPyConnection, of: Version) -> tuple[str | None, tuple[Any, ...] | None]:
    """Return the label column of a version and its classes."""
    query = f"SELECT target, classes FROM {of.place.schema}.model_versions WHERE model_id = ? AND version = ?"
    target, classes = first_row(con.execute(query, [of.model_id, of.version])) or (None, None)
    return target, labels_of(str(of), classes)


def _named(target: str | None, classes: tuple[Any, ...] | None) -> str:
    if target is None:
        return "no label"
    return target if classes is None else f"{target} of the classes {listing(map(str, classes), 5)}"


def warn_of_names(con: duckdb.DuckDBPyConnection, place: Place, names: Sequence[str], what: str) -> None:
    """Warn of views that call macros which are gone; `what` says why."""
    _warn(con, place, names, what, "make them again, or drop them")


def _warn(con: duckdb.DuckDBPyConnection, place: Place, names: Sequence[str], what: str, remedy: str) -> None:
    found = dependents(con, place, names)
    if found:
        called = f"{listing(found)} {'call' if len(found) > 1 else 'calls'} it"
        warnings.warn(f"{what}, and {called}: {remedy}", OutdatedViews, stacklevel=2)
