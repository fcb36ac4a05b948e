"""``ML.NEIGHBORS`` as a query: the rows of a source, each with the rows of a model that are nearest to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.outputs import outputs_query

if TYPE_CHECKING:
    from dbml_sql.signature import ModelSignature


def neighbors_query(source: str, model: ModelSignature, settings: str) -> str:
    """Return the query, in parentheses: the columns of the source, ``neighbor_id``, ``distance`` and ``rank`` from 1.

    Columns of these names are replaced. The id of a row is its value in the column that ``id_col`` named, else its
    number in the order of the training. `settings` are k and nprobe, as SQL.
    """
    found = f"{model.python_call('neighbors')[:-1]}, {settings})"
    scored = f"SELECT t.*, {found} AS dbml_found FROM ({source}) t"
    each = (
        "SELECT t.* EXCLUDE (dbml_found), unnest(dbml_found) AS dbml_one, "
        f"unnest(range(1, len(dbml_found) + 1)) AS dbml_rank FROM ({scored}) t"
    )
    outputs = {
        "neighbor_id": "t.dbml_one.position",
        "distance": "t.dbml_one.distance",
        "rank": "CAST(t.dbml_rank AS INTEGER)",
    }
    hidden = ["dbml_one", "dbml_rank"]
    if model.ids:
        each = f"SELECT t.*, v.id AS dbml_id FROM ({each}) t JOIN {model.vectors} v ON v.position = t.dbml_one.position"
        outputs["neighbor_id"] = "t.dbml_id"
        hidden.append("dbml_id")
    return f"({outputs_query(f'({each})', model.columns, outputs, hidden)})"
