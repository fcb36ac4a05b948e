"""Estimators are found, not listed: a new file in this package is all it takes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import dbml.estimators
from dbml.errors import UnknownName, listing, nearest
from dbml.estimators.base import Estimator


@cache
def estimators() -> dict[str, type[Estimator]]:
    """Return the estimator classes by name, in alphabetical order.

    An estimator is a subclass of `Estimator` with an ``__init__`` of its own (bases have none), defined in a module of
    this package; its name does not start with an underscore.
    """
    found: dict[str, type[Estimator]] = {}
    for module in pkgutil.iter_modules(dbml.estimators.__path__, "dbml.estimators."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if not inspect.isclass(value) or value.__module__ != module.name or name.startswith("_"):
                continue
            if issubclass(value, Estimator) and "__init__" in vars(value):
                found[name] = value
    return dict(sorted(found.items()))


def stored_kinds() -> dict[str, type[Estimator]]:
    """Return the classes that a stored model may have, by name: the estimators, and what is imported, never trained."""
    from dbml.estimators.trees.imported import ImportedTreesClassifier, ImportedTreesRegressor

    imported: tuple[type[Estimator], ...] = (ImportedTreesClassifier, ImportedTreesRegressor)
    return {**estimators(), **{kind.__name__: kind for kind in imported}}


@cache
def model_types() -> dict[str, type[Estimator]]:
    """Return the estimator class of each model type: BigQuery's names and the class names, all in lower case."""
    names: dict[str, type[Estimator]] = {}
    for name, estimator in estimators().items():
        for model_type in (*estimator.model_types, name):
            names[model_type.lower()] = estimator
    return names


def _spelled_types() -> list[str]:
    """Return the model types as documents spell them: BigQuery's names, then the class names."""
    classes = estimators()
    return [*sorted({name for kind in classes.values() for name in kind.model_types}), *classes]


def model_class(model_type: str) -> type[Estimator]:
    """Return the estimator class of a model type, in any case; raise `UnknownName` with the nearest one for no such."""
    found = model_types().get(str(model_type).lower())
    if found is None:
        exist = _spelled_types()
        # What a person begins to spell is a better guess than what is as long: linear is linear_reg, not LinearSVR.
        begun = [name for name in exist if name.lower().startswith(str(model_type).lower())]
        hint = f"; did you mean {begun[0]!r}?" if model_type and begun else nearest(str(model_type), exist)
        raise UnknownName(f"no model type {model_type!r}{hint} (model types: {listing(exist, 60)})")
    return found


def from_options(model_type: str, options: Mapping[str, Any]) -> Estimator:
    """Return the estimator that a model statement asks for, with its hyperparameters set.

    Parameters
    ----------
    model_type : str
        One of `model_types`, in any case.
    options : mapping
        BigQuery's option names or scikit-learn's hyperparameter names, in any case. Options about the data
        (labels, split, encoding) are the caller's and must have been taken out.

    Raises
    ------
    UnknownName
        No such model type or option; the nearest known one is named.
    InvalidParameter
        A value outside the rule of its hyperparameter, or two options that set the same one.
    """
    return model_class(model_type).from_options({str(name).lower(): value for name, value in options.items()})
