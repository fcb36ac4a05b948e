"""dbml: machine learning where the data already is."""

from __future__ import annotations

import importlib
from typing import Any

from dbml.passes.dispatch import provide

__version__ = "0.1.0"

provide(lambda: importlib.import_module("dbml.data"))
provide(lambda: importlib.import_module("dbml.engine"))
provide(lambda: importlib.import_module("dbml.registry"))

_SURFACE = {
    "connect": "dbml.connection",
    "attach": "dbml.connection",
    "register": "dbml.connection",
    "show_progress": "dbml.engine",
    "from_long": "dbml.data.long_table",
}


def __getattr__(name: str) -> Any:
    """Load the connection and the estimators when they are asked for: `import dbml` stays cheap."""
    if name in _SURFACE:
        return getattr(importlib.import_module(_SURFACE[name]), name)
    if name.startswith("_"):
        raise AttributeError(name)
    found = importlib.import_module("dbml.estimators.discovery").estimator(name)
    if found is not None:
        return found
    raise AttributeError(f"module 'dbml' has no attribute {name!r}")
