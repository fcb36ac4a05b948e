"""ML functions of models without a label: groups, transformed rows, centroids and principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.call import probed
from dbml_sql.groups import GROUP, GROUP_PROBABILITIES, group_evaluation
from dbml_sql.macros import predict_macro, transform_macro
from dbml_sql.outputs import outputs_query
from dbml_sql.stored import stored_metrics
from dbml_sql.transform import listed_query

if TYPE_CHECKING:
    from dbml_sql.call import Call
    from dbml_sql.signature import ModelSignature

_GROUP_METRICS = ("davies_bouldin_index", "mean_squared_distance")


def transform_rows(call: Call) -> str:
    """Return the query of ``ML.TRANSFORM``: the rows, and a column for each output."""
    model = call.model
    if not model.transforms:
        raise call.error(f"{model.name} is a {model.type}, which transforms nothing")
    source = call.source()
    if call.probed:
        return probed(source)
    if model.native is not None:
        macro = transform_macro(model.native, model.schema)
        return f"(WITH dbml_input AS ({source}) SELECT * FROM {macro}(dbml_input))"
    names = call.rewriter.resolver.outputs(model)
    return f"({listed_query(f'({source})', model.columns, names, _transformed(model))})"


def row_function(model: ModelSignature) -> str:
    """Return the function that tells the most of rows: ``ML.PREDICT``, or what stands for it without a label."""
    if model.target is not None or model.groups:
        return "PREDICT"
    if model.transforms:
        return "TRANSFORM"
    return "DETECT_ANOMALIES" if model.vectors is None else "NEIGHBORS"


def predict_without_label(call: Call) -> str:
    """Return the query of ``ML.PREDICT``: groups with distances or probabilities, or the values of components."""
    model = call.model
    call.options(2, ())
    if model.groups:
        source = call.source()
        return probed(source) if call.probed else f"({_groups(model, source)})"
    n_components = call.rewriter.resolver.n_components(model)
    if n_components is None:
        raise call.error(f"{model.name} predicts no label. Hint: FROM ML.{row_function(model)}(MODEL …, TABLE …)")
    source = call.source()
    if call.probed:
        return probed(source)
    names = [f"principal_component_{i + 1}" for i in range(n_components)]
    return f"({listed_query(f'({source})', (), names, _transformed(model.one_version))})"


def _transformed(model: ModelSignature) -> str:
    """Return the outputs of a row ``t`` as a list."""
    if model.native is None:
        return model.python_call("transform")
    return f"{transform_macro(model.native, model.schema)}({', '.join(model.of_row())})"


def _groups(model: ModelSignature, source: str) -> str:
    if not model.transforms and model.native is not None:
        return f"WITH dbml_input AS ({source}) SELECT * FROM {predict_macro(model.native, model.schema)}(dbml_input)"
    if not model.transforms:
        outputs = {GROUP: f"CAST({model.python_call('predict')} AS INTEGER)"}
        if model.probabilities:
            pairs = f"map_entries({model.python_call('predict_proba')})"
            item = "{'label': CAST(dbml_e['key'] AS INTEGER), 'prob': dbml_e['value']}"
            outputs[GROUP_PROBABILITIES] = f"list_transform({pairs}, lambda dbml_e: {item})"
        return outputs_query(f"({source})", (), outputs)
    pairs = (
        f"list_transform({_transformed(model)}, "
        "lambda dbml_d, dbml_i: {'DISTANCE': dbml_d, 'CENTROID_ID': CAST(dbml_i - 1 AS INTEGER)})"
    )
    pair = "{'CENTROID_ID': dbml_p['CENTROID_ID'], 'DISTANCE': dbml_p['DISTANCE']}"
    nearest = f"list_transform(list_sort({pairs}), lambda dbml_p: {pair})"
    inner = f"(SELECT t.*, {nearest} AS dbml_made FROM ({source}) t)"
    outputs = {"CENTROID_ID": "t.dbml_made[1].CENTROID_ID", "NEAREST_CENTROIDS_DISTANCE": "t.dbml_made"}
    return outputs_query(inner, (), outputs, hidden=("dbml_made",))


def evaluate_without_label(call: Call) -> str:
    """Return the query of ``ML.EVALUATE``: how near rows lie to their centroids, or what components explain."""
    model = call.model
    call.options(2, ())
    if model.groups and model.transforms:
        if call.n_arguments == 1:
            return stored_metrics(model, _GROUP_METRICS, call.outlives)
        source = call.source()
        if call.probed:
            return probed(source)
        distances = _transformed(model.one_version)  # as the Python function is of this version
        return f"({group_evaluation(f'({source})', distances, model.about('centroid_distances'))})"
    if call.rewriter.resolver.n_components(model) is None:
        raise call.error(f"{model.name} predicts no label, and has no metrics")
    if call.n_arguments > 1:
        raise call.error(
            f"{model.name}: the metrics of principal components are those of training. Hint: leave the rows out"
        )
    info = model.about("principal_component_info")
    shares = f"list_transform({info}, lambda dbml_c: dbml_c['explained_variance_ratio'])"
    return f"(SELECT list_sum({shares}) AS total_explained_variance_ratio)"


def centroids(call: Call) -> str:
    """Return the query of ``ML.CENTROIDS``: a row a centroid and feature."""
    if not call.model.groups:
        raise call.error(f"{call.model.name} is a {call.model.type}, which has no centroids")
    return f"(SELECT unnest({call.model.about('centroids')}, max_depth := 2))"


def principal_components(call: Call) -> str:
    """Return the query of ``ML.PRINCIPAL_COMPONENTS``: a row a component and feature."""
    return _of_components(call, "principal_components")


def principal_component_info(call: Call) -> str:
    """Return the query of ``ML.PRINCIPAL_COMPONENT_INFO``: a row a component."""
    return _of_components(call, "principal_component_info")


def _of_components(call: Call, function: str) -> str:
    if call.rewriter.resolver.n_components(call.model) is None:
        raise call.error(f"{call.model.name} is a {call.model.type}, which has no principal components")
    return f"(SELECT unnest({call.model.about(function)}, max_depth := 2))"


def told_instead(call: Call) -> str:
    """Return a hint for who asks a model without a label for its weights or for what explains a prediction."""
    if call.model.groups:
        return ". Hint: FROM ML.CENTROIDS(MODEL …)"
    if call.rewriter.resolver.n_components(call.model) is not None:
        return ". Hint: FROM ML.PRINCIPAL_COMPONENTS(MODEL …)"
    return ""
