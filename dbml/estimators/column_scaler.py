"""What the scalers share: moments of every column in one pass, and more rows later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_sql.forms import Scaled, TermFunction

from dbml.errors import InvalidData
from dbml.estimators.column_steps import ONE_PASS, ColumnMomentsStep
from dbml.estimators.termwise import TermwiseTransformer, check_outputs
from dbml.params import Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Schema
from dbml.passes.step import State


class ColumnScaler(TermwiseTransformer):
    """A scaler; a subclass writes `_take`, from moments to its attributes, and `_scaled`.

    Attributes
    ----------
    moments_ : ndarray of shape (3, n_terms)
        Weight, mean and sum of squares about the mean of each column: from here `partial_fit` goes on.
    limits_ : ndarray of shape (2, n_terms)
        Least and greatest values.
    rows_ : ndarray of shape (2,)
        Weight and number of the rows.
    """

    rules: ClassVar[Mapping[str, Rule]] = {}

    moments_: Floats
    limits_: Floats
    rows_: Floats

    def _take(self) -> None:
        """Set the attributes from `moments_`, `limits_` and `rows_`."""
        raise NotImplementedError

    def _scaled(self) -> list[Scaled]:
        """Return the function of each column."""
        raise NotImplementedError

    def _fit(self, data: Data) -> None:
        self._check_columns(data)
        data.decide_solver("one pass", "sums of each column say all about its scale", ONE_PASS)
        self._learn(self._fold(data))

    def _fold(self, data: Data) -> State:
        (state,) = data.fold(ColumnMomentsStep(data.schema.encoding.n_dense), purpose="moments")
        if state["rows"][1] == 0:
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows to learn from")
        return state

    def _learn(self, state: State) -> None:
        self.moments_, self.limits_, self.rows_ = state["moments"], state["limits"], state["rows"]
        self._take()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> Self:
        """Learn from more rows, as if they had followed the earlier ones; the first call is `fit`.

        Parameters are those of `fit`; columns must be those of the first call.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y, sample_weight, con=con)
        self._check_hyperparameters()
        options = {"owner": type(self).__name__}
        with as_data(X, sample_weight=sample_weight, schema=self._more(), con=con, options=options) as data:
            state = self._fold(data)
        step = ColumnMomentsStep(self.schema_.encoding.n_dense)
        before = {"moments": self.moments_.copy(), "limits": self.limits_.copy(), "rows": self.rows_.copy()}
        self._learn(step.merge({**step.start(), **before}, state))
        return self

    def _more(self) -> Schema:
        return self.schema_

    def _functions(self) -> list[TermFunction]:
        return list(self._scaled())

    def _names_out(self) -> list[str]:
        return list(self.schema_.encoding.terms)

    def _seen(self) -> Any:
        """Return the rows that were seen: one number, or one a column where values were missing."""
        seen, rows = self.moments_[0], self.rows_[0]
        whole = np.all(seen == np.rint(seen)) and rows == np.rint(rows)
        found = seen.astype(np.int64) if whole else seen.copy()
        # Other weights are summed in one order by column and in another for all rows.
        same = bool(np.all(seen == rows if whole else np.isclose(seen, rows, rtol=1e-12, atol=0.0)))
        return (int(rows) if whole else float(rows)) if same else found

    def inverse_transform(self, X: Any) -> Floats:
        """Return the columns that `transform` made X of.

        Parameters
        ----------
        X : array of shape (n_rows, n_columns)
            Scaled columns.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
        """
        self._check_fitted()
        functions = self._scaled()
        found = check_outputs(type(self).__name__, X, len(functions))
        for j, function in enumerate(functions):
            found[:, j] = (found[:, j] - function.offset) * function.divisor + function.shift
        return found
