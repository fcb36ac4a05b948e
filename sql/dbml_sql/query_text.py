"""What a query may not hold: parts that write. DuckDB calls ``WITH a AS (DELETE …) SELECT …`` a SELECT, and runs it."""

from __future__ import annotations

from dbml_sql.tokens import Token, significant

_STARTS = ("SELECT", "FROM", "WITH", "VALUES", "TABLE", "PIVOT", "UNPIVOT")
# The word that follows tells a statement from a column of that name.
_WRITES = {"INSERT": ("INTO", "OR"), "DELETE": ("FROM",), "MERGE": ("INTO",), "UPDATE": (), "TRUNCATE": (), "COPY": ()}


def looks_like_query(text: str) -> bool:
    """Return whether text starts like a query and has more than one word, as the name of a table or file has not."""
    found = significant(text)
    first = next((token for token in found if not token.is_operator("(")), None)
    return first is not None and first.is_word(*_STARTS) and len([t for t in found if not t.is_operator(";")]) > 1


def writing_part(text: str) -> str | None:
    """Return the verb with which a part of a query writes (``DELETE``), or None; quoted names are no verbs."""
    found = significant(text)
    for before, token, after in zip(found, found[1:], found[2:], strict=False):
        verb = token.text.upper()
        if token.kind != "word" or verb not in _WRITES or not (before.is_operator("(") or before.is_operator(")")):
            continue
        if after.is_word(*_WRITES[verb]) if _WRITES[verb] else _may_be_written(after, verb):
            return verb
    return None


def has_parameters(text: str) -> bool:
    """Return whether a query has parameters, whose values it cannot run without."""
    return any(token.kind == "parameter" for token in significant(text))


def _may_be_written(token: Token, verb: str) -> bool:
    """Return whether a token may be the table that a verb without a second word names, or the query that it copies."""
    if token.kind == "word":
        return not token.is_word("ORDER", "FROM", "AS", "FILTER")
    return token.kind == "quoted" or (verb == "COPY" and token.is_operator("("))
