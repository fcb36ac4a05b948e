"""Statistics of numbers from where they already lie (zone maps), else from one aggregate pass in SQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dbml_sql.expressions import feature_value, identifier, missing
from dbml_sql.features import Feature

from dbml.data.columns import FLOATS, INTEGERS, Role
from dbml.data.source import Source

_AT_ONCE = 400  # columns aggregated in one query
_DIGITS = 10


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


def number_statistics(source: Source, roles: Sequence[Role], n_rows: int) -> dict[Role, NumberStatistics]:
    """Return the statistics of numbers and vectors."""
    found: dict[Role, NumberStatistics] = {}
    numbers = [role for role in roles if role.kind == "number"]
    for first in range(0, len(numbers), _AT_ONCE):
        found |= _aggregate(source, numbers[first : first + _AT_ONCE], n_rows)
    for role in roles:
        if role.kind == "vector":
            found[role] = _aggregate_vector(source, role, n_rows)
    return found


def _value(role: Role) -> str:
    if role.part is None and (role.type in INTEGERS or role.type in FLOATS):
        return identifier(role.column)
    return feature_value(Feature(role.column, role.type, role.kind, role.part))


def _aggregate(source: Source, roles: Sequence[Role], n_rows: int) -> dict[Role, NumberStatistics]:
    """One pass: rows with a value, mean, and range of each number."""
    asked = ["count(*)"]
    for role in roles:
        value = _value(role)
        # Integers cannot be NaN, and their sums are exact.
        kept = value if role.type in INTEGERS else f"CASE WHEN NOT {missing(value)} THEN {value} END"
        asked += [f"count({kept})", f"CAST(avg({kept}) AS DOUBLE)", f"(min({kept}) IS NOT DISTINCT FROM max({kept}))"]
    row = source.fetch(source.select(asked))[0]
    found = {}
    for number, role in enumerate(roles):
        present, mean, constant = row[3 * number + 1 : 3 * number + 4]
        found[role] = NumberStatistics((steady(mean),), present < row[0], present == 0, constant)
    return found


def _aggregate_vector(source: Source, role: Role, n_rows: int) -> NumberStatistics:
    value = feature_value(Feature(role.column, role.type, "vector", width=role.width))
    element = "e[2]"
    pairs = f"unnest(list_zip(range({role.width}), list_resize({value}, {role.width})))"
    listed = f"SELECT c0 AS e FROM ({source.select([pairs])})"
    kept = f"CASE WHEN NOT {missing(element)} THEN {element} END"
    rows = source.fetch(f"SELECT e[1], count({kept}), avg({kept}) FROM ({listed}) GROUP BY ALL ORDER BY 1")
    means = {position: (n, mean) for position, n, mean in rows}
    present = [means.get(i, (0, None)) for i in range(role.width)]
    some = any(n < n_rows for n, _ in present)
    return NumberStatistics(tuple(steady(mean) for _, mean in present), some, all(n == 0 for n, _ in present))
