"""``ML.PREDICT`` and the other functions of a model, each as the query that takes its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbml_sql.anomalies import detect_anomalies
from dbml_sql.call import probe, probed
from dbml_sql.evaluate import confusion_matrix, evaluate_binary, evaluate_classes, evaluate_regression, roc_curve
from dbml_sql.explain import (
    CLASS_METRICS,
    REGRESSION_METRICS,
    dependence_of_model,
    explain_predict,
    global_explain,
    partial_dependence,
    permutation_importance,
)
from dbml_sql.expressions import string
from dbml_sql.features import CENTRES
from dbml_sql.macros import DEFAULT_THRESHOLD, predict_macro, scored_query
from dbml_sql.neighbors import neighbors_query
from dbml_sql.option_values import option_text
from dbml_sql.outputs import outputs_query
from dbml_sql.pruned import pruned_for
from dbml_sql.python_functions import function_name
from dbml_sql.recommend import FACTORIZATION, evaluate_rankings, factor_weights, recommend
from dbml_sql.score import fit_double, label_text, label_type
from dbml_sql.stored import model_key, same_label, stored_metrics
from dbml_sql.without_label import (
    centroids,
    evaluate_without_label,
    predict_without_label,
    principal_component_info,
    principal_components,
    told_instead,
    transform_rows,
)

if TYPE_CHECKING:
    from dbml_sql.call import Call
    from dbml_sql.signature import ModelSignature


def scored_source(call: Call, source: str, threshold: str | None, model: ModelSignature | None = None) -> str:
    """Return the rows of a source with their predictions, in parentheses."""
    model = model or call.model
    if call.probed:
        return probed(source, threshold)
    if model.native is not None:
        option = "" if threshold is None else f", threshold := {threshold}"
        macro = predict_macro(model.native, model.schema)
        return f"(WITH dbml_input AS ({source}) SELECT * FROM {macro}(dbml_input{option}))"
    arguments = ", ".join(model.given(model.of_row()))
    name = string(model.exact)
    option = "" if threshold is None else f", {{'threshold': {threshold}}}"
    type_ = label_type(model.classes, model.target_type)
    predict = predict_function(model)
    outputs = {f"predicted_{model.target}": f"CAST({function_name(predict)}({name}, {arguments}{option}) AS {type_})"}
    if model.probabilities:
        pairs = f"map_entries({model.python_call('predict_proba')})"
        item = f"{{'label': CAST(dbml_e['key'] AS {type_}), 'prob': dbml_e['value']}}"
        outputs[f"predicted_{model.target}_probs"] = f"list_transform({pairs}, lambda dbml_e: {item})"
    return f"({outputs_query(f'({source})', model.columns, outputs)})"


def labelled_source(call: Call, source: str, threshold: str | None = None) -> str:
    """Return the rows of a source with their predictions, for a query that holds the classes of the model."""
    scored = scored_source(call, source, threshold)
    if call.probed or not call.outlives or not call.model.follows:
        return scored
    return f"(FROM {scored} WHERE {same_label(call.model, call.outlives)})"


def predict_function(model: ModelSignature) -> str:
    """Return the function that predicts where a model has no macro: ``predict`` is DOUBLE, other labels need
    ``predict_label``."""
    return "predict" if model.classes is None or fit_double(model.classes) else "predict_label"


def predicted_type(model: ModelSignature) -> str:
    """Return the DuckDB type of what a model predicts."""
    return "INTEGER" if model.groups else label_type(model.classes, model.target_type)


def _predict(call: Call) -> str:
    if call.model.target is None:
        return predict_without_label(call)
    threshold = call.options(2, ("threshold",)).get("threshold")
    return _by_smaller_trees(call, threshold) or scored_source(call, call.source(), threshold)


def _by_smaller_trees(call: Call, threshold: str | None) -> str | None:
    """Return the rows of ``(SELECT * FROM t WHERE …)`` with predictions of trees that the conditions made smaller."""
    model = call.model
    conditions = None if call.probed or model.native is None else call.conditions()
    smaller = pruned_for(
        lambda: call.rewriter.resolver.trees(model), conditions, {name: name.lower() for name in model.columns}
    )
    if smaller is None:
        return None
    whole = smaller.model
    query = scored_query(
        f"({call.source()})",
        whole.form,
        whole.encoding,
        whole.target,
        threshold or DEFAULT_THRESHOLD,
        smaller.predictors,
        who=f"model {model.name!r}",
    )
    return f"({query})"


def _evaluate(call: Call) -> str:
    model = call.model
    if model.target is None:
        return evaluate_without_label(call)
    if model.implicit:
        return evaluate_rankings(call)
    if call.n_arguments == 1:
        return _stored_metrics(call)
    scored = labelled_source(call, call.source(), call.options(2, ("threshold",)).get("threshold"))
    target = _target(model, call)
    if model.classes is None:
        return f"({evaluate_regression(scored, target)})"
    write = evaluate_binary if len(model.classes) == 2 else evaluate_classes
    return f"({write(scored, target, model.target_type, model.classes, model.probabilities)})"


def _stored_metrics(call: Call) -> str:
    """Return the metrics that were stored with the model, in BigQuery's columns; an error where none were."""
    return stored_metrics(call.model, _CLASSIFICATION if call.model.classes is not None else _REGRESSION, call.outlives)


_CLASSIFICATION = ("precision", "recall", "accuracy", "f1_score", "log_loss", "roc_auc")
_REGRESSION = (
    "mean_absolute_error",
    "mean_squared_error",
    "mean_squared_log_error",
    "median_absolute_error",
    "r2_score",
    "explained_variance",
)


def _confusion_matrix(call: Call) -> str:
    model = call.model
    if model.classes is None:
        raise call.error(f"{model.name} is not a classifier")
    scored = labelled_source(call, call.source(), call.options(2, ("threshold",)).get("threshold"))
    return f"({confusion_matrix(scored, _target(model, call), model.target_type, model.classes)})"


def _roc_curve(call: Call) -> str:
    model = call.model
    if model.classes is None or len(model.classes) != 2 or not model.probabilities:
        raise call.error(f"{model.name} is not a classifier of two classes with probabilities")
    thresholds = call.numbers(2, "thresholds")
    scored = labelled_source(call, call.source())
    return f"({roc_curve(scored, _target(model, call), model.target_type, model.classes, thresholds)})"


def _explain_predict(call: Call) -> str:
    _target(call.model, call)
    options = call.options(2, ("top_k_features", "threshold"))
    top = call.whole_number(options, "top_k_features", 5, 1)
    source, threshold = call.source(), options.get("threshold")
    if call.probed:
        return scored_source(call, source, threshold)
    # What is added is computed by this version, and so is the prediction.
    model = call.model.one_version
    return f"({explain_predict(source, lambda rows: scored_source(call, rows, threshold, model), model, top)})"


def _global_explain(call: Call) -> str:
    _target(call.model, call)
    options = call.options(2 if call.has_source else 1, ("class_level_explain",))
    by_class = call.yes_or_no(options, "class_level_explain")
    if by_class and call.model.classes is None:
        raise call.error(f"class_level_explain: {call.model.name} is not a classifier")
    if call.has_source:
        source = call.source()
    elif (trained_on := call.training_query()) is not None:
        source = f"FROM ({trained_on}\n) USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1)"
    else:
        raise call.error(
            f"{call.model.name} was not trained on a query that could be read again: name rows after the model, "
            "TABLE name or (query)"
        )
    if call.probed:
        return scored_source(call, source, None)
    return f"({global_explain(source, call.model, by_class)})"


# Rows of the training query that global explanations read, where no others are named.
_SAMPLE = 10_000


def _feature_importance(call: Call) -> str:
    return f"(SELECT unnest({call.model.about('feature_importance')}, recursive := true))"


def _permutation_importance(call: Call) -> str:
    model = call.model
    _target(model, call)
    options = call.options(2, ("n_repeats", "seed", "metric"))
    known: tuple[str, ...] = REGRESSION_METRICS
    if model.classes is not None:
        known = CLASS_METRICS[: 1 if not model.probabilities else 3 if len(model.classes) == 2 else 2]
    metric = call.word(options, "metric", known[0], known)
    repeats, seed = call.whole_number(options, "n_repeats", 5, 1), call.whole_number(options, "seed", 0, 0)
    source = call.source()
    if call.probed:
        return scored_source(call, source, None)
    query = permutation_importance(source, lambda rows: labelled_source(call, rows), model, repeats, seed, metric)
    return f"({query})"


def _partial_dependence(call: Call) -> str:
    model = call.model
    _target(model, call)
    options = call.options(2 if call.has_source else 1, ("feature", "grid"))
    feature = call.word(options, "feature", None, model.columns)
    grid = call.whole_number(options, "grid", 20, 2)
    if not call.has_source:
        return f"({dependence_of_model(model, feature, grid)})"
    source = call.source()
    if call.probed:
        return scored_source(call, source, None)
    query = partial_dependence(source, lambda rows: labelled_source(call, rows), model, feature, grid)
    return f"({query})"


def _weights(call: Call) -> str:
    """Return BigQuery's columns: numbers with a weight, categories with a list, the intercept of uncentred numbers."""
    model = call.model
    if model.type == FACTORIZATION:
        return factor_weights(call)
    if model.target is None:
        raise call.error(f"{model.name} is a {model.type}, which has no weights{told_instead(call)}")
    label = ""
    if model.classes is not None and len(model.classes) > 2:
        texts = ", ".join(string(label_text(c)) for c in model.classes)
        label = f"[{texts}][output + 1] AS class_label, "
    none = string(
        f"{model.name} is a {model.type}, of which no weights are kept. Hint: FROM ML.FEATURE_IMPORTANCE(MODEL …) of "
        "trees, ML.PERMUTATION_IMPORTANCE(MODEL …, TABLE …) of any model"
    )
    return f"""(WITH w AS (
  SELECT w.output, w.term, w.kind, w.level, w.weight, w.feature, f.kind AS becomes, f.fill, f.first_index,
    f.column_name || CASE WHEN f.part IS NULL THEN '' ELSE '.' || f.part END AS input
  FROM {model.schema}.weights w LEFT JOIN {model.schema}.features f
    ON f.model_id = w.model_id AND f.version = w.version AND f.position = w.feature
  WHERE {model_key(model, "w.", call.outlives)} AND {same_label(model, call.outlives)}
)
SELECT processed_input, {label}weight, category_weights FROM (
  SELECT output, term AS place, weight, NULL AS category_weights,
    input || CASE WHEN kind = 'missing' THEN ' IS NULL' WHEN level IS NOT NULL THEN '[' || level || ']' ELSE '' END
      AS processed_input
  FROM w WHERE kind IN ('value', 'missing')
  UNION ALL BY NAME
  SELECT output, min(term) AS place, CAST(NULL AS DOUBLE) AS weight, input AS processed_input,
    list({{'category': CASE kind WHEN 'other' THEN '(other)' ELSE level END, 'weight': weight}} ORDER BY term)
      AS category_weights
  FROM w WHERE kind IN ('level', 'null', 'other') GROUP BY output, feature, input
  UNION ALL BY NAME
  SELECT output, NULL AS place, '__INTERCEPT__' AS processed_input, NULL AS category_weights,
    sum(CASE WHEN kind = 'intercept' THEN weight WHEN becomes = 'vector' THEN -weight * fill[CAST(level AS INTEGER)]
      ELSE -weight * fill[1] END) AS weight
  FROM w WHERE kind IN ('intercept', 'value') GROUP BY output
  UNION ALL BY NAME
  SELECT error({none}) AS processed_input WHERE NOT EXISTS (FROM w)
) ORDER BY output, place NULLS LAST)"""


def _trees(call: Call) -> str:
    return f"(SELECT unnest({call.model.about('tree_nodes')}, recursive := true))"


def _neighbors(call: Call) -> str:
    """Return each row with its neighbours: ``neighbor_id``, ``distance`` and ``rank``, a row for each neighbour."""
    model = call.model
    if model.vectors is None:
        raise call.error(f"{model.name} keeps no rows. Hint: CREATE MODEL … OPTIONS (model_type = 'nearest_neighbors')")
    source, options = call.source(), call.named(2, ("k", "nprobe"))
    settings = ", ".join(option_text(options.get(name)) for name in ("k", "nprobe"))
    if call.probed:
        return f"(SELECT {probe('dbml_row', settings)} FROM ({source}) dbml_row)"
    return neighbors_query(source, model, settings)


def _feature_info(call: Call) -> str:
    return f"""(SELECT column_name AS input, part, type, kind,
  CASE WHEN kind = 'number' AND fill[1] <> {CENTRES["categories"]} THEN fill[1] END AS mean,
  CASE WHEN kind IN ('category', 'map', 'text') THEN len(levels) END AS category_count,
  CASE WHEN fill = [] AND kind NOT IN ('lists', 'map', 'text') THEN 'kept'
    WHEN fill[1] = {CENTRES["categories"]} THEN CASE WHEN flag THEN 'own code' ELSE 'no code' END
    WHEN kind IN ('number', 'vector') THEN CASE WHEN flag THEN 'mean, flagged' ELSE 'mean' END
    WHEN kind = 'category' THEN CASE WHEN null_level THEN 'own term' ELSE 'no term' END
    ELSE 'zero' END AS missing,
  CASE WHEN kind = 'category' THEN CASE WHEN fill = [] THEN CASE WHEN other_level THEN 'shared code' ELSE 'missing' END
    WHEN other_level THEN 'shared term' ELSE 'no term' END END AS unseen,
  CASE WHEN kind = 'category' AND fill = [] THEN 1
    WHEN kind = 'category' THEN len(levels) + CAST(null_level AS INTEGER) + CAST(other_level AS INTEGER)
    WHEN kind = 'map' THEN len(levels) ELSE width + CAST(flag AS INTEGER) END AS dimension
FROM {call.model.schema}.features WHERE {model_key(call.model, outlives=call.outlives)} ORDER BY position)"""


def _training_info(call: Call) -> str:
    model = call.model
    run = "NULL" if model.run_id is None else str(model.run_id)
    if call.outlives and model.follows:
        run = f"(SELECT v.run_id FROM {model.schema}.model_versions v WHERE {model_key(model, 'v.', call.outlives)})"
    return (
        "(SELECT run_id AS training_run, iteration, loss, eval_loss, learning_rate, duration_ms "
        f"FROM {model.schema}.training_iterations WHERE run_id = {run} ORDER BY iteration)"
    )


def _target(model: ModelSignature, call: Call) -> str:
    if model.target is None:
        raise call.error(f"{model.name} predicts no label{told_instead(call)}")
    return model.target


def make_call(name: str, call: Call) -> str:
    """Return the query for the call of function `name`."""
    write, most = FUNCTIONS[name]
    if call.n_arguments > most:
        raise call.error(f"ML.{name} takes at most {most} arguments; {call.n_arguments} given")
    return write(call)


def calls_python(name: str, call: Call) -> bool:
    """Whether the query for a call has a Python function in it, whatever form the model has."""
    without_rows = name == "PARTIAL_DEPENDENCE" and not call.has_source
    without_label = name == "EVALUATE" and (call.model.target is None or call.model.implicit)
    of_factors = name == "WEIGHTS" and call.model.type == FACTORIZATION
    return name in _PYTHON or without_rows or without_label or of_factors


_PYTHON = (
    "DETECT_ANOMALIES",
    "EXPLAIN_PREDICT",
    "GLOBAL_EXPLAIN",
    "FEATURE_IMPORTANCE",
    "TREES",
    "RECOMMEND",
    "CENTROIDS",
    "PRINCIPAL_COMPONENTS",
    "PRINCIPAL_COMPONENT_INFO",
    "NEIGHBORS",
)

# Functions whose rows need the label besides the columns of the model.
WITH_LABELS = ("EVALUATE", "CONFUSION_MATRIX", "ROC_CURVE", "PERMUTATION_IMPORTANCE")

# function: writer, most arguments
FUNCTIONS: dict[str, tuple[Callable[[Call], str], int]] = {
    "PREDICT": (_predict, 3),
    "EVALUATE": (_evaluate, 3),
    "CONFUSION_MATRIX": (_confusion_matrix, 3),
    "ROC_CURVE": (_roc_curve, 3),
    "EXPLAIN_PREDICT": (_explain_predict, 3),
    "GLOBAL_EXPLAIN": (_global_explain, 3),
    "PERMUTATION_IMPORTANCE": (_permutation_importance, 3),
    "PARTIAL_DEPENDENCE": (_partial_dependence, 3),
    "FEATURE_IMPORTANCE": (_feature_importance, 1),
    "WEIGHTS": (_weights, 1),
    "DETECT_ANOMALIES": (detect_anomalies, 3),
    "TREES": (_trees, 1),
    "NEIGHBORS": (_neighbors, 4),
    "RECOMMEND": (recommend, 3),
    "FEATURE_INFO": (_feature_info, 1),
    "TRAINING_INFO": (_training_info, 1),
    "TRANSFORM": (transform_rows, 2),
    "CENTROIDS": (centroids, 1),
    "PRINCIPAL_COMPONENTS": (principal_components, 1),
    "PRINCIPAL_COMPONENT_INFO": (principal_component_info, 1),
}
