"""Regressors that are a linear predictor: coefficients, intercepts raw and centred, prediction, form for SQL."""

from __future__ import annotations

import numpy as np
from dbml_sql.forms import LinearForm

from dbml.estimators.design import times
from dbml.estimators.regressor import Regressor
from dbml.passes.block import Block, Floats
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

    def _linear(self, schema: Schema, coef: Floats, centred_intercept: float, fit_intercept: bool) -> dict[str, object]:
        """Return the fitted attributes of coefficients over centred terms; without an intercept, `intercept_` is 0."""
        intercept = raw_intercept(schema, coef, centred_intercept) if fit_intercept else 0.0
        return {"coef_": coef, "intercept_": float(intercept), "centred_intercept_": float(centred_intercept)}

    def _predict_block(self, block: Block) -> Floats:
        return times(block, self.coef_, self.centred_intercept_)

    def form(self) -> LinearForm:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        return LinearForm((tuple(self.coef_.tolist()),), (self.centred_intercept_,), "identity")
