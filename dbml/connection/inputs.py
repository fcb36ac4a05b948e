"""Why DuckDB could not bind a statement that calls models: columns that a model needs and its rows do not have.

DuckDB's own error names one column and, of a table function, an alias inside the macro. Here each call is replaced by
an expression that DuckDB refuses with the type of the row it got, which names all columns, wherever the rows come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import duckdb
from dbml_sql.calls import Rewritten, rewrite_calls
from dbml_sql.errors import SqlError

from dbml.connection.resolver import RegistryResolver
from dbml.errors import UnknownName
from dbml.registry.missing import missing_columns

_ROW = re.compile(r"argument types 'sin\((STRUCT\(.*)\)'\. You might", re.DOTALL)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?", re.IGNORECASE)


def missing_input(con: duckdb.DuckDBPyConnection, text: str, run: Callable[[str], Any]) -> UnknownName | None:
    """Return the error for the first call in a statement whose rows lack columns; None where that is not the reason.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The person's connection.
    text : str
        The statement as the person wrote it.
    run : callable
        Runs a statement with the parameters and in the frame of the person; nothing but EXPLAIN is run.
    """
    resolver = RegistryResolver(con)
    try:
        models = rewrite_calls(text, resolver).models
        for number, model in enumerate(models):
            probed = rewrite_calls(text, resolver, number)
            columns = _columns_of_row(con, probed, run)
            who = f"model {model.name!r}"
            error = None if columns is None else missing_columns(who, model.columns, columns, probed.label)
            if error is not None:
                return error
    except SqlError:  # what is wrong with the call was said before
        return None
    return None


def _columns_of_row(con: duckdb.DuckDBPyConnection, probed: Rewritten, run: Callable[[str], Any]) -> list[str] | None:
    """Return the columns of the rows of the call that was replaced, None where DuckDB did not get to it."""
    try:
        run(f"EXPLAIN {_EXPLAIN.sub('', probed.sql, count=1) if _EXPLAIN.match(probed.sql) else probed.sql}")
    except duckdb.Error as error:
        found = _ROW.search(str(error))
    else:
        return None
    if found is None:
        return None
    try:
        return [name for name, _ in con.sqltype(_first_type(found[1])).children]
    except duckdb.Error:  # a type of an extension, or of the person, that has no text DuckDB reads back
        return None


def _first_type(types: str) -> str:
    """Return the first of the types of arguments: up to the parenthesis that closes it; quoted names hold any sign."""
    depth, quote = 0, ""
    for position, sign in enumerate(types):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                return types[: position + 1]
    return types
