"""The target column: its classes or its range, learned by one query; and where target and weights come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dbml_sql.encode import ScanColumn, class_code, scan_column
from dbml_sql.expressions import identifier, missing, number
from dbml_sql.features import Feature

from dbml.data.columns import FLOATS, INTEGERS, is_number
from dbml.data.source import Source
from dbml.data.statistics import clean_columns
from dbml.errors import InvalidData, UnsupportedColumn, listing
from dbml.passes.labels import NUMBERS, TEXT, check_kind, refuse_unclear
from dbml.passes.schema import LARGEST, Target, Task

MOST_CLASSES = 1_000
# Half points and the like may be classes; a measure has more values.
_MOST_FRACTIONS = 50
# Types whose sum over all rows is exact.
_SUMMED = ("BOOLEAN", *(kind for kind in INTEGERS if not kind.endswith("HUGEINT")))


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A target in a column of the source.

    Attributes
    ----------
    target : Target
        Name, type, classes.
    scan : ScanColumn
        What the training scan reads: the value as a number, or the class as a code (-1 for an unknown label).
    n_rows : int
        Rows that have a target, where learning it counted them; else -1.
    n_missing : int
        Rows that were left out because the target is NULL.
    """

    target: Target
    scan: ScanColumn
    n_rows: int = -1
    n_missing: int = 0


def learn_target(source: Source, column: str, task: Task) -> TargetColumn:
    """Learn the target from all rows.

    Raises
    ------
    UnknownName
        No such column.
    UnsupportedColumn
        A type that cannot be a target of the task.
    InvalidData
        No rows, all NULL, NaN or infinity, one class, or too many.
    """
    column = source.find(column, "target column")
    column_type = source.columns[column]
    return _classes(source, column, column_type) if task == "classification" else _values(source, column, column_type)


def _values(source: Source, column: str, column_type: str) -> TargetColumn:
    if not (is_number(column_type) or column_type == "BOOLEAN"):
        raise UnsupportedColumn(
            f"the target {column!r} of a regression must be a number; in {source.name} it is {column_type}. "
            "Cast it in SQL, or use a classifier"
        )
    value = number(identifier(column))
    if column in clean_columns(source, [column]):
        n_rows = source.count()
        _refuse_none(source, column, n_rows, 0)
        return TargetColumn(Target(column, column_type), _number_scan(column, column_type), n_rows)
    bad = f"count(CASE WHEN {missing(value)} THEN 1 END)" if column_type in FLOATS else f"count(*) - count({value})"
    asked = source.select([f"count({value})", f"count(*) - count({value})", bad, f"CAST(max(abs({value})) AS DOUBLE)"])
    n_rows, n_null, n_bad, largest = source.fetch(asked)[0]
    _refuse_none(source, column, n_rows, n_null)
    if n_bad > n_null:
        raise InvalidData(
            f"the target {column!r} must be finite; {n_bad - n_null:,} of {n_rows:,} rows of {source.name} hold NaN or "
            f"infinity. Leave them out: WHERE isfinite({identifier(column)})"
        )
    if largest > LARGEST:
        raise InvalidData(
            f"the target {column!r} must be within {LARGEST:g}, so that its square is a number; in {source.name} it "
            f"reaches {largest:g}. Divide it"
        )
    return TargetColumn(Target(column, column_type), _number_scan(column, column_type), n_rows, n_null)


def _number_scan(column: str, column_type: str) -> ScanColumn:
    return scan_column(Feature(column, column_type, "number"), column_type)


def _refuse_none(source: Source, column: str, n_rows: int, n_null: int) -> None:
    if n_rows:
        return
    if n_null:
        raise InvalidData(f"the target {column!r} is NULL in all {n_null:,} rows of {source.described}")
    raise source.no_rows()


def _classes(source: Source, column: str, column_type: str) -> TargetColumn:
    name = identifier(column)
    enum = column_type.startswith("ENUM(")
    labels = column_type in INTEGERS or column_type in FLOATS or column_type in ("BOOLEAN", "VARCHAR")
    if not (labels or enum or column_type.startswith("DECIMAL")):
        raise UnsupportedColumn(
            f"the target {column!r} of a classifier must be BOOLEAN, a number, VARCHAR or ENUM; in {source.name} it is "
            f"{column_type}. Cast it in SQL"
        )
    label = f"CAST({name} AS VARCHAR)" if enum else name
    if column_type.startswith("DECIMAL"):
        label = f"CAST({name} AS DOUBLE)"
    rows = _two_classes(source, name, column_type) or _counted_classes(source, label)
    n_null = sum(n for value, n, _ in rows if value is None)
    found = [(value, n) for value, n, _ in rows if value is not None]
    if column_type in INTEGERS:
        found = [(int(value), n) for value, n in found]  # Arrow hands HUGEINT over as a decimal
    n_rows = sum(n for _, n in found)
    _refuse_none(source, column, n_rows, n_null)
    if rows[0][2] - bool(n_null) > MOST_CLASSES:
        raise InvalidData(
            f"the target {column!r} of {source.name} has {rows[0][2] - bool(n_null):,} different values; a classifier "
            f"takes at most {MOST_CLASSES:,} classes. Use a regressor for numbers"
        )
    unclear = [value for value, _ in found if isinstance(value, float) and not math.isfinite(value)]
    if unclear:
        raise InvalidData(
            f"the target {column!r} of {source.name} holds {listing(map(str, unclear))}, which is no class"
        )
    fraction = next((value for value, _ in found if isinstance(value, float) and not value.is_integer()), None)
    if fraction is not None and len(found) > _MOST_FRACTIONS:
        raise InvalidData(
            f"the target {column!r} of {source.name} must hold classes, but holds {len(found):,} different numbers, "
            f"fractions such as {fraction!r} among them. Use a regressor, or make each a class: CAST({name} AS VARCHAR)"
        )
    if len(found) < 2:
        raise InvalidData(
            f"the target {column!r} of {source.described} has one class, {found[0][0]!r}; a classifier "
            "needs at least 2 classes"
        )
    classes, counts = zip(*sorted(found), strict=True)
    scan = ScanColumn(
        class_code(label, "DOUBLE" if column_type.startswith("DECIMAL") else column_type, classes), "INTEGER"
    )
    return TargetColumn(Target(column, "VARCHAR" if enum else column_type, classes, counts), scan, n_rows, n_null)


def _two_classes(source: Source, name: str, column_type: str) -> list[tuple[Any, int, int]]:
    """Return the counts of a table's classes where they are two neighbouring numbers, else nothing.

    The sum says how many rows have the greater one: an eighth of the time of counting rows by class.
    """
    if source.base is None or column_type not in _SUMMED:
        return []
    value = f"CAST({name} AS TINYINT)" if column_type == "BOOLEAN" else name
    asked = [f"min({value})", f"max({value})", f"CAST(sum({value}) AS HUGEINT)", f"count({name})", "count(*)"]
    low, high, total, n_rows, n_all = source.fetch(source.select(asked))[0]
    if n_rows == 0 or high - low != 1:
        return []
    n_high = int(total) - low * n_rows
    labels = (False, True) if column_type == "BOOLEAN" else (low, high)
    counts = [(labels[0], n_rows - n_high), (labels[1], n_high)]
    if n_all > n_rows:
        counts.insert(0, (None, n_all - n_rows))
    return [(label, n, len(counts)) for label, n in counts]


def _counted_classes(source: Source, label: str) -> list[tuple[Any, int, int]]:
    """Return (class, rows, number of classes) by ascending class, NULL first."""
    grouped = f"SELECT c0, count(*) AS n FROM ({source.select([label])}) GROUP BY c0"
    return source.fetch(
        f"SELECT c0, n, count(*) OVER () FROM ({grouped}) ORDER BY c0 NULLS FIRST LIMIT {MOST_CLASSES + 2}"
    )


def known_target(source: Source, column: str, target: Target) -> TargetColumn:
    """Return the target of a fitted model as the source holds it now; labels that training did not see get code -1.

    Raises
    ------
    InvalidData
        Labels that cannot be compared with the classes; see `dbml.passes.labels`.
    """
    column = source.find(column, "target column")
    column_type = source.columns[column]
    if target.classes is None:
        scan = scan_column(Feature(column, target.type, "number"), column_type)
    else:
        scan = ScanColumn(_known_class(source, column, column_type, target.classes), "INTEGER")
    return TargetColumn(replace(target, name=column), scan)


def _known_class(source: Source, column: str, column_type: str, classes: Sequence[Any]) -> str:
    """Return the SQL of the code of a class: texts by their text, numbers by their value, whatever their types."""
    described, name = f"the target {column!r} of {source.name}", identifier(column)
    if column_type == "VARCHAR" or column_type.startswith("ENUM("):
        check_kind(described, TEXT, classes)
        return class_code(f"CAST({name} AS VARCHAR)", "VARCHAR", classes)
    check_kind(described, NUMBERS if is_number(column_type) or column_type == "BOOLEAN" else column_type, classes)
    if column_type == "BOOLEAN" and isinstance(classes[0], bool):
        return class_code(name, column_type, classes)
    whole = column_type in INTEGERS or column_type == "BOOLEAN"
    if not whole:
        value = number(name)
        asked = [
            f"count({value}) FILTER (WHERE {missing(value)})",
            f"min({value}) FILTER (WHERE {value} <> round({value}))",
        ]
        n_missing, fraction = source.fetch(source.select(asked))[0]
        refuse_unclear(described, n_missing, fraction, classes)
    if whole and not any(isinstance(label, float) for label in classes):
        value = name if column_type in INTEGERS else f"CAST({name} AS INTEGER)"
        return class_code(value, "HUGEINT", [int(label) for label in classes])
    return class_code(f"CAST({name} AS DOUBLE)", "DOUBLE", [float(label) for label in classes])
