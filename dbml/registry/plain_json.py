"""Hyperparameters and fitted attributes as JSON text that reads back as the same Python values.

JSON itself has no tuples, no keys but strings and no NaN. Those become objects with one reserved key; everything is
plain data, and reading it builds numbers, strings, lists, tuples and dicts only.
"""

from __future__ import annotations

import json
import math
from typing import Any

from dbml.errors import RegistryError

_TUPLE, _DICT, _FLOAT = "$tuple", "$dict", "$float"


def dump(value: Any, owner: str) -> str:
    """Return a value as JSON text, keys in order; `owner` names it in the error for what cannot be saved."""
    return json.dumps(_encode(value, owner), ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def load(text: str, owner: str) -> Any:
    """Return the value of `dump`; `owner` names it in the error for text that is damaged."""
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RegistryError(f"{owner} is damaged: {error}") from error


def labels_of(owner: str, classes: str | None) -> tuple[Any, ...] | None:
    """Return the class labels from their text in ``ml.model_versions``; None in regression."""
    return None if classes is None else tuple(load(classes, f"{owner}: classes"))


def _encode(value: Any, owner: str) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list):
        return [_encode(item, owner) for item in value]
    if isinstance(value, tuple):
        return {_TUPLE: [_encode(item, owner) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, owner) for key, item in value.items()}
        return {_DICT: [[_encode(key, owner), _encode(item, owner)] for key, item in value.items()]}
    raise RegistryError(
        f"{owner} must be numbers, strings, lists, tuples and dicts to be saved; got {type(value).__qualname__}"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE}:
        return tuple(_decode(item) for item in value[_TUPLE])
    if set(value) == {_FLOAT}:
        return float(value[_FLOAT])
    if set(value) == {_DICT}:
        return {_decode(key): _decode(item) for key, item in value[_DICT]}
    return {key: _decode(item) for key, item in value.items()}
