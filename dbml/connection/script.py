"""From SQL text to statements of ours, and statements for DuckDB with the calls about models replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb
from dbml_sql.errors import SqlError
from dbml_sql.query_text import looks_like_query
from dbml_sql.statements import Statement, parse_statement
from dbml_sql.tokens import split_statements

from dbml.errors import StatementError
from dbml.registry.rewriting import rewrite

# What every statement and call of ours holds; text without it goes to DuckDB as it is.
_OURS = re.compile(r"\bmodels?\b|\bpredict|\b(?:transform|add_rows|train_model)\s*\(|\bml\s*\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement of ours, or else text (or a parsed statement of DuckDB's) for DuckDB.

    `is_last` marks the one whose result counts, and that parameters belong to; `written` is the text of the person,
    where it calls models.
    """

    text: Any
    statement: Statement | None = None
    is_last: bool = True
    written: str | None = None


def may_be_ours(query: Any) -> bool:
    """Whether a text may hold a statement or call of ours."""
    return isinstance(query, str) and _OURS.search(query) is not None


def prepare(con: duckdb.DuckDBPyConnection, query: Any, lazy: bool = False) -> Iterator[Prepared]:
    """Yield the statements of a script; each is looked into when the ones before it have run, and sees their models.

    With `lazy` the last one, if it is a query, is to be a relation, which DuckDB runs whenever it is read.

    A script in which nothing can be ours is one piece, byte for byte.

    Raises
    ------
    StatementError
        A statement or call of ours is not well formed; the message shows the place.
    UnknownName
        A call names a model that does not exist.
    """
    if not may_be_ours(query):
        yield Prepared(query)
        return
    texts = split_statements(query)
    if len(texts) <= 1:
        yield prepare_statement(con, query, lazy)
        return
    for number, text in enumerate(texts, 1):
        found = prepare_statement(con, text, lazy and number == len(texts))
        yield replace(found, is_last=number == len(texts))


def prepare_statement(con: duckdb.DuckDBPyConnection, text: str, lazy: bool = False) -> Prepared:
    """Return one statement, parsed if it is ours and rewritten if it calls a model."""
    try:
        statement = parse_statement(text)
    except SqlError as error:
        raise StatementError(str(error)) from error
    if statement is not None:
        return Prepared(text, statement)
    rewritten = rewrite(con, text, lazy and looks_like_query(text))
    return Prepared(rewritten, written=None if rewritten is text else text)
