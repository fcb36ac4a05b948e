"""The training scan: one SQL column per feature (two for sparse rows), in a layout that the gather kernel reads.

Numbers stay as they are stored where the kernel can read that, and are DOUBLE otherwise; categories are a code: the
number of their term among the feature's sparse terms, -1 where they contribute nothing (where they are missing, with
style ``values``), or their text where levels are many.
`dbml_sql.expressions` has the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dbml_sql.expressions import (
    calendar_part,
    category,
    feature_value,
    identifier,
    string,
    text_map,
    total,
    vector,
    words_beyond_ascii,
)
from dbml_sql.features import Encoding, Feature

Layout = Literal["DOUBLE", "FLOAT", "BIGINT", "INTEGER", "DOUBLE[]", "FLOAT[]", "codes", "text", "pairs", "words"]

_NATIVE: dict[str, Layout] = {"DOUBLE": "DOUBLE", "FLOAT": "FLOAT", "BIGINT": "BIGINT", "INTEGER": "INTEGER"}
_SMALL = ("BOOLEAN", "TINYINT", "SMALLINT", "UTINYINT", "USMALLINT")
# Levels that DuckDB searches one by one; more are looked up in the batch. A cast to ENUM hashes them but takes
# microseconds for every text that is none of them, and a join loses the order of the rows.
_LISTED = 20
_FIRST_PART = {"month": 1, "weekday": 0, "hour": 0}
_LAST_PART = {"month": 12, "weekday": 6, "hour": 23}


@dataclass(frozen=True, slots=True)
class ScanColumn:
    """One column of the training scan.

    Attributes
    ----------
    sql : str
        Expression over the input columns.
    layout : str
        What the kernel finds: numbers of a type, vectors of a type, codes (INTEGER), text whose code is looked up in
        the batch, or pairs: a list of BIGINT codes, followed by a column with a list of DOUBLE values. Words (a text,
        or the buckets of its words) become pairs in the batch; until then, the column that follows a text has its words
        where it is not ASCII.
    values : str or None
        Pairs, words: the expression of the values.
    """

    sql: str
    layout: Layout
    values: str | None = None


def scan_columns(encoding: Encoding, types: dict[str, str]) -> list[ScanColumn]:
    """Return the column of each feature.

    Parameters
    ----------
    encoding : Encoding
        Features.
    types : dict of str to str
        DuckDB type of each input column as it is now, by the name in the encoding.
    """
    return [scan_column(feature, types[feature.column]) for feature in encoding.features]


def scan_column(feature: Feature, type_now: str, column: str | None = None) -> ScanColumn:
    """Return the scan column of a feature whose input column now has `type_now` (expression `column`)."""
    column = identifier(feature.column) if column is None else column
    if feature.kind == "number":
        return _number(feature, type_now, column)
    if feature.kind == "vector":
        return _vector(feature, type_now, column)
    if feature.kind == "lists":
        return ScanColumn(feature_value(feature, column), "pairs", vector(identifier(feature.values or "")))
    if feature.kind == "map":
        keys = f"list_transform(map_keys({text_map(column)}), lambda dbml_k: {level_code('dbml_k', feature.levels)})"
        return ScanColumn(f"CAST({keys} AS BIGINT[])", "pairs", f"map_values({text_map(column)})")
    if feature.kind == "text":
        if not feature.levels:
            return ScanColumn(feature_value(feature, column), "words", "CAST(NULL AS VARCHAR[])")
        return ScanColumn(category(column), "words", words_beyond_ascii(category(column)))
    if feature.part in _FIRST_PART:
        return ScanColumn(_part_code(feature, column), "codes")
    text = feature_value(feature, column)
    if len(feature.levels) > _LISTED:
        return ScanColumn(text, "text")
    return ScanColumn(category_code(feature, text), "codes")


def _number(feature: Feature, type_now: str, column: str) -> ScanColumn:
    if feature.part is None and type_now in _NATIVE:
        return ScanColumn(column, _NATIVE[type_now])
    if feature.part is None and type_now in _SMALL:
        return ScanColumn(f"CAST({column} AS INTEGER)", "INTEGER")
    layout: Layout = "DOUBLE" if feature.part in (None, "epoch") else "BIGINT"
    return ScanColumn(feature_value(feature, column), layout)


def _vector(feature: Feature, type_now: str, column: str) -> ScanColumn:
    if type_now == f"DOUBLE[{feature.width}]":
        return ScanColumn(column, "DOUBLE[]")
    if type_now == f"FLOAT[{feature.width}]":
        return ScanColumn(column, "FLOAT[]")
    resized = f"list_resize({feature_value(feature, column)}, {feature.width})"
    return ScanColumn(f"TRY_CAST({resized} AS DOUBLE[{feature.width}])", "DOUBLE[]")


def level_code(text: str, levels: Sequence[str]) -> str:
    """Return the number of a text among levels, NULL where it is none of them."""
    if len(levels) <= _LISTED:
        return listed_code(text, levels)
    return f"CAST(enum_code(TRY_CAST({text} AS ENUM ({', '.join(map(string, levels))}))) AS INTEGER)"


def listed_code(text: str, levels: Sequence[str]) -> str:
    """Return the number of a text among levels by a search through all of them, NULL where it is none of them."""
    if not levels:
        return "CAST(NULL AS INTEGER)"
    return f"CAST(nullif(list_position([{', '.join(map(string, levels))}], {text}), 0) - 1 AS INTEGER)"


def category_code(feature: Feature, text: str) -> str:
    """Return the number of a category's sparse term from its text: level, NULL, other; -1 where it has none."""
    return f"coalesce({level_code(text, feature.levels)}, {_rest(feature, text)})"


def _rest(feature: Feature, value: str) -> str:
    null, other = rest_codes(feature)
    if null == other:
        return str(null)
    return f"CASE WHEN {value} IS NULL THEN {null} ELSE {other} END"


def rest_codes(feature: Feature) -> tuple[int, int]:
    """Return the codes of NULL and of a level without a term of its own; -1 for those that contribute nothing."""
    n = len(feature.levels)
    null = n if feature.null_level else -1
    return null, n + feature.null_level if feature.other_level else -1


def part_codes(feature: Feature) -> list[int]:
    """Return the code of each value of a calendar part, from its first (January, Sunday, midnight) on."""
    other = rest_codes(feature)[1]
    known = {level: code for code, level in enumerate(feature.levels)}
    return [known.get(str(value), other) for value in part_values(feature)]


def part_values(feature: Feature) -> range:
    """Return the values of a calendar part in order."""
    part = feature.part or ""
    return range(_FIRST_PART[part], _LAST_PART[part] + 1)


def _part_code(feature: Feature, column: str) -> str:
    part = feature.part
    assert part is not None
    position = f"{calendar_part(column, part, feature.type)} + {1 - _FIRST_PART[part]}"
    null, _ = rest_codes(feature)
    return f"coalesce(CAST({part_codes(feature)} AS INTEGER[])[{position}], {null})"


def class_code(column: str, type_now: str, classes: Sequence[object]) -> str:
    """Return the index of a label among the classes as INTEGER, -1 where it is none of them."""
    if type_now == "BOOLEAN" or len(classes) <= 8:
        cases = " ".join(f"WHEN {class_literal(label)} THEN {code}" for code, label in enumerate(classes))
        return f"CAST(CASE {column} {cases} ELSE -1 END AS INTEGER)"
    return f"coalesce({level_code(f'CAST({column} AS VARCHAR)', [class_text(c) for c in classes])}, -1)"


def class_text(label: object) -> str:
    """Return the text that DuckDB gives a label."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)


def class_literal(label: object) -> str:
    """Return a label as a literal."""
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float):
        return f"CAST({string(repr(label))} AS DOUBLE)"
    return string(label) if isinstance(label, str) else str(label)


def both(conditions: Sequence[str]) -> str:
    """Return conditions joined by AND, in parentheses where there are several."""
    return total([f"({condition})" for condition in conditions], "AND")
