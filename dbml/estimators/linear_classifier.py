"""Classifiers that are a linear predictor per output: coefficients, intercepts raw and centred, form for SQL."""

from __future__ import annotations

import numpy as np
from dbml_sql.forms import LinearForm, Link

from dbml.estimators.classifier import Classifier
from dbml.estimators.design import times
from dbml.estimators.linear_model import raw_intercept
from dbml.passes.block import Block, Floats
from dbml.passes.schema import Schema


class LinearClassifier(Classifier):
    """A classifier by one linear predictor for two classes, else one per class.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_terms) or (n_classes, n_terms)
        Coefficients of the terms.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts in the units of the columns.
    centred_intercept_ : ndarray of the same shape
        Intercepts over centred terms (`Encoding.centre`): what blocks and SQL are scored with, because they stay exact
        when columns have large offsets.
    """

    coef_: Floats
    intercept_: Floats
    centred_intercept_: Floats

    def _linear(self, schema: Schema, coef: Floats, centred: Floats, fit_intercept: bool) -> dict[str, object]:
        """Return the fitted attributes for coefficients over centred terms (intercepts exactly 0 if none is fitted)."""
        raw = np.asarray(raw_intercept(schema, coef, centred)) if fit_intercept else np.zeros(len(coef))
        return {"coef_": coef, "intercept_": raw, "centred_intercept_": np.asarray(centred, float)}

    def _decision_block(self, block: Block) -> Floats:
        etas = [times(block, row, float(c)) for row, c in zip(self.coef_, self.centred_intercept_, strict=True)]
        return etas[0] if len(etas) == 1 else np.column_stack(etas)

    def _link(self) -> Link:
        return "margin"

    def form(self) -> LinearForm:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        coef = tuple(tuple(row) for row in self.coef_.tolist())
        return LinearForm(coef, tuple(self.centred_intercept_.tolist()), self._link())
