"""A long table (row, feature, value) as one row per sample, with its sparse features in lists or a MAP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbml_sql.expressions import identifier

from dbml.data import duck
from dbml.data.columns import INTEGERS, is_number
from dbml.data.source import find_column
from dbml.errors import InvalidData, UnsupportedColumn

if TYPE_CHECKING:
    import duckdb


def from_long(
    relation: duckdb.DuckDBPyRelation,
    *,
    row: str,
    feature: str,
    value: str,
    rows: duckdb.DuckDBPyRelation | None = None,
    keep_row: bool = False,
) -> duckdb.DuckDBPyRelation:
    """Return one row per sample of a long table, for `fit` and `predict`.

    Parameters
    ----------
    relation : DuckDBPyRelation
        The long table: one row per nonzero value. Values of the same row and feature are added up; NULLs are 0.
    row, feature, value : str
        Its columns: key of the sample, feature (an integer, or any type read by its text), number.
    rows : DuckDBPyRelation, optional
        One row per sample with the same key column `row`, for the other columns (the target, dense features). Its
        samples without an entry in the long table have no nonzero feature. None: the samples of the long table.
    keep_row : bool, default=False
        Keep the key, which would be a feature of its own.

    Returns
    -------
    DuckDBPyRelation
        The columns of `rows`, then for integer features two lists named `feature` and `value`, else a MAP named
        `feature`; in the order of the key. Nothing has run yet: one aggregation and one join run with every pass.

    Raises
    ------
    UnknownName
        A column does not exist.
    UnsupportedColumn
        `value` is not a number.
    """
    columns = duck.columns_of(relation)
    row, feature, value = (
        find_column(name, columns, f"{what} column {name!r} in the long table")
        for name, what in ((row, "row"), (feature, "feature"), (value, "value"))
    )
    if not is_number(columns[value]):
        raise UnsupportedColumn(f"the value column {value!r} of a long table must be a number; it is {columns[value]}")
    integers = columns[feature] in INTEGERS
    key, code, amount = identifier(row), identifier(feature), identifier(value)
    name = code if integers else f"CAST({code} AS VARCHAR)"
    summed = (
        f"SELECT {key} AS k, {name} AS f, CAST(sum({amount}) AS DOUBLE) AS v FROM {duck.VIEW} "
        f"WHERE {code} IS NOT NULL AND {amount} IS NOT NULL GROUP BY ALL"
    )
    lists = "list(f ORDER BY f), list(v ORDER BY f)"
    made = (
        "list(f ORDER BY f) AS long_codes, list(v ORDER BY f) AS long_values"
        if integers
        else f"map({lists}) AS long_codes"
    )
    samples = duck.query(relation, f"SELECT k AS long_key, {made} FROM ({summed}) GROUP BY k ORDER BY k")
    sparse = f"long_codes AS {code}, long_values AS {amount}" if integers else f"long_codes AS {code}"
    if rows is None:
        return samples.project(f"long_key AS {key}, {sparse}" if keep_row else sparse)
    own = duck.columns_of(rows)
    kept = find_column(row, own, f"row column {row!r} in rows")
    clash = [name for name in own if name.casefold() in (feature.casefold(), value.casefold()) and name != kept]
    if clash:
        raise InvalidData(f"rows and the long table both have a column {clash[0]!r}; rename one of them")
    listed = [identifier(name) for name in own if keep_row or name != kept]
    joined = rows.set_alias("r").join(samples.set_alias("l"), f"r.{identifier(kept)} = l.long_key", how="left")
    return joined.order(identifier(kept)).project(", ".join([*listed, sparse]))
