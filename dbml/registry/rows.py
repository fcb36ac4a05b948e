"""Many rows into a table of schema ``ml``, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from dbml.registry.versions import Version


def insert_rows(
    con: duckdb.DuckDBPyConnection,
    of: Version,
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Insert rows about a version; `columns` are names and types, `rows` hold their values."""
    if not rows:
        return
    names = ", ".join(name for name, _ in columns)
    unnested = ", ".join(f"unnest(?::{type}[])" for _, type in columns)
    con.execute(
        f"INSERT INTO {of.place.schema}.{table} (model_id, version, {names}) SELECT ?, ?, {unnested}",
        [of.model_id, of.version, *(list(column) for column in zip(*rows, strict=True))],
    )
