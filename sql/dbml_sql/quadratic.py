"""Weighted squared distances as DuckDB expressions: one expression an output, missing values and categories included.

A missing value is 0 among centred terms, so its square is that of the origin: a constant (or the form says what it adds
instead). As in `dbml_sql.linear`, the dense terms are summed plainly first, and carefully only where that sum shows
that a value is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dbml_sql.expressions import double, feature_value, identifier, total, vector
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import LinearForm, QuadraticForm
from dbml_sql.linear import category_weight
from dbml_sql.terms import outputs

Column = Callable[[str], str]

_FAR = 1e4  # of folded products, in what tells two outputs from each other: 1e-12 of it is lost


def quadratic_predictors(form: QuadraticForm, encoding: Encoding, column: Column = identifier) -> list[str]:
    """Return one DOUBLE expression an output of the form, never NULL; `column` makes one of an input column's name."""
    linear = outputs(LinearForm(form.coef, form.intercept, "values"), encoding)
    found = []
    for k in range(form.n_outputs):
        sums = _Sums(form.intercept[k])
        for feature, (dense, _) in zip(encoding.features, encoding.offsets(), strict=True):
            if feature.dense_terms:
                sums.add(feature, _Dense(form, k, dense), column)
        parts = [sums.sql()]
        parts += [category_weight(w, column) for w in linear[k].features if w.feature.kind == "category"]
        found.append(total(parts))
    return found


def as_linear(form: QuadraticForm, encoding: Encoding) -> LinearForm | None:
    """Return a linear form whose largest output stands where the smallest one of a form does, None where there is none.

    ``s (t - o)^2 = s t^2 - 2 s o t + s o^2``: where all outputs weigh the squares alike, the first part is common to
    them. Two operations a term instead of three, and no squares; one, where centres may go into the intercept.
    """
    if any(row != form.square[0] for row in form.square):
        return None
    coef, intercept = [], []
    for k in range(form.n_outputs):
        pairs = list(zip(form.square[k], form.origin[k], strict=True))
        row = list(form.coef[k])
        for d, (square, origin) in enumerate(pairs):
            row[d] -= 2.0 * square * origin
        coef.append(tuple(-weight for weight in row))
        intercept.append(-(form.intercept[k] + sum(square * origin * origin for square, origin in pairs)))
    near = all(_is_near(form, k, encoding.centre()) for k in range(1, form.n_outputs))
    return LinearForm(tuple(coef), tuple(intercept), "softmax" if near else "values")


def _is_near(form: QuadraticForm, k: int, centre: list[float]) -> bool:
    """Whether centres may be folded into the intercept: what tells output k from the first one loses no digit."""
    apart = products = 0.0
    dense = centre[: len(form.origin[k])]
    for square, origin, first, fill in zip(form.square[k], form.origin[k], form.origin[0], dense, strict=True):
        apart += square * (origin - first) ** 2
        products += abs(2.0 * square * (origin - first) * fill)
    return products <= _FAR * abs(apart)


@dataclass(frozen=True, slots=True)
class NumberPart:
    """What a number adds to an output: ``linear * c + square * (c - origin)^2`` of a centred value c, or `missing`."""

    feature: Feature
    linear: float
    square: float
    origin: float
    missing: float


def number_parts(form: QuadraticForm, k: int, encoding: Encoding) -> tuple[float, list[NumberPart]]:
    """Return the constant of output k and what its numbers add; of an encoding whose dense terms are of numbers."""
    constant, found = form.intercept[k], []
    for feature, (first, _) in zip(encoding.features, encoding.offsets(), strict=True):
        if feature.kind != "number":
            continue
        dense = _Dense(form, k, first)
        linear, square, origin = dense.weights(0)
        missing = square * origin * origin
        if feature.flag and form.missing:
            missing = form.missing[k][first]
        elif feature.flag:
            more, flagged = dense.flag(1)
            constant, missing = constant + more, missing + flagged
        found.append(NumberPart(feature, linear, square, origin, missing))
    return constant, found


class _Dense:
    """The weights of the dense terms of one feature in one output, from its first term on."""

    def __init__(self, form: QuadraticForm, k: int, first: int) -> None:
        self._form, self._k, self._first = form, k, first

    def weights(self, i: int) -> tuple[float, float, float]:
        """Return the linear weight, the weight of the square, and the origin of a term."""
        at = self._first + i
        return self._form.coef[self._k][at], self._form.square[self._k][at], self._form.origin[self._k][at]

    def missing(self, width: int) -> float | None:
        """Return what a feature of so many values adds where it is missing; None where a missing value is 0."""
        given = self._form.missing
        return sum(given[self._k][self._first : self._first + width]) if given else None

    def flag(self, i: int) -> tuple[float, float]:
        """Return what a flag adds to every row, and what it adds to that where a value is missing."""
        linear, square, origin = self.weights(i)
        return square * origin * origin, linear + square * (1.0 - 2.0 * origin)


class _Sums:
    """The dense part of one output: a plain sum, and one in which missing values count as they should."""

    def __init__(self, intercept: float) -> None:
        self._constant = intercept
        self._plain: list[str] = []
        self._careful: list[str] = []

    def add(self, feature: Feature, weights: _Dense, column: Column) -> None:
        """Add the terms of a number or a vector: its values, then its flag."""
        value = column(feature.column)
        if feature.kind == "number":
            elements = [feature_value(feature, value)]
        else:
            elements = [f"{vector(value)}[{i + 1}]" for i in range(feature.width)]
        instead = weights.missing(len(elements)) if feature.flag else None
        if instead is not None:
            self._add_or(feature, elements, weights, instead)
            return
        flag = 0.0
        if feature.flag:
            constant, flag = weights.flag(len(elements))
            self._constant += constant
        seen = True
        for i, (element, fill) in enumerate(zip(elements, feature.fill, strict=True)):
            linear, square, origin = weights.weights(i)
            present = _term(element, fill, linear, square, origin)
            if present is None:
                seen = False
                continue
            missing = double(square * origin * origin)
            self._plain.append(present)
            self._careful.append(f"CASE WHEN isfinite({element}) THEN {present} ELSE {missing} END")
        if flag:
            finite = total([f"isfinite({element})" for element in elements], "AND")
            marked = f"CASE WHEN coalesce({finite}, false) THEN 0e0 ELSE {double(flag)} END"
            self._careful.append(marked)
            if not seen:  # the plain sum does not show that a value is missing
                self._plain.append(marked)

    def _add_or(self, feature: Feature, elements: list[str], weights: _Dense, instead: float) -> None:
        """Add the values of a feature, and where one is missing a number instead of all."""
        terms = [
            _term(e, fill, *weights.weights(i)) for i, (e, fill) in enumerate(zip(elements, feature.fill, strict=True))
        ]
        present = [term or "0e0" for term in terms]
        finite = total([f"isfinite({element})" for element in elements], "AND")
        careful = f"CASE WHEN coalesce({finite}, false) THEN {total(present)} ELSE {double(instead)} END"
        self._careful.append(careful)
        self._plain += present if None not in terms else [careful]

    def sql(self) -> str:
        """Return the sum."""
        constant = double(self._constant)
        if not self._careful:
            return constant
        plain = total([constant, *self._plain])
        return f"CASE WHEN isfinite({plain}) THEN {plain} ELSE {total([constant, *self._careful])} END"


def _term(value: str, fill: float, linear: float, square: float, origin: float) -> str | None:
    """Return what a value that is not missing adds; None for nothing."""
    centred = value if fill == 0.0 else f"({value} - {double(fill)})"
    parts = [] if linear == 0.0 else [f"{double(linear)} * {centred}"]
    if square != 0.0:
        distance = centred if origin == 0.0 else f"({centred} - {double(origin)})"
        squared = f"{distance} * {distance}"
        parts.append(squared if square == 1.0 else f"{double(square)} * ({squared})")
    return total([f"({part})" for part in parts]) if parts else None
