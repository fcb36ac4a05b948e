"""The options of a call, ``{'threshold': 0.3}`` or ``STRUCT(0.3 AS threshold)``, read from its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbml_sql.named_arguments import argument_name
from dbml_sql.option_values import checked_threshold
from dbml_sql.signature import ModelSignature
from dbml_sql.tokens import Token

if TYPE_CHECKING:
    from dbml_sql.calls import Rewriter


def are_options(found: Sequence[Token], start: int) -> bool:
    """Whether an argument that begins at a token is written as options are."""
    if found[start].is_word("STRUCT", "STRUCT_PACK"):
        return start + 1 < len(found) and found[start + 1].is_operator("(")
    return found[start].is_operator("{")


def read_options(
    rewriter: Rewriter, span: tuple[int, int], model: ModelSignature, known: tuple[str, ...]
) -> dict[str, str]:
    """Read ``{'name': expression}``, ``STRUCT(expression AS name)`` or ``struct_pack(name := expression)``.

    Returns the expressions by name, as SQL.
    """
    start, _ = span
    braces, packed = rewriter.is_sign(start, "{"), rewriter.found[start].is_word("STRUCT_PACK")
    ranges, _ = rewriter.arguments(start if braces else start + 1, span[1])
    found: dict[str, str] = {}
    for first, last in ranges:
        at = first if braces or packed else last - 1
        token = rewriter.found[at]
        if packed:
            mark = argument_name(rewriter.found, first, last) is not None
        else:
            mark = rewriter.is_sign(first + 1, ":") if braces else rewriter.found[last - 2].is_word("AS")
        if not mark or token.kind not in ("word", "quoted", "string"):
            rewriter.fail("expected {'name': value}" if braces else "expected STRUCT(value AS name)", first)
        name = (token.string if token.kind == "string" else token.name).lower()
        if name not in known:
            takes = f"options: {', '.join(known)}" if known else "it takes no options"
            rewriter.fail(f"no option {name} here ({takes})", at)
        if name in found:
            rewriter.fail(f"option {name} is given twice", at)
        value = (first + (3 if packed else 2), last) if braces or packed else (first, last - 2)
        if value[0] >= value[1]:
            rewriter.fail(f"option {name} has no value", at)
        found[name] = _threshold(rewriter, model, value, at) if name == "threshold" else rewriter.emit(*value)
    return found


def _threshold(rewriter: Rewriter, model: ModelSignature, value: tuple[int, int], at: int) -> str:
    """Return a threshold as SQL: a number that is written down as it is, anything else checked in every row."""
    if not model.threshold:
        rewriter.fail(f"{model.name} takes no threshold: that is for two classes with probabilities", at)
    start, end = value
    token, text = rewriter.found[start], rewriter.emit(start, end)
    alone = end - start == 1
    if alone and token.kind == "number" and float(token.text.replace("_", "")) <= 1:
        return text
    no_number = token.kind == "string" or token.text in ("-", "[", "{")
    if no_number or (alone and (token.kind == "number" or token.is_word("NULL", "TRUE", "FALSE"))):
        rewriter.fail(f"threshold must be a number between 0 and 1; got {text}", start)
    return checked_threshold(text, once=any(rewriter.found[i].text == "?" for i in range(start, end)))
