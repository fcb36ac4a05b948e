"""Which names of a statement stand for rows: those that a FROM clause makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from dbml_sql.tokens import Token

# After these comes a name of a column, not of a table.
_BEFORE_A_COLUMN = frozenset(
    "SELECT WHERE AND OR NOT BY ON WHEN THEN ELSE CASE HAVING IN IS LIKE BETWEEN DISTINCT LAMBDA SET RETURNING".split()
)
_END_OF_TABLES = tuple(
    "SELECT WHERE GROUP HAVING ORDER LIMIT UNION EXCEPT INTERSECT WINDOW QUALIFY SET RETURNING VALUES".split()
)


def names_rows(found: Sequence[Token], name: str) -> bool:
    """Whether a statement has a table, or an alias of one, of this name."""
    return name.casefold() in _row_names(found)


def _row_names(found: Sequence[Token]) -> set[str]:
    return {token.name.casefold() for token in (*_tables(found), *_aliases(found))}


def _aliases(found: Sequence[Token]) -> Iterator[Token]:
    """Yield names after a name or a parenthesis: what an alias with or without AS looks like."""
    for before, token in pairwise(found):
        after_name = _is_name(before) and before.text.upper() not in _BEFORE_A_COLUMN
        if _is_name(token) and (after_name or before.is_operator(")")):
            yield token


def _tables(found: Sequence[Token]) -> Iterator[Token]:
    """Yield the last part of each name in a FROM clause, after FROM, JOIN or a comma."""
    in_tables = [False]
    for index, token in enumerate(found):
        if token.kind == "operator" and token.text in "([{":
            in_tables.append(False)
        elif token.kind == "operator" and token.text in ")]}":
            in_tables = in_tables[:-1] or [False]
        elif token.is_word("FROM", "JOIN", "UPDATE"):
            in_tables[-1] = True
            yield from _path_end(found, index + 1)
        elif token.is_word(*_END_OF_TABLES):
            in_tables[-1] = False
        elif token.is_operator(",") and in_tables[-1]:
            yield from _path_end(found, index + 1)


def _path_end(found: Sequence[Token], start: int) -> Iterator[Token]:
    """Yield ``t`` of ``t``, ``schema.t`` or ``database.schema.t``."""
    index = start
    while index + 2 < len(found) and found[index + 1].is_operator(".") and _is_name(found[index]):
        index += 2
    if index < len(found) and _is_name(found[index]):
        yield found[index]


def _is_name(token: Token) -> bool:
    return token.kind in ("word", "quoted")
