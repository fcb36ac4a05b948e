"""DuckDB called as if by the person: it sees their variables, and their errors are ours."""

from __future__ import annotations

import re
from types import FrameType
from typing import Any

import duckdb

from dbml import errors

_RAISED = re.compile(r"Python exception occurred while executing the UDF: (\w+): (.*)", re.DOTALL)


def own_error(error: duckdb.Error) -> Exception:
    """Return the error of ours that a function raised inside DuckDB, or DuckDB's."""
    match = _RAISED.search(str(error))
    kind = getattr(errors, match[1], None) if match else None
    return kind(match[2]) if match and isinstance(kind, type) and issubclass(kind, errors.DbmlError) else error


def in_frame(frame: FrameType, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a method of DuckDB as if the caller's own frame called it.

    DuckDB finds DataFrames by the name of a variable in the frame that calls it. Behind a wrapper that is the
    wrapper's; the setting that makes DuckDB look further (``python_scan_all_frames``) would change the connection.
    """
    names = {**frame.f_locals, "__dbml_call": function, "__dbml_args": args, "__dbml_kwargs": kwargs}
    return eval("__dbml_call(*__dbml_args, **__dbml_kwargs)", frame.f_globals, names)
