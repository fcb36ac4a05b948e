"""Rows of schema ``ml`` that describe a model to SQL, in the order of the tables' columns after the two keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm


def feature_rows(encoding: Encoding) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of ``ml.features``: position, column_name, type, kind, part, fill, …, first_index."""
    for position, f in enumerate(encoding.features):
        learned = (list(f.fill), f.flag, list(f.levels), f.null_level, f.other_level)
        yield position, f.column, f.type, f.kind, f.part, *learned, f.width, f.values, f.first_index


def weight_rows(form: LinearForm, encoding: Encoding) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of ``ml.weights``: output, term, feature, kind, level, weight."""
    places = list(_places(encoding))
    for output, (coef, intercept) in enumerate(zip(form.coef, form.intercept, strict=True)):
        yield output, None, None, "intercept", None, intercept
        for term, (feature, kind, level) in enumerate(places):
            yield output, term, feature, kind, level, coef[term]


def _places(encoding: Encoding) -> Iterator[tuple[int, str, str | None]]:
    """Yield for each term its feature, its kind and its level: dense terms, then sparse ones."""
    for position, feature in enumerate(encoding.features):
        if feature.kind == "number":
            yield position, "value", None
        elif feature.kind == "vector":
            yield from ((position, "value", str(i + 1)) for i in range(feature.width))
        if feature.dense_terms and feature.flag:
            yield position, "missing", None
    for position, feature in enumerate(encoding.features):
        yield from ((position, kind, level) for kind, level in _sparse(feature))


def _sparse(feature: Feature) -> Iterator[tuple[str, str | None]]:
    if feature.kind == "lists":
        yield from (("level", str(i + feature.first_index)) for i in range(feature.width))
    elif feature.kind in ("category", "map"):
        yield from (("level", level) for level in feature.levels)
        if feature.kind == "category":
            yield from (("null", None),) * feature.null_level
            yield from (("other", None),) * feature.other_level
