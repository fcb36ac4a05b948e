"""What the tables of schema ``ml`` say of a version of a model."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.expressions import identifier, refusal, string
from dbml_sql.signature import ModelSignature


def model_key(model: ModelSignature, table: str = "", outlives: bool = False) -> str:
    """Return the condition for the rows of a version; `table` is a prefix of the columns.

    In text that `outlives` the version it is the current one by then, where the model's macros are that one's.
    """
    if not outlives or not model.follows:
        return f"{table}model_id = {model.model_id} AND {table}version = {model.version}"
    named = f"FROM {model.schema}.registered_models dbml_m WHERE lower(dbml_m.name) = lower({string(model.name)})"
    gone = string(f"there is no model {model.name!r} any more, which this was made for")
    return (
        f"{table}model_id = (SELECT coalesce(max(dbml_m.model_id), {refusal(gone, 'INTEGER')}) {named}) "
        f"AND {table}version = (SELECT max(dbml_m.current_version) {named})"
    )


def same_label(model: ModelSignature, outlives: bool) -> str:
    """Return a condition that is true, and an error once the current version has another label or other classes.

    For text that holds the classes of a version and outlives it.
    """
    if not outlives or not model.follows:
        return "true"
    labels = "NULL" if model.labels is None else string(model.labels)
    other = string(
        f"the current version of model {model.name!r} has another label or other classes than version "
        f"{model.version}, which this was made for: make it again, or name the version, {model.name}@{model.version}"
    )
    same = f"dbml_v.target = {string(str(model.target))} AND dbml_v.classes IS NOT DISTINCT FROM {labels}"
    rows = f"{model.schema}.model_versions dbml_v WHERE {model_key(model, 'dbml_v.', True)}"
    found = f"(SELECT bool_and({same}) FROM {rows})"
    return f"CASE WHEN {found} THEN true ELSE {refusal(other, 'BOOLEAN')} END"


def stored_metrics(model: ModelSignature, names: Sequence[str], outlives: bool = False) -> str:
    """Return the metrics that were stored with a model, a column each; an error where none were."""
    columns = ", ".join(f"metrics['{name}'] AS {name}" for name in names)
    none = string(
        f"{model.name}: no rows were held out in training, so there are no metrics. "
        f"Hint: name rows, FROM ML.EVALUATE(MODEL {identifier(model.name)}, TABLE …)"
    )
    stored = f"CASE WHEN coalesce(cardinality(metrics), 0) = 0 THEN error({none}) ELSE metrics END AS metrics"
    rows = f"{model.schema}.model_versions WHERE {model_key(model, outlives=outlives)}"
    if outlives and model.follows and model.target is not None:
        rows += f" AND {same_label(model, outlives)}"
    return f"(SELECT {columns} FROM (SELECT {stored} FROM {rows}))"
