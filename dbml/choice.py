"""What to train on a table that nobody has described: the kind of model, and the columns that cannot help.

Every choice carries its reason, so that a person can disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbml_sql.expressions import identifier, string

from dbml.errors import InvalidData, UnknownName, listing, nearest

_WHOLE = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
_NUMBERS = ("FLOAT", "DOUBLE", "DECIMAL", *_WHOLE)
_NO_FEATURE = (
    "BLOB",
    "BIT",
    "UUID",
    "INTERVAL",
    "TIME",
    "TIME WITH TIME ZONE",
    "STRUCT",
    "UNION",
    "VARIANT",
    "GEOMETRY",
)
_LOOKED_AT_FOR_LEAKS = 200
_MANY_LEVELS, _ROWS_OF_A_LEVEL = 1000, 50
_SUMMED_ROWS, _SUMMED_COLUMNS, _SUMMED_KNOWN = 2000, 60, 0.9  # the last: share of rows that have a value
_ROUNDING = 1e-7
_READ_FOR_TEXTS = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what one pass over it told: number of values that are not NULL, about how many different ones."""

    name: str
    type: str
    count: int
    distinct: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What to train, and why.

    Attributes
    ----------
    model_type : str
        ``linear_reg`` or ``logistic_reg``; empty without a target.
    reason : str
        Why this type: what the target holds.
    features : tuple of str
        Columns to learn from, in the order of the table.
    excluded : dict of str to str
        Columns left out, each with its reason.
    n_rows : int
        Rows of the table.
    texts : tuple of str
        Columns left out that hold several words in most rows.
    """

    model_type: str
    reason: str
    features: tuple[str, ...]
    excluded: dict[str, str]
    n_rows: int
    texts: tuple[str, ...] = ()


def choose(
    con: Any,
    source: str,
    target: str | None,
    exclude: tuple[str, ...] = (),
    include: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> Choice:
    """Look at a table and choose what to train.

    Parameters
    ----------
    con : connection
        Where the table is read; two or three aggregates over it, nothing is kept.
    source : str
        What may follow FROM: a quoted table name, a file reader, a query in brackets.
    target : str or None
        The column to predict; None for a model without a label.
    exclude : tuple of str
        Columns the person leaves out.
    include : tuple of str
        Columns the person keeps, whatever they look like.
    only : tuple of str
        Columns that the model reads, whatever they look like, and no others; none given: any.

    Raises
    ------
    UnknownName
        The target, or a column that is left out or kept, is not in the table.
    InvalidData
        The table has no rows, the target no value, or no column is left to learn from.
    """
    described = con.sql(f"FROM {source} LIMIT 0")
    names, types = list(described.columns), [str(t) for t in described.types]
    for name in (*([] if target is None else [target]), *exclude, *include, *only):
        if name not in names:
            raise UnknownName(f"no column {name!r}{nearest(name, names)} (columns: {listing(names)})")
    n_rows, columns = _look(con, source, names, types)
    if n_rows == 0:
        raise InvalidData("the table has no rows to learn from")
    label = None if target is None else columns.pop(target)
    if label is not None and label.count == 0:
        raise InvalidData(f"the target {target!r} is NULL in every row: there is nothing to learn")
    if not columns:
        raise InvalidData(f"there is no column besides the target {target!r} to learn from")
    model_type, reason = ("", "") if label is None else _model_type(con, source, label)
    excluded = dict.fromkeys(exclude, "left out as asked")
    if only:
        excluded |= {name: "the model does not read it" for name in columns if name not in (*only, *excluded)}
        return Choice(model_type, reason, tuple(only), excluded, n_rows)
    for name, column in columns.items():
        why = _useless(column, n_rows)
        if why and name not in (*excluded, *include):
            excluded[name] = why
    texts = _texts(con, source, [columns[name] for name in excluded if name not in exclude])
    left = [column for name, column in columns.items() if name not in (*excluded, *include)]
    if label is not None:
        excluded |= _leaks(con, source, label, left, n_rows)
        excluded |= _sums(con, source, label, [column for column in left if column.name not in excluded], n_rows)
    features = tuple(name for name in columns if name not in excluded)
    if not features:
        reasons = "; ".join(f"{name}: {why}" for name, why in excluded.items())
        of_target = "" if target is None else f" {target!r}"
        raise InvalidData(f"no column is left to learn{of_target} from ({reasons})")
    return Choice(model_type, reason, features, excluded, n_rows, texts)


def _texts(con: Any, source: str, columns: list[Column]) -> tuple[str, ...]:
    """Return the columns whose texts hold several words, in most of the first rows."""
    texts = [column.name for column in columns if _base(column.type) == "VARCHAR" and column.count]
    if not texts:
        return ()
    shares = (f"avg(regexp_matches({identifier(name)}, '\\w\\W+\\w')::INTEGER)" for name in texts)
    (found,) = con.sql(f"SELECT {', '.join(shares)} FROM (FROM {source} LIMIT {_READ_FOR_TEXTS})").fetchall()
    return tuple(name for name, share in zip(texts, found, strict=True) if share is not None and share > 0.5)


def _base(type_name: str) -> str:
    return type_name.partition("(")[0].strip()


def _look(con: Any, source: str, names: list[str], types: list[str]) -> tuple[int, dict[str, Column]]:
    """One pass: rows, and per column the values, the different ones, and the range of whole numbers."""
    parts = ["count(*)"]
    for name, type_name in zip(names, types, strict=True):
        quoted = identifier(name)
        parts += [f"count({quoted})", f"approx_count_distinct({quoted})"]
        whole = _base(type_name) in _WHOLE
        parts += [f"{side}({quoted})::DOUBLE" if whole else "NULL::DOUBLE" for side in ("min", "max")]
    (row,) = con.sql(f"SELECT {', '.join(parts)} FROM {source}").fetchall()
    groups = zip(names, types, *(row[1 + i :: 4] for i in range(4)), strict=True)
    return row[0], {group[0]: Column(*group) for group in groups}


def _model_type(con: Any, source: str, label: Column) -> tuple[str, str]:
    """Choose by the target's type; a whole number is a class only if it has no more than two values."""
    kind = _base(label.type)
    if kind in _WHOLE:
        quoted = identifier(label.name)
        query = f"SELECT DISTINCT {quoted} FROM {source} WHERE {quoted} IS NOT NULL LIMIT 3"
        values = sorted(value for (value,) in con.sql(query).fetchall())
        if len(values) <= 2:
            return "logistic_reg", f"{label.name} has the values {', '.join(map(str, values))}"
        return "linear_reg", f"{label.name} is a number ({label.type})"
    if kind in _NUMBERS:
        return "linear_reg", f"{label.name} is a number ({label.type})"
    return "logistic_reg", f"{label.name} is a class ({label.type}, about {label.distinct} values)"


def _useless(column: Column, n_rows: int) -> str | None:
    """Return why a column cannot help, or None."""
    kind = _base(column.type)
    if kind.endswith("[]") or "[" in column.type:
        return None
    if kind in _NO_FEATURE:
        return f"a {kind} cannot be a feature"
    if column.count == 0:
        return "no values, only NULL"
    if column.distinct == 1 and column.count == n_rows:
        return "one value in every row"
    many = column.distinct > 0.85 * column.count and column.count >= 50
    if kind == "VARCHAR" and many:
        return "another text in (almost) every row"
    if kind == "VARCHAR" and column.distinct > _MANY_LEVELS and column.count < _ROWS_OF_A_LEVEL * column.distinct:
        return f"about {column.distinct:,} texts, {column.count / column.distinct:.0f} rows each: too few to learn from"
    dense = column.low is not None and column.high is not None and column.high - column.low < 4 * column.count
    if kind in _WHOLE and many and dense and column.count >= 1000:
        return "another whole number in (almost) every row: it numbers the rows"
    return None


def _leaks(con: Any, source: str, label: Column, columns: list[Column], n_rows: int) -> dict[str, str]:
    """Find columns that say the target in other words, or a part of it.

    Each of their (few) values has one value of the target; or, where the target has a few classes, each class has one
    value of the column: a coarser class, a code, an indicator of one class.
    """
    # The numbers of different values are estimates: within some per cent.
    few = [c for c in columns if c.distinct <= 1000 and c.distinct * 10 <= n_rows]
    if len(few) > _LOOKED_AT_FOR_LEAKS or label.distinct < 2:
        return {}
    found = {}
    classes = label.distinct <= 1000 and label.distinct * 10 <= n_rows
    for column in few:
        if label.distinct <= 1.1 * column.distinct and _settles(con, source, column, label, label):
            found[column.name] = f"settles {label.name} by itself: it says the same in other words"
        elif classes and label.distinct > 2 and _settles(con, source, label, column, label):
            found[column.name] = f"follows from {label.name}: it says a part of it in other words"
    return found


def _settles(con: Any, source: str, one: Column, other: Column, label: Column) -> bool:
    """Return whether every value of a column, NULL too, has one value of another, in the rows that have a label."""
    values = identifier(other.name)
    counts = f"count(DISTINCT {values}) + (count(*) > count({values}))::INTEGER"
    known = f"{identifier(label.name)} IS NOT NULL"
    grouped = f"SELECT {counts} AS n FROM {source} WHERE {known} GROUP BY {identifier(one.name)}"
    ((most,),) = con.sql(f"SELECT max(n) FROM ({grouped})").fetchall()
    return most == 1


def _sums(con: Any, source: str, label: Column, columns: list[Column], n_rows: int) -> dict[str, str]:
    """Find numbers that add up to the target, as ``casual + registered`` is ``cnt``: in a sample, then in all rows."""
    numbers = [c for c in columns if _base(c.type) in _NUMBERS and c.count >= _SUMMED_KNOWN * n_rows]
    if _base(label.type) not in _NUMBERS or label.distinct <= 2 or not 1 <= len(numbers) <= _SUMMED_COLUMNS:
        return {}
    read = [f"{identifier(column.name)}::DOUBLE" for column in (*numbers, label)]
    known = " AND ".join(f"isfinite({value})" for value in read)
    rows = con.sql(f"SELECT {', '.join(read)} FROM {source} WHERE {known} USING SAMPLE reservoir({_SUMMED_ROWS} ROWS)")
    signs = _signs(rows.fetchall())
    if not signs:
        return {}
    total = " ".join(f"{'-' if sign < 0 else '+'} {read[number]}" for number, sign in signs.items())
    wrong = f"abs({read[-1]} - ({total})) > {_ROUNDING} * greatest(1, abs({read[-1]}))"
    ((n_wrong,),) = con.sql(f"SELECT count(*) FROM {source} WHERE {known} AND {wrong}").fetchall()
    if n_wrong:
        return {}
    named = " ".join(f"{'-' if sign < 0 else '+'} {numbers[number].name}" for number, sign in signs.items())
    reason = f"{named.removeprefix('+ ')} is {label.name}: together they say the same in other words"
    return {numbers[number].name: reason for number in signs}


def _signs(rows: list[tuple[float, ...]]) -> dict[int, int]:
    """Return which columns, with which sign, add up to the last one; none where they do not."""
    import numpy as np

    values = np.array(rows, float)
    if len(values) < 2 * values.shape[1]:
        return {}
    X, y = values[:, :-1], values[:, -1]

    def weights(members: list[int]) -> Any:
        found = np.linalg.lstsq(X[:, members], y, rcond=None)[0]
        return found if np.abs(X[:, members] @ found - y).max() <= _ROUNDING * np.abs(y).max() else None

    members = list(range(X.shape[1]))
    whole = weights(members)
    if whole is None:
        return {}
    for number in np.argsort(np.abs(whole) * X.std(axis=0)).tolist():
        fewer = [member for member in members if member != number]
        if fewer and weights(fewer) is not None:
            members = fewer
    kept = weights(members)
    if np.abs(np.abs(kept) - 1.0).max() > _ROUNDING * 10:
        return {}
    return {member: int(np.sign(weight)) for member, weight in zip(members, kept, strict=True)}


def sql_value(value: Any) -> str:
    """Return a JSON value as SQL."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "NULL"}[value]
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(sql_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{string(str(k))}: {sql_value(v)}" for k, v in value.items()) + "}"
    return repr(value)


def create_model(
    name: str,
    options: dict[str, Any],
    features: tuple[str, ...],
    target: str | None,
    rows: str,
    quote: Callable[[str], str] = identifier,
) -> str:
    """Return the CREATE MODEL statement that trains on some columns of `rows` (what may follow FROM).

    Without a target the model has no label. `quote` spells a name; one that knows DuckDB's keywords may leave plain
    names bare, for people to read.
    """
    label = {} if target is None else {"input_label_cols": [target]}
    given = {"model_type": options["model_type"], **label, **options}
    listed = ", ".join(f"{key} = {sql_value(value)}" for key, value in given.items())
    columns = ", ".join(map(quote, features if target is None else (*features, target)))
    return f"CREATE OR REPLACE MODEL {quote(name)}\n  OPTIONS ({listed}) AS\nSELECT {columns}\nFROM {rows}"
