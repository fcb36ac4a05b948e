"""Clusterers: each row belongs to one of several groups, numbered from 0."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dbml.estimators.base import Estimator
from dbml.passes.block import Block
from dbml.passes.schema import Task


class Clusterer(Estimator):
    """An estimator of a group per row, without a target; a subclass writes `_cluster_block`.

    Groups are numbered from 0 in Python and in SQL alike.
    """

    task: ClassVar[Task] = "none"
    _estimator_type = "clusterer"

    def _cluster_block(self, block: Block) -> np.ndarray:
        """Return the number of the group of each row of a block, int32 or int64, shape (n,)."""
        raise NotImplementedError

    def _predict_block(self, block: Block) -> np.ndarray:
        return self._cluster_block(block).astype(np.float64)

    def predict(self, X: Any, *, con: Any = None) -> Any:
        """Return the number of the group of each row of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of int32, shape (n_rows,)
            Or a relation with a column ``centroid_id`` more, where X is a relation.
        """
        return self._score(X, "predict", lambda block: self._cluster_block(block).astype(np.int32), con)

    def fit_predict(self, X: Any, y: Any = None, *, con: Any = None, **fit_params: Any) -> Any:
        """Learn from the rows of X, and return `predict` of them; parameters are those of `fit`."""
        return self._fit_and_apply("predict", X, y, con, fit_params)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a clusterer."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "clusterer"
        return tags
