"""Columns of keys: every value is kept apart, whatever their number, for models of who and what.

Whole numbers that a double holds exactly are read as they are; of all others the text of each value is a level.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.expressions import feature_value, identifier
from dbml_sql.features import EXACT, Encoding, Feature

from dbml.data.columns import INTEGERS, EncodingOptions, Role, refusal
from dbml.data.source import Source
from dbml.errors import InvalidData, UnsupportedColumn
from dbml.passes.plan import Decision

_SMALL = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE")
_TEXTS = ("VARCHAR", "UUID", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")


def key_roles(source: Source, taken: tuple[str, ...], options: EncodingOptions) -> list[Role]:
    """Return the role of each column of keys, in the order in which the options name them.

    Raises
    ------
    UnknownName
        There is no such column.
    UnsupportedColumn
        A type whose values are no keys.
    InvalidData
        A column of keys is another one too.
    """
    roles: list[Role] = []
    for name in options.keys:
        column = source.find(name, "key column")
        if column in taken or any(role.column == column for role in roles):
            raise InvalidData(f"{source.name}: the key columns must be different columns; {column!r} is named twice")
        roles.append(_role(source, column))
    return roles


def _role(source: Source, column: str) -> Role:
    kind = source.columns[column]
    if kind in _SMALL:
        return Role(column, kind, "number")
    if kind in INTEGERS:
        value = identifier(column)
        asked = [f"CAST(coalesce(max({side}({value})), 0) AS HUGEINT)" for side in ("", "-")]
        largest, smallest = source.fetch(source.select(asked))[0]
        if max(abs(int(largest)), abs(int(smallest))) < EXACT:
            return Role(column, kind, "number")
    elif kind not in _TEXTS and not kind.startswith(("ENUM(", "DECIMAL")):
        raise UnsupportedColumn(f"{source.name}: {column} {kind} is no key ({refusal(kind)}). Cast it: ::VARCHAR")
    return Role(column, kind, "category")


def learn_keys(source: Source, roles: Sequence[Role]) -> tuple[Encoding, list[Decision]]:
    """Return the encoding of columns of keys, and what was decided on the way.

    Texts are numbered by falling frequency; of whole numbers nothing is read.
    """
    features, decisions = [], []
    for role in roles:
        if role.kind == "number":
            features.append(Feature(role.column, role.type, "number", style="values"))
            continue
        text = feature_value(Feature(role.column, role.type, "category"))
        grouped = f"SELECT c0, count(*) AS n FROM ({source.select([text])}) WHERE c0 IS NOT NULL GROUP BY c0"
        levels = tuple(row[0] for row in source.fetch(f"SELECT c0 FROM ({grouped}) ORDER BY n DESC, c0"))
        if any("\0" in level for level in levels[:20]) and len(levels) <= 20:
            raise UnsupportedColumn(f"{source.name}: a key of {role.column} has a NUL character: replace it in SQL")
        features.append(Feature(role.column, role.type, "category", levels=levels, style="values"))
        decisions.append(Decision(f"keys of {role.column}", f"{len(levels):,}", "each is kept apart, by its text"))
    return Encoding(tuple(features)), decisions
