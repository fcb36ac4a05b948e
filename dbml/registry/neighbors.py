"""Neighbours that a model finds, for ``ML.NEIGHBORS``; rows that are added to a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from dbml_sql.expressions import identifier
from dbml_sql.statements import ModelReference

from dbml.data import duck
from dbml.data.arrow_arrays import arrow_of
from dbml.data.vector_lengths import check_relation, no_vector, vector_widths
from dbml.errors import InvalidData, InvalidParameter, UnknownName, listing, nearest
from dbml.estimators.neighbors.building import count_rows
from dbml.estimators.neighbors.model import NeighborsModel
from dbml.passes.dispatch import as_data
from dbml.registry.anomalies import ByModel
from dbml.registry.freshness import registry_changed
from dbml.registry.reading import first_row
from dbml.registry.scorer import Scorer
from dbml.registry.store import load_version
from dbml.registry.transaction import transact
from dbml.registry.vector_table import append_vectors
from dbml.registry.versions import Version, find_version, vector_table

_IDS = "temp.main.dbml_ids"


def neighbors_function(find: Callable[[str], Scorer], by_model: ByModel) -> Callable[..., pa.Array]:
    """Return ``neighbors(name, columns …, k, nprobe)``: a list of ``{position, distance}``, nearest first.

    Both are text, or whole numbers; NULL is the model's own.
    """

    def neighbors(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) < 4:
            raise InvalidParameter("expected neighbors('model', columns …, k, nprobe)")
        *scored, wanted, probes = arguments
        k, nprobe = _setting("k", wanted), _setting("nprobe", probes)
        return by_model(tuple(scored), lambda scorer, columns, _: _neighbors(scorer, columns, k, nprobe))

    return neighbors


def _setting(name: str, given: pa.ChunkedArray) -> int | None:
    """Return the number that an option of a statement gives for all rows, None where it gives none."""
    values = given.unique().to_pylist()
    if len(values) > 1:
        raise InvalidParameter(f"{name} must be the same for all rows; got {listing(map(str, values))}")
    if not values or values[0] is None:
        return None
    text = str(values[0])
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise InvalidParameter(f"{name} must be a whole number, at least 1; got {text}")
    return int(text)


def _model_of(who: str, model: Any) -> NeighborsModel:
    if not isinstance(model, NeighborsModel):
        raise InvalidData(
            f"model {who!r} is a {type(model).__name__}, which keeps no rows. "
            "Hint: CREATE MODEL … OPTIONS (model_type = 'nearest_neighbors')"
        )
    return model


def _neighbors(scorer: Scorer, columns: list[pa.Array], k: int | None, nprobe: int | None) -> pa.Array:
    model = _model_of(scorer.name, scorer.model)
    _refuse_missing(scorer, columns)
    block = scorer.block(columns)
    found = model.neighbors_block(block, k, nprobe)
    there = found.position >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    distance = model._metric.told(found.distance[there])
    pairs = pa.StructArray.from_arrays([arrow_of(found.position[there]), arrow_of(distance)], ["position", "distance"])
    return pa.ListArray.from_arrays(arrow_of(offsets.astype(np.int32)), pairs)


def _refuse_missing(scorer: Scorer, columns: list[pa.Array]) -> None:
    """Refuse a NULL in place of a whole vector: the mean of all vectors is no query."""
    vectors = vector_widths(scorer.model.schema_.encoding)
    for name, column in zip(scorer.columns, columns, strict=True):
        if name in vectors and column.null_count:
            raise no_vector(f"model {scorer.name!r}", name, column.null_count, len(column))


def extend_model(con: duckdb.DuckDBPyConnection, reference: str | ModelReference, relation: Any) -> int:
    """Add the rows of a relation to a model that keeps rows, without training again; return how many.

    Raises
    ------
    UnknownName
        No such model, or the relation lacks a column that the model needs.
    InvalidData
        The model keeps no rows, or a row cannot be encoded.
    """
    done = transact(con, f"rows were not added to model '{reference}'", lambda: _extend(con, reference, relation))
    registry_changed()
    return done


def _extend(con: duckdb.DuckDBPyConnection, reference: str | ModelReference, relation: Any) -> int:
    found = find_version(con, reference)
    model = _model_of(found.name, load_version(con, found))
    check_relation(f"model {found.name!r}", model.schema_.encoding, relation)
    # Two connections that add rows at the same time conflict here, and do not number them alike.
    con.execute(
        f"UPDATE {found.place.schema}.registered_models SET last_version = last_version WHERE model_id = ?",
        [found.model_id],
    )
    ids = None
    if model.id_column_ is not None:
        relation, ids = staged_ids(con, f"{found}", relation, model.id_column_)
    try:
        return _append(con, found, model, relation, ids)
    finally:
        if ids is not None:
            unstage(con)


def _append(con: Any, found: Version, model: NeighborsModel, relation: Any, ids: str | None) -> int:
    last = first_row(con.execute(f"SELECT max(position) FROM {vector_table(found)}"))
    first = 0 if last is None or last[0] is None else int(last[0]) + 1
    target = model.schema_.target
    options = {"owner": str(found)}
    y = None if target is None else target.name
    with as_data(relation, y, task=model.task, schema=model.schema_, options=options) as data:
        n_rows = count_rows(data)
        rows = None if not n_rows else model.placed(data, n_rows)
    if rows is None:
        return 0
    with rows.reading() as reading:
        for piece in reading.pieces():
            later = type(piece)(piece.vectors, piece.position + first, piece.cell, piece.radius, piece.label)
            append_vectors(
                con, found, later, None if ids is None else f"(SELECT position + {first} AS position, id FROM {ids})"
            )
    return n_rows


def staged_ids(con: Any, who: str, relation: Any, column: str) -> tuple[Any, str]:
    """Keep the rows of a relation in a temporary table, which numbers them; return its relation, and that of the ids.

    Raises
    ------
    UnknownName
        The relation has no such column.
    InvalidData
        There is no room for the rows.
    """
    folded = {name.casefold(): name for name in relation.columns}
    name = folded.get(column.casefold())
    if name is None:
        raise UnknownName(
            f"{who}: id_col = {column!r} is no column of the query{nearest(column, relation.columns)} "
            f"(columns: {listing(relation.columns, 40)})"
        )
    unstage(con)
    if not duck.keep(relation, f"SELECT * FROM {duck.VIEW}", f"{_IDS}_rows"):
        raise InvalidData(f"{who}: there is no room for a copy of the rows, which id_col needs; raise memory_limit")
    # Not by rowid: rows of an open transaction have large ones.
    numbered = f"SELECT row_number() OVER () - 1 AS position, {identifier(name)} AS id FROM {_IDS}_rows"
    con.execute(f"CREATE TEMP VIEW dbml_ids AS {numbered}")
    return con.sql(f"FROM {_IDS}_rows"), _IDS


def unstage(con: Any) -> None:
    """Drop what `staged_ids` keeps, unless it goes with the transaction that failed or with the connection."""
    with suppress(duckdb.ConnectionException, duckdb.TransactionException):
        con.execute("DROP VIEW IF EXISTS temp.main.dbml_ids")
        con.execute(f"DROP TABLE IF EXISTS {_IDS}_rows")
