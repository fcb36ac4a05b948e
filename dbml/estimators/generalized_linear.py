"""Generalized linear models: Poisson, gamma and Tweedie regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from dbml_kernels.exponential import exponential_rows
from dbml_sql.forms import LinearForm, Link

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.design import times
from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.losses import GAMMA, POISSON, Loss, tweedie
from dbml.estimators.penalties import Penalty
from dbml.estimators.solvers.minimise import training_sample
from dbml.estimators.solvers.objective import Objective
from dbml.estimators.solvers.training import Problem, train
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data

_SMALLEST_MEAN = 1e-10  # where a sample of counts holds only zeros


class GeneralizedLinearRegressor(LinearRegressor):
    """Base of the regressors of one family: half its mean deviance plus ``alpha |w|^2 / 2`` is minimised."""

    rules: ClassVar[Mapping[str, Rule]] = {
        "alpha": Real(ge=0),
        "fit_intercept": Boolean(),
        "solver": Options(("auto", "newton", "lbfgs")),
        "max_iter": Integer(ge=1),
        "tol": Real(gt=0),
        "warm_start": Boolean(),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "l2_reg": lambda value: {"alpha": value},
        "max_iterations": lambda value: {"max_iter": value},
    }

    alpha: float
    fit_intercept: bool
    solver: str
    max_iter: int
    tol: float
    warm_start: bool
    n_iter_: int

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _power(self) -> float:
        """Return the exponent of the variance function."""
        raise NotImplementedError

    def _log_link(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: the target must not be negative where the loss says so."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not self._loss().allows(-1.0)
        return tags

    def _fit(self, data: Data) -> None:
        encoding, sample = data.schema.encoding, training_sample(data)
        objective = Objective(
            self._loss(),
            Penalty(l2=self.alpha),
            encoding.n_terms,
            np.array(encoding.centre()),
            self.fit_intercept,
            owner=type(self).__name__,
        )

        def fitted(thetas: list[Floats]) -> dict[str, Any]:
            coef, centred, _ = objective.split(thetas[0])
            return self._linear(data.schema, coef[0], float(centred[0]), self.fit_intercept)

        problem = Problem(
            [[objective]],
            [self._start(objective, sample)],
            fitted,
            self.solver,
            self.tol,
            self.max_iter,
        )
        train(self, data, sample, problem)

    def _start(self, objective: Objective, sample: Block) -> Floats:
        """Return the parameters of the last fit where they are wanted, else the mean of the target and no terms."""
        if self.warm_start and getattr(self, "coef_", np.empty(0)).shape == (objective.n_terms,):
            return objective.theta(self.coef_, self.intercept_ + self.coef_ @ objective.centre)
        y, weight = objective.reading.target(sample), objective.reading.weight(sample)
        mean = float(weight @ y) / max(float(weight.sum()), 1e-300)
        positive = max(mean, _SMALLEST_MEAN)
        start = np.log(positive) if self._log_link() else positive if self._power() != 0 else mean
        return objective.theta(np.zeros(objective.n_terms), np.array([start]))

    def _predict_block(self, block: Block) -> Floats:
        eta = times(block, self.coef_, self.centred_intercept_)
        if self._log_link():
            exponential_rows(eta, eta)
        return eta

    def form(self) -> LinearForm:
        """Return the model as a form that SQL can score."""
        self._check_fitted()
        link: Link = "log" if self._log_link() else "identity"
        return LinearForm((tuple(self.coef_.tolist()),), (self.centred_intercept_,), link)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> float:
        """Return D², the share of the deviance of y that the predictions explain: 1 is perfect, 0 a constant.

        Parameters are those of `fit`. Two passes over X.
        """
        self._check_fitted()
        with as_data(X, y, sample_weight=sample_weight, task=self.task, schema=self.schema_, con=con) as data:
            sums = np.array(list(data.map(_weight_and_total, purpose="score: mean"))).reshape(-1, 3)
            if not len(sums):
                raise InvalidData(f"{type(self).__name__}: score needs at least 1 row; got none")
            if not self._loss().allows(sums[:, 2].min()):
                raise InvalidData(
                    f"{type(self).__name__}: y must be {self._loss().domain()}; the smallest is {sums[:, 2].min():g}"
                )
            mean = sums[:, 1].sum() / sums[:, 0].sum()
            parts = data.map(lambda block: self._deviances(block, mean), purpose="score: deviance")
            explained, total = np.sum(list(parts), axis=0)
        if total == 0.0:
            return 1.0 if explained == 0.0 else 0.0
        return float(1.0 - explained / total)

    def _deviances(self, block: Block, mean: float) -> tuple[float, float]:
        weight = np.ones(block.n_rows) if block.weight is None else block.weight
        assert block.y is not None
        model = unit_deviance(block.y, self._predict_block(block), self._power())
        constant = unit_deviance(block.y, np.full(block.n_rows, mean), self._power())
        return float(weight @ model), float(weight @ constant)


def _weight_and_total(block: Block) -> tuple[float, float, float]:
    weight = np.ones(block.n_rows) if block.weight is None else block.weight
    assert block.y is not None
    return float(weight.sum()), float(weight @ block.y), float(block.y.min())


def unit_deviance(y: Floats, mean: Floats, power: float) -> Floats:
    """Return the Tweedie deviance of each row: 0 where `mean` is y (Jørgensen 1987); all (n,)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if power == 0:
            return (y - mean) ** 2
        if power == 1:
            return 2.0 * (np.where(y > 0.0, y * np.log(np.where(y > 0.0, y, 1.0) / mean), 0.0) - y + mean)
        if power == 2:
            return 2.0 * (np.log(mean / y) + y / mean - 1.0)
        own = np.maximum(y, 0.0) ** (2.0 - power) / ((1.0 - power) * (2.0 - power))
        return 2.0 * (own - y * mean ** (1.0 - power) / (1.0 - power) + mean ** (2.0 - power) / (2.0 - power))


class PoissonRegressor(GeneralizedLinearRegressor):
    """Regression of counts and rates: the mean is ``exp`` of a linear predictor, the variance equals the mean.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the l2 penalty on the coefficients, relative to half the mean deviance.
    fit_intercept : bool, default=True
        Without, the mean is 1 where all columns are 0.
    solver : {"auto", "newton", "lbfgs"}, default="auto"
        "newton" up to 1,000 parameters, "lbfgs" beyond.
    max_iter : int, default=100
        Most steps of the solver over all rows.
    tol : float, default=1e-4
        Stops where the objective can fall by at most ``tol ** 2`` of itself.
    warm_start : bool, default=False
        Start from the coefficients of the last `fit`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficients of the terms (`terms_`), on the scale of the logarithm of the mean.
    intercept_, centred_intercept_ : float
        Intercept in the units of the columns, and over centred terms.
    n_iter_ : int
        Steps of the solver over all rows.

    Notes
    -----
    The target must not be negative. Weights serve as exposure where y is a rate. Passes: a sample, then 2 or 3 over all
    rows, n p^2 / 2 each for p dense terms; memory does not grow with the rows. A missing value takes the mean of its
    column, and a flag term marks it.

    Examples
    --------
    >>> from dbml import PoissonRegressor
    >>> model = PoissonRegressor(alpha=0).fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0])
    >>> model.predict([[3.0]]).round(3)
    array([8.])
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def _loss(self) -> Loss:
        return POISSON

    def _power(self) -> float:
        return 1.0


class GammaRegressor(GeneralizedLinearRegressor):
    """Regression of positive amounts: the mean is ``exp`` of a linear predictor, the deviation proportional to it.

    Parameters, attributes and cost are those of `PoissonRegressor`; the target must be positive.

    Examples
    --------
    >>> from dbml import GammaRegressor
    >>> model = GammaRegressor(alpha=0).fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0])
    >>> model.predict([[3.0]]).round(3)
    array([8.])
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def _loss(self) -> Loss:
        return GAMMA

    def _power(self) -> float:
        return 2.0


class TweedieRegressor(GeneralizedLinearRegressor):
    """Regression with variance ``mean ** power``: normal 0, Poisson 1, compound Poisson-gamma (1, 2), gamma 2, above.

    Parameters
    ----------
    power : float, default=0.0
        Exponent of the variance; not in (0, 1). The target must be >= 0 for powers in [1, 2), > 0 from 2 on.
    alpha : float, default=1.0
        Strength of the l2 penalty, as in `PoissonRegressor`.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    link : {"auto", "identity", "log"}, default="auto"
        "auto" is "identity" for powers <= 0, else "log".
    solver, max_iter, tol, warm_start
        As in `PoissonRegressor`.

    Attributes
    ----------
    coef_, intercept_, centred_intercept_, n_iter_
        As in `PoissonRegressor`.

    Examples
    --------
    >>> from dbml import TweedieRegressor
    >>> model = TweedieRegressor(power=1.5, alpha=0).fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0])
    >>> model.predict([[3.0]]).round(3)
    array([8.])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        **GeneralizedLinearRegressor.rules,
        "power": Either((Real(le=0), Real(ge=1))),
        "link": Options(("auto", "identity", "log")),
    }

    def __init__(
        self,
        *,
        power: float = 0.0,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        link: str = "auto",
        solver: str = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
    ) -> None:
        self.power = power
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.link = link
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    def _check_params(self) -> None:
        if not np.isfinite(self.power):
            raise InvalidParameter(f"{type(self).__name__}: power must be finite; got {self.power!r}")

    def _loss(self) -> Loss:
        return tweedie(self.power, "log" if self._log_link() else "identity")

    def _power(self) -> float:
        return float(self.power)

    def _log_link(self) -> bool:
        return self.link == "log" or (self.link == "auto" and self.power > 0)
