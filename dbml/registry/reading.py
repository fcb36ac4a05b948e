"""Reading one row, whole: a result that is not read to its end keeps a DuckDB connection from other work."""

from __future__ import annotations

from typing import Any

import duckdb


def first_row(result: duckdb.DuckDBPyConnection) -> tuple[Any, ...] | None:
    """Return the first row of the result that `execute` left, or None; the connection is free afterwards."""
    rows = result.fetchall()
    return rows[0] if rows else None
