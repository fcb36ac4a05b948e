"""Numbers by term, such as a centroid, as rows by feature: numbers with a value, categories with a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dbml_sql.features import Encoding, Feature


def by_feature(encoding: Encoding, values: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Yield ``feature``, ``numerical_value`` and ``categorical_value`` of a number for each term.

    A category is one row, with a list of ``{category, value}``: NULL is the level of NULL, ``(other)`` that of rare and
    unseen ones. Every other term is a row; what marks missing values is called ``column IS NULL``.
    """
    for feature, (dense, sparse) in zip(encoding.features, encoding.offsets(), strict=True):
        if feature.kind == "category" and feature.sparse_terms:
            named = zip(_categories(feature), values[sparse : sparse + len(feature.sparse_terms)], strict=True)
            pairs = [{"category": category, "value": float(value)} for category, value in named]
            yield {"feature": feature.name, "numerical_value": None, "categorical_value": pairs}
            continue
        for first, terms in ((dense, feature.dense_terms), (sparse, feature.sparse_terms)):
            for i, term in enumerate(terms):
                yield {"feature": term, "numerical_value": float(values[first + i]), "categorical_value": None}


def _categories(feature: Feature) -> list[str | None]:
    return [*feature.levels, *([None] * feature.null_level), *(["(other)"] * feature.other_level)]
