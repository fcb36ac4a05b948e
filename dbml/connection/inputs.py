"""Why DuckDB could not bind a statement that calls models: columns that a model needs and its rows do not have.

DuckDB's own error names one column and, of a table function, an alias inside the macro. Here each call is replaced by
an expression that DuckDB refuses with the type of the row it got, which names all columns, wherever the rows come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import duckdb
from dbml_sql.calls import rewrite_calls
from dbml_sql.errors import SqlError
from dbml_sql.tokens import significant

from dbml.errors import StatementError, UnknownName, listing
from dbml.registry.missing import missing_columns
from dbml.registry.resolver import RegistryResolver

_ROW = re.compile(r"argument types 'sin\((STRUCT\(.*)\)'\. You might", re.DOTALL)
_NO_ROW = re.compile(r"Cannot extract field '(.*)' from expression .* because it is not a struct")
_EXPLAIN = re.compile(r"^\s*EXPLAIN\s+(ANALYZE\s+)?", re.IGNORECASE)


def no_row(con: Any, text: str, refusal: str) -> StatementError | None:
    """Return the error for a call that got one value in place of a row; None where DuckDB's refusal is another."""
    field = _NO_ROW.search(refusal)
    if field is None:
        return None
    for model in rewrite_calls(text, RegistryResolver(con)).models:
        if len(model.columns) > 1 and field[1] in model.columns:
            return StatementError(
                f"model {model.name!r} takes a row by its alias, or its {len(model.columns)} columns in the order "
                f"{listing(model.columns, 40)}; got one value, which is no row"
            )
    return None


def missing_input(con: Any, text: str, refusal: Callable[[str], str]) -> UnknownName | None:
    """Return the error for the first call in a statement whose rows lack columns; None where that is not the reason.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The person's connection.
    text : str
        The statement as the person wrote it.
    refusal : callable
        From a statement to DuckDB's error for it, with the parameters and in the frame of the person; only EXPLAIN is
        asked for.
    """
    resolver = RegistryResolver(con)
    try:
        for number, model in enumerate(rewrite_calls(text, resolver).models):
            probed = rewrite_calls(text, resolver, number)
            # DuckDB may not get to the call: then another one is the reason, or none.
            row = _ROW.search(refusal(f"EXPLAIN {_EXPLAIN.sub('', probed.sql, count=1)}"))
            if row is None:
                continue
            error = missing_columns(f"model {model.name!r}", model.columns, list(_fields(row[1])), probed.label)
            if error is not None:
                return error
    except SqlError:  # what is wrong with the call was said before
        return None
    return None


def as_written(error: duckdb.Error) -> duckdb.Error:
    """Return DuckDB's error without the line that it points at: in a statement with calls of ours that is not the line
    that the person wrote."""
    said, _, shown = str(error).partition("\n\nLINE ")
    return type(error)(said) if shown else error


def _fields(types: str) -> Iterator[str]:
    """Yield the names of the fields of ``STRUCT(a INTEGER, "b c" DECIMAL(4, 1)), …``, the first of some types."""
    found = significant(types)
    depth = 0
    for token, after in pairwise(found):
        if token.is_operator("("):
            depth += 1
        elif token.is_operator(")"):
            depth -= 1
            if depth == 0:
                return
        if depth == 1 and (token.is_operator(",") or token.is_operator("(")):
            yield after.name
