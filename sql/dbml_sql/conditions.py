"""What the WHERE clause around a call says of columns: its parts joined by AND that compare a column with constants.

Only of a SELECT over one table or subquery: with joins, or set operations beside it, nothing is said. Whatever is not
understood says nothing either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dbml_sql.prune import Known
from dbml_sql.tokens import Token

_END_OF_WHERE = ("GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER", "LIMIT", "OFFSET", "USING", "FETCH")
# Beside these in a SELECT its rows are not simply those of its WHERE, or its names not those of its table.
_BARRIERS = tuple(
    "ROLLUP CUBE GROUPING UNION EXCEPT INTERSECT JOIN PIVOT UNPIVOT LATERAL POSITIONAL ASOF VALUES".split()
)
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "="}
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is known of the rows of a SELECT.

    Attributes
    ----------
    table : str
        The name of its rows, in lower case.
    known : dict of str to Known
        By column, in lower case.
    tested : dict of str to str
        How a column was compared: ``number``, ``text``, or ``null`` only.
    """

    table: str
    known: dict[str, Known]
    tested: dict[str, str]


def conditions_around(found: Sequence[Token], index: int) -> Conditions | None:
    """Return what is known of the rows in the SELECT list that token `index` stands in, None where nothing is."""
    start, end = _scope(found, index)
    top = list(_top_level(found, start, end))
    words = [at for at in top if found[at].kind == "word"]
    if any(found[at].is_word(*_BARRIERS) for at in words):
        return None
    places = {name: [at for at in words if found[at].is_word(name)] for name in ("SELECT", "FROM", "WHERE")}
    if any(len(at) != 1 for at in places.values()):
        return None
    select, from_, where = (places[name][0] for name in ("SELECT", "FROM", "WHERE"))
    if not (select < index < from_ < where):
        return None
    table = _table(found, [at for at in top if from_ < at < where])
    if table is None:
        return None
    ends = [at for at in words if at > where and found[at].is_word(*_END_OF_WHERE)]
    known: dict[str, Known] = {}
    tested: dict[str, str] = {}
    for part in _conjuncts(found, where + 1, ends[0] if ends else end):
        said = _comparison(part, table)
        if said is None:
            continue
        column, how, one = said
        if how != "null" and tested.get(column, "null") not in ("null", how):
            return None
        tested[column] = how if tested.get(column, "null") == "null" else tested[column]
        known[column] = known.get(column, Known()).and_(one)
    for name in _aliases(found, select, from_):  # WHERE may mean these
        known.pop(name, None)
    return Conditions(table, known, tested) if known else None


def _scope(found: Sequence[Token], index: int) -> tuple[int, int]:
    """Return the range of the innermost parenthesis around a token that holds a SELECT of its own, or of everything."""
    while True:
        start, depth = index - 1, 0
        while start >= 0:
            sign = found[start].text if found[start].kind == "operator" else ""
            depth += (sign in ")]}" and sign != "") - (sign in "([{" and sign != "")
            if depth < 0:
                break
            start -= 1
        end, depth = index, 0
        while end < len(found) and not (depth == 0 and end > index and _closes(found[end])):
            depth += _opens(found[end]) - _closes(found[end])
            end += 1
        inner = _top_level(found, start + 1, end)
        if start < 0 or any(found[at].is_word("SELECT", "FROM") for at in inner):
            return start + 1, end
        index = start


def _opens(token: Token) -> bool:
    return token.kind == "operator" and token.text in ("(", "[", "{")


def _closes(token: Token) -> bool:
    return token.kind == "operator" and token.text in (")", "]", "}")


def _top_level(found: Sequence[Token], start: int, end: int) -> list[int]:
    depth, places = 0, []
    for at in range(start, end):
        depth -= _closes(found[at])
        if depth == 0:
            places.append(at)
        depth += _opens(found[at])
    return places


def _table(found: Sequence[Token], places: list[int]) -> str | None:
    """Return the name of the rows of ``schema.t``, ``t [AS] f`` or ``(…) [AS] f``, None for anything else."""
    tokens = [found[at] for at in places]
    if len(tokens) >= 2 and tokens[0].is_operator("(") and tokens[1].is_operator(")"):
        alias = tokens[2:]
    else:
        at = 1
        while at + 1 < len(tokens) and tokens[at].is_operator(".") and _named(tokens[at + 1]):
            at += 2
        if not tokens or not _named(tokens[0]):
            return None
        alias = tokens[at:]
        if not alias:
            return tokens[at - 1].name.lower()
    if alias and alias[0].is_word("AS"):
        alias = alias[1:]
    return alias[0].name.lower() if len(alias) == 1 and _named(alias[0]) else None


def _named(token: Token) -> bool:
    return token.kind in ("word", "quoted")


def _aliases(found: Sequence[Token], select: int, from_: int) -> set[str]:
    """Return names that the SELECT list gives, with or without AS."""
    places = _top_level(found, select, from_)
    names = set()
    for before, at in pairwise(places):
        ends = before + 1 == at and (found[before].kind not in ("word", "operator") or _named(found[before]))
        if _named(found[at]) and (ends or _closes(found[before])) and not found[before].is_word("SELECT", "DISTINCT"):
            names.add(found[at].name.lower())
    return names


def _conjuncts(found: Sequence[Token], start: int, end: int) -> list[list[Token]]:
    """Return the parts between AND at the top; none where there is an OR, or a CASE, which may hold an AND."""
    parts: list[list[Token]] = [[]]
    top, between = set(_top_level(found, start, end)), 0
    if any(found[at].is_word("OR", "CASE") for at in top):
        return []
    for at in range(start, end):
        token = found[at]
        if at in top and token.is_word("BETWEEN"):
            between += 1
        if at in top and token.is_word("AND"):
            if not between:
                parts.append([])
                continue
            between -= 1
        parts[-1].append(token)
    return [_bare(part) for part in parts]


def _bare(part: list[Token]) -> list[Token]:
    while len(part) > 2 and part[0].is_operator("(") and part[-1].is_operator(")") and 0 not in _inside(part):
        part = part[1:-1]
    return part


def _inside(part: list[Token]) -> list[int]:
    """Return 0 where the first parenthesis ends before the last token."""
    return [0] if len(_top_level(part, 0, len(part))) > 2 else []


def _comparison(part: list[Token], table: str) -> tuple[str, str, Known] | None:
    column, rest = _column(part, table)
    if column is None:
        value, left = _constant(part)
        sign, left = _sign(left)
        column, rest = _column(left, table)
        if value is None or sign is None or column is None or rest:
            return None
        return _compared(column, _TURNED.get(sign, ""), value)
    words = [token.text.upper() for token in rest]
    if words in (["IS", "NULL"], ["ISNULL"]):
        return column, "null", Known(null=True)
    if words in (["IS", "NOT", "NULL"], ["NOTNULL"], ["NOT", "NULL"]):
        return column, "null", Known(null=False)
    if words[:1] == ["BETWEEN"]:
        low, rest = _constant(rest[1:])
        high, rest = _constant(rest[1:]) if rest and rest[0].is_word("AND") else (None, rest)
        if isinstance(low, float) and isinstance(high, float) and not rest:
            return column, "number", Known(low, high, null=False)
        return None
    negated = words[:1] == ["NOT"]
    if words[negated : negated + 2] == ["IN", "("] and rest[-1].is_operator(")"):
        return _listed(column, rest[negated + 2 : -1], negated)
    sign, rest = _sign(rest)
    value, rest = _constant(rest)
    return None if sign is None or value is None or rest else _compared(column, sign, value)


def _column(part: list[Token], table: str) -> tuple[str | None, list[Token]]:
    """Return the column that a part begins with, and what follows it."""
    if len(part) > 2 and _named(part[0]) and part[1].is_operator(".") and _named(part[2]):
        qualified = part[0].name.lower() == table and not (len(part) > 3 and part[3].is_operator("."))
        return (part[2].name.lower() if qualified else None), part[3:]
    if part and _named(part[0]) and not part[0].is_word("NOT", "CASE", "CAST", "EXISTS"):
        follows = part[1].text if len(part) > 1 else ""
        return (None if follows in (".", "(", "[", ":") else part[0].name.lower()), part[1:]
    return None, part


def _sign(part: list[Token]) -> tuple[str | None, list[Token]]:
    """Return a comparison, of one or two signs that follow each other, and what follows it."""
    text = ""
    while part and part[0].kind == "operator" and part[0].text in "<>=!" and len(text) < 3:
        text, part = text + part[0].text, part[1:]
    text = {"==": "=", "!=": "<>"}.get(text, text)
    return (text if text in ("<", ">", "<=", ">=", "=", "<>") else None), part


def _constant(part: list[Token]) -> tuple[float | str | None, list[Token]]:
    negative = bool(part) and part[0].is_operator("-")
    part = part[negative:]
    if part and part[0].kind == "number":
        text = part[0].text.replace("_", "")
        try:
            return float(text) * (-1 if negative else 1), part[1:]
        except ValueError:  # 0xff
            return None, part
    if part and part[0].kind == "string" and not negative and part[0].text.startswith("'"):
        return part[0].string, part[1:]
    return None, part


def _compared(column: str, sign: str, value: float | str) -> tuple[str, str, Known] | None:
    if isinstance(value, str):
        if sign == "=":
            return column, "text", Known(texts=frozenset([value]), null=False)
        return (column, "text", Known(excluded=frozenset([value]), null=False)) if sign == "<>" else None
    strict = abs(value) < _EXACT  # larger integers round when they become numbers with a point
    bounds = {
        "=": Known(value, value, null=False),
        "<": Known(high=value, null=False),
        "<=": Known(high=value, null=False),
        ">": Known(low=value, above=strict, null=False),
        ">=": Known(low=value, null=False),
        "<>": Known(null=False),
    }
    return (column, "number", bounds[sign]) if sign in bounds and math.isfinite(value) else None


def _listed(column: str, rest: list[Token], negated: bool) -> tuple[str, str, Known] | None:
    values: list[float | str] = []
    while rest:
        value, rest = _constant(rest)
        if value is None or (rest and not rest[0].is_operator(",")):
            return None
        values.append(value)
        rest = rest[1:]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, float)]
    if (texts and numbers) or not values:
        return None
    if texts:
        kept = Known(excluded=frozenset(texts), null=False) if negated else Known(texts=frozenset(texts), null=False)
        return column, "text", kept
    return column, "number", Known(null=False) if negated else Known(min(numbers), max(numbers), null=False)
