"""``ML.NEIGHBORS`` as a query: the rows of a source, each with the rows of a model that are nearest to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.expressions import identifier, string

if TYPE_CHECKING:
    from dbml_sql.signature import ModelSignature


def neighbors_query(source: str, model: ModelSignature, settings: str) -> str:
    """Return the query, in parentheses: the columns of the source, ``neighbor_id``, ``distance`` and ``rank`` from 1.

    The id of a row is its value in the column that ``id_col`` named, else its number in the order of the training.
    `settings` are k and nprobe, as SQL.
    """
    name = string(model.called(f"{model.name}@{model.version}"))
    arguments = ", ".join(f"t.{identifier(column)}" for column in model.columns)
    found = f"neighbors({name}, {arguments}, {settings})"
    scored = f"SELECT t.*, {found} AS dbml_found FROM ({source}) t"
    each = (
        "SELECT t.* EXCLUDE (dbml_found), unnest(dbml_found) AS dbml_one, "
        f"unnest(range(1, len(dbml_found) + 1)) AS dbml_rank FROM ({scored}) t"
    )
    rank = "CAST(t.dbml_rank AS INTEGER) AS rank"
    distance = "t.dbml_one.distance AS distance"
    hidden = "t.* EXCLUDE (dbml_one, dbml_rank)"
    if not model.ids:
        return f"(SELECT {hidden}, t.dbml_one.position AS neighbor_id, {distance}, {rank} FROM ({each}) t)"
    return (
        f"(SELECT {hidden}, v.id AS neighbor_id, {distance}, {rank} "
        f"FROM ({each}) t JOIN {model.vectors} v ON v.position = t.dbml_one.position)"
    )
