"""The lasso and the elastic net where columns are many: a growing working set, checked by passes over all columns.

After Massias, Gramfort & Salmon 2018 (working sets by the distance to the dual constraints) and Ndiaye, Fercoq,
Gramfort & Salmon 2017 (columns that the duality gap proves to be 0 are never scanned again).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dbml.estimators.coordinate_descent import Elastic, Goal, Order, Quadratic, descend
from dbml.estimators.folds import Held
from dbml.estimators.gram_step import GramStep, Moments
from dbml.estimators.moment_steps import DiagonalStep, ResidualStep, squares_about_mean
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

WORKING_SETS = ExpectedPasses("some", "each reads the columns that may be needed")

_SMALLEST = 64
Report = Callable[[int, Floats, float, float, float], None]


@dataclass
class Columns:
    """The columns of a design and their first moments, with a record of how many each pass scanned.

    Attributes
    ----------
    data : Data
        The rows.
    fit_intercept : bool
        Whether moments are about the means, or about 0 in the units of the columns.
    held : Held or None
        Rows to leave out.
    scanned : list of int
        Columns of the design that each pass read, in order.
    """

    data: Data
    fit_intercept: bool
    held: Held | None = None
    scanned: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        encoding = self.data.schema.encoding
        self.centre, self.n_terms = np.array(encoding.centre()), encoding.n_terms
        (first,) = self.data.fold(DiagonalStep(self.n_terms, self.held), purpose="moments")
        self.scanned.append(self.n_terms)
        self.weight, self.count = float(first["target"][0]), int(first["count"][0])
        self.x_mean = first["sums"] / self.weight
        shifted = first["target"][1] / self.weight
        self.y_mean = float(first["shift"][0] + shifted)
        self.squares = squares_about_mean(first["squares"], first["sums"], self.weight)
        self.xy = first["products"] - self.weight * self.x_mean * shifted
        self.yy = max(float(first["target"][2] - self.weight * shifted**2), 0.0)
        self.about = -self.x_mean if self.fit_intercept else self.centre
        if not self.fit_intercept:
            mean = self.x_mean + self.centre
            self.squares = self.squares + self.weight * mean**2
            self.xy = self.xy + self.weight * mean * self.y_mean
            self.yy += self.weight * self.y_mean**2

    def intercept(self, coef: Floats) -> float:
        """Return the prediction at the centre of the terms."""
        return float(self.y_mean - self.x_mean @ coef) if self.fit_intercept else float(self.centre @ coef)

    def quadratic(self, chosen: np.ndarray) -> Quadratic:
        """Return the problem over some columns: one pass that scans only these."""
        part = self._part(chosen)
        step = GramStep(len(chosen), self.held.folds if self.held else None)
        (state,) = part.fold(step, purpose="working set")
        self.scanned.append(len(chosen))
        moments = Moments.of(state) if self.held is None else Moments.without(state, self.held.fold)
        if not self.fit_intercept:
            moments = moments.about_zero(self.centre[chosen])
        return Quadratic(moments.gram, moments.xy, moments.yy)

    def correlations(self, coef: Floats, chosen: np.ndarray) -> tuple[Floats, float, float]:
        """Return ``X'r`` of some columns, ``|r|^2`` and ``y . r`` of the residuals r: one pass over these columns."""
        part = self._part(chosen)
        intercept = self.intercept(coef)
        (state,) = part.fold(ResidualStep(coef[chosen], intercept, held=self.held), purpose="duality gap")
        self.scanned.append(len(chosen))
        q = state["gradient"] + self.about[chosen] * state["sums"][1]
        residual = float(state["sums"][2])
        if self.fit_intercept:
            residual -= float(state["sums"][1]) ** 2 / self.weight
        # |r|^2 = y . r - w . X'r
        return q, residual, residual + float(coef[chosen] @ q)

    def _part(self, chosen: np.ndarray) -> Data:
        return self.data if len(chosen) == self.n_terms else self.data.take(chosen)


@dataclass(frozen=True)
class Found:
    """Coefficients, their duality gap (not divided by the rows) and the sweeps that led there."""

    coef: Floats
    gap: float
    n_iter: int


def solve_columns(
    columns: Columns,
    penalty: Elastic,
    start: Floats,
    goal: Goal,
    max_iter: int,
    report: Report | None = None,
    order: Order | None = None,
) -> Found:
    """Minimise until the duality gap over all columns reaches `goal`, or `max_iter` sweeps were made.

    Parameters
    ----------
    columns : Columns
    penalty : Elastic
        On the scale of sums over the rows.
    start : ndarray of shape (n_terms,)
        Where to begin: the solution for a neighbouring penalty, or 0.
    goal : Goal
        Duality gap to reach.
    max_iter : int
        Most sweeps over the working set, in all rounds together.
    report : callable, optional
        Called after each round with its number, the coefficients, intercept, objective and gap.
    order : callable, optional
        Permutes the coordinates of a sweep.
    """
    coef = np.maximum(start, 0.0) if penalty.positive else start.copy()
    alive = np.flatnonzero(columns.squares > 0.0)
    coef[columns.squares <= 0.0] = 0.0
    if coef.any():
        q, residual, product = columns.correlations(coef, alive)
    else:
        q, residual, product = columns.xy[alive], columns.yy, columns.yy
    n_iter, number, size = 0, 0, 0
    while True:
        w = coef[alive]
        gap, factor = penalty.gap(w, q, residual, product)
        objective = 0.5 * residual + penalty.value(w)
        if report is not None and number:
            report(number, coef, columns.intercept(coef), objective, gap)
        if gap <= goal.gap(objective) or n_iter >= max_iter or len(alive) == 0:
            return Found(coef, max(gap, 0.0), n_iter)
        alive, q, distance = _screen(columns, penalty, coef, alive, q, factor, gap)
        number += 1
        support = int(np.count_nonzero(coef[alive]))
        size = min(len(alive), max(_SMALLEST, 2 * support, 2 * size if number > 2 else size))
        chosen = np.sort(alive[np.argsort(distance, kind="stable")[:size]])
        problem = columns.quadratic(chosen)
        ended = descend(problem, penalty, coef[chosen], goal.tighter(), max(1, max_iter - n_iter), order)
        n_iter += max(1, ended.n_iter)
        coef = np.zeros(columns.n_terms)
        coef[chosen] = ended.w
        q, residual, product = columns.correlations(coef, alive)


def _screen(
    columns: Columns, penalty: Elastic, coef: Floats, alive: np.ndarray, q: Floats, factor: float, gap: float
) -> tuple[np.ndarray, Floats, Floats]:
    """Return the columns that may not be 0, their correlations, and their distances to the dual constraint.

    A column whose dual value stays inside the constraint for every point of the ball of radius ``sqrt(2 gap)`` about
    the feasible residual is 0 in the solution. Columns in use have distance -1.
    """
    w = coef[alive]
    dual = factor * (q - penalty.l2 * w)
    size = dual if penalty.positive else np.abs(dual)
    norm = np.sqrt(columns.squares[alive] + penalty.l2)
    distance = (penalty.l1 - size) / norm
    kept = (distance <= np.sqrt(2.0 * max(gap, 0.0))) | (w != 0.0)
    distance[w != 0.0] = -1.0
    return alive[kept], q[kept], distance[kept]
