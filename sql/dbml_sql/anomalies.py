"""``ML.DETECT_ANOMALIES``, in BigQuery's columns: what a row's score is called depends on the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.call import probed
from dbml_sql.groups import GROUP
from dbml_sql.option_values import option_text
from dbml_sql.outputs import outputs_query

if TYPE_CHECKING:
    from dbml_sql.call import Call


def detect_anomalies(call: Call) -> str:
    """Return the rows with ``is_anomaly`` and their score; options come before or after the rows.

    The score is ``normalized_distance`` of k-means, with the ``centroid_id``; ``mean_squared_error`` of principal
    components; ``anomaly_score`` otherwise.
    """
    model = call.model
    if model.target is not None:
        raise call.error(f"{model.name} predicts {model.target} and finds no anomalies")
    rows = 1 if call.has_source or call.n_arguments < 2 else 2
    share = option_text(call.options(3 - rows, ("contamination",)).get("contamination"))
    source = call.source(rows)
    if call.probed:
        return probed(source, share)
    found = f"{model.python_call('detect_anomalies')[:-1]}, {share})"
    inner = f"(SELECT t.*, {found} AS dbml_found FROM ({source}) t)"
    outputs = {"is_anomaly": "t.dbml_found.is_anomaly", _score_name(call): "t.dbml_found.anomaly_score"}
    if model.groups:
        outputs[GROUP] = f"CAST({model.python_call('predict')} AS INTEGER)"
    return f"({outputs_query(inner, (), outputs, hidden=('dbml_found',))})"


def _score_name(call: Call) -> str:
    if call.model.groups and call.model.transforms:
        return "normalized_distance"
    return "anomaly_score" if call.rewriter.resolver.n_components(call.model) is None else "mean_squared_error"
