"""Constraints of trees, from what a person writes to columns of bins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.errors import InvalidParameter, listing, nearest
from dbml.passes.schema import Schema


def monotonic_columns(owner: str, given: Any, schema: Schema) -> NDArray[np.int64]:
    """Return -1, 0 or 1 for each term, from ``monotonic_cst``.

    Parameters
    ----------
    owner : str
        Estimator, for messages.
    given : mapping of column name to -1, 0 or 1, or sequence of them in the order of the columns, or None
        1: the prediction must not fall where the column rises; -1: must not rise.

    Raises
    ------
    InvalidParameter
        An unknown column, another value, or a column of categories.
    """
    encoding = schema.encoding
    ways = np.zeros(encoding.n_terms, np.int64)
    if given is None:
        return ways
    by_column = _by_column(owner, given, encoding)
    terms = column_terms(encoding)
    categories = {feature.column for feature in encoding.features if feature.kind == "category"}
    for column, way in by_column.items():
        if isinstance(way, bool) or way not in (-1, 0, 1):
            raise InvalidParameter(f"{owner}: monotonic_cst of {column!r} must be -1, 0 or 1; got {way!r}")
        if way and column in categories:
            raise InvalidParameter(
                f"{owner}: monotonic_cst must be 0 for {column!r}: it is a category, whose levels have no "
                f"order; got {way!r}"
            )
        ways[terms[column]] = way
    return ways


def _by_column(owner: str, given: Any, encoding: Encoding) -> dict[str, Any]:
    columns = encoding.columns
    if isinstance(given, Mapping):
        for name in given:
            if name not in columns:
                raise InvalidParameter(
                    f"{owner}: monotonic_cst names {name!r}, which is no column{nearest(str(name), columns)} "
                    f"(columns: {listing(columns)})"
                )
        return dict(given)
    ways = list(np.asarray(given).ravel().tolist())
    if len(ways) != len(columns):
        raise InvalidParameter(
            f"{owner}: monotonic_cst must have one entry for each of the {len(columns)} columns; got {len(ways)}"
        )
    return dict(zip(columns, ways, strict=True))


def column_terms(encoding: Encoding) -> dict[str, list[int]]:
    """Return the terms of each input column."""
    found: dict[str, list[int]] = {}
    for feature, (dense, sparse) in zip(encoding.features, encoding.offsets(), strict=True):
        own = found.setdefault(feature.column, [])
        if feature.values is not None:
            found[feature.values] = own
        own += range(dense, dense + len(feature.dense_terms))
        own += range(sparse, sparse + len(feature.sparse_terms))
    return found


def interaction_groups(owner: str, given: Any, schema: Schema) -> tuple[frozenset[int], ...]:
    """Return the sets of terms that may meet in a branch, from ``interaction_cst``; empty for no constraint.

    Parameters
    ----------
    owner : str
        Estimator, for messages.
    given : {"pairwise", "no_interactions"} or sequence of sets of column names or numbers, or None
        Columns in none of the sets form one more set, as in scikit-learn.

    Raises
    ------
    InvalidParameter
        An unknown column.
    """
    if given is None:
        return ()
    encoding = schema.encoding
    columns, terms = encoding.columns, column_terms(encoding)
    if isinstance(given, str):
        if given == "no_interactions":
            sets: list[set[str]] = [{column} for column in columns]
        elif given == "pairwise":
            sets = [{a, b} for i, a in enumerate(columns) for b in columns[i + 1 :]] or [set(columns)]
        else:
            raise InvalidParameter(
                f"{owner}: interaction_cst must be 'pairwise', 'no_interactions' or a list of sets of columns; "
                f"got {given!r}"
            )
    else:
        sets = [{_column(owner, entry, columns) for entry in group} for group in _groups(owner, given)]
        rest = set(columns) - set().union(*sets)
        if rest:
            sets.append(rest)
    return tuple(frozenset(term for column in group for term in terms[column]) for group in sets)


def _groups(owner: str, given: Any) -> list[Iterable[Any]]:
    groups = list(given)
    for group in groups:
        if isinstance(group, str) or not isinstance(group, Iterable):
            raise InvalidParameter(f"{owner}: interaction_cst must be a list of sets of columns; got {given!r}")
    return groups


def _column(owner: str, entry: Any, columns: tuple[str, ...]) -> str:
    if isinstance(entry, str) and entry in columns:
        return entry
    if isinstance(entry, (int, np.integer)) and not isinstance(entry, bool) and 0 <= entry < len(columns):
        return columns[int(entry)]
    raise InvalidParameter(
        f"{owner}: interaction_cst names {entry!r}, which is no column{nearest(str(entry), columns)} "
        f"(columns: {listing(columns)})"
    )
