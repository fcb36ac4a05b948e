"""What features do to predictions, as queries over scored rows: attributions, permutation importance, dependence.

As in `dbml_sql.evaluate`, a scored source is SQL in parentheses: input columns, ``predicted_<target>`` and, where a
classifier has probabilities, ``predicted_<target>_probs``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbml_sql.expressions import identifier, string
from dbml_sql.label_numbers import label_number, predicted_number
from dbml_sql.score import label_literal, label_text

if TYPE_CHECKING:
    from dbml_sql.signature import ModelSignature

# From the SQL of rows to that of the same rows, scored, in parentheses.
Scored = Callable[[str], str]

REGRESSION_METRICS = ("r2_score", "mean_squared_error", "mean_absolute_error")
CLASS_METRICS = ("accuracy", "log_loss", "roc_auc")


def _attributions(model: ModelSignature) -> str:
    """Return the call that explains a row ``t``: a list over the outputs, of a classifier over the classes."""
    return model.python_call("predict_attributions")


def _names(model: ModelSignature) -> str:
    return f"[{', '.join(string(column) for column in model.columns)}]"


def _labels(model: ModelSignature) -> str:
    assert model.classes is not None
    return f"[{', '.join(label_literal(label, model.target_type) for label in model.classes)}]"


def explain_predict(source: str, scored: Scored, model: ModelSignature, top: int) -> str:
    """Return the query of ``ML.EXPLAIN_PREDICT``: the `top` features by the size of what they add, of each row.

    Rows are explained before they are scored: a prediction may take the place of an input of its name.
    """
    predicted, probs = identifier(f"predicted_{model.target}"), identifier(f"predicted_{model.target}_probs")
    place, dropped, probability = "1", "dbml_explained", ""
    if model.classes is not None:
        place = f"list_position({_labels(model)}, t.{predicted})"
    if model.probabilities:
        dropped += f", {probs}"
        probability = f"{probs}[list_position({_labels(model)}, {predicted})].prob AS probability,\n  "
    sized = "lambda dbml_a, dbml_i: {'size': -abs(dbml_a), 'at': dbml_i}"
    order = f"list_sort(list_transform(dbml_explained.attributions, {sized}))"
    rows = scored(f"SELECT t.*, {_attributions(model)} AS dbml_outputs FROM ({source}\n) t")
    feature = f"{{'feature': {_names(model)}[dbml_o['at']], 'attribution': dbml_explained.attributions[dbml_o['at']]}}"
    return f"""SELECT * EXCLUDE ({dropped}),
  {probability}list_transform({order}[1:{top}], lambda dbml_o: {feature}) AS top_feature_attributions,
  dbml_explained.baseline AS baseline_prediction_value,
  dbml_explained.prediction AS prediction_value,
  abs(dbml_explained.baseline + list_sum(dbml_explained.attributions) - dbml_explained.prediction)
    AS approximation_error
FROM (SELECT t.* EXCLUDE (dbml_outputs), dbml_outputs[{place}] AS dbml_explained FROM {rows} t)"""


def global_explain(source: str, model: ModelSignature, by_class: bool) -> str:
    """Return the query of ``ML.GLOBAL_EXPLAIN``: the mean size of what each feature adds to predictions."""
    label, group = "", ""
    if by_class:
        label, group = f"{_labels(model)}[dbml_class] AS {identifier(str(model.target))}, ", "dbml_class, "
    return f"""SELECT {label}{_names(model)}[dbml_feature] AS feature, avg(abs(dbml_added)) AS attribution
FROM (
  SELECT dbml_class, unnest(dbml_output.attributions) AS dbml_added,
    unnest(range(1, {len(model.columns) + 1})) AS dbml_feature
  FROM (
    SELECT unnest(dbml_outputs) AS dbml_output, unnest(range(1, len(dbml_outputs) + 1)) AS dbml_class
    FROM (SELECT {_attributions(model)} AS dbml_outputs FROM ({source}\n) t)
  )
)
GROUP BY {group}dbml_feature ORDER BY {group}attribution DESC, dbml_feature"""


# partial dependence -------------------------------------------------------------------------------------------


def partial_dependence(source: str, scored: Scored, model: ModelSignature, feature: str, grid: int) -> str:
    """Return the query of ``ML.PARTIAL_DEPENDENCE`` over rows: each of them scored with each value of the grid.

    The most frequent categories; of anything else all values where there are few, else quantiles.
    """
    column = identifier(feature)
    values = f"SELECT v FROM dbml_values ORDER BY n DESC, v LIMIT {grid}"
    if feature not in model.categories:
        shares = ", ".join(f"{i / (grid - 1)!r}" for i in range(grid))
        few = f"(SELECT count(*) FROM dbml_values) <= {grid}"
        values = f"""SELECT v FROM dbml_values WHERE {few}
  UNION SELECT unnest((SELECT quantile_disc({column}, [{shares}]) FROM dbml_given)) AS v WHERE NOT {few}"""
    # The value a second time: a prediction may take the place of an input of its name.
    rows = scored(f"SELECT r.* REPLACE (g.v AS {column}), g.v AS dbml_value FROM dbml_given r, dbml_grid g")
    return f"""WITH dbml_given AS MATERIALIZED ({source}
), dbml_values AS (
  SELECT {column} AS v, count(*) AS n FROM dbml_given WHERE {column} IS NOT NULL GROUP BY {column}
), dbml_grid AS MATERIALIZED (
  {values}
)
{_mean_prediction(rows, model)}"""


def _mean_prediction(rows: str, model: ModelSignature) -> str:
    predicted, probs = identifier(f"predicted_{model.target}"), identifier(f"predicted_{model.target}_probs")
    if model.classes is None:
        return (
            f"SELECT dbml_value AS feature_value, avg({predicted}) AS prediction "
            f"FROM {rows} GROUP BY dbml_value ORDER BY dbml_value"
        )
    numbers = [2] if len(model.classes) == 2 else range(1, len(model.classes) + 1)
    means = [
        f"avg({probs}[{k}].prob)"
        if model.probabilities
        else f"avg(CAST({predicted} = {label_literal(model.classes[k - 1], model.target_type)} AS INTEGER))"
        for k in numbers
    ]
    if len(means) == 1:
        return (
            f"SELECT dbml_value AS feature_value, {means[0]} AS prediction FROM {rows} GROUP BY dbml_value ORDER BY 1"
        )
    texts = ", ".join(string(label_text(label)) for label in model.classes)
    return f"""SELECT feature_value, unnest([{texts}]) AS class_label, unnest(dbml_means) AS prediction
FROM (SELECT dbml_value AS feature_value, [{", ".join(means)}] AS dbml_means FROM {rows} GROUP BY dbml_value)
ORDER BY feature_value, class_label"""


def dependence_of_model(model: ModelSignature, feature: str, grid: int) -> str:
    """Return the query of ``ML.PARTIAL_DEPENDENCE`` without rows: of the sum of the trees, by their own weights."""
    field = "category" if feature in model.categories else "number"
    points = f"(SELECT unnest({model.about('partial_dependence', string(feature), str(grid))}) AS p)"
    if model.classes is None or len(model.classes) == 2:  # the number, or the second class
        return f"SELECT p.{field} AS feature_value, p.predictions[-1] AS prediction FROM {points}"
    texts = ", ".join(string(label_text(label)) for label in model.classes)
    return (
        f"SELECT p.{field} AS feature_value, unnest([{texts}]) AS class_label, unnest(p.predictions) AS prediction "
        f"FROM {points}"
    )


# permutation importance ---------------------------------------------------------------------------------------


def permutation_importance(
    source: str, scored: Scored, model: ModelSignature, n_repeats: int, seed: int, metric: str
) -> str:
    """Return the query of ``ML.PERMUTATION_IMPORTANCE``: how much worse a metric gets when a column is shuffled.

    The rows are read once and numbered in their order; for each repeat a hash deals the numbers out again, the same for
    all columns. A column then costs a join, which brings it from other rows, and the scoring of all repeats at once.
    """
    target = identifier(str(model.target))
    branches = [_metric_rows(scored("SELECT * FROM dbml_numbered"), model, "NULL", "0")]
    for i, column in enumerate(model.columns):
        inputs = ", ".join(f"{'s' if name == column else 'r'}.{identifier(name)}" for name in model.columns)
        rows = scored(
            f"SELECT d.dbml_repeat, r.{target}, {inputs} FROM dbml_dealt d JOIN dbml_numbered r USING (dbml_row) "
            "JOIN dbml_numbered s ON s.dbml_row = d.dbml_place"
        )
        branches.append(_metric_rows(rows, model, str(i), "dbml_repeat"))
    union = "\n  UNION ALL\n  ".join(branches)
    sign = "-" if metric in ("log_loss", "mean_squared_error", "mean_absolute_error") else ""
    return f"""WITH dbml_numbered AS MATERIALIZED (
  SELECT *, row_number() OVER () AS dbml_row FROM ({source}
  ) WHERE {target} IS NOT NULL
), dbml_dealt AS MATERIALIZED (
  SELECT dbml_repeat, dbml_row,
    row_number() OVER (PARTITION BY dbml_repeat ORDER BY hash(dbml_row, dbml_repeat + {seed} * 1000003), dbml_row)
      AS dbml_place
  FROM dbml_numbered, range(1, {n_repeats + 1}) AS repeats(dbml_repeat)
), dbml_scored AS (
  {union}
), dbml_metrics AS (
  {_METRICS[metric]}
)
SELECT {_names(model)}[i + 1] AS feature,
  avg({sign}(b.metric - m.metric)) AS importance_mean, stddev_pop(m.metric) AS importance_std
FROM dbml_metrics m, (SELECT metric FROM dbml_metrics WHERE i IS NULL) b
WHERE i IS NOT NULL GROUP BY i ORDER BY importance_mean DESC, i"""


def _metric_rows(rows: str, model: ModelSignature, feature: str, repeat: str) -> str:
    """Return label and prediction of scored rows as numbers: y, p; p is the probability of the second of two classes,
    q that of the label."""
    target, predicted = identifier(str(model.target)), identifier(f"predicted_{model.target}")
    head = f"SELECT CAST({feature} AS INTEGER) AS i, {repeat} AS repeat"
    if model.classes is None:
        return f"{head}, CAST({target} AS DOUBLE) AS y, {predicted} AS p FROM {rows}"
    number = label_number(target, model.target_type, model.classes)
    hit = f"{number} = {predicted_number(predicted, model.target_type, model.classes)}"
    right = f"CAST(coalesce({hit}, false) AS INTEGER) AS correct"
    if not model.probabilities:
        return f"{head}, {right} FROM {rows}"
    probs = identifier(f"predicted_{model.target}_probs")
    positive = f"{number} = 2" if len(model.classes) == 2 else "NULL"
    of_label = f"coalesce({probs}[{number}].prob, 0e0)"
    return f"{head}, {right}, {positive} AS y, {probs}[2].prob AS p, {of_label} AS q FROM {rows}"


_GROUP = "FROM dbml_scored GROUP BY i, repeat"
_METRICS = {
    "r2_score": f"SELECT i, repeat, 1e0 - avg((y - p) * (y - p)) / nullif(var_pop(y), 0e0) AS metric {_GROUP}",
    "mean_squared_error": f"SELECT i, repeat, avg((y - p) * (y - p)) AS metric {_GROUP}",
    "mean_absolute_error": f"SELECT i, repeat, avg(abs(y - p)) AS metric {_GROUP}",
    "accuracy": f"SELECT i, repeat, avg(correct) AS metric {_GROUP}",
    # Clipped like scikit-learn's: to the resolution of DOUBLE.
    "log_loss": f"SELECT i, repeat, avg(-ln(greatest(q, 2.220446049250313e-16))) AS metric {_GROUP}",
    "roc_auc": """SELECT i, repeat, sum(positives * (below - negatives / 2e0))
    / nullif(CAST(sum(positives) AS DOUBLE) * sum(negatives), 0e0) AS metric
  FROM (
    SELECT i, repeat, positives, negatives,
      sum(negatives) OVER (PARTITION BY i, repeat ORDER BY p) AS below
    FROM (
      SELECT i, repeat, p, count(*) FILTER (y) AS positives, count(*) FILTER (NOT y) AS negatives
      FROM dbml_scored GROUP BY i, repeat, p
    )
  ) GROUP BY i, repeat""",
}
