"""What each input column adds to a prediction: numbers that sum to it, beginning with what is predicted of no row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Block, Floats

if TYPE_CHECKING:
    from dbml_sql.features import Encoding
    from dbml_sql.forms import Form, LinearForm, QuadraticForm


class Attributions(ABC):
    """Explains the predictions of a fitted model, before its link: ``raw = baseline + sum over columns``.

    Attributes
    ----------
    baseline : ndarray of shape (n_outputs,)
        What the sum starts with.
    """

    baseline: Floats

    @abstractmethod
    def by_column(self, block: Block) -> Floats:
        """Return what each input column adds, shape (n, n_columns, n_outputs)."""

    @abstractmethod
    def raw(self, block: Block) -> Floats:
        """Return the predictions before the link, as the model computes them, shape (n, n_outputs)."""


def term_columns(encoding: Encoding) -> NDArray[np.intp]:
    """Return the number of the input column that each term is made from, in `Encoding.columns`."""
    numbers = {column: number for number, column in enumerate(encoding.columns)}
    found = np.empty(encoding.n_terms, np.intp)
    for feature, (dense, sparse) in zip(encoding.features, encoding.offsets(), strict=True):
        found[dense : dense + len(feature.dense_terms)] = numbers[feature.column]
        found[sparse : sparse + len(feature.sparse_terms)] = numbers[feature.column]
    return found


def attributions_of_form(form: Form | None, encoding: Encoding) -> Attributions | None:
    """Return what explains a form that is a sum over columns, None for any other."""
    from dbml_sql.forms import LinearForm, QuadraticForm

    if isinstance(form, QuadraticForm) and form.link == "softmax":
        return QuadraticAttributions(form, encoding)
    if isinstance(form, LinearForm) and form.link != "values":
        return LinearAttributions(form, encoding)
    return None


def _against_others(outputs: Floats) -> Floats:
    """Return outputs of a softmax, by their first axis, as what tells them apart: the log-odds of the second of two,
    else what each has more than their mean. What is added to all of them says nothing."""
    return outputs[1:] - outputs[:1] if len(outputs) == 2 else outputs - outputs.mean(axis=0)


class LinearAttributions(Attributions):
    """Coefficient times centred term, summed over the terms of a column: the Shapley values of independent terms.

    The baseline is the prediction for numbers at their mean in training, without categories: a category adds its
    coefficient.
    """

    def __init__(self, form: LinearForm, encoding: Encoding) -> None:
        self.baseline, self._coef = np.array(form.intercept), np.array(form.coef)
        if form.link == "softmax":
            self.baseline, self._coef = _against_others(self.baseline), _against_others(self._coef)
        self._columns = term_columns(encoding)
        self._n_columns = len(encoding.columns)

    def by_column(self, block: Block) -> Floats:
        n, n_dense = block.X.shape
        out = np.zeros((n, self._n_columns, self.baseline.size))
        for term in range(n_dense):
            out[:, self._columns[term]] += block.X[:, term, None] * self._coef[:, term]
        if block.sparse is not None:
            indptr, indices, values = block.sparse
            rows = np.repeat(np.arange(n), np.diff(indptr[: n + 1]))
            used = slice(indptr[0], indptr[n])
            added = values[used, None] * self._coef[:, indices[used]].T
            np.add.at(out, (rows, self._columns[indices[used]]), added)
        return out

    def raw(self, block: Block) -> Floats:
        from dbml.estimators.design import times

        return np.column_stack([times(block, c, b) for c, b in zip(self._coef, self.baseline, strict=True)])


class QuadraticAttributions(LinearAttributions):
    """What a centred term t adds to log densities: ``c t + s (t - o)^2 - s o^2``, as it is 0 where t is.

    The baseline is the prediction for numbers at their mean in training, without categories, as of linear models.
    """

    def __init__(self, form: QuadraticForm, encoding: Encoding) -> None:
        coef, square, origin = np.array(form.coef), np.array(form.square), np.array(form.origin)
        if form.missing:  # a missing value is 0, and its flag takes back the square that stands for it there
            instead = np.array(form.missing) - square * origin**2
            for feature, (first, _) in zip(encoding.features, encoding.offsets(), strict=True):
                if feature.flag:
                    flag = first + len(feature.dense_terms) - 1
                    coef[:, flag] += instead[:, first:flag].sum(axis=1)
        self._form = (coef, np.array(form.intercept), square, origin)
        coef = coef.copy()
        coef[:, : square.shape[1]] -= 2.0 * square * origin
        self._coef, self._square = _against_others(coef), _against_others(square)
        self.baseline = _against_others(np.array(form.intercept) + (square * origin**2).sum(axis=1))
        self._columns = term_columns(encoding)
        self._n_columns = len(encoding.columns)

    def by_column(self, block: Block) -> Floats:
        out = super().by_column(block)
        for term in range(block.X.shape[1]):
            out[:, self._columns[term]] += block.X[:, term, None] ** 2 * self._square[:, term]
        return out

    def raw(self, block: Block) -> Floats:
        from dbml.estimators.design import times

        parts = []
        for coef, intercept, square, origin in zip(*self._form, strict=True):
            parts.append(times(block, coef, intercept) + (block.X - origin) ** 2 @ square)
        return _against_others(np.array(parts)).T
