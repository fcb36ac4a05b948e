"""Literals of ``OPTIONS (…)`` and of options structs, in BigQuery's and DuckDB's spelling, as Python values."""

from __future__ import annotations

from typing import Any

from dbml_sql.tokens import Cursor

_CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}
_EXPECTED = "expected a literal: a number, a string, TRUE, FALSE, NULL, […], {…} or STRUCT(…)"


def read_options(cursor: Cursor) -> dict[str, Any]:
    """Read ``(name = value, …)``; names become lower case, one that comes twice fails."""
    cursor.expect_operator("(")
    options: dict[str, Any] = {}
    while not cursor.accept_operator(")"):
        token = cursor.take()
        if token.kind not in ("word", "quoted"):
            cursor.fail("expected the name of an option", token)
        name = token.name.lower()
        if name in options:
            cursor.fail(f"option {name} is given twice", token)
        cursor.expect_operator("=")
        options[name] = read_literal(cursor)
        if not cursor.peek().is_operator(")") and not cursor.accept_operator(","):
            cursor.fail("expected , or ) after the value of an option")
    return options


def read_literal(cursor: Cursor) -> Any:
    """Read a literal.

    Numbers, strings (``'…'``, ``$$…$$``, and ``"…"`` as in BigQuery), TRUE, FALSE and NULL become what they are in
    Python; ``[…]`` a list; ``{'a': 1}``, ``MAP {…}`` and ``STRUCT(1 AS a)`` a dict; ``STRUCT(1, 2)`` and ``(1, 2)`` a
    tuple.
    """
    token = cursor.peek()
    if token.kind == "string":
        return cursor.take().string
    if token.kind == "quoted":
        return cursor.take().name
    if token.kind == "number" or token.text in ("-", "+"):
        return _read_number(cursor)
    if token.kind == "operator":
        return _read_collection(cursor)
    return _read_word(cursor)


def _read_collection(cursor: Cursor) -> Any:
    sign = cursor.peek().text
    if sign == "[":
        return _read_items(cursor, "[", "]")
    if sign == "{":
        return _read_braces(cursor)
    if sign == "(":
        return tuple(_read_items(cursor, "(", ")"))
    return cursor.fail(_EXPECTED)


def _read_word(cursor: Cursor) -> Any:
    word = cursor.peek().text.upper()
    if word in _CONSTANTS:
        cursor.take()
        return _CONSTANTS[word]
    opening = cursor.peek(1)
    if word == "STRUCT" and opening.is_operator("("):
        cursor.take()
        return read_struct(cursor)
    if word == "MAP" and opening.is_operator("{"):
        cursor.take()
        return _read_braces(cursor)
    return cursor.fail(_EXPECTED)


def read_struct(cursor: Cursor) -> dict[str, Any] | tuple[Any, ...]:
    """Read the parenthesis of ``STRUCT(…)``: a dict if its values are named (``value AS name``), else a tuple."""
    cursor.expect_operator("(")
    names: list[str | None] = []
    values = []
    while not cursor.accept_operator(")"):
        values.append(read_literal(cursor))
        names.append(cursor.take().name.lower() if cursor.accept("AS") else None)
        if not cursor.peek().is_operator(")"):
            cursor.expect_operator(",")
    if all(name is None for name in names):
        return tuple(values)
    if None in names or len(set(names)) < len(names):
        cursor.fail("a STRUCT names all of its values, or none, and no name twice")
    return {name: value for name, value in zip(names, values, strict=True) if name is not None}


def _read_number(cursor: Cursor) -> int | float:
    sign = -1 if cursor.peek().is_operator("-") else 1
    if not cursor.accept_operator("-"):
        cursor.accept_operator("+")
    token = cursor.take()
    if token.kind != "number":
        cursor.fail("expected a number", token)
    text = token.text.replace("_", "")
    return sign * (int(text) if text.isdigit() else float(text))


def _read_items(cursor: Cursor, opening: str, closing: str) -> list[Any]:
    cursor.expect_operator(opening)
    items = []
    while not cursor.accept_operator(closing):
        items.append(read_literal(cursor))
        if not cursor.peek().is_operator(closing):
            cursor.expect_operator(",")
    return items


def _read_braces(cursor: Cursor) -> dict[Any, Any]:
    cursor.expect_operator("{")
    found: dict[Any, Any] = {}
    while not cursor.accept_operator("}"):
        token = cursor.peek()
        key = cursor.take().name if token.kind == "word" and cursor.peek(1).is_operator(":") else read_literal(cursor)
        if isinstance(key, (list, dict)):
            cursor.fail("expected a name or a plain value as a key", token)
        if key in found:
            cursor.fail(f"{key!r} is given twice", token)
        cursor.expect_operator(":")
        found[key] = read_literal(cursor)
        if not cursor.peek().is_operator("}"):
            cursor.expect_operator(",")
    return found
