"""Transformers: each row becomes other numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from dbml.estimators.base import Estimator
from dbml.passes.block import Block, Floats


class Transformer(Estimator):
    """An estimator that turns each row into numbers; a subclass writes `_transform_block` and `_names_out`."""

    def _transform_block(self, block: Block) -> Floats:
        """Return what the rows of a block become, shape (n, n_outputs)."""
        raise NotImplementedError

    def _names_out(self) -> list[str]:
        """Return the name of each output: ``pca0``, ``pca1``, …; different from each other in more than case."""
        raise NotImplementedError

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of each column that `transform` makes, shape (n_outputs,), dtype object.

        Parameters
        ----------
        input_features : ignored
            There for scikit-learn's pipelines: names come from the columns of training.
        """
        self._check_fitted()
        return np.array(self._names_out(), dtype=object)

    def transform(self, X: Any, *, con: Any = None) -> Any:
        """Return what each row becomes.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs)
            Or a relation with a column more for each of `get_feature_names_out`, where X is a relation; columns of
            the same names are replaced.
        """
        return self._score(X, "transform", self._transform_block, con)

    def fit_transform(self, X: Any, y: Any = None, *, con: Any = None, **fit_params: Any) -> Any:
        """Learn from the rows of X, and return `transform` of them; parameters are those of `fit`."""
        return self._fit_and_apply("transform", X, y, con, fit_params)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a transformer."""
        from sklearn.utils import TransformerTags

        tags = super().__sklearn_tags__()
        tags.transformer_tags = TransformerTags()
        return tags


class UnweightedTransformer(Transformer):
    """A transformer whose rows have no weights, as in scikit-learn."""

    def fit(  # type: ignore[override]
        self, X: Any, y: Any = None, *, con: Any = None, options: dict[str, Any] | None = None
    ) -> Self:
        """Learn from the rows of X; rows have no weights, as in scikit-learn.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : ignored
            There for scikit-learn's pipelines.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            Encoding options, see `dbml.passes.dispatch.as_data`.

        Returns
        -------
        self
        """
        return super().fit(X, y, con=con, options=options)
