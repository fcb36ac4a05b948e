"""The inputs of ``predict('model', …)``: a row, all columns, or the columns one by one, in order or by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbml_sql.aliases import names_rows
from dbml_sql.expressions import identifier, string
from dbml_sql.macros import parameters
from dbml_sql.named_arguments import argument_name
from dbml_sql.signature import ModelSignature
from dbml_sql.tokens import Token

if TYPE_CHECKING:
    from dbml_sql.calls import Rewriter

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a call.

    Attributes
    ----------
    columns : list of str
        An expression for each input column of the model.
    row : str or None
        The row that they are read from, as written, where one is given.
    spans : list of pairs
        Where no row is given, the tokens of each expression.
    """

    columns: list[str]
    row: str | None = None
    spans: Sequence[Span] = ()


def read_inputs(rewriter: Rewriter, arguments: list[Span], model: ModelSignature, index: int) -> Inputs:
    """Read the inputs of the model from the arguments after its name; `index` is the token of the function."""
    star = next((span for span in arguments if _is_star(rewriter, *span)), None)
    if star is not None:
        if len(arguments) > 1 or star[1] - star[0] > 1:
            _refuse_star(rewriter, star, model, index)
        return Inputs([identifier(column) for column in model.columns], "struct_pack(*COLUMNS(*))")
    row = _row(rewriter, arguments, model)
    if row is not None:
        return Inputs([f"{row}.{identifier(column)}" for column in model.columns], row)
    spans = _in_order(rewriter, arguments, model, index)
    return Inputs([rewriter.emit(*span) for span in spans], spans=spans)


def _refuse_star(rewriter: Rewriter, star: Span, model: ModelSignature, index: int) -> None:
    """Fail at a star that is not alone, with what it could be: all columns, or those of a subquery."""
    function, some = rewriter.found[index].name.lower(), rewriter.emit(*star)
    way = "" if some == "*" else f", {function}({string(model.name)}, t) … FROM (SELECT {some} FROM …) t"
    rewriter.fail(f"expected * alone: all columns, each found by its name; or the alias of a subquery{way}", star[0])


def _in_order(rewriter: Rewriter, arguments: list[Span], model: ModelSignature, index: int) -> list[Span]:
    """Return the tokens of each input column in feature order: arguments by position, then those by name."""
    wanted = parameters(model.columns)
    places = {name.casefold(): place for place, name in enumerate(wanted)}
    spans: dict[int, Span] = {}
    by_name = False
    for position, (start, end) in enumerate(arguments):
        name = argument_name(rewriter.found, start, end)
        if name is None and by_name:
            rewriter.fail("columns without a name come before those with one", start)
        by_name = name is not None
        place, value = (position, start) if name is None else (_place(rewriter, name, places, model, start), start + 3)
        if value == end:
            rewriter.fail(f"column {name} has no value", start)
        if place in spans:
            rewriter.fail(f"column {name} is given twice", start)
        spans[place] = (value, end)
    if len(arguments) != len(wanted):
        shown = ", ".join(wanted)
        rewriter.fail(
            f"{model.name} takes a row by its alias or {len(wanted)} columns ({shown}); {len(arguments)} given", index
        )
    ordered = [spans[place] for place in range(len(wanted))]
    if ordered != sorted(ordered) and any(rewriter.found[i].text == "?" for span in ordered for i in range(*span)):
        rewriter.fail("parameters of columns in another order must be numbered: $1, $2, …", index)
    return ordered


def _place(rewriter: Rewriter, name: str, places: dict[str, int], model: ModelSignature, start: int) -> int:
    """Return the place of a column by its name; `start` is the token of the name."""
    place = places.get(name.casefold())
    if place is not None:
        return place
    option = "; the threshold stands last, {'threshold': 0.5}" if name.casefold() == "threshold" else ""
    columns = ", ".join(parameters(model.columns))
    return int(rewriter.fail(f"{model.name} has no column {name} (columns: {columns}{option})", start))


def _is_star(rewriter: Rewriter, start: int, end: int) -> bool:
    """Whether an argument stands for several columns: ``*``, ``* EXCLUDE (a)``, ``COLUMNS(…)``, ``*COLUMNS(…)``."""
    if rewriter.is_sign(start, "*"):
        return True
    return rewriter.found[start].is_word("COLUMNS") and rewriter.is_sign(start + 1, "(") and end > start + 1


def _row(rewriter: Rewriter, arguments: list[Span], model: ModelSignature) -> str | None:
    """Return the row that a single argument names: an alias, ``schema.table``, ``alias.*``, or a STRUCT."""
    if len(arguments) != 1 or argument_name(rewriter.found, *arguments[0]) is not None:
        return None
    start, end = arguments[0]
    tokens = rewriter.found[start:end]
    several = len(model.columns) > 1
    if len(tokens) > 2 and tokens[-1].is_operator("*") and tokens[-2].is_operator("."):
        tokens = tokens[:-2]
        end -= 2
    elif not several and not _is_struct(tokens) and not _is_row_name(rewriter.found, tokens, model.columns[0]):
        return None
    names = all(token.is_operator(".") if i % 2 else token.kind in ("word", "quoted") for i, token in enumerate(tokens))
    if names and len(tokens) % 2:
        return rewriter.text[tokens[0].start : tokens[-1].end]
    if tokens[0].kind in ("number", "string", "parameter"):
        return None
    if several and any(token.text == "?" for token in tokens):
        rewriter.fail("parameters in a row must be numbered: $1, $2, …", start)
    return f"({rewriter.emit(start, end)})"


def _is_struct(tokens: list[Token]) -> bool:
    """Whether an argument is written as a STRUCT, so that it is a row where it could be the model's only column.

    What has more signs after the parenthesis, ``{'x': 5}.x``, is not.
    """
    if tokens[0].is_word("STRUCT_PACK", "ROW") and len(tokens) > 1 and tokens[1].is_operator("("):
        return _closes_last(tokens[1:])
    return tokens[0].is_operator("{") and _closes_last(tokens)


def _closes_last(tokens: list[Token]) -> bool:
    """Whether the parenthesis that the first token opens is closed by the last one."""
    depth = 0
    for place, token in enumerate(tokens, 1):
        if token.kind == "operator":
            depth += (token.text in "([{") - (token.text in ")]}")
        if depth == 0:
            return place == len(tokens)
    return False


def _is_row_name(found: Sequence[Token], tokens: list[Token], column: str) -> bool:
    """Whether one name stands for a row where it could be the model's only column."""
    if len(tokens) != 1 or tokens[0].kind not in ("word", "quoted") or tokens[0].name.casefold() == column.casefold():
        return False
    return names_rows(found, tokens[0].name)
