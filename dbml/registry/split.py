"""Which rows train and which evaluate: ``data_split_method`` and its options, BigQuery's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbml_sql.expressions import double, identifier, string

from dbml.errors import InvalidParameter, UnknownName, listing, nearest

SPLIT_OPTIONS = ("data_split_method", "data_split_eval_fraction", "data_split_col")
_METHODS = ("NO_SPLIT", "AUTO_SPLIT", "RANDOM", "SEQ", "CUSTOM")
_BUCKETS = 1_000_000


@dataclass(frozen=True, slots=True)
class Split:
    """Relations of the training rows and of the rows held out (None: none are).

    `column` is the column that decided; it is no feature.
    """

    training: Any
    evaluation: Any | None = None
    column: str | None = None


def split_rows(who: str, relation: Any, options: dict[str, Any]) -> Split:
    """Divide the rows of a relation.

    ``NO_SPLIT`` (the default: no second pass for the evaluation) trains on all rows. ``RANDOM`` holds out
    ``data_split_eval_fraction`` (0.2) of them by a hash of the whole row, so that the same row always goes to the same
    side. ``SEQ`` holds out the rows with the largest values of ``data_split_col`` (rows of one value go together),
    ``CUSTOM`` those where it is true; a NULL there trains. ``AUTO_SPLIT`` holds out nothing below 500 rows, 20 % up to
    50,000 and about 10,000 rows above.

    Raises
    ------
    InvalidParameter, UnknownName
        An option has a value it cannot have; it is named.
    """
    method = str(options.get("data_split_method", "NO_SPLIT")).upper()
    if method not in _METHODS:
        known = f"must be one of {listing(_METHODS)}"
        raise InvalidParameter(f"{who}: data_split_method {known}; got {method!r}{nearest(method, _METHODS)}")
    fraction = _fraction(who, options.get("data_split_eval_fraction", 0.2))
    named = options.get("data_split_col")
    if (method in ("SEQ", "CUSTOM")) != (named is not None):
        needs = "needs" if named is None else "has no use for"
        raise InvalidParameter(f"{who}: data_split_method = {method!r} {needs} data_split_col")
    if "data_split_eval_fraction" in options and method not in ("RANDOM", "SEQ"):
        raise InvalidParameter(f"{who}: data_split_method = {method!r} has no use for data_split_eval_fraction")
    if method in ("SEQ", "CUSTOM"):
        return _by_column(who, relation, method, str(named), fraction)
    if method == "AUTO_SPLIT":
        rows = relation.aggregate("count(*)").fetchall()[0][0]
        fraction = 0.0 if rows < 500 else 0.2 if rows <= 50_000 else 10_000 / rows
    if method == "NO_SPLIT" or fraction == 0.0:
        return Split(relation)
    columns = ", ".join(identifier(column) for column in relation.columns)
    held_out = f"hash({columns}) % {_BUCKETS} < {round(fraction * _BUCKETS)}"
    return Split(relation.filter(f"NOT ({held_out})"), relation.filter(held_out))


def _fraction(who: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise InvalidParameter(f"{who}: data_split_eval_fraction must be a number above 0 and below 1; got {value!r}")
    return float(value)


def _by_column(who: str, relation: Any, method: str, named: str, fraction: float) -> Split:
    types = {name.casefold(): (name, str(type)) for name, type in zip(relation.columns, relation.types, strict=True)}
    if named.casefold() not in types:
        columns = relation.columns
        raise UnknownName(
            f"{who}: data_split_col = {named!r} is no column of the query{nearest(named, columns)} "
            f"(columns: {listing(columns, 40)})"
        )
    name, type = types[named.casefold()]
    column = identifier(name)
    if method == "CUSTOM":
        if type != "BOOLEAN":
            raise InvalidParameter(f"{who}: data_split_col must be BOOLEAN for 'CUSTOM'; column {name!r} is {type}")
        held_out = column
    else:
        quantile = f"quantile_disc({column}, {double(1.0 - fraction)})"
        asked = f"CAST({quantile} AS VARCHAR), {quantile} = max({column}), min({column}) = max({column}), count(*)"
        limit, none_above, all_alike, without = relation.aggregate(f"{asked} - count({column})").fetchall()[0]
        if limit is None:
            raise InvalidParameter(f"{who}: data_split_col {name!r} has no values")
        if all_alike and not without:
            raise InvalidParameter(
                f"{who}: data_split_col {name!r} has the same value in every row ({limit}), which leaves no rows to "
                "train on; name another column, or use data_split_method = 'RANDOM'"
            )
        held_out = f"{column} {'>=' if none_above else '>'} CAST({string(limit)} AS {type})"
    rest = f"* EXCLUDE ({column})"
    training = relation.filter(f"NOT coalesce({held_out}, false)").project(rest)
    return Split(training, relation.filter(f"coalesce({held_out}, false)").project(rest), name)
