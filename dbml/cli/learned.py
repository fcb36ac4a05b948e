"""What `dbml show` tells of a model besides its weights: numbers, and tables by column, group, component or tree."""

from __future__ import annotations

from typing import Any

import numpy as np

_SHOWN_TERMS, _SHOWN_VALUES = 5, 12

# Fitted numbers that continue a training, or that say what another line says.
_INTERNAL = (
    "n_features_in_",
    "intercept_",
    "centred_intercept_",
    "fit_status_",
    "link_",
    "n_components_",
    "stored_type_",
    "t_",
)


def what_was_learned(con: Any, reference: str, model: Any) -> dict[str, list[dict[str, Any]]]:
    """Return rows by title.

    Parameters
    ----------
    con : Connection
        Where the model is.
    reference : str
        The model as a statement names it.
    model : Estimator
        The same, loaded.
    """
    found = {"learned": _numbers(model)}
    if model.schema_.target is None:
        found |= {title: _function(con, name, reference) for title, name in _functions(model).items()}
        found["columns"] = _columns(model)
        found["components"] = [] if "principal components" in found else _components(model)
    return {title: rows for title, rows in found.items() if rows}


def told(value: Any) -> Any:
    """Return a value of a table as a person reads it: of a category's list of values, text."""
    from dbml.cli.output import shown

    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    names = ("NULL" if pair["category"] is None else pair["category"] for pair in value)
    return ", ".join(f"{name}: {shown(pair['value'])}" for name, pair in zip(names, value, strict=True))


def _numbers(model: Any) -> list[dict[str, Any]]:
    """Return fitted attributes that are one number or text: iterations, losses, sizes."""
    named = {name: value for name, value in vars(model).items() if name.endswith("_") and name not in _INTERNAL}
    found = {name: value for name, value in named.items() if isinstance(value, (bool, int, float, str))}
    if hasattr(model, "n_support_"):
        found["n_support_"] = np.asarray(model.n_support_).tolist()
    if hasattr(model, "user_factors_"):
        found |= {"users": len(model.user_factors_), "items": len(model.item_factors_)}
    if hasattr(model, "trees_"):
        found["trees"] = model.trees_.n_trees
    return [{"what": name, "value": value} for name, value in found.items()]


def _functions(model: Any) -> dict[str, str]:
    """Return the ML functions that tell of a model without a label, by title."""
    found = {}
    if hasattr(model, "cluster_centers_") or (hasattr(model, "means_") and hasattr(model, "predict")):
        found["centroids"] = "CENTROIDS"
    if hasattr(model, "components_") and hasattr(model, "explained_variance_ratio_"):
        found["principal components"] = "PRINCIPAL_COMPONENT_INFO"
    return found


def _function(con: Any, name: str, reference: str) -> list[dict[str, Any]]:
    from dbml.cli.output import records

    return records(con.sql(f"FROM ML.{name}(MODEL {reference})"))


def _columns(model: Any) -> list[dict[str, Any]]:
    """Return what a scaler, an imputer or an encoder learned of each column it reads."""
    terms = model.schema_.encoding.terms
    lists = {"categories": getattr(model, "categories_", None), "edges": getattr(model, "bin_edges_", None)}
    for name, values in lists.items():
        if values is not None and len(values) == len(terms):
            return [{"column": term, name: _cut(items)} for term, items in zip(terms, values, strict=True)]
    if hasattr(model, "components_"):
        return []
    arrays = {
        name: value.tolist()
        for name, value in vars(model).items()
        if name.endswith("_") and isinstance(value, np.ndarray) and value.shape == (len(terms),)
    }
    arrays.pop("feature_names_in_", None)
    if not arrays:
        return []
    return [{"column": term, **{name: values[i] for name, values in arrays.items()}} for i, term in enumerate(terms)]


def _cut(values: Any) -> list[Any]:
    listed = np.asarray(values).tolist()
    more = [f"… {len(listed) - _SHOWN_VALUES} more"] if len(listed) > _SHOWN_VALUES else []
    return ["NULL" if value is None else value for value in listed[:_SHOWN_VALUES]] + more


def _components(model: Any) -> list[dict[str, Any]]:
    """Return the terms of the largest weight in each part that rows are made of."""
    from dbml.cli.output import shown

    weights, terms = getattr(model, "components_", None), model.schema_.encoding.terms
    # The rows of a kernel's features are landmarks, not weights.
    if weights is None or weights.shape[1] != len(terms) or hasattr(model, "gamma_"):
        return []
    largest = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :_SHOWN_TERMS]
    return [
        {"component": k, "largest": ", ".join(f"{terms[j]}: {shown(float(weights[k, j]))}" for j in places)}
        for k, places in enumerate(largest)
    ]
