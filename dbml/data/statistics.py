"""Statistics of numbers from where they already lie (zone maps), else from one aggregate pass in SQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dbml_sql.expressions import feature_value, identifier, missing
from dbml_sql.features import Feature

from dbml.data.columns import FLOATS, INTEGERS, Role
from dbml.data.snapshot import Snapshot, number_column
from dbml.data.source import Source
from dbml.data.vector_means import element_means
from dbml.data.wide import columns_at_once
from dbml.passes.schema import LARGEST

_AT_ONCE = 400  # columns aggregated in one query
_DIGITS = 10
_SAMPLED_ROWS, _SAMPLED_VALUES = 200_000, 50_000_000  # of larger tables, means come from a sample
# To centre by, 1 % of the spread is near enough. A run costs a page of every column, 30,000 rows or so, however short.
_SAMPLE_RUNS, _SAMPLE_RUN = 4, 4_096


@dataclass(frozen=True, slots=True)
class NumberStatistics:
    """What the encoding needs to know of a number or a vector: `mean` has one entry per element."""

    mean: tuple[float, ...]
    has_missing: bool
    all_missing: bool = False
    constant: bool = False


def steady(mean: float | None) -> float:
    """Return a mean to 10 digits, 0 for none: the last bits of a sum by several threads differ from run to run."""
    if mean is None or not math.isfinite(mean) or mean == 0.0:
        return 0.0
    return float(f"{mean:.{_DIGITS}g}")


def number_statistics(
    source: Source, roles: Sequence[Role], n_rows: int, snapshot: Snapshot | None = None
) -> dict[Role, NumberStatistics]:
    """Return the statistics of numbers and vectors; of the numbers that a snapshot holds, without a query."""
    found: dict[Role, NumberStatistics] = {}
    numbers = [role for role in roles if role.kind == "number"]
    if snapshot is not None:
        found |= {role: _of_snapshot(snapshot, role) for role in numbers if role.part is None}
        numbers = [role for role in numbers if role.part is not None]
    size = columns_at_once(source, len(numbers), _AT_ONCE)
    for first in range(0, len(numbers), size):
        some = numbers[first : first + size]
        clean = clean_columns(source, [role.column for role in some if role.part is None])
        sure = [role for role in some if role.column in clean and role.part is None]
        found |= _means(source, sure, n_rows)
        found |= _aggregate(source, [role for role in some if role not in found])
    for role in roles:
        if role.kind == "vector":
            found[role] = _of_vectors(source, role, n_rows)
    return found


def _of_snapshot(snapshot: Snapshot, role: Role) -> NumberStatistics:
    values, n_null = snapshot.values(number_column(role).sql)
    n_rows = values.size + n_null
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.sum(dtype=np.float64)) / max(1, values.size)
        # The sum shows NaN and infinity.
        if not math.isfinite(mean):
            values = values[np.isfinite(values)]
            mean = float((values / max(1, values.size)).sum(dtype=np.float64))
    return NumberStatistics((steady(mean),), values.size < n_rows, values.size == 0)


def _value(role: Role) -> str:
    if role.part is None and (role.type in INTEGERS or role.type in FLOATS):
        return identifier(role.column)
    return feature_value(Feature(role.column, role.type, role.kind, role.part))


def clean_columns(source: Source, columns: Sequence[str]) -> set[str]:
    """Return the columns of numbers that surely have no missing or huge value, from zone maps: no row is read.

    DuckDB's ``stats`` gives what its optimizer knows of an expression of a query. A NaN sorts above all numbers, so
    the greatest value of a DuckDB table shows it; the statistics of a Parquet file leave it out, and are not trusted.
    """
    floats = [column for column in columns if source.columns[column] in FLOATS]
    others = [column for column in columns if source.columns[column] not in FLOATS]
    kinds = [(floats, "has_null BOOLEAN, min DOUBLE, max DOUBLE"), (others, "has_null BOOLEAN")]
    kinds = [(some, fields) for some, fields in kinds if some]
    if not kinds:
        return set()
    asked = []
    for some, fields in kinds:
        # One cast of them all: every further one, and every further mention of stats, costs as much again.
        listed = ", ".join(f"stats({identifier(column)})" for column in some)
        asked.append(f"TRY_CAST([{listed}] AS STRUCT({fields})[])")
    found = set()
    for row in source.fetch(f"{source.select(asked)} LIMIT 1"):
        for (some, _), known in zip(kinds, row, strict=True):
            pairs = zip(some, known or [None] * len(some), strict=True)
            found |= {column for column, statistics in pairs if _is_clean(source, column, statistics)}
    return found


def _is_clean(source: Source, column: str, known: dict[str, Any] | None) -> bool:
    if known is None or known["has_null"] is not False:
        return False
    if source.columns[column] not in FLOATS:
        return True
    bounds = (known["min"], known["max"])
    return source.base is not None and all(bound is not None and abs(bound) <= LARGEST for bound in bounds)


def _means(source: Source, roles: Sequence[Role], n_rows: int) -> dict[Role, NumberStatistics]:
    """Return the means of columns without missing values: of a sample spread over a large table, else of all rows."""
    if not roles:
        return {}
    asked = [f"avg({_value(role)})" for role in roles]
    most = min(_SAMPLED_ROWS, max(_SAMPLED_VALUES // len(source.columns), 4 * _SAMPLE_RUNS * _SAMPLE_RUN))
    if source.extent is None or source.extent.end <= most or n_rows <= most:
        row = source.fetch(source.select([f"CAST({mean} AS DOUBLE)" for mean in asked]))[0]
    else:
        # In the middle of equal stretches: so the mean of an ordered column is near. DuckDB reads 2,048 rows at once.
        step = source.extent.end / _SAMPLE_RUNS
        starts = [int((number + 0.5) * step) // _SAMPLE_RUN * _SAMPLE_RUN for number in range(_SAMPLE_RUNS)]
        ranges = [(start, start + _SAMPLE_RUN) for start in starts]
        row = source.fetch(source.select([f"CAST({mean} AS DOUBLE)" for mean in asked], ranges))[0]
    return {role: NumberStatistics((steady(mean),), False) for role, mean in zip(roles, row, strict=True)}


def _aggregate(source: Source, roles: Sequence[Role]) -> dict[Role, NumberStatistics]:
    """One pass: rows with a value, mean, and for dates whether there is more than one, of each column."""
    if not roles:
        return {}
    asked = ["count(*)"]
    for role in roles:
        value = _value(role)
        # Integers cannot be NaN, and their sums are exact.
        kept = value if role.type in INTEGERS else f"CASE WHEN NOT {missing(value)} THEN {value} END"
        constant = f"(min({kept}) IS NOT DISTINCT FROM max({kept}))" if role.part is not None else "false"
        asked += [f"count({kept})", f"CAST(avg({kept}) AS DOUBLE)", constant]
    row = source.fetch(source.select(asked))[0]
    found = {}
    for number, role in enumerate(roles):
        present, mean, constant = row[3 * number + 1 : 3 * number + 4]
        found[role] = NumberStatistics((steady(mean),), present < row[0], present == 0, constant)
    return found


def _of_vectors(source: Source, role: Role, n_rows: int) -> NumberStatistics:
    counts, means = element_means(source, role)
    return NumberStatistics(tuple(map(steady, means.tolist())), bool((counts < n_rows).any()), not counts.any())
