"""Weights of linear models as rows of ``ml.weights``, for reading."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm

from dbml.registry.rows import insert_rows
from dbml.registry.versions import Version

_COLUMNS = (
    ("output", "INTEGER"),
    ("term", "INTEGER"),
    ("feature", "INTEGER"),
    ("kind", "VARCHAR"),
    ("level", "VARCHAR"),
    ("weight", "DOUBLE"),
)
_Row = tuple[int, int | None, int | None, str, str | None, float]


def write_weights(con: duckdb.DuckDBPyConnection, of: Version, encoding: Encoding, form: LinearForm) -> None:
    """Insert the weights of a version. Of sparse rows (a ``lists`` feature) only those that are not zero."""
    insert_rows(con, of, "weights", _COLUMNS, list(_rows(encoding, form)))


def _rows(encoding: Encoding, form: LinearForm) -> Iterator[_Row]:
    terms = list(_terms(encoding))
    for output, (coef, intercept) in enumerate(zip(form.coef, form.intercept, strict=True)):
        yield output, None, None, "intercept", None, intercept
        for number, position, kind, level in terms:
            if coef[number] or kind != "index":
                yield output, number, position, "value" if kind == "index" else kind, level, coef[number]


def _terms(encoding: Encoding) -> Iterator[tuple[int, int, str, str | None]]:
    """Yield number, feature, kind and level of each term."""
    for position, (feature, (dense, sparse)) in enumerate(zip(encoding.features, encoding.offsets(), strict=True)):
        start = dense if feature.dense_terms else sparse
        for i, (kind, level) in enumerate(_kinds(feature)):
            yield start + i, position, kind, level


def _kinds(feature: Feature) -> list[tuple[str, str | None]]:
    if feature.kind == "number":
        found: list[tuple[str, str | None]] = [("value", None)]
    elif feature.kind == "vector":
        found = [("value", str(i + 1)) for i in range(feature.width)]
    elif feature.kind == "text" and not feature.levels:
        return [("index", str(i)) for i in range(feature.width)]
    elif feature.kind == "lists":
        return [("index", str(i + feature.first_index)) for i in range(feature.width)]
    else:
        found = [("level", level) for level in feature.levels]
        null, other = [("null", None)] * feature.null_level, [("other", None)] * feature.other_level
        return found + null + other
    return [*found, ("missing", None)] if feature.flag else found
