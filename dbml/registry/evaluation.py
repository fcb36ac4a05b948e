"""Metrics of a model on rows that it did not learn from: those of ``ML.EVALUATE``."""

from __future__ import annotations

from typing import Any

from dbml_sql.evaluate import evaluate_binary, evaluate_classes, evaluate_regression
from dbml_sql.expressions import double, identifier
from dbml_sql.groups import group_evaluation
from dbml_sql.recommend import rankings, summed_pairs

from dbml.estimators.base import Estimator
from dbml.registry.centroids import centres_of, distances_between
from dbml.registry.macros import outputs_of
from dbml.registry.scoring import score_relation

_SCORED = "dbml_scored"


def evaluate(model: Estimator, rows: Any) -> dict[str, float]:
    """Return the metrics of a fitted model on the rows of a relation, in one query; those not defined are left out."""
    target = model.schema_.target
    if target is None:
        return _evaluate_groups(model, rows)
    if getattr(model, "feedback", None) == "implicit":
        return _evaluate_rankings(model, rows, target.name)
    probable = target.classes is not None and hasattr(model, "predict_proba")
    scored = score_relation(model, rows, "predict")
    if probable:
        predicted = f"predicted_{target.name}"
        both = score_relation(model, scored.project(f"*, {identifier(predicted)} AS dbml_label"), "predict_proba")
        scored = both.project(f"* EXCLUDE (dbml_label), dbml_label AS {identifier(predicted)}")
    source = f"(FROM {_SCORED})"
    if target.classes is None:
        query = evaluate_regression(source, target.name)
    else:
        write = evaluate_binary if len(target.classes) == 2 else evaluate_classes
        query = write(source, target.name, target.type, target.classes, probable)
    return _named(scored.query(_SCORED, query))


def _evaluate_rankings(model: Any, rows: Any, target: str) -> dict[str, float]:
    """Return the ranking metrics of a matrix factorization of implicit feedback."""
    columns = model.schema_.encoding.columns
    pairs = rows.query(_SCORED, summed_pairs(_SCORED, columns, target))
    ranked = score_relation(model, pairs, "item_rank").project("* RENAME (item_rank AS dbml_rank)")
    scored = score_relation(model, ranked, "predict")
    query = rankings(f"(FROM {_SCORED})", columns[0], target, str(len(model.item_factors_)))
    return _named(scored.query(_SCORED, query))


def _evaluate_groups(model: Any, rows: Any) -> dict[str, float]:
    """Return the metrics of a model that has centroids; none of other models without a label."""
    centres = centres_of(model)
    if centres is None or not hasattr(model, "transform"):
        return {}
    scored = score_relation(model, rows, "transform")
    listed = f"[{', '.join(f't.{identifier(name)}' for name in outputs_of(model))}]"
    apart = [f"[{', '.join(map(double, row))}]" for row in distances_between(model, centres).tolist()]
    return _named(scored.query(_SCORED, group_evaluation(_SCORED, listed, f"[{', '.join(apart)}]")))


def _named(metrics: Any) -> dict[str, float]:
    values = metrics.fetchall()[0]
    return {name: value for name, value in zip(metrics.columns, values, strict=True) if value is not None}
