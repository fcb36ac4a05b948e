"""Statements whose text is kept, and runs when models have other versions or other clients ask."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.errors import SqlError
from dbml_sql.tokens import Token

_DEFINES = ("MACRO", "FUNCTION", "VIEW")


def outlives(found: Sequence[Token]) -> bool:
    """Return whether the text is kept, in the database or the session: a view, a macro, or what PREPARE keeps."""
    head = _head(found)
    return _defined(head, _DEFINES) is not None or bool(head and head[0].is_word("PREPARE"))


def refuse_kept_python(text: str, found: Sequence[Token], reasons: Sequence[str]) -> None:
    """Refuse to keep the call of a Python function in the database, where other clients could not run it.

    In a view or macro, a generated column, a CHECK, a DEFAULT, or an index.

    Parameters
    ----------
    text : str
        The statement.
    found : sequence of Token
        Its tokens.
    reasons : sequence of str
        Why it would; empty where it does not.

    Raises
    ------
    SqlError
        It would.
    """
    kept = _kept(found) if reasons else None
    if kept is not None:
        kind, instead = kept
        a = "an" if kind.is_word("INDEX") else "a"
        raise SqlError(
            f"{a} {kind.text.lower()} is kept in the database, where other clients use it; {reasons[0]}. {instead}",
            text,
            kind.start,
        )


def _kept(found: Sequence[Token]) -> tuple[Token, str] | None:
    """Return the word that says what a statement keeps in the database, and what to use in its place, or None."""
    head = _head(found)
    if not head:
        return None
    if head[0].is_word("ALTER"):
        # ``SET DATA TYPE … USING predict(…)`` computes once.
        alters = len(head) > 1 and head[1].is_word("TABLE") and not any(token.is_word("USING") for token in found)
        return (head[1], "Use UPDATE, or CREATE TABLE AS") if alters else None
    kind = _defined(head, (*_DEFINES, "TABLE", "INDEX"))
    if kind is None or any(token.is_word("TEMP", "TEMPORARY") for token in head):
        return None
    if kind.is_word("INDEX"):
        return kind, "Put an index on a column of predictions"
    if kind.is_word("TABLE") and _is_of_query(found):
        return None
    return kind, f"Use CREATE TEMP {kind.text.upper()}, or CREATE TABLE AS"


def _head(found: Sequence[Token]) -> list[Token]:
    return [token for token in found[:6] if token.kind == "word"]


def _defined(head: Sequence[Token], kinds: Sequence[str]) -> Token | None:
    """Return the word among the first words of a statement that says what it creates, or None."""
    if not head or not head[0].is_word("CREATE"):
        return None
    return next((token for token in head[1:] if token.is_word(*kinds)), None)


def _is_of_query(found: Sequence[Token]) -> bool:
    """Return whether a CREATE TABLE has a query, whose rows are kept and not its text."""
    depth = 0
    for token in found:
        depth += token.is_operator("(") - token.is_operator(")")
        if depth == 0 and token.is_word("AS"):
            return True
    return False
