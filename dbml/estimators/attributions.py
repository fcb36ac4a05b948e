"""What each input column adds to a prediction: numbers that sum to it, beginning with what is predicted of no row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Block, Floats

if TYPE_CHECKING:
    from dbml_sql.features import Encoding
    from dbml_sql.forms import LinearForm


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


class LinearAttributions(Attributions):
    """Coefficient times centred term, summed over the terms of a column: the Shapley values of independent terms.

    The baseline is the prediction for numbers at their mean in training, without categories: a category adds its
    coefficient.
    """

    def __init__(self, form: LinearForm, encoding: Encoding) -> None:
        self.baseline = np.array(form.intercept)
        self._coef = np.array(form.coef)
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
