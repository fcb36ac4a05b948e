"""Statements whose text is kept, and runs when models have other versions or other clients ask."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.errors import SqlError
from dbml_sql.tokens import Token

_DEFINES = ("MACRO", "FUNCTION", "VIEW")


def outlives(found: Sequence[Token]) -> bool:
    """Return whether the text is kept, in the database or the session: a view, a macro, or what PREPARE keeps."""
    head = _head(found)
    return _defined(head) is not None or bool(head and head[0].is_word("PREPARE"))


def refuse_kept_python(text: str, found: Sequence[Token], reasons: Sequence[str]) -> None:
    """Refuse a view or macro of the database that would call a Python function: other clients could not run it.

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
    head = _head(found)
    kind = None if any(token.is_word("TEMP", "TEMPORARY") for token in head) else _defined(head)
    if kind is not None and reasons:
        raise SqlError(
            f"a {kind.text.lower()} is kept in the database, where other clients use it; {reasons[0]}. "
            f"Use CREATE TEMP {kind.text.upper()}, or CREATE TABLE AS",
            text,
            kind.start,
        )


def _head(found: Sequence[Token]) -> list[Token]:
    return [token for token in found[:6] if token.kind == "word"]


def _defined(head: Sequence[Token]) -> Token | None:
    """Return the word VIEW, MACRO or FUNCTION among the first words of a statement that creates one, or None."""
    if not head or not head[0].is_word("CREATE"):
        return None
    return next((token for token in head[1:] if token.is_word(*_DEFINES)), None)
