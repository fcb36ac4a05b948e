"""Arguments with a name, ``name := value`` or ``name => value``, as DuckDB writes them."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.tokens import Token


def argument_name(found: Sequence[Token], start: int, end: int) -> str | None:
    """Return the name of an argument, the tokens from ``start`` to ``end`` (exclusive); None where it has none.

    Its value begins three tokens after its name, and is missing where they are all.
    """
    if end - start < 3 or found[start].kind not in ("word", "quoted"):
        return None
    first, second = found[start + 1], found[start + 2]
    is_sign = first.end == second.start and first.text + second.text in (":=", "=>")
    return found[start].name if is_sign else None
