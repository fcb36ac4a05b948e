"""Models that other libraries trained: the bytes of a file -> a fitted model. Nothing in a file is ever executed."""

from __future__ import annotations

import json
from typing import Any

from dbml.errors import InvalidData
from dbml.imports.dump import Dump
from dbml.imports.lightgbm_json import read_lightgbm_json
from dbml.imports.lightgbm_text import read_lightgbm_text
from dbml.imports.model import Wishes, imported_model
from dbml.imports.ubjson import read_ubjson
from dbml.imports.xgboost import read_xgboost

__all__ = ["Wishes", "imported_model", "read_dump"]

_KNOWN = (
    "model files are LightGBM's (Booster.save_model, or dump_model as JSON) and XGBoost's (Booster.save_model as .json "
    "or .ubj)"
)


def read_dump(content: bytes, source: str) -> Dump:
    """Return what a model file says; who wrote it is seen from its beginning.

    Raises
    ------
    InvalidData
        No model file, truncated, damaged, or a model that cannot be imported.
    """
    if content.startswith(b"\x80"):
        raise InvalidData(f"{source} is a pickle, which is never loaded, as it may run code; {_KNOWN}")
    if content[:2] in (b"{L", b"{i", b"{U", b"{I", b"{l", b"{$", b"{#"):
        return _of_json(read_ubjson(content, source), source)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InvalidData(f"{source} is no model file that can be imported; {_KNOWN}") from error
    if text.startswith("tree\n"):
        return read_lightgbm_text(text, source)
    if not text.lstrip().startswith(("{", "[")):
        raise InvalidData(f"{source} is no model file that can be imported; {_KNOWN}")
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise InvalidData(f"{source} is truncated or damaged: it is no JSON ({error}); save the model again") from error
    except RecursionError as error:
        raise InvalidData(f"{source} is JSON of values too deep inside each other; save the model as text") from error
    return _of_json(stored, source)


def _of_json(stored: Any, source: str) -> Dump:
    if isinstance(stored, dict) and "learner" in stored:
        return read_xgboost(stored, source)
    if isinstance(stored, dict) and "tree_info" in stored:
        return read_lightgbm_json(stored, source)
    if isinstance(stored, list) and stored and isinstance(stored[0], dict) and "nodeid" in stored[0]:
        raise InvalidData(
            f"{source} is a dump of XGBoost's trees (dump_model), which has neither objective nor base_score; save the "
            "model with Booster.save_model('model.json')"
        )
    raise InvalidData(f"{source} is no model file that can be imported; {_KNOWN}")
