"""Columns that a model needs and rows do not have, or only with a type that holds no value for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbml_sql.expressions import identifier
from dbml_sql.features import Encoding
from dbml_sql.retyped import refused_types

from dbml.errors import UnknownName, UnsupportedColumn, listing, nearest_name


def check_columns(name: str, encoding: Encoding, types: Mapping[str, str]) -> None:
    """Raise for input columns that are missing, or of a type that no value can be read from.

    Parameters
    ----------
    name : str
        Who needs them, for the message.
    encoding : Encoding
        Features of the model.
    types : mapping
        DuckDB type of each column of the rows; upper and lower case of names are the same.

    Raises
    ------
    UnknownName
        Columns that are missing; all are named.
    UnsupportedColumn
        A column became another kind of type since training, such as a list where a number was.
    """
    error = missing_columns(name, encoding.columns, list(types))
    if error is not None:
        raise error
    folded = {column.casefold(): type_ for column, type_ in reversed(list(types.items()))}
    now = {column: types.get(column, folded[column.casefold()]) for column in encoding.columns}
    reason = refused_types(name, encoding, now)
    if reason is not None:
        raise UnsupportedColumn(reason)


def missing_columns(
    name: str, needed: Sequence[str], exist: Sequence[str], label: str | None = None
) -> UnknownName | None:
    """Return the error for columns that rows must have and do not have, with the nearest ones; None if all are there.

    Parameters
    ----------
    name : str
        Who needs them, for the message.
    needed : sequence of str
        Input columns of the model.
    exist : sequence of str
        Columns of the rows.
    label : str, optional
        The label, where it is needed too.
    """
    folded = {column.casefold() for column in exist}
    missing = [column for column in (*needed, *([label] if label else [])) if column.casefold() not in folded]
    if not missing:
        return None
    wanted = {column.casefold() for column in needed}
    free = [column for column in exist if column.casefold() not in wanted]
    near = {column: close for column in missing if (close := nearest_name(column, free)) is not None}
    listed = [f"{column!r} (the label)" if column == label else repr(column) for column in missing]
    what = f"columns {listing(listed)}" if len(missing) > 1 else f"a column {listed[0]}"
    nearest, hint = "", ""
    if near:
        pairs = listing([f"{close!r} for {column!r}" for column, close in near.items()], 4)
        nearest = f"; did you mean {pairs if len(missing) > 1 else repr(near[missing[0]])}?"
        renamed = listing([f"{identifier(close)} AS {identifier(column)}" for column, close in near.items()], 4)
        hint = f". Hint: SELECT *, {renamed} FROM …"
    exists = f"(columns of the rows: {listing(exist, 40)})"
    return UnknownName(f"{name} needs {what}, which the rows do not have{nearest} {exists}{hint}")
