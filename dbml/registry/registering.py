"""dbml's SQL functions: those that predict, explain and train, by name and type.

A function of DuckDB's has one return type. ``predict`` is DOUBLE: numbers of regressors, and labels that are numbers
or booleans (1 for true). Text labels, and whole numbers beyond 2^53, come from ``predict_label``, VARCHAR for any
model: asking ``predict`` for them is an error, never a silent cast. ``predict_proba`` is MAP(VARCHAR, DOUBLE), from the
text of each label. ``transform`` is DOUBLE[].

Each is called ``dbml_predict``, … in text of ours; those that a person calls have their plain names too, where the
person has no function or macro of that name.

``ML.EXPLAIN_PREDICT`` and others are queries over ``predict_attributions``, ``feature_importance`` and
``partial_dependence``, ``ML.DETECT_ANOMALIES`` over ``detect_anomalies``, ``ML.CENTROIDS`` over ``centroids``,
``ML.PRINCIPAL_COMPONENTS`` over ``principal_components``, ``ML.NEIGHBORS`` over ``neighbors``. ``add_rows`` adds
rows to a model that keeps some.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import duckdb
from dbml_sql.python_functions import PUBLIC, function_name

from dbml.errors import DbmlWarning
from dbml.passes.memory import parse_memory
from dbml.registry.functions import LOCK, Functions, functions_of
from dbml.registry.upgrade import bring_up_to_date

_BY_FEATURE = 'feature VARCHAR, numerical_value DOUBLE, categorical_value STRUCT(category VARCHAR, "value" DOUBLE)[]'

TYPES = {
    "predict": "DOUBLE",
    "predict_label": "VARCHAR",
    "predict_proba": "MAP(VARCHAR, DOUBLE)",
    "transform": "DOUBLE[]",
    "predict_attributions": "STRUCT(baseline DOUBLE, prediction DOUBLE, attributions DOUBLE[])[]",
    "feature_importance": (
        "STRUCT(feature VARCHAR, importance_weight BIGINT, importance_gain DOUBLE, importance_cover DOUBLE)[]"
    ),
    "partial_dependence": "STRUCT(number DOUBLE, category VARCHAR, predictions DOUBLE[])[]",
    "tree_nodes": (
        "STRUCT(tree INTEGER, class_label VARCHAR, node INTEGER, parent INTEGER, depth INTEGER, is_leaf BOOLEAN, "
        "feature VARCHAR, operator VARCHAR, threshold DOUBLE, categories VARCHAR[], missing VARCHAR, gain DOUBLE, "
        "rows DOUBLE, value DOUBLE, class_values DOUBLE[])[]"
    ),
    "factor_keys": "VARCHAR[]",
    "factor_weights": (
        "STRUCT(processed_input VARCHAR, feature VARCHAR, factor_weights STRUCT(factor INTEGER, weight DOUBLE)[], "
        "intercept DOUBLE)[]"
    ),
    "item_rank": "DOUBLE",
    "detect_anomalies": "STRUCT(is_anomaly BOOLEAN, anomaly_score DOUBLE)",
    "centroids": f"STRUCT(centroid_id INTEGER, {_BY_FEATURE})[]",
    "centroid_distances": "DOUBLE[][]",
    "principal_components": f"STRUCT(principal_component_id INTEGER, {_BY_FEATURE})[]",
    "principal_component_info": (
        "STRUCT(principal_component_id INTEGER, eigenvalue DOUBLE, explained_variance_ratio DOUBLE, "
        "cumulative_explained_variance_ratio DOUBLE)[]"
    ),
    "neighbors": "STRUCT(position BIGINT, distance DOUBLE)[]",
    "add_rows": "BIGINT",
    "train_model": "STRUCT(model VARCHAR, version INTEGER, rows BIGINT, seconds DOUBLE, metrics MAP(VARCHAR, DOUBLE))",
}

_CHANGING = ("train_model", "add_rows")


def register(
    con: duckdb.DuckDBPyConnection, memory_limit: int | float | str | None = None
) -> duckdb.DuckDBPyConnection:
    """Make the functions of `TYPES` (`predict`, `train_model`, …) known to a plain DuckDB connection.

    All connections to the same database in this process see them. `dbml.connect` and `dbml.attach` do this by
    themselves. Functions and macros of the same names that the person has made stay as they are, with a warning.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The connection.
    memory_limit : int (bytes) or str, optional
        What the functions compute within, as in `dbml.connect`; None: the limit of the process. That of the connection
        that made the functions holds for all connections to its database.

    Returns
    -------
    con

    Raises
    ------
    InvalidParameter
        `memory_limit` is no size.
    """
    limit = None if memory_limit is None else parse_memory(memory_limit)
    with LOCK:
        functions = functions_of(con, limit)
        if functions.wants(function_name("predict")):
            return con
        computing = _Computing(functions)
        for name, type in TYPES.items():
            functions.add(function_name(name), partial(computing, name), type, side_effects=name in _CHANGING)
        for name in PUBLIC:
            compute = partial(computing, name)
            functions.add(name, compute, TYPES[name], side_effects=name in _CHANGING, if_free=True)
        taken = functions.make()
    bring_up_to_date(con)
    persons = [name for name in PUBLIC if name in taken]
    if persons and functions.has_made(function_name("predict")):  # else another connection to the same database did
        warnings.warn(
            f"the connection has functions named {', '.join(persons)} already: they stay, and dbml's are not "
            "registered under these names. On a connection of dbml a call with the name of a model is the model's all "
            "the same, predict('late', …), and any other call is yours; FROM ML.PREDICT(…) and ml.predict_<model>(…) "
            "work everywhere",
            DbmlWarning,
            stacklevel=2,
        )
    return con


class _Computing:
    """What computes our functions; loaded when one is first called, as most connections call none."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._made: dict[str, Callable[..., Any]] = {}

    def __call__(self, name: str, *arguments: Any) -> Any:
        if not self._made:
            from dbml.registry.sql_functions import make_functions

            with LOCK:
                if not self._made:
                    self._made = make_functions(self._functions)
        return self._made[name](*arguments)
