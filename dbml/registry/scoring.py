"""Relation in, relation out: the input columns and the predictions, computed where the rows lie.

A model with a form is an expression in the query: nothing leaves DuckDB. Others are scored by a vectorised function
that is made for the model, with the type of its labels. Either way nothing runs until the relation is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from dbml_sql.expressions import identifier
from dbml_sql.forms import Form
from dbml_sql.groups import GROUP, GROUP_LINKS, GROUP_PROBABILITIES, group_query
from dbml_sql.macros import DEFAULT_THRESHOLD, parameters, scored_query
from dbml_sql.outputs import added_names, outputs_query
from dbml_sql.retyped import given_values, guarded, zoned_columns
from dbml_sql.score import fit_double, label_type, predictors_of
from dbml_sql.transform import TRANSFORM_LINKS, listed_query, transform_query

from dbml.data.vector_lengths import lists_among, types_of
from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.estimators.trees.model import TreeModel
from dbml.registry.factors import item_rank
from dbml.registry.functions import functions_of, typed_function
from dbml.registry.macros import native_reason, outputs_of
from dbml.registry.missing import check_columns
from dbml.registry.predictions import predict_label, predict_number, probabilities_of, transform
from dbml.registry.scorer import Scorer

_ROWS = "dbml_rows"
_WITHOUT_TARGET = {"predict": "prediction", "decision_function": "decision_function", "score_samples": "score_samples"}


def score_relation(model: Estimator, X: Any, method: str) -> Any:
    """Return the relation of the rows of X and the predictions of a fitted model.

    Parameters
    ----------
    model : Estimator
        Fitted.
    X : duckdb.DuckDBPyRelation
        Columns are matched by name (upper and lower case are the same), extra ones are kept and ignored.
    method : {"predict", "predict_proba", "decision_function", "score_samples", "shap_values", "transform", "item_rank"}
        ``predicted_<target>``; where there is none ``centroid_id`` of clusterers, else ``prediction``;
        ``predicted_<target>_probs``, a list of ``{label, prob}`` in the order of the classes; ``decision_function``,
        DOUBLE or DOUBLE[]; ``score_samples`` and ``item_rank``, DOUBLE; ``shap_<term>``, as the decision, of each term;
        for ``transform`` a column for each output.

    Raises
    ------
    UnknownName
        X lacks columns that the model needs; they are named.
    UnsupportedColumn
        A column of X has a type that holds no value for the model.
    """
    target = model.schema_.target
    check_columns(type(model).__name__, model.schema_.encoding, dict(zip(X.columns, map(str, X.types), strict=True)))
    if method == "shap_values":
        return _explained(model, X)
    if target is None:
        return _without_target(model, X, method)
    made = {
        "predict": f"predicted_{target.name}",
        "predict_proba": f"predicted_{target.name}_probs",
        "decision_function": "decision_function",
        "item_rank": "item_rank",
    }
    rows = _without(X, added_names(made.values(), model.schema_.encoding.columns))
    form, who = model.form(), _who(model, X)
    if form is None or native_reason(form, model.schema_) is not None:
        return _by_function(model, rows, method, made[method])
    if method == "decision_function":
        etas = predictors_of(form, model.schema_.encoding, lambda column: f"t.{identifier(column)}")
        value = etas[0] if len(etas) == 1 else f"[{', '.join(etas)}]"
        if who is not None:
            value = guarded(value, who, model.schema_.encoding, lambda column: f"t.{identifier(column)}")
        return rows.query(_ROWS, outputs_query(_ROWS, model.schema_.encoding.columns, {method: value}))
    query = scored_query(_ROWS, form, model.schema_.encoding, target, DEFAULT_THRESHOLD, who=who)
    scored = rows.query(_ROWS, query)
    columns = [column for column in rows.columns if column.casefold() != made[method].casefold()] + [made[method]]
    return scored.project(", ".join(identifier(column) for column in columns))


def _who(model: Estimator, X: Any) -> str | None:
    """Return the name of a model where what its columns hold is to be tested: lists may have any length."""
    return type(model).__name__ if lists_among(model.schema_.encoding, types_of(X)) else None


def _without_target(model: Estimator, X: Any, method: str) -> Any:
    form = model.form()
    native = form if native_reason(form, model.schema_) is None else None
    if method == "transform":
        return _transformed(model, X, native)
    groups = getattr(model, "_estimator_type", None) == "clusterer"
    if method == "predict" and groups and native is not None and native.link in GROUP_LINKS:
        query = group_query(_ROWS, native, model.schema_.encoding, _who(model, X))
        found = _without(X, [GROUP]).query(_ROWS, query)
        return found.project(f"* EXCLUDE ({GROUP_PROBABILITIES})") if native.link == "softmax" else found
    if method == "predict" and groups:
        rows = _without(X, [GROUP])
        value = f"CAST({_called(model, rows._con, method)} AS INTEGER)"
        return rows.query(_ROWS, f"SELECT t.*, {value} AS {GROUP} FROM {_ROWS} t")
    names = {**_WITHOUT_TARGET, **({"predict_proba": GROUP_PROBABILITIES} if groups else {})}
    if method not in names or not hasattr(model, method):
        raise InvalidData(f"{type(model).__name__} has no target: a relation cannot be scored with {method}")
    return _by_function(model, _without(X, [names[method]]), method, names[method])


def _transformed(model: Estimator, X: Any, native: Form | None) -> Any:
    """Return the rows with a column for each output of `transform`."""
    encoding, names = model.schema_.encoding, outputs_of(model)
    if native is not None and native.link in TRANSFORM_LINKS:
        return X.query(_ROWS, transform_query(_ROWS, native, encoding, names, _who(model, X)))
    return X.query(_ROWS, listed_query(_ROWS, encoding.columns, names, _called(model, X._con, "transform")))


def _without(X: Any, names: Any) -> Any:
    """Return X without columns that earlier predictions left and that this one makes again."""
    wanted = {name.casefold() for name in names}
    old = [column for column in X.columns if column.casefold() in wanted]
    return X.project(f"* EXCLUDE ({', '.join(map(identifier, old))})") if old else X


def _called(model: Estimator, con: Any, method: str) -> str:
    """Return the call of a function made for a model, over the columns of ``t``."""
    made = functions_of(con).made_for(model)
    if method not in made:
        scorer = Scorer(type(model).__name__, model)
        made[method] = typed_function(con, *_WRITERS[method](scorer))
    encoding = model.schema_.encoding
    values = [f"t.{identifier(column)}" for column in encoding.columns]
    given = given_values(type(model).__name__, encoding.columns, values, zoned_columns(encoding))
    return f"{made[method]}({', '.join(given)})"


def _by_function(model: Estimator, rows: Any, method: str, name: str) -> Any:
    target = model.schema_.target
    value = _called(model, rows._con, method)
    if target is not None and target.classes is not None and method in ("predict", "predict_proba"):
        label = label_type(target.classes, target.type)
        value = f"CAST({value} AS {label if method == 'predict' else _listed_labels(label)})"
    return rows.query(_ROWS, outputs_query(_ROWS, model.schema_.encoding.columns, {name: value}))


def _explained(model: Estimator, X: Any) -> Any:
    rows = _without(X, _shap_columns(model))
    value = _called(model, rows._con, "shap_values")
    query = (
        f"SELECT t.* EXCLUDE (dbml_shap), unnest(dbml_shap) FROM (SELECT t.*, {value} AS dbml_shap FROM {_ROWS} t) t"
    )
    return rows.query(_ROWS, query)


def _shap_columns(model: Estimator) -> tuple[str, ...]:
    return parameters([f"shap_{term}" for term in model.schema_.encoding.terms])


_Made = tuple[Callable[..., pa.Array], str]


def _predictions(scorer: Scorer) -> _Made:
    text = scorer.classes is not None and not fit_double(scorer.classes)
    score = predict_label if text else predict_number

    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        return score(scorer, scorer.columns_of(arguments))

    return function, "VARCHAR" if text else "DOUBLE"


def _probabilities(scorer: Scorer) -> _Made:
    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        return probabilities_of(scorer, scorer.columns_of(arguments))

    target = scorer.model.schema_.target
    type_ = "BIGINT" if target is None else label_type(scorer.classes, target.type)
    return function, _listed_labels(type_ if fit_double(scorer.classes or ()) else "VARCHAR")


def _listed_labels(type_: str) -> str:
    return f"STRUCT(label {type_}, prob DOUBLE)[]"


def _transforms(scorer: Scorer) -> _Made:
    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        return transform(scorer, scorer.columns_of(arguments))

    return function, "DOUBLE[]"


def _ranks(scorer: Scorer) -> _Made:
    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        return item_rank(scorer, scorer.columns_of(arguments))

    return function, "DOUBLE"


def _samples(scorer: Scorer) -> _Made:
    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        return pa.array(scorer.method("score_samples")(scorer.block(scorer.columns_of(arguments))))

    return function, "DOUBLE"


def _decisions(scorer: Scorer) -> _Made:
    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        values = scorer.method("decision_function")(scorer.block(scorer.columns_of(arguments)))
        if values.ndim == 1:
            return pa.array(values)
        offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values).ravel()))

    several = scorer.classes is not None and len(scorer.classes) > 2
    return function, "DOUBLE[]" if several else "DOUBLE"


def _shap_values(scorer: Scorer) -> _Made:
    assert isinstance(scorer.model, TreeModel)
    names, by_term = _shap_columns(scorer.model), scorer.model.attributions().by_term
    several = scorer.model.baseline_.size > 1

    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        values = by_term(scorer.block(scorer.columns_of(arguments))).transpose(1, 0, 2)
        offsets = pa.array(np.arange(0, values[0].size + 1, values.shape[2], dtype=np.int32))
        flat = [pa.array(np.ascontiguousarray(of_term).ravel()) for of_term in values]
        columns = [pa.ListArray.from_arrays(offsets, column) for column in flat] if several else flat
        return pa.StructArray.from_arrays(columns, names)

    type_ = "DOUBLE[]" if several else "DOUBLE"
    return function, f"STRUCT({', '.join(f'{identifier(name)} {type_}' for name in names)})"


_WRITERS: dict[str, Callable[[Scorer], _Made]] = {
    "predict": _predictions,
    "predict_proba": _probabilities,
    "decision_function": _decisions,
    "score_samples": _samples,
    "shap_values": _shap_values,
    "transform": _transforms,
    "item_rank": _ranks,
}
