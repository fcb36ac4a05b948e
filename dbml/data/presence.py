"""Which numbers have a value at all, and which calendar parts vary: all that an encoding of plain values asks of them.

The first rows tell it of nearly every column; the others are asked of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dbml_sql.expressions import feature_value, missing
from dbml_sql.features import Feature

from dbml.data.columns import INTEGERS, Role
from dbml.data.snapshot import Snapshot, number_column
from dbml.data.source import Source
from dbml.data.wide import columns_at_once

_AT_ONCE = 400  # columns asked for in one query
_FIRST_ROWS = 2_048  # one vector of DuckDB


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether some row has a value of a number or a vector, and whether a calendar part has more than one."""

    any_value: bool
    varies: bool


def find_presence(source: Source, roles: Sequence[Role], snapshot: Snapshot | None = None) -> dict[Role, Presence]:
    """Return the presence of numbers and vectors; of the numbers that a snapshot holds, without a query."""
    found: dict[Role, Presence] = {}
    if snapshot is not None:
        held = [role for role in roles if role.kind == "number" and role.part is None]
        found |= {role: Presence(_has_value(snapshot, role), varies=True) for role in held}
    for limit in (f" LIMIT {_FIRST_ROWS}", ""):
        unknown = [role for role in roles if role not in found]
        size = columns_at_once(source, len(unknown), _AT_ONCE)
        for first in range(0, len(unknown), size):
            some = _ask(source, unknown[first : first + size], limit)
            # Further rows cannot change a yes.
            found |= {role: seen for role, seen in some.items() if not limit or (seen.any_value and seen.varies)}
    return found


def _has_value(snapshot: Snapshot, role: Role) -> bool:
    values, _ = snapshot.values(number_column(role).sql)
    return bool(np.isfinite(values[:_FIRST_ROWS]).any() or np.isfinite(values).any())


def _ask(source: Source, roles: Sequence[Role], limit: str) -> dict[Role, Presence]:
    rows = source.select([_asked(role) for role in roles]) + limit
    columns = [f"max(c{i}), min(c{i}) IS DISTINCT FROM max(c{i})" for i in range(len(roles))]
    (row,) = source.fetch(f"SELECT {', '.join(columns)} FROM ({rows})")
    found = {}
    for number, role in enumerate(roles):
        largest, differ = row[2 * number : 2 * number + 2]
        # A part is NULL or a value, anything else is whether it has one.
        any_value = largest is not None if role.part is not None else bool(largest)
        found[role] = Presence(any_value, varies=role.part is None or differ)
    return found


def _asked(role: Role) -> str:
    """Return a calendar part, NULL where it is missing; of other roles whether the row has a value."""
    value = feature_value(Feature(role.column, role.type, role.kind, role.part, width=role.width))
    if role.part is not None:
        return value
    if role.kind == "vector":
        return f"coalesce(list_bool_or(list_transform({value}, lambda dbml_e: NOT {missing('dbml_e')})), false)"
    return f"{value} IS NOT NULL" if role.type in INTEGERS else f"NOT {missing(value)}"
