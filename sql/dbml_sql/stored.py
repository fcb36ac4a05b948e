"""What the tables of schema ``ml`` say of a version of a model."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.expressions import identifier, string
from dbml_sql.signature import ModelSignature


def model_key(model: ModelSignature, table: str = "") -> str:
    """Return the condition for the rows of a version; `table` is a prefix of the columns."""
    return f"{table}model_id = {model.model_id} AND {table}version = {model.version}"


def stored_metrics(model: ModelSignature, names: Sequence[str]) -> str:
    """Return the metrics that were stored with a model, a column each; an error where none were."""
    columns = ", ".join(f"metrics['{name}'] AS {name}" for name in names)
    none = string(
        f"{model.name}: no rows were held out in training, so there are no metrics. "
        f"Hint: name rows, FROM ML.EVALUATE(MODEL {identifier(model.name)}, TABLE …)"
    )
    stored = f"CASE WHEN coalesce(cardinality(metrics), 0) = 0 THEN error({none}) ELSE metrics END AS metrics"
    return f"(SELECT {columns} FROM (SELECT {stored} FROM {model.schema}.model_versions WHERE {model_key(model)}))"
