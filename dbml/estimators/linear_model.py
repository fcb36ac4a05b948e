"""Regressors that are a linear predictor: coefficients, intercepts raw and centred, prediction, form for SQL."""

from __future__ import annotations

from typing import Any

import numpy as np
from dbml_sql.forms import LinearForm

from dbml.errors import InvalidParameter
from dbml.estimators.conjugate_gradient import solve_passes
from dbml.estimators.design import times
from dbml.estimators.quadratic import Solved, choose_solver, solve_gram, solve_rows
from dbml.estimators.regressor import Regressor
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.schema import Schema


def raw_intercept(schema: Schema, coef: Floats, centred: Floats | float) -> Floats | float:
    """Return the intercept in the units of the columns: ``centred - coef . centre``, for one output or several."""
    return centred - coef @ np.array(schema.encoding.centre())


class LinearRegressor(Regressor):
    """A regressor whose prediction is ``intercept_ + terms . coef_``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficient of each term.
    intercept_ : float
        Prediction where every term is 0, in the units of the columns.
    centred_intercept_ : float
        Prediction where every term is at its centre (`Encoding.centre`): what blocks and SQL are scored with, because
        it stays exact when columns have large offsets.
    """

    coef_: Floats
    intercept_: float
    centred_intercept_: float

    def _linear(self, schema: Schema, coef: Floats, centred_intercept: float, fit_intercept: bool) -> dict[str, Any]:
        """Return the fitted attributes of coefficients over centred terms; without an intercept, `intercept_` is 0."""
        intercept = raw_intercept(schema, coef, centred_intercept) if fit_intercept else 0.0
        return {"coef_": coef, "intercept_": float(intercept), "centred_intercept_": float(centred_intercept)}

    def _predict_block(self, block: Block) -> Floats:
        return times(block, self.coef_, self.centred_intercept_)

    def form(self) -> LinearForm:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        return LinearForm((tuple(self.coef_.tolist()),), (self.centred_intercept_,), "identity")


_STRATEGIES = {"auto_strategy": "auto", "normal_equation": "cholesky", "batch_gradient_descent": "sparse_cg"}


def strategy_solver(value: Any) -> dict[str, Any]:
    """Return the solver of BigQuery's ``optimize_strategy``: from the Gram matrix, or a pass per iteration."""
    solver = _STRATEGIES.get(str(value).lower())
    if solver is None:
        words = ", ".join(repr(word) for word in _STRATEGIES)
        raise InvalidParameter(f"optimize_strategy must be one of {words}; got {value!r}")
    return {"solver": solver}


class QuadraticRegressor(LinearRegressor):
    """Base of least squares without or with an l2 penalty."""

    fit_intercept: bool
    positive: bool
    solver: str
    tol: float

    def _check_params(self) -> None:
        if self.positive and self.solver not in ("auto", "cholesky"):
            name = type(self).__name__
            raise InvalidParameter(f"{name}: positive=True needs solver 'auto' or 'cholesky'; got {self.solver!r}")

    def _solve(self, data: Data, alpha: float, max_iter: int | None) -> None:
        """Choose a solver, run it and set the fitted attributes."""
        self.solver_ = choose_solver(data, self.solver, self.positive)
        intercepted = self.fit_intercept

        def report(number: int, coef: Floats, intercept: float, residual: float) -> None:
            self._iteration(number, residual=residual)
            so_far = Solved(coef, intercept, None, number)
            self._keep(**self._about(so_far), **self._linear(data.schema, coef, intercept, intercepted))

        if self.solver_ == "cholesky":
            solved = solve_gram(data, alpha, intercepted, self.positive)
        elif self.solver_ == "svd":
            solved = solve_rows(data, alpha, intercepted)
        else:
            solved = solve_passes(data, alpha, intercepted, self.tol, max_iter, type(self).__name__, report)
        linear = self._linear(data.schema, solved.coef, solved.centred_intercept, intercepted)
        vars(self).update({**self._about(solved), **linear})

    def _about(self, solved: Solved) -> dict[str, Any]:
        """Return the attributes of this class that tell of the solution."""
        raise NotImplementedError
