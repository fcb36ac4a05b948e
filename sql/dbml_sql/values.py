"""The dense terms of an encoding of plain values as DuckDB expressions over the input columns.

The third reader of such an encoding, besides the training scan and the Arrow encoder: the same value in every row, and
NULL where their blocks hold NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dbml_sql.encode import listed_code
from dbml_sql.expressions import feature_value, finite, identifier
from dbml_sql.features import Encoding, Feature

Column = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class TermValue:
    """One dense term of an encoding of plain values.

    Attributes
    ----------
    feature : Feature
        The feature it belongs to.
    sql : str
        Its value: DOUBLE for numbers and elements of vectors, BIGINT for parts of dates but ``epoch``, INTEGER for
        the code of a category. NULL where it is missing, never NaN nor infinite.
    raw : str
        The same, cheaper: NaN and infinities may be left in it, and the text of a category stands in for its code.
    """

    feature: Feature
    sql: str
    raw: str

    @property
    def levels(self) -> tuple[str, ...] | None:
        """The texts of codes 0, 1, … of a category, compared with `raw`; None for all that is no category.

        Where the feature has a shared level (`other_level`), every other text has the code ``len(levels)``; else such
        a text is missing.
        """
        return self.feature.levels if self.feature.kind == "category" else None


def term_values(encoding: Encoding, column: Column = identifier) -> list[TermValue]:
    """Return the dense terms of an encoding of plain values, in order.

    Parameters
    ----------
    encoding : Encoding
        Features of style ``values``.
    column : callable
        From the name of an input column to its expression; the quoted name by default. The column may have another
        type than in training: what cannot be cast is missing.
    """
    if encoding.style != "values":
        raise ValueError("term_values takes an encoding of plain values")
    return [term for feature in encoding.features for term in _terms(feature, column(feature.column))]


def _terms(feature: Feature, column: str) -> list[TermValue]:
    if not feature.dense_terms:
        return []
    value = feature_value(feature, column)
    if feature.kind == "category":
        return [TermValue(feature, code_of(feature, value), value)]
    if feature.kind == "vector":
        elements = [f"{value}[{i + 1}]" for i in range(feature.width)]
        return [TermValue(feature, finite(element), element) for element in elements]
    # Parts of dates are never NaN.
    return [TermValue(feature, finite(value) if feature.part is None else value, value)]


def code_of(feature: Feature, text: str) -> str:
    """Return the code of a category from its text, NULL where it is missing.

    At most 254 levels: a search through a list costs less than a MAP up to 100 of them and little more beyond; a cast
    to ENUM takes microseconds for every text that is no level.
    """
    code = listed_code(text, feature.levels)
    if not feature.other_level:
        return code
    return f"coalesce({code}, CASE WHEN {text} IS NOT NULL THEN {len(feature.levels)} END)"
