"""Models as rows: save a version, load it back, drop it. Functions over a plain DuckDB connection."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import duckdb
from dbml_sql.forms import LinearForm
from dbml_sql.statements import ModelReference

from dbml.errors import InvalidParameter, RegistryError, UnknownName, listing
from dbml.estimators.base import Estimator, ModelState
from dbml.passes.plan import Plan
from dbml.passes.vectors import Vectors
from dbml.registry.arrays import StoredArray
from dbml.registry.content import (
    CONTENT_COLUMNS,
    FEATURE_COLUMNS,
    FORMAT,
    N_FEATURE_COLUMNS,
    TEXT_COLUMNS,
    Content,
    check_content,
    from_content,
    to_content,
)
from dbml.registry.database import Place, prepare_place, writable_place
from dbml.registry.dependents import warn_of_columns
from dbml.registry.freshness import registry_changed
from dbml.registry.macros import native_reason, remove_macros, write_macros
from dbml.registry.migrations import installed_version
from dbml.registry.query_tables import query_to_store
from dbml.registry.reading import first_row
from dbml.registry.rows import insert_rows
from dbml.registry.transaction import transact
from dbml.registry.versions import (
    Version,
    check_name,
    find_version,
    one_version,
    read_target,
    unless_dropped,
    vector_columns,
)
from dbml.registry.weights import write_weights


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a version came about; everything may be left out.

    Attributes
    ----------
    options : dict
        ``OPTIONS`` of the statement.
    query : str
        Query it was trained on.
    metrics : dict of str to float
        Metrics by name, those of ``ML.EVALUATE``; None where no rows were held out.
    n_rows : int
        Rows it was trained on.
    run_id : int
        Its row in ``ml.training_runs``.
    ids : str
        Table ``(position, id)`` with the ids of the rows that the model keeps.
    """

    options: dict[str, Any] | None = None
    query: str | None = None
    metrics: dict[str, float] | None = None
    n_rows: int | None = None
    run_id: int | None = None
    ids: str | None = None


def save_model(
    con: duckdb.DuckDBPyConnection,
    name: str | ModelReference,
    model: Estimator,
    *,
    replace: bool = True,
    provenance: Provenance = Provenance(),
) -> Version:
    """Save a fitted model as a new version of `name`, with its SQL functions, in one transaction.

    The new version becomes the current one; older ones are kept. In a transaction that the user opened, the version
    becomes visible to others when the user commits.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        Its current database takes the model; a read-only one keeps it in memory, with a warning.
    name : str or ModelReference
        Name of the model, any text without ``@``; ``other.late`` goes to the attached database ``other``.
    model : Estimator
        Fitted.
    replace : bool, default True
        False: a model of this name is an error.
    provenance : Provenance
        How the version came about.

    Raises
    ------
    RegistryError
        The name is taken (`replace=False`), a fitted attribute is not plain data, the user's own tables in schema
        ``ml`` are in the way, or another connection keeps changing the registry.
    """
    target = read_target(con, name)
    check_name(target.name)
    if not isinstance(model, Estimator):
        raise InvalidParameter(f"model '{target}' must be a fitted estimator of dbml; got {type(model).__name__}")
    state, form = model.get_state(), model.form()
    native = form is not None and native_reason(form, state.schema) is None
    content = to_content(f"model '{target}'", state, model.task, form.link if form is not None and native else None)

    def work() -> tuple[Version, Version | None]:
        place = writable_place(con, target.database)
        saved, before = _next_version(con, place, target.name, replace)
        _insert_version(con, saved, content, provenance, model)
        if isinstance(form, LinearForm) and form.link != "values":
            write_weights(con, saved, state.schema.encoding, form)
        remove_macros(con, saved, [], current=True)
        write_macros(con, saved, model, form)
        if state.vectors is not None:
            from dbml.registry.vector_table import write_vectors

            write_vectors(con, saved, state.vectors, provenance.ids)
        return saved, before

    prepare_place(con, target.database)
    saved, before = transact(con, f"model '{target}' was not saved", work)
    registry_changed()
    warn_of_columns(con, before, saved)
    return saved


def load_model(con: duckdb.DuckDBPyConnection, reference: str | ModelReference) -> Estimator:
    """Return the fitted estimator of ``late``, ``late@3`` or ``late@champion``. Nothing stored is ever executed.

    Raises
    ------
    UnknownName
        No such model, version or alias.
    RegistryError
        Damaged, saved by a newer dbml, or of an estimator that this dbml does not have.
    """
    return load_version(con, find_version(con, reference))


def load_version(con: duckdb.DuckDBPyConnection, found: Version) -> Estimator:
    """Return the fitted estimator of a version that `find_version` found."""
    try:
        return _load(con, found)
    except RegistryError as error:
        raise unless_dropped(con, found, error) from error


def check_version(con: duckdb.DuckDBPyConnection, found: Version) -> None:
    """Read a version whole, with the rows that it keeps.

    Raises
    ------
    RegistryError
        See `load_model`.
    """
    model = load_version(con, found)
    if model.keeps_vectors:
        from dbml.registry.vector_table import TableRows

        vectors = model.get_state().vectors
        assert isinstance(vectors, TableRows)
        vectors.check()


def _load(con: duckdb.DuckDBPyConnection, found: Version) -> Estimator:
    from dbml.estimators.discovery import stored_kind, stored_kinds

    state = read_state(con, found)
    kind = stored_kind(state.kind)
    if kind is None:
        raise RegistryError(
            f"{found} is a {state.kind}, which this dbml ({installed_version()}) does not have "
            f"(estimators: {listing(stored_kinds(), 40)}); install the version that saved it"
        )
    if kind.keeps_vectors:
        state = replace(state, vectors=_table_rows(con, found, state))
    model = kind.from_state(state)
    model.plan_ = _read_plan(con, found) or model.plan_
    return model


def _table_rows(con: duckdb.DuckDBPyConnection, found: Version, state: ModelState) -> Vectors:
    """Return the rows of a model that keeps some, which are read when they are searched."""
    from dbml.registry.vector_table import TableRows

    if not vector_columns(con, found):
        raise RegistryError(
            f"{found} is damaged: the table of its rows is missing in schema ml; restore the database from a backup, "
            "or train again"
        )
    centres, stored = state.arrays["cell_centers_"], state.attributes["stored_type_"]
    return TableRows(con, found, state.schema.encoding.n_terms, stored, max(1, len(centres)))


def _read_plan(con: duckdb.DuckDBPyConnection, found: Version) -> Plan | None:
    """Return the plan of the training of a version, None where none was stored (by another program, in plain SQL)."""
    query = f"SELECT plan FROM {found.place.schema}.model_versions WHERE model_id = ? AND version = ?"
    row = first_row(con.execute(query, [found.model_id, found.version]))
    if row is None or row[0] is None:
        return None
    try:
        return Plan.from_json(json.loads(row[0]))
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(
            f"{found} is damaged: its plan is not one ({type(error).__name__}: {error}); restore the database from a "
            "backup, or train again"
        ) from error


def read_state(con: duckdb.DuckDBPyConnection, found: Version) -> ModelState:
    """Return the stored state of a version, after checking format and checksums."""
    schema, keys = found.place.schema, [found.model_id, found.version]
    columns = ", ".join(CONTENT_COLUMNS)
    row = first_row(
        con.execute(
            f"SELECT format, dbml_version, checksum, {columns} FROM {schema}.model_versions "
            "WHERE model_id = ? AND version = ?",
            keys,
        )
    )
    if row is None:
        raise RegistryError(
            f"{found} is damaged: its row of ml.model_versions is missing; restore the database from a backup, or "
            "train again"
        )
    format, saved_by, checksum, *values = row
    if format > FORMAT:
        raise RegistryError(
            f"{found} was saved by dbml {saved_by} in format {format}; this dbml ({installed_version()}) "
            f"reads up to format {FORMAT}: pip install --upgrade dbml"
        )
    feature_columns = ", ".join(name for name, _ in FEATURE_COLUMNS)
    features = con.execute(
        f"SELECT {feature_columns} FROM {schema}.features WHERE model_id = ? AND version = ? ORDER BY position", keys
    ).fetchall()
    features = _with_texts(con, schema, keys, features)
    arrays = con.execute(
        f"SELECT name, dtype, shape, data, sha256 FROM {schema}.arrays "
        "WHERE model_id = ? AND version = ? ORDER BY name",
        keys,
    ).fetchall()
    content = Content(tuple(values), features, [StoredArray(*array) for array in arrays])
    check_content(str(found), content, checksum)
    return from_content(str(found), content)


def _with_texts(
    con: duckdb.DuckDBPyConnection, schema: str, keys: list[Any], features: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Return the rows of features with those of texts behind them; older registries have no texts."""
    kind = [name for name, _ in FEATURE_COLUMNS].index("kind")
    if not any(row[kind] == "text" for row in features):
        return features
    columns = ", ".join(name for name, _ in TEXT_COLUMNS)
    query = f"SELECT position, {columns} FROM {schema}.text_features WHERE model_id = ? AND version = ?"
    texts = {position: row for position, *row in con.execute(query, keys).fetchall()}
    return [(*row, *texts.get(position, ())) for position, row in enumerate(features)]


def existing_version(con: duckdb.DuckDBPyConnection, model: str | ModelReference) -> Version | None:
    """Return the current version of a model, None where there is no model of this name."""
    try:
        return find_version(con, one_version(model))
    except UnknownName:
        return None


def check_free(con: duckdb.DuckDBPyConnection, model: ModelReference) -> None:
    """Raise `RegistryError` if there is a model of this name."""
    found = existing_version(con, model)
    if found is not None:
        raise _taken(found.name)


def _taken(name: str) -> RegistryError:
    return RegistryError(
        f"there is a model {name!r} already: CREATE OR REPLACE MODEL makes a new version of it, "
        "IF NOT EXISTS leaves it as it is"
    )


def _next_version(
    con: duckdb.DuckDBPyConnection, place: Place, name: str, replace: bool
) -> tuple[Version, Version | None]:
    """Return a version that did not exist yet, made the current one, and the one that was the current one before."""
    row = first_row(
        con.execute(
            f"SELECT model_id, name, current_version, last_version + 1 FROM {place.schema}.registered_models "
            "WHERE lower(name) = lower(?)",
            [name],
        )
    )
    if row is None:
        query = f"SELECT coalesce(max(model_id), 0) + 1 FROM {place.schema}.registered_models"
        model_id = con.execute(query).fetchall()[0][0]
        con.execute(f"INSERT INTO {place.schema}.registered_models VALUES (?, ?, 1, 1, ?)", [model_id, name, _now()])
        return Version(place, model_id, name, 1), None
    model_id, name, current, number = row
    if not replace:
        raise _taken(name)
    con.execute(
        f"UPDATE {place.schema}.registered_models SET current_version = $2, last_version = $2 WHERE model_id = $1",
        [model_id, number],
    )
    return Version(place, model_id, name, number), Version(place, model_id, name, current)


def _insert_version(
    con: duckdb.DuckDBPyConnection, saved: Version, content: Content, provenance: Provenance, model: Estimator
) -> None:
    schema, keys = saved.place.schema, [saved.model_id, saved.version]
    metrics = provenance.metrics
    query = provenance.query and query_to_store(con, provenance.query, saved.place.database)
    names, numbers = (None, None) if metrics is None else (list(metrics), list(metrics.values()))
    values = {
        **dict(zip(CONTENT_COLUMNS, content.values, strict=True)),
        "options": None if provenance.options is None else json.dumps(provenance.options, default=str),
        "query": query,
        "n_rows": provenance.n_rows,
        "run_id": provenance.run_id,
        "plan": json.dumps(model.plan_.to_json(), default=str),
        "format": FORMAT,
        "dbml_version": installed_version(),
        "checksum": content.checksum,
        "created_at": _now(),
    }
    marks = ", ".join("?" for _ in values)
    con.execute(
        f"INSERT INTO {schema}.model_versions (model_id, version, metrics, {', '.join(values)}) "
        f"VALUES (?, ?, map(?::VARCHAR[], ?::DOUBLE[]), {marks})",
        [*keys, names, numbers, *values.values()],
    )
    columns = (("position", "INTEGER"), *FEATURE_COLUMNS)
    rows = [(i, *row[:N_FEATURE_COLUMNS]) for i, row in enumerate(content.features)]
    insert_rows(con, saved, "features", columns, rows)
    texts = [(i, *row[N_FEATURE_COLUMNS:]) for i, row in enumerate(content.features) if len(row) > N_FEATURE_COLUMNS]
    insert_rows(con, saved, "text_features", (("position", "INTEGER"), *TEXT_COLUMNS), texts)
    for array in content.arrays:
        con.execute(f"INSERT INTO {schema}.arrays VALUES (?, ?, ?, ?, ?::BIGINT[], ?, ?)", [*keys, *array])


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
