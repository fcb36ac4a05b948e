"""Which row groups the zone maps rule out for a filtered table: what DuckDB will skip, for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.expressions import string

from dbml.data import duck
from dbml.data.columns import FLOATS, INTEGERS

if TYPE_CHECKING:
    import duckdb

    from dbml.data.base_table import BaseTable
    from dbml.data.parquet import ParquetFiles

_ZONED = (*INTEGERS, *FLOATS, "DATE", "TIMESTAMP")
_MIRRORED = {"GT": "LT", "GTE": "LTE", "LT": "GT", "LTE": "GTE", "EQ": "EQ"}


def impossible_zones(condition: str, types: dict[str, str]) -> list[tuple[str, str]]:
    """Return for each comparison of a column with a literal when a row group cannot hold a match.

    Parameters
    ----------
    condition : str
        A WHERE condition; only the parts that AND joins count, and of these only comparisons and BETWEEN.
    types : dict of str to str
        Type of each column of the table, names in lower case.

    Returns
    -------
    list of (str, str)
        Column, and SQL over ``low`` and ``high``, the bounds of its zone.
    """
    from sqlglot import exp, parse_one

    found = []
    tree = parse_one(condition, dialect="duckdb").unnest()
    for joined in tree.flatten() if isinstance(tree, exp.And) else (tree,):
        part = joined.unnest()
        if isinstance(part, exp.Between):
            column, tests = part.this, [("high", "<", part.args["low"]), ("low", ">", part.args["high"])]
        elif type(part).__name__ in _MIRRORED:
            kind, column, literal = type(part).__name__, part.this, part.expression
            if isinstance(literal, exp.Column):
                kind, column, literal = _MIRRORED[kind], literal, column
            tests = _tests(kind, literal)
        else:
            continue
        name = column.name.lower() if isinstance(column, exp.Column) else ""
        if types.get(name) in _ZONED and not any(list(value.find_all(exp.Column)) for _, _, value in tests):
            text = [f"{bound} {sign} {value.sql(dialect='duckdb')}" for bound, sign, value in tests]
            found.append((name, " OR ".join(text)))
    return found


def _tests(kind: str, literal: object) -> list[tuple[str, str, object]]:
    """Return which bounds of a zone rule out ``column kind literal``."""
    too_low, too_high = ("high", "<", literal), ("low", ">", literal)
    return {
        "GT": [("high", "<=", literal)],
        "GTE": [too_low],
        "LT": [("low", ">=", literal)],
        "LTE": [too_high],
        "EQ": [too_low, too_high],
    }[kind]


def count_pruned_groups(relation: duckdb.DuckDBPyRelation, files: ParquetFiles) -> int:
    """Return the number of row groups of Parquet files whose statistics rule out every row of the query."""
    if not files.filters:
        return 0
    columns = duck.columns_of(duck.query(relation, f"SELECT * FROM {files.scan}"))
    types = {name.lower(): kind for name, kind in columns.items()}
    zones = [zone for condition in files.filters for zone in impossible_zones(condition, types)]
    if not zones:
        return 0
    bounds = ", ".join(f"TRY_CAST(stats_{bound}_value AS {{0}})" for bound in ("min", "max"))
    parts = [
        f"SELECT file_name, row_group_id FROM zones, (SELECT {bounds.format(types[name])}) z(low, high) "
        f"WHERE name = {string(name)} AND ({test})"
        for name, test in zones
    ]
    listed = "SELECT file_name, row_group_id, lower(path_in_schema) AS name, stats_min_value, stats_max_value"
    with_zones = f"WITH zones AS MATERIALIZED ({listed} FROM parquet_metadata({files.paths}))"
    return duck.fetch(relation, f"{with_zones} SELECT count(*) FROM ({' UNION '.join(parts)})")[0][0]


def count_pruned(relation: duckdb.DuckDBPyRelation, base: BaseTable) -> int:
    """Return the number of row groups of a table whose zones rule out every row of its query; reads no rows.

    Costs a listing of the segments of all columns: about 10 µs a column and row group.
    """
    if not base.filters or not base.direct:
        return 0
    columns = duck.fetch(relation, f"SELECT column_name, column_type FROM (DESCRIBE {base.qualified})")
    types = {name.lower(): kind for name, kind in columns}
    zones = [zone for condition in base.filters for zone in impossible_zones(condition, types)]
    if not zones:
        return 0
    segments = f"pragma_storage_info({string(base.qualified)})"
    parts = [
        f"SELECT row_group_id FROM (SELECT row_group_id, min(CAST(stats.min AS {types[name]})) AS low, "
        f"max(CAST(stats.max AS {types[name]})) AS high FROM zones WHERE lower(column_name) = {string(name)} "
        f"GROUP BY row_group_id) WHERE {test}"
        for name, test in zones
    ]
    listed = f"SELECT row_group_id, column_name, stats FROM {segments} WHERE segment_type <> 'VALIDITY'"
    sql = f"WITH zones AS MATERIALIZED ({listed}) SELECT count(*) FROM ({' UNION '.join(parts)})"
    return duck.fetch(relation, sql)[0][0]
