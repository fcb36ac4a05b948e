"""Estimators are found, not listed: a new file in this package is all it takes.

To import them all takes half a second: where one is asked for by name, modules whose text mentions it are tried first.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
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
    return dict(sorted(item for module in _modules() for item in _defined_in(module).items()))


def estimator(name: str) -> type[Estimator] | None:
    """Return the estimator class of a name; None where there is none."""
    return _declared(name) or estimators().get(name)


@cache
def _modules() -> tuple[str, ...]:
    return tuple(found.name for found in pkgutil.iter_modules(dbml.estimators.__path__, "dbml.estimators."))


def _defined_in(module: str) -> dict[str, type[Estimator]]:
    """Return the estimators that a module defines, by name."""
    loaded = importlib.import_module(module)
    return {
        name: value
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and value.__module__ == module and not name.startswith("_")
        if issubclass(value, Estimator) and "__init__" in vars(value)
    }


@cache
def _texts() -> dict[str, str]:
    """Return the source of each module, in lower case; none of those that have no file to read."""
    found = {}
    for module in _modules():
        for folder in dbml.estimators.__path__:
            file = Path(folder, f"{module.rpartition('.')[2]}.py")
            if file.is_file():
                found[module] = file.read_text(encoding="utf-8").lower()
    return found


def _mentioned(text: str) -> Iterator[type[Estimator]]:
    """Yield the estimators of the modules that mention a text, in lower case."""
    for module, source in _texts().items():
        if text in source:
            yield from _defined_in(module).values()


@cache
def _declared(name: str) -> type[Estimator] | None:
    """Return the estimator class of a name, from the module whose text declares it."""
    return next((kind for kind in _mentioned(f"class {name}(".lower()) if kind.__name__ == name), None)


@cache
def _typed(model_type: str) -> type[Estimator] | None:
    """Return the estimator class of a model type, in lower case, from a module whose text spells it."""
    likely = chain(_mentioned(f'"{model_type}"'), _mentioned(f"class {model_type}("))
    return next((kind for kind in likely if model_type in _types_of(kind)), None)


def stored_kind(name: str) -> type[Estimator] | None:
    """Return the class that a stored model of a kind has; None where this dbml has no such kind."""
    return _declared(name) or stored_kinds().get(name)


def stored_kinds() -> dict[str, type[Estimator]]:
    """Return the classes that a stored model may have, by name: the estimators, and what is imported, never trained."""
    from dbml.estimators.trees.imported import ImportedTreesClassifier, ImportedTreesRegressor

    imported: tuple[type[Estimator], ...] = (ImportedTreesClassifier, ImportedTreesRegressor)
    return {**estimators(), **{kind.__name__: kind for kind in imported}}


@cache
def model_types() -> dict[str, type[Estimator]]:
    """Return the estimator class of each model type: BigQuery's names and the class names, all in lower case."""
    names: dict[str, type[Estimator]] = {}
    for kind in estimators().values():
        names |= dict.fromkeys(_types_of(kind), kind)
    return names


def _types_of(kind: type[Estimator]) -> list[str]:
    """Return the model types of an estimator class, in lower case."""
    return [name.lower() for name in (*kind.model_types, kind.__name__)]


def find_type(model_type: str) -> type[Estimator] | None:
    """Return the estimator class of a model type, in any case; None where there is none."""
    return _typed(model_type.lower()) or model_types().get(model_type.lower())


def _spelled_types() -> list[str]:
    """Return the model types as documents spell them: BigQuery's names, then the class names."""
    classes = estimators()
    return [*sorted({name for kind in classes.values() for name in kind.model_types}), *classes]


def model_class(model_type: str) -> type[Estimator]:
    """Return the estimator class of a model type, in any case; raise `UnknownName` with the nearest one for no such."""
    found = find_type(str(model_type))
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
