"""Columns that a model needs and rows do not have."""

from __future__ import annotations

from collections.abc import Sequence

from dbml_sql.features import Encoding

from dbml.errors import UnknownName, listing, nearest


def check_columns(name: str, encoding: Encoding, exist: Sequence[str]) -> None:
    """Raise `UnknownName` for the first input column that is missing; upper and lower case are the same."""
    folded = {column.casefold() for column in exist}
    for column in encoding.columns:
        if column.casefold() not in folded:
            raise missing_column(name, column, exist)


def missing_column(name: str, column: str, exist: Sequence[str]) -> UnknownName:
    """Return the error for a feature that the rows do not have."""
    return UnknownName(
        f"{name} needs a column {column!r}, which the rows do not have{nearest(column, exist)} "
        f"(columns: {listing(exist, 40)})"
    )
