"""Metrics as queries over scored rows, with BigQuery's columns and scikit-learn's definitions.

Each function takes the SQL of a scored source (input columns, ``predicted_<target>``, ``predicted_<target>_probs``), in
parentheses, and returns a query without parentheses. Rows whose label is NULL are left out; undefined metrics are NULL,
and 0 where nothing was predicted as a class. A label that training never saw is predicted wrong, with probability 0.
"""

from __future__ import annotations

from typing import Any

from dbml_sql.expressions import identifier
from dbml_sql.label_numbers import label_number, predicted_number
from dbml_sql.score import label_literal, label_text

# log_loss clips probabilities like scikit-learn: to the resolution of DOUBLE.
_EPSILON = "2.220446049250313e-16"


def evaluate_regression(scored: str, target: str) -> str:
    """Return the query of ``ML.EVALUATE`` for regression."""
    predicted = identifier(f"predicted_{target}")
    return f"""WITH s AS (
  SELECT CAST({identifier(target)} AS DOUBLE) AS y, {predicted} AS p
  FROM {scored} WHERE {identifier(target)} IS NOT NULL
)
SELECT avg(abs(y - p)) AS mean_absolute_error,
  avg((y - p) * (y - p)) AS mean_squared_error,
  CASE WHEN min(y) > -1e0 AND min(p) > -1e0
    THEN avg(CASE WHEN y > -1e0 AND p > -1e0 THEN pow(ln(1e0 + y) - ln(1e0 + p), 2) END) END AS mean_squared_log_error,
  median(abs(y - p)) AS median_absolute_error,
  1e0 - avg((y - p) * (y - p)) / nullif(var_pop(y), 0e0) AS r2_score,
  1e0 - var_pop(y - p) / nullif(var_pop(y), 0e0) AS explained_variance
FROM s"""


def evaluate_binary(scored: str, target: str, type_: str, classes: tuple[Any, ...], probabilities: bool) -> str:
    """Return the query of ``ML.EVALUATE`` for two classes; the second is the positive one."""
    auc, loss = "SELECT CAST(NULL AS DOUBLE) AS roc_auc", "CAST(NULL AS DOUBLE)"
    if probabilities:
        auc = _AUC
        of_label = "CASE WHEN y THEN p WHEN NOT y THEN q ELSE 0e0 END"
        loss = f"avg(-ln(least(greatest({of_label}, {_EPSILON}), 1e0 - {_EPSILON})))"
    return f"""WITH s AS (
  {_binary_rows(scored, target, type_, classes, probabilities)}
), counts AS (
  SELECT count(*) AS n, count(*) FILTER (y) AS positive, count(*) FILTER (predicted) AS retrieved,
    count(*) FILTER (y AND predicted) AS tp, count(*) FILTER (y = predicted) AS correct,
    {loss} AS log_loss
  FROM s
), ranks AS (
  {auc}
)
SELECT CASE WHEN n > 0 THEN coalesce(tp / nullif(retrieved, 0), 0e0) END AS precision,
  CASE WHEN n > 0 THEN coalesce(tp / nullif(positive, 0), 0e0) END AS recall,
  correct / nullif(n, 0) AS accuracy,
  CASE WHEN n > 0 THEN coalesce(2e0 * tp / nullif(positive + retrieved, 0), 0e0) END AS f1_score,
  log_loss, roc_auc
FROM counts, ranks"""


def _binary_rows(scored: str, target: str, type_: str, classes: tuple[Any, ...], probabilities: bool) -> str:
    """Return the query of labels and predictions; ``y`` is whether a label is the positive one, NULL for neither."""
    positive, label, predicted = label_literal(classes[1], type_), identifier(target), identifier(f"predicted_{target}")
    probs = identifier(f"predicted_{target}_probs")
    p, q = (f"{probs}[2].prob", f"{probs}[1].prob") if probabilities else ("CAST(NULL AS DOUBLE)",) * 2
    return (
        f"SELECT {label_number(label, type_, classes)} = 2 AS y, {predicted} = {positive} AS predicted, "
        f"{p} AS p, {q} AS q FROM {scored} WHERE {label} IS NOT NULL"
    )


# Area under the ROC curve: the share of pairs (positive, negative) in the right order, ties counted half. Exact: rows
# are grouped by probability, and each group's positives meet all negatives below and half of its own.
_PAIRS = "sum(positives * (below - negatives / 2e0)) / nullif(CAST(sum(positives) AS DOUBLE) * sum(negatives), 0e0)"
_AUC = f"""SELECT {_PAIRS} AS roc_auc
  FROM (
    SELECT positives, negatives, sum(negatives) OVER (ORDER BY p) AS below
    FROM (SELECT p, count(*) FILTER (y) AS positives, count(*) FILTER (NOT y) AS negatives FROM s GROUP BY p)
  )"""


def evaluate_classes(scored: str, target: str, type_: str, classes: tuple[Any, ...], probabilities: bool) -> str:
    """Return the query of ``ML.EVALUATE`` for more than two classes: averages over classes, one against the rest."""
    label, probs = identifier(target), identifier(f"predicted_{target}_probs") if probabilities else "NULL"
    number = label_number(label, type_, classes)
    predicted = predicted_number(identifier(f"predicted_{target}"), type_, classes)
    loss = (
        f"avg(-ln(least(greatest(coalesce(probs[y].prob, 0e0), {_EPSILON}), 1e0)))"
        if probabilities
        else "CAST(NULL AS DOUBLE)"
    )
    # A label that training never saw is a class of its own, told by its text, that is never predicted.
    return f"""WITH s AS (
  SELECT *, CASE WHEN y IS NULL THEN CAST(label AS VARCHAR) END AS unseen, coalesce(y = predicted, false) AS correct
  FROM (
    SELECT {label} AS label, {number} AS y, {predicted} AS predicted, {probs} AS probs
    FROM {scored} WHERE {label} IS NOT NULL
  )
), classes AS (
  SELECT count(*) FILTER (is_y AND is_predicted) AS tp, count(*) FILTER (is_y) AS positive,
    count(*) FILTER (is_predicted) AS retrieved
  FROM (
    SELECT y AS number, unseen, true AS is_y, correct AS is_predicted FROM s
    UNION ALL
    SELECT predicted, NULL, false, true FROM s WHERE NOT correct
  )
  GROUP BY number, unseen
), counts AS (
  SELECT avg(CAST(correct AS INTEGER)) AS accuracy, {loss} AS log_loss FROM s
), ranks AS (
  {_CLASSES_AUC if probabilities else "SELECT CAST(NULL AS DOUBLE) AS roc_auc"}
)
SELECT avg(coalesce(tp / nullif(retrieved, 0), 0e0)) AS precision,
  avg(coalesce(tp / nullif(positive, 0), 0e0)) AS recall,
  any_value(accuracy) AS accuracy,
  avg(2e0 * tp / (positive + retrieved)) AS f1_score,
  any_value(log_loss) AS log_loss, any_value(roc_auc) AS roc_auc
FROM classes, counts, ranks"""


_CLASSES_AUC = f"""SELECT avg(auc) AS roc_auc FROM (
    SELECT {_PAIRS} AS auc
    FROM (
      SELECT number, positives, negatives, sum(negatives) OVER (PARTITION BY number ORDER BY p) AS below
      FROM (
        SELECT number, e.prob AS p, count(*) FILTER (y = number) AS positives,
          count(*) - count(*) FILTER (y = number) AS negatives
        FROM (SELECT y, unnest(range(1, len(probs) + 1)) AS number, unnest(probs) AS e FROM s)
        GROUP BY number, e.prob
      )
    )
    GROUP BY number
  )"""


def confusion_matrix(scored: str, target: str, type_: str, classes: tuple[Any, ...]) -> str:
    """Return the query of ``ML.CONFUSION_MATRIX``: a row an actual label, a column a predicted class."""
    from dbml_sql.macros import parameters

    predicted = identifier(f"predicted_{target}")
    names = parameters(["expected_label", *(label_text(c) for c in classes)])[1:]
    columns = [
        f"count(*) FILTER ({predicted} = {label_literal(c, type_)}) AS {identifier(name or '(empty)')}"
        for c, name in zip(classes, names, strict=True)
    ]
    label = identifier(target)
    # Rows in the order of the columns, so that what is right stands on the diagonal; labels never seen come last.
    return (
        f"SELECT {label} AS expected_label, {', '.join(columns)} FROM {scored} "
        f"WHERE {label} IS NOT NULL GROUP BY {label} ORDER BY {label_number(label, type_, classes)} NULLS LAST, {label}"
    )


def roc_curve(scored: str, target: str, type_: str, classes: tuple[Any, ...], thresholds: str | None) -> str:
    """Return the query of ``ML.ROC_CURVE``; by default at 100 quantiles of the probabilities.

    A row is positive where its probability is at or above the threshold.
    """
    listed = thresholds or f"(SELECT quantile_disc(p, [{', '.join(f'{i / 100}' for i in range(101))}]) FROM s)"
    return f"""WITH s AS (
  {_binary_rows(scored, target, type_, classes, True)}
), groups AS (
  SELECT p, sum(count(*) FILTER (y)) OVER (ORDER BY p DESC) AS tp,
    sum(count(*) FILTER (NOT y)) OVER (ORDER BY p DESC) AS fp
  FROM s GROUP BY p
), thresholds AS (
  SELECT DISTINCT CAST(unnest({listed}) AS DOUBLE) AS threshold
), counts AS (
  SELECT threshold, CAST(coalesce(tp, 0) AS BIGINT) AS tp, CAST(coalesce(fp, 0) AS BIGINT) AS fp,
    (SELECT count(*) FROM s WHERE y) AS positive, (SELECT count(*) FROM s WHERE NOT y) AS negative
  FROM thresholds ASOF LEFT JOIN groups ON thresholds.threshold <= groups.p
)
SELECT threshold, tp / nullif(positive, 0) AS recall, fp / nullif(negative, 0) AS false_positive_rate,
  tp AS true_positives, fp AS false_positives, negative - fp AS true_negatives, positive - tp AS false_negatives
FROM counts ORDER BY threshold DESC"""
