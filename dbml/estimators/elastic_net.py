"""Least squares with an l1 and an l2 penalty."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dbml.errors import ConvergenceWarning
from dbml.estimators.coordinate_descent import Elastic, Goal, Minimum, Order, Quadratic, descend
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.least_squares import not_negative, ridge
from dbml.estimators.linear_model import LinearRegressor
from dbml.estimators.quadratic import ALWAYS_GRAM, gram_fits, require_gram, sparse_entries
from dbml.estimators.row_counts import row_count
from dbml.estimators.working_set import WORKING_SETS, Columns, solve_columns
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

_SWEEPS = ExpectedPasses("1", "second moments serve all sweeps")
_WIDEST_GRAM = 4_000

CYCLES: Mapping[str, Rule] = {
    "fit_intercept": Boolean(),
    "max_iter": Integer(ge=1),
    "tol": Real(ge=0.0),
    "positive": Boolean(),
    "random_state": Either((Integer(ge=0), Options((None,)))),
    "selection": Options(("cyclic", "random")),
}


def gram_pays(data: Data) -> bool:
    """Whether one pass for the Gram matrix costs less than rounds of a working set, in nanoseconds per row."""
    d, p = data.schema.encoding.n_dense, data.schema.encoding.n_terms
    if p <= ALWAYS_GRAM:
        return True
    entries = sparse_entries(data)
    gram = 0.018 * d * d + entries * (0.5 * d + entries)
    rounds = 4_000.0 + 5.0 * d + 40.0 * entries
    solving = 3e-10 * p**3 / max(row_count(data)[0], 1) * 1e9 / 10
    return gram + solving <= rounds and p <= _WIDEST_GRAM


class CoordinateDescent(LinearRegressor):
    """Base of the lasso and the elastic net for one penalty."""

    alpha: float
    l1_ratio: float = 1.0
    fit_intercept: bool
    max_iter: int
    tol: float
    positive: bool
    precompute: bool | str
    random_state: int | None
    selection: str
    warm_start: bool

    def _fit(self, data: Data) -> None:
        p = data.schema.encoding.n_terms
        start = np.zeros(p)
        if self.warm_start and getattr(self, "coef_", start).shape == (p,):
            start = getattr(self, "coef_", start).copy()
        if self._from_gram(data):
            self._fit_gram(data, start)
        else:
            self._fit_columns(data, start)

    def _from_gram(self, data: Data) -> bool:
        """Decide where second moments come from, and write the reason into the plan."""
        p = data.schema.encoding.n_terms
        if self.alpha * self.l1_ratio == 0.0:
            gram, reason = True, "without an l1 penalty no column can be left out"
        elif self.precompute != "auto":
            gram, reason = bool(self.precompute), "as asked for"
        else:
            gram = gram_fits(data) and gram_pays(data)
            reason = f"{p:,} terms: " + (
                "one pass for their Gram matrix serves all sweeps"
                if gram
                else "a Gram matrix of all would cost more than passes over a working set"
            )
        if gram:
            require_gram(data)
        choice = "coordinate descent on the Gram matrix" if gram else "coordinate descent on a working set of columns"
        data.decide_solver(choice, reason, _SWEEPS if gram else WORKING_SETS)
        return gram

    def _penalty(self, weight: float) -> Elastic:
        """Return the penalty on the scale of a sum over rows of a total weight."""
        alpha = float(self.alpha) * weight
        return Elastic(alpha * self.l1_ratio, alpha * (1.0 - self.l1_ratio), bool(self.positive))

    def _order(self) -> Order | None:
        if self.selection == "cyclic":
            return None
        return np.random.default_rng(self.random_state).permutation

    def _fit_gram(self, data: Data, start: Floats) -> None:
        encoding = data.schema.encoding
        centre = np.array(encoding.centre())
        (state,) = data.fold(GramStep(encoding.n_terms), purpose="gram")
        moments = Moments.of(state)
        used = moments if self.fit_intercept else moments.about_zero(centre)
        problem, penalty = Quadratic(used.gram, used.xy, used.yy), self._penalty(moments.weight)
        found = solve_penalised(problem, penalty, start, self.tol, self.max_iter, self._order())
        intercept = moments.centred_intercept(found.w, centre, self.fit_intercept)
        loss = 0.5 * used.squared_error(found.w) + penalty.value(found.w)
        self._iteration(1, loss=loss / moments.weight, gap=found.gap / moments.weight)
        self._finish(data, found.w, intercept, found.gap, found.n_iter, moments.weight, used.yy)

    def _fit_columns(self, data: Data, start: Floats) -> None:
        with kept_if_it_fits(data) as kept:
            columns = Columns(kept, self.fit_intercept)
            weight = columns.weight

            def report(number: int, coef: Floats, intercept: float, objective: float, gap: float) -> None:
                self._iteration(number, loss=objective / weight, gap=gap / weight, columns=columns.scanned[-2])
                self._keep(
                    n_iter_=number,
                    dual_gap_=float(gap / weight),
                    **self._linear(data.schema, coef, intercept, self.fit_intercept),
                )

            goal = Goal(self.tol, columns.yy)
            found = solve_columns(columns, self._penalty(weight), start, goal, self.max_iter, report, self._order())
        scanned = ", ".join(f"{n:,}" for n in columns.scanned)
        data.plan = data.plan.decide("columns scanned", scanned, f"by pass, of {columns.n_terms:,}")
        intercept = columns.intercept(found.coef)
        self._finish(data, found.coef, intercept, found.gap, found.n_iter, weight, columns.yy)

    def _finish(
        self, data: Data, coef: Floats, intercept: float, gap: float, n_iter: int, weight: float, yy: float
    ) -> None:
        if gap > self.tol * yy * (1.0 + 1e-6) + 1e-12 * yy:
            warnings.warn(
                f"{type(self).__name__}: stopped after {n_iter} sweeps with a duality gap of {gap / weight:.3g}, above "
                f"tol times the mean square of the target ({self.tol * yy / weight:.3g}); raise max_iter or alpha",
                ConvergenceWarning,
                stacklevel=7,
            )
        self.n_iter_, self.dual_gap_ = max(1, n_iter), gap / weight
        vars(self).update(self._linear(data.schema, coef, intercept, self.fit_intercept))


def solve_penalised(
    problem: Quadratic, penalty: Elastic, start: Floats, tol: float, max_iter: int, order: Order | None = None
) -> Minimum:
    """Minimise from second moments: by coordinate descent, in closed form without an l1 penalty."""
    if penalty.l1 > 0.0:
        return descend(problem, penalty, start, Goal(tol, problem.yy), max_iter, order)
    solve = not_negative if penalty.positive else ridge
    return Minimum(solve(problem.gram, problem.xy, penalty.l2), 0.0, 1)


def kept_if_it_fits(data: Data) -> Data:
    """Return the data with encoded blocks kept in memory where the budget has room for all, else the data itself."""
    from dbml.passes.memory import memory_budget

    size = row_count(data)[0] * (8 * (data.schema.encoding.n_dense + 2) + 12 * sparse_entries(data))
    return data.materialise() if size <= memory_budget().kept else data


class ElasticNet(CoordinateDescent):
    """Least squares with an l1 and an l2 penalty.

    Minimises ``1 / (2 n) sum w (y - b - x . coef)^2 + alpha l1_ratio |coef|_1 + alpha (1 - l1_ratio) |coef|^2 / 2``
    with ``n = sum w``.

    Parameters
    ----------
    alpha : float, default=1.0
        Weight of the penalty.
    l1_ratio : float, default=0.5
        Share of the l1 penalty: 1 is `Lasso`, 0 is `Ridge` (with ``alpha n``).
    fit_intercept : bool, default=True
        Whether there is an intercept (without a penalty on it).
    precompute : {"auto"} or bool, default="auto"
        True: one pass for the Gram matrix of all terms, then no more. False: passes over a working set of columns,
        for designs of many columns. ``"auto"`` takes what costs less. Without an l1 penalty no column can be left out:
        then it is the Gram matrix.
    max_iter : int, default=1000
        Most sweeps over the coordinates.
    tol : float, default=1e-4
        The duality gap at the end is at most `tol` times the sum of squares of the target.
    warm_start : bool, default=False
        Start from the coefficients of the last fit.
    positive : bool, default=False
        Only coefficients that are not negative.
    random_state : int, optional
        Seed of ``selection='random'``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order of the coordinates in a sweep.

    Attributes
    ----------
    coef_ : ndarray of shape (n_terms,)
        Coefficient of each term (`terms_` names them).
    intercept_ : float
        Prediction where every term is 0.
    dual_gap_ : float
        Duality gap at the end, on the scale of the objective.
    n_iter_ : int
        Sweeps.

    Notes
    -----
    One pass, ``n p^2 / 2`` multiplications and ``8 p^2`` bytes for p terms; or, with many columns, about two passes per
    round of the working set, of which one reads the working set only. ``explain()`` shows the columns that each pass
    scanned. A NULL takes the mean of its column, and a term of its own marks it.

    Examples
    --------
    >>> from dbml import ElasticNet
    >>> model = ElasticNet(alpha=0.1).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [0.0, 1.0, 2.0])
    >>> model.coef_.round(4)
    array([0.8605, 0.    ])
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "alpha": Real(ge=0.0),
        "l1_ratio": Real(ge=0.0, le=1.0),
        "precompute": Either((Boolean(), Options(("auto",)))),
        "warm_start": Boolean(),
        **CYCLES,
    }
    sql_options: ClassVar = {
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: bool | str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: int | None = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
