"""What principal components and singular vectors do with rows: project them, and lead projections back."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from dbml_sql.forms import LinearForm

from dbml.errors import InvalidData
from dbml.estimators.design import times_columns
from dbml.estimators.transformer import Transformer
from dbml.passes.block import Block, Floats
from dbml.passes.schema import Task


class Projection(Transformer):
    """A transformer whose outputs are ``(terms - mean) . components``, each divided by a scale.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_terms)
        Orthonormal directions, one a row, the most important first.
    """

    task: ClassVar[Task] = "none"

    components_: Floats

    def _weights(self) -> Floats:
        """Return what a term contributes to each output, shape (n_components_, n_terms)."""
        raise NotImplementedError

    def _origin(self) -> Floats:
        """Return the terms, as blocks hold them, whose outputs are all 0, shape (n_terms,)."""
        raise NotImplementedError

    def _back(self) -> tuple[Floats, Floats]:
        """Return what an output contributes to each term, like `components_`, and the terms of outputs that are 0."""
        raise NotImplementedError

    def _transform_block(self, block: Block) -> Floats:
        weights = self._weights()
        return times_columns(block, weights.T) - weights @ self._origin()

    def _names_out(self) -> list[str]:
        name = type(self).__name__.lower()
        return [f"{name}{number}" for number in range(len(self.components_))]

    def inverse_transform(self, X: Any) -> Floats:
        """Return the terms that projections stand for, in the units of the columns.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_components_)
            What `transform` returned, or alike.

        Returns
        -------
        ndarray of shape (n_rows, n_terms)
            `terms_` names the columns: numbers are as in the table, levels of categories lie around 0 and 1.

        Raises
        ------
        InvalidData
            Another number of columns.
        """
        self._check_fitted()
        X = np.asarray(X, dtype=np.float64)
        k = len(self.components_)
        if X.ndim != 2 or X.shape[1] != k:
            raise InvalidData(
                f"{type(self).__name__}: inverse_transform takes what transform returned, an array of {k} columns; "
                f"got an array of shape {X.shape}"
            )
        back, origin = self._back()
        return X @ back + origin

    def form(self) -> LinearForm:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        weights = self._weights()
        intercepts = 0.0 - weights @ self._origin()
        return LinearForm(tuple(map(tuple, weights.tolist())), tuple(intercepts.tolist()), "values")
