"""The elastic net with its penalty chosen by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dbml.errors import ConvergenceWarning, InvalidParameter
from dbml.estimators.base import ModelState
from dbml.estimators.coordinate_descent import Elastic
from dbml.estimators.cross_validation import Descending, Trained, alpha_grid, trainings
from dbml.estimators.folds import CV_RULE, folds_of, with_plain_cv
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.linear_model import LinearRegressor
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data

_LIST = Instance((list, tuple, np.ndarray), "a list of numbers")

PATH: Mapping[str, Rule] = {
    "eps": Real(gt=0.0, lt=1.0),
    "alphas": Either((Integer(ge=1), _LIST)),
    "fit_intercept": Boolean(),
    "max_iter": Integer(ge=1),
    "tol": Real(ge=0.0),
    "cv": CV_RULE,
    "positive": Boolean(),
    "random_state": Either((Integer(ge=0), Options((None,)))),
}


class CrossValidated(LinearRegressor):
    """Base of the lasso and the elastic net with cross-validation."""

    l1_ratio: float | Sequence[float] = 1.0
    eps: float
    alphas: int | Sequence[float]
    fit_intercept: bool
    max_iter: int
    tol: float
    cv: Any
    positive: bool
    random_state: int | None
    alphas_: Floats
    mse_path_: Floats

    def _check_params(self) -> None:
        ratios, name = np.atleast_1d(np.asarray(self.l1_ratio, dtype=float)), type(self).__name__
        if ratios.ndim != 1 or len(ratios) == 0 or not ((ratios >= 0.0) & (ratios <= 1.0)).all():
            raise InvalidParameter(f"{name}: l1_ratio must be between 0 and 1; got {self.l1_ratio!r}")
        if isinstance(self.alphas, (int, np.integer)):
            if (ratios == 0.0).any():
                raise InvalidParameter(f"{name}: alphas must be a list where l1_ratio is 0: no penalty makes all 0")
            return
        alphas = np.asarray(self.alphas, dtype=float)
        if alphas.ndim != 1 or len(alphas) == 0 or not (np.isfinite(alphas) & (alphas >= 0.0)).all():
            raise InvalidParameter(f"{name}: alphas must be numbers >= 0; got {self.alphas!r}")

    def _fit(self, data: Data) -> None:
        folds = folds_of(5 if self.cv is None else self.cv, self.random_state or 0, type(self).__name__, data)
        ratios = np.atleast_1d(np.asarray(self.l1_ratio, dtype=float))
        # the weights that a number of alphas makes are never 0
        sparse = bool(ratios.all()) and (isinstance(self.alphas, (int, np.integer)) or bool(np.all(self.alphas)))
        how = Descending(self.fit_intercept, self.tol, self.max_iter, sparse)
        with trainings(data, folds, how) as each:
            whole = next(each)
            grids = [self._grid(whole, ratio) for ratio in ratios]
            errors, weights = [], []
            for number, trained in enumerate(each, 1):
                weights.append(trained.held_weight)
                errors.append([self._path_errors(trained, r, grid) for r, grid in zip(ratios, grids, strict=True)])
                self._iteration(number, error=float(np.min(errors[-1])))
            self._choose(data, whole, ratios, grids, np.array(errors), np.array(weights))

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data; see `Estimator.get_state`."""
        return with_plain_cv(super().get_state())

    def _grid(self, whole: Trained, ratio: float) -> Floats:
        if isinstance(self.alphas, (int, np.integer)):
            return alpha_grid(whole.xy, whole.weight, ratio, self.eps, int(self.alphas), bool(self.positive))
        return np.sort(np.asarray(self.alphas, dtype=float))[::-1]

    def _penalty(self, alpha: float, ratio: float, weight: float) -> Elastic:
        return Elastic(alpha * ratio * weight, alpha * (1.0 - ratio) * weight, bool(self.positive))

    def _path_errors(self, trained: Trained, ratio: float, grid: Floats) -> Floats:
        """Return the mean squared error on the held-out rows for each weight of the penalty, from strong to weak."""
        if trained.held_weight == 0.0:
            return np.full(len(grid), np.nan)
        start, models = np.zeros(len(trained.xy)), []
        for alpha in grid:
            models.append(trained.solve(self._penalty(alpha, ratio, trained.weight), start))
            start = models[-1].coef
        return trained.errors(models) / trained.held_weight

    def _choose(
        self, data: Data, whole: Trained, ratios: Floats, grids: list[Floats], errors: Floats, weights: Floats
    ) -> None:
        """Fit all rows with the penalty of least error; `errors` has shape (n_folds, n_ratios, n_alphas)."""
        full = weights > 0.0
        mean = np.average(errors[full], axis=0, weights=weights[full])
        best_ratio, best_alpha = np.unravel_index(int(np.argmin(mean)), mean.shape)
        ratio, alpha = float(ratios[best_ratio]), float(grids[best_ratio][best_alpha])
        start = np.zeros(len(whole.xy))
        for value in grids[best_ratio][: best_alpha + 1]:
            model = whole.solve(self._penalty(value, ratio, whole.weight), start)
            start = model.coef
        if model.gap > self.tol * whole.yy * (1.0 + 1e-6) + 1e-12 * whole.yy:
            message = f"{type(self).__name__}: stopped after {model.n_iter} sweeps before it reached tol={self.tol:g}"
            warnings.warn(message + "; raise max_iter or the smallest alpha", ConvergenceWarning, stacklevel=6)
        path, alphas = np.moveaxis(errors, 0, -1), np.array(grids)
        single = np.ndim(self.l1_ratio) == 0
        self.alphas_, self.mse_path_ = (alphas[0], path[0]) if single else (alphas, path)
        self.alpha_, self.best_score_ = alpha, -float(mean.min())
        self.dual_gap_, self.n_iter_ = model.gap / whole.weight, max(1, model.n_iter)
        if "l1_ratio" in self._parameter_names():
            self.l1_ratio_ = ratio
        vars(self).update(self._linear(data.schema, model.coef, model.intercept, self.fit_intercept))


class ElasticNetCV(CrossValidated):
    """`ElasticNet` with the penalty of least error in cross-validation; all penalties and folds from one pass.

    Parameters
    ----------
    l1_ratio : float or list of float, default=0.5
        Share of the l1 penalty; the best of a list.
    eps : float, default=1e-3
        Smallest over largest weight of the penalty, where `alphas` is a number.
    alphas : int or list of float, default=100
        Weights of the penalty to try, or how many.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    max_iter : int, default=1000
        Most sweeps for one penalty.
    tol : float, default=1e-4
        The duality gap at the end is at most `tol` times the sum of squares of the target.
    cv : int, iterable of (train, test) or splitter, default=None
        Number of folds by a hash of the row's position (None: 5), or the row positions of each split, or a splitter
        such as `KFold`. Test parts must hold every row once, and train parts the others.
    positive : bool, default=False
        Only coefficients that are not negative.
    random_state : int, optional
        Seed of the folds.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    alpha_, l1_ratio_ : float
        The best penalty.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratios, n_alphas)
        Weights that were tried, descending.
    mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratios, n_alphas, n_folds)
        Mean squared error on each fold; NaN where a fold has no rows.
    best_score_ : float
        Negative mean squared error of the best penalty over the folds.
    coef_, intercept_, dual_gap_, n_iter_
        As in `ElasticNet`, of the model of all rows.

    Notes
    -----
    One pass, with ``8 k p^2`` bytes for p terms and k folds; where that does not fit in memory, working sets of columns
    for every penalty and fold. A NULL takes the mean of its column, and a term of its own marks it.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import ElasticNetCV
    >>> X = np.arange(40.0).reshape(20, 2) % 7
    >>> model = ElasticNetCV(cv=3).fit(X, X @ [1.0, 0.0])
    >>> model.coef_.round(2)
    array([1., 0.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "l1_ratio": Either((Real(ge=0.0, le=1.0), _LIST)),
        **PATH,
        "n_jobs": JOBS_RULE,
    }

    def __init__(
        self,
        *,
        l1_ratio: float | Sequence[float] = 0.5,
        eps: float = 1e-3,
        alphas: int | Sequence[float] = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        positive: bool = False,
        random_state: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.positive = positive
        self.random_state = random_state
        self.n_jobs = n_jobs
