"""Huber regression: robust to outliers, with the scale of the residuals estimated along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.losses import huber
from dbml.estimators.penalties import Penalty
from dbml.estimators.solvers.loss_step import weighted_median
from dbml.estimators.solvers.minimise import training_sample
from dbml.estimators.solvers.objective import Objective
from dbml.estimators.solvers.training import Problem, train
from dbml.params import Boolean, Integer, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import find_scorer, readable_again

_DEVIATIONS = 1.4826  # standard deviation of a normal variable in median absolute deviations
_NO_SPREAD = 1e-10  # of the target: the first scale where it never varies, for which the least is 0


class HuberRegressor(LinearRegressor):
    """Linear regression that outliers move little: squared residuals up to `epsilon` scales, absolute ones beyond.

    Minimises ``sum (s + H(r / s) s) + alpha |w|^2`` over coefficients w, intercept and the scale s of the residuals r,
    ``H(z) = z^2`` for ``|z| <= epsilon``, else ``2 epsilon |z| - epsilon^2`` (Owen 2007: jointly convex).

    Parameters
    ----------
    epsilon : float >= 1, default=1.35
        Residuals beyond ``epsilon * scale_`` count as outliers; smaller is more robust.
    max_iter : int, default=100
        Most steps of the solver over all rows.
    alpha : float, default=0.0001
        Strength of the l2 penalty on the coefficients, relative to the sum over rows.
    warm_start : bool, default=False
        Start from the result of the last `fit`.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    tol : float, default=1e-5
        Stops where the objective can fall by at most ``tol ** 2`` of itself.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficients of the terms (`terms_`).
    intercept_, centred_intercept_ : float
        Intercept in the units of the columns, and over centred terms.
    scale_ : float
        Scale of the residuals. A row is an outlier where ``|y - predict| > epsilon * scale_``.
    outliers_ : ndarray of bool, shape (n_rows,)
        The outliers of the training, where its rows and targets were arrays or frames; not saved with the model. Of a
        table, whose rows are not kept, there are none: ask for those rows in SQL, by the condition above.
    n_iter_ : int
        Steps of the solver over all rows.

    Notes
    -----
    Newton's method on coefficients and scale together: a sample, then a few passes over all rows, n p^2 / 2 each for
    p dense terms (L-BFGS beyond 1,000). Where most rows are fitted exactly the least scale is 0; some dozens of passes
    under a barrier that holds it up lead there. A missing value takes the mean of its column, and a flag term marks it.

    Examples
    --------
    >>> from dbml import HuberRegressor
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> model = HuberRegressor().fit(X, [0.1, 0.9, 2.1, 2.9, 4.1, 50.0])
    >>> model.predict([[3.0]]).round()
    array([3.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "epsilon": Real(ge=1),
        "max_iter": Integer(ge=1),
        "alpha": Real(ge=0),
        "warm_start": Boolean(),
        "fit_intercept": Boolean(),
        "tol": Real(gt=0),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "l2_reg": lambda value: {"alpha": value},
        "max_iterations": lambda value: {"max_iter": value},
    }

    scale_: float
    n_iter_: int
    _outliers: np.ndarray

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        max_iter: int = 100,
        alpha: float = 0.0001,
        warm_start: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-5,
    ) -> None:
        self.epsilon = epsilon
        self.max_iter = max_iter
        self.alpha = alpha
        self.warm_start = warm_start
        self.fit_intercept = fit_intercept
        self.tol = tol

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **how: Any) -> Self:
        """Learn from the rows of X; see `Estimator.fit`."""
        X = readable_again(X)
        super().fit(X, y, sample_weight, **how)
        vars(self).pop("_outliers", None)
        if find_scorer(X) is None and y is not None and not isinstance(y, str):
            residual = np.asarray(y, float).ravel() - self.predict(X, con=how.get("con"))
            self._outliers = np.abs(residual) > self.epsilon * self.scale_
        return self

    @property
    def outliers_(self) -> np.ndarray:
        """The outliers of the training, where its rows and targets were arrays or frames."""
        self._check_fitted()
        if "_outliers" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__}: outliers_ is known of arrays and frames of the last fit only. In a table they "
                f"are the rows where abs(y - predict(…)) > {self.epsilon * self.scale_:g}, epsilon * scale_"
            )
        return self._outliers

    def _fit(self, data: Data) -> None:
        encoding, sample = data.schema.encoding, training_sample(data)
        objective = Objective(
            huber(self.epsilon),
            Penalty(l2=2.0 * self.alpha, per_sum=True),
            encoding.n_terms,
            np.array(encoding.centre()),
            self.fit_intercept,
            owner=type(self).__name__,
        )

        def fitted(thetas: list[Floats]) -> dict[str, Any]:
            coef, centred, scale = objective.split(thetas[0])
            return {**self._linear(data.schema, coef[0], float(centred[0]), self.fit_intercept), "scale_": scale}

        problem = Problem(
            [[objective]],
            [self._start(objective, sample)],
            fitted,
            "auto",
            self.tol,
            self.max_iter,
        )
        train(self, data, sample, problem)

    def _start(self, objective: Objective, sample: Block) -> Floats:
        """Return the result of the last fit where it is wanted, else median and median absolute deviation of y."""
        if self.warm_start and getattr(self, "coef_", np.empty(0)).shape == (objective.n_terms,):
            intercept = self.intercept_ + self.coef_ @ objective.centre
            return objective.theta(self.coef_, np.array([intercept]), self.scale_)
        y, weight = objective.reading.target(sample), objective.reading.weight(sample)
        middle = weighted_median(y, weight)
        spread = np.abs(y - middle * self.fit_intercept)
        mean_square = float(weight @ spread**2) / max(float(weight.sum()), 1e-300)
        scale = _DEVIATIONS * weighted_median(spread, weight) or float(np.sqrt(mean_square))
        scale = scale or _NO_SPREAD * (abs(middle) or 1.0)
        return objective.theta(np.zeros(objective.n_terms), np.array([middle]), scale)
