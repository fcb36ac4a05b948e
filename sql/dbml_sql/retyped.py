"""Columns whose type since training holds no value that the model could read: a LIST, STRUCT or DATE for a number.

A value that cannot be cast is missing, which is right for one value and wrong for all of a column: scores would be
those of a column of NULL, without a word. A vector of another length is no vector of the model's. So such types are
refused, by the type alone: before a row is read in Python, and in SQL when the query is bound, by a test that DuckDB
folds away. The type of a list does not tell how long it is: each is tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence

from dbml_sql.expressions import ZONED, identifier, refusal, string, to_zoned, vector
from dbml_sql.features import Encoding, Feature

_NESTED = r"\]$|^(STRUCT|TUPLE|MAP|UNION)\("
_OTHER = r"^(BLOB|INTERVAL|TIME|TIME WITH TIME ZONE)$"
_NUMBERS = r"^(BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\([0-9,]+\))$"
_DATES = r"^(DATE|TIMESTAMP.*)$"
_RECORDS = r"^(STRUCT|TUPLE|MAP|UNION)\(.*\)$"
_ARRAY = r"\[[0-9]+\]$"

# Patterns of the types that hold no value for a kind of feature; Python and DuckDB read them alike.
_REFUSED = {
    "number": f"{_NESTED}|{_OTHER}|{_DATES}",
    "calendar": f"{_NESTED}|{_OTHER}|{_NUMBERS}",
    "category": _NESTED,
    "vector": f"{_RECORDS}|{_OTHER}|{_DATES}|{_NUMBERS}",
    "lists": f"{_RECORDS}|{_OTHER}|{_DATES}|{_NUMBERS}",
    "map": rf"\]$|{_OTHER}|{_DATES}|{_NUMBERS}",
    "text": f"{_NESTED}|{_OTHER}|{_DATES}|{_NUMBERS}",
}
_BECAME = {
    "number": "a number",
    "calendar": "a date",
    "category": "a category",
    "lists": "a list of indices",
    "map": "a map",
    "text": "a text",
}


def refused_types(who: str, encoding: Encoding, types: Mapping[str, str]) -> str | None:
    """Return what is wrong with the types of columns, by the names in the encoding; None where all can be read."""
    return next(
        (
            _reason(who, feature, kind, types[feature.column])
            for feature, kind in _by_column(encoding).values()
            if types[feature.column] != feature.type and _is_refused(feature, kind, types[feature.column])
        ),
        None,
    )


def _is_refused(feature: Feature, kind: str, now: str) -> bool:
    if re.search(_REFUSED[kind], now):
        return True
    # The type of a list does not tell how long it is; that of an array does.
    return kind == "vector" and re.search(_ARRAY, now) is not None and not now.endswith(f"[{feature.width}]")


def guarded(value: str, who: str, encoding: Encoding, column: Callable[[str], str] = identifier) -> str:
    """Return an expression that is an error where the type of a column holds no value for the model.

    Every column is named, those that the value does not read too: one that is missing is an error of DuckDB's.

    Parameters
    ----------
    value : str
        The expression.
    who : str
        The model, for the message.
    encoding : Encoding
        Features of the model.
    column : callable
        From the name of an input column to its expression.
    """
    cases = []
    for feature, kind in _by_column(encoding).values():
        now = f"typeof({column(feature.column)})"
        before, after = (string(text) for text in _reason(who, feature, kind, "\0").split("\0"))
        if len(encoding.columns) == 1:
            # A value alone may be meant as the row: nothing tells before its type is known.
            field = string(f"; a row in a STRUCT is read by its field, s.{identifier(feature.column)}")
            after = f"{after} || CASE WHEN starts_with({now}, 'STRUCT(') THEN {field} ELSE '' END"
        refused = f"regexp_matches({now}, {string(_REFUSED[kind])})"
        if kind == "vector":
            other = f"regexp_matches({now}, {string(_ARRAY)}) AND NOT suffix({now}, '[{feature.width}]')"
            refused = f"{refused} OR {other}"
        cases.append(f"WHEN {refused} THEN {before} || {now} || {after}")
        if kind == "vector":
            cases.append(_other_length(who, feature, column(feature.column)))
    # In the condition, where its type is not that of the value; NULL, and so false, where nothing is refused.
    wrong = refusal(f"CASE {' '.join(cases)} END", "BOOLEAN")
    return f"CASE WHEN {wrong} THEN NULL ELSE {value} END"


def zoned_columns(encoding: Encoding) -> frozenset[str]:
    """Return the columns of times that were TIMESTAMP WITH TIME ZONE in training."""
    return frozenset(f.column for f in encoding.features if f.part is not None and f.type == ZONED)


def given_values(who: str, columns: Sequence[str], values: Sequence[str], zoned: Container[str]) -> list[str]:
    """Return the values of the columns of a model as a Python function is given them: those of `zoned` are cast.

    It does not know the session's time zone, in which DuckDB casts what has no offset.
    """
    return [
        _zoned(who, column, value) if column in zoned else value for column, value in zip(columns, values, strict=True)
    ]


def _zoned(who: str, column: str, value: str) -> str:
    feature = Feature(column, ZONED, "number", "epoch")
    return guarded(to_zoned(value), who, Encoding((feature,)), lambda _: value)


def _other_length(who: str, feature: Feature, column: str) -> str:
    """Return the case of a list that is no vector of the model's; folded away for an array."""
    length = f"len({vector(column)})"
    wrong = string(f"{who}: column {feature.column!r} must hold vectors of {feature.width:,} numbers; got one of ")
    return f"WHEN suffix(typeof({column}), '[]') AND {length} <> {feature.width} THEN {wrong} || {length}"


def _by_column(encoding: Encoding) -> dict[str, tuple[Feature, str]]:
    """Return a feature of each column, and what its type must hold."""
    return {f.column: (f, "calendar" if f.part is not None else f.kind) for f in encoding.features}


def _reason(who: str, feature: Feature, kind: str, now: str) -> str:
    became = f"a vector of {feature.width:,} numbers" if kind == "vector" else _BECAME[kind]
    trained = f"{became} in column {feature.column!r} ({feature.type} in training)"
    return f"{who} needs {trained}; the rows have {now}, which holds none. Cast it in SQL, or train again"
