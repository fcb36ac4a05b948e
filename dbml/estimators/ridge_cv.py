"""Ridge regression with its penalty chosen by cross-validation, leaving out one row or one fold at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy import linalg

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.base import ModelState
from dbml.estimators.cross_validation import check_folds
from dbml.estimators.folds import CV_RULE, folds_of, with_plain_cv
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.leave_one_out import LeaveOneOutStep
from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.quadratic import require_gram, ridge_of
from dbml.params import Boolean, Either, Instance, Integer, Options, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

_PASSES = ExpectedPasses("1, or 2 where every row is left out once", "second moments serve all penalties")


class RidgeCV(LinearRegressor):
    """`Ridge` with the penalty of least error in cross-validation.

    Parameters
    ----------
    alphas : float or list of float, default=(0.1, 1.0, 10.0)
        Weights of the penalty to try, above 0; with `cv` 0 too.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    cv : int, iterable of (train, test) or splitter, default=None
        None: every row is left out once, in closed form. Otherwise the number of folds by a hash of the row's position,
        or the row positions of each split, or a splitter such as `KFold`. Test parts must hold every row once, and
        train parts the others.
    random_state : int, optional
        Seed of the folds.

    Attributes
    ----------
    alpha_ : float
        The best weight of the penalty.
    best_score_ : float
        Negative mean squared error of the best penalty over the rows left out.
    mse_path_ : ndarray of shape (n_alphas,) or (n_alphas, n_folds)
        Mean squared error of each penalty, on the rows left out or on each fold (NaN where a fold has no rows).
    alphas_ : ndarray of shape (n_alphas,)
        Weights that were tried, as given.
    coef_, intercept_
        As in `Ridge`, of the model of all rows.

    Notes
    -----
    One pass with folds (``8 k p^2`` bytes for p terms and k folds); two without, the second taking ``n p (p + a)``
    multiplications for a penalties. A NULL takes the mean of its column, and a term of its own marks it.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import RidgeCV
    >>> X = np.arange(40.0).reshape(20, 2) % 7
    >>> RidgeCV(alphas=[0.01, 100.0]).fit(X, X @ [1.0, 0.5]).alpha_
    0.01
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "alphas": Instance((int, float, list, tuple, np.ndarray), "a number or a list of numbers"),
        "fit_intercept": Boolean(),
        "cv": CV_RULE,
        "random_state": Either((Integer(ge=0), Options((None,)))),
    }

    def __init__(
        self,
        alphas: float | Sequence[float] = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        cv: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.random_state = random_state

    def _check_params(self) -> None:
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=float))
        if alphas.ndim != 1 or len(alphas) == 0 or not np.isfinite(alphas).all() or (alphas < 0.0).any():
            raise InvalidParameter(f"RidgeCV: alphas must be numbers >= 0; got {self.alphas!r}")
        if self.cv is None and (alphas == 0.0).any():
            raise InvalidParameter(f"RidgeCV: alphas must be numbers > 0 where cv is None; got {self.alphas!r}")

    def _fit(self, data: Data) -> None:
        encoding = data.schema.encoding
        centre = np.array(encoding.centre())
        self.alphas_ = np.atleast_1d(np.asarray(self.alphas, dtype=float))
        folds = None if self.cv is None else folds_of(self.cv, self.random_state or 0, "RidgeCV", data)
        require_gram(data, folds.n_folds if folds else 1)
        if folds is None:
            data.plan = data.plan.decide("cross-validation", "every row left out once", "cv=None: a second pass")
        else:
            reason = "the Gram matrices of all folds come from the same pass"
            data.plan = data.plan.decide("cross-validation", f"{folds.n_folds} folds", reason)
        reason = f"{encoding.n_terms:,} terms: one Gram matrix serves all penalties"
        data.decide_solver("ridge on the Gram matrix", reason, _PASSES)
        (state,) = data.fold(GramStep(encoding.n_terms, folds), purpose="gram")
        whole = Moments.of(state)
        if folds is None:
            self.mse_path_ = self._leave_one_out(data, whole, centre)
            mean = self.mse_path_
        else:
            check_folds(state["count"], folds)
            weights = state["gram"][:, 0, 0]
            self.mse_path_ = self._fold_errors(state, folds.n_folds, centre)
            mean = np.average(self.mse_path_[:, weights > 0.0], axis=1, weights=weights[weights > 0.0])
        best = int(np.argmin(mean))
        self.alpha_, self.best_score_ = float(self.alphas_[best]), -float(mean[best])
        coef = ridge_of(whole, centre, self.alpha_, self.fit_intercept)
        intercept = whole.centred_intercept(coef, centre, self.fit_intercept)
        vars(self).update(self._linear(data.schema, coef, intercept, self.fit_intercept))

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data; see `Estimator.get_state`."""
        return with_plain_cv(super().get_state())

    def _fold_errors(self, state: dict[str, np.ndarray], n_folds: int, centre: Floats) -> Floats:
        errors = np.full((len(self.alphas_), n_folds), np.nan)
        for fold in range(n_folds):
            train, held = Moments.without(state, fold), Moments.of(state, fold)
            if held.weight == 0.0:
                continue
            for number, alpha in enumerate(self.alphas_):
                coef = ridge_of(train, centre, float(alpha), self.fit_intercept)
                intercept = train.centred_intercept(coef, centre, self.fit_intercept)
                errors[number, fold] = held.error_of(coef, intercept) / held.weight
        return errors

    def _leave_one_out(self, data: Data, whole: Moments, centre: Floats) -> Floats:
        if whole.count < 2:
            raise InvalidData(f"RidgeCV needs at least 2 rows to leave one out; got n_samples={whole.count}")
        used = whole if self.fit_intercept else whole.about_zero(centre)
        values, vectors = linalg.eigh(used.gram)
        shrunk = 1.0 / (np.maximum(values, 0.0)[:, None] + self.alphas_)
        coefs = vectors @ (shrunk * (vectors.T @ used.xy)[:, None])
        about = whole.x_mean if self.fit_intercept else -centre
        step = LeaveOneOutStep(vectors, shrunk, coefs, about, whole, self.fit_intercept)
        (state,) = data.fold(step, purpose="leave one out")
        return state["errors"] / whole.weight
