"""Regressors: numbers out, scored by R²."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Task


class Regressor(Estimator):
    """An estimator of a number per row; a subclass writes `_predict_block`."""

    task: ClassVar[Task] = "regression"
    _estimator_type = "regressor"

    def _predict_block(self, block: Block) -> Floats:
        """Return the predictions of a block, shape (n,)."""
        raise NotImplementedError

    def predict(self, X: Any, *, con: Any = None) -> Any:
        """Return the predictions for the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows; columns are matched by name, extra ones are ignored.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        ndarray of shape (n_rows,)
            Or a relation with a column ``predicted_<target>`` more, where X is a relation.
        """
        return self._score(X, "predict", self._predict_block, con)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> float:
        """Return R², the share of the variance of y that the predictions explain: 1 is perfect, 0 a constant.

        Parameters are those of `fit`; where X has columns, `y` is that of training unless named. One pass over X.
        """
        self._check_fitted()
        with as_data(X, y, sample_weight=sample_weight, task=self.task, schema=self.schema_, con=con) as data:
            parts = list(data.map(self._sums, purpose="score"))
        if not parts:
            raise InvalidData(f"{type(self).__name__}: score needs at least 1 row; got none")
        weight, mean, spread, residual = np.array(parts).T
        total = weight.sum()
        centre = weight @ mean / total
        spread_all = spread.sum() + weight @ (mean - centre) ** 2
        if spread_all == 0.0:
            return 1.0 if residual.sum() == 0.0 else 0.0
        return float(1.0 - residual.sum() / spread_all)

    def _sums(self, block: Block) -> tuple[float, float, float, float]:
        """Return weight, mean and spread of y and the squared residuals of a block (so that large offsets cancel)."""
        y = block.y
        assert y is not None
        weight = block.weights
        total = float(weight.sum())
        mean = float(weight @ y / total) if total > 0.0 else 0.0
        return total, mean, float(weight @ (y - mean) ** 2), float(weight @ (y - self._predict_block(block)) ** 2)
