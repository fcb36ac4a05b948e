"""Queries as text, with their calls about models replaced by what DuckDB understands."""

from __future__ import annotations

from typing import Any

import duckdb
from dbml_sql.calls import rewrite_calls
from dbml_sql.errors import SqlError

from dbml.data.duck import what_is_no_query
from dbml.errors import InvalidParameter, StatementError
from dbml.registry.resolver import RegistryResolver


def rewrite(con: duckdb.DuckDBPyConnection, text: str, lazy: bool = False) -> str:
    """Return a query with its calls about models replaced; the very text where it has none.

    Parameters
    ----------
    lazy : bool, default False
        Whether it runs later, when models may have other versions.

    Raises
    ------
    StatementError
        A call is not well formed.
    UnknownName
        A call names a model that does not exist.
    """
    try:
        return rewrite_calls(text, RegistryResolver(con), lazy=lazy).sql
    except SqlError as error:
        raise StatementError(str(error)) from error


def training_query(con: duckdb.DuckDBPyConnection, name: str, query: Any) -> str:
    """Return a query of rows for model `name` as DuckDB understands it; anything but one query would run, and change
    the database.

    Raises
    ------
    InvalidParameter
        No text, several statements, a statement that is no query, or a query with a part that writes.
    StatementError, UnknownName
        See `rewrite`.
    """
    rewritten = rewrite(con, query) if isinstance(query, str) else query
    came = what_is_no_query(con, rewritten) if isinstance(rewritten, str) else repr(query)
    if came:
        raise InvalidParameter(f"model {name!r}: the rows must come from one query (SELECT, FROM, WITH, …); got {came}")
    return str(rewritten)
