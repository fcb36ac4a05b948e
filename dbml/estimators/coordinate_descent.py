"""The lasso and the elastic net from second moments: coordinate descent, Newton steps on the support, duality gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from dbml_kernels.coordinate_descent import gram_descend
from scipy import linalg

from dbml.passes.block import Floats

# Multiplications that the Newton steps of one round may take.
_NEWTON_WORK = 3e8
_SWEEPS = 5

Order = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Quadratic:
    """``|y - X w|^2 / 2`` by its moments: gram (p, p) ``X'X``, xy (p,) ``X'y``, yy ``y'y``."""

    gram: Floats
    xy: Floats
    yy: float


@dataclass(frozen=True)
class Elastic:
    """The penalty ``l1 |w|_1 + l2 |w|^2 / 2``, of coefficients that may have to be positive."""

    l1: float
    l2: float
    positive: bool = False

    def value(self, w: Floats) -> float:
        """Return the penalty of coefficients."""
        return float(self.l1 * np.abs(w).sum() + 0.5 * self.l2 * (w @ w))

    def gap(self, w: Floats, q: Floats, residual: float, product: float) -> tuple[float, float]:
        """Return the duality gap, and the factor that makes the residuals feasible in the dual.

        Parameters
        ----------
        w : ndarray of shape (p,)
        q : ndarray of shape (p,)
            ``X' (y - X w)``.
        residual : float
            ``|y - X w|^2``.
        product : float
            ``y . (y - X w)``.
        """
        dual = q - self.l2 * w
        norm = float((dual if self.positive else np.abs(dual)).max(initial=0.0))
        factor = self.l1 / norm if norm > self.l1 else 1.0
        primal = 0.5 * residual + self.value(w)
        bound = factor * product - 0.5 * factor**2 * (residual + self.l2 * float(w @ w))
        return primal - bound, factor


@dataclass(frozen=True)
class Goal:
    """The duality gap to reach: `tol` of the target's sum of squares, and a hundredth of `tol` of the objective.

    scikit-learn stops at the first. It says little where the target is far from 0, or is fitted well; the second is
    what makes the objective right to the digits a person would compare.
    """

    tol: float
    yy: float
    share: float = 0.01

    def gap(self, objective: float) -> float:
        """Return the gap at which to stop, at a value of the objective."""
        return max(min(self.tol * self.yy, self.share * self.tol * objective), 4e-16 * self.yy)

    def tighter(self) -> Goal:
        """Return the goal of a part of the problem, tighter than that of the whole."""
        return Goal(0.3 * self.tol, self.yy, self.share)


@dataclass(frozen=True)
class Minimum:
    """Where a descent ended: coefficients, duality gap (not divided by the rows), sweeps."""

    w: Floats
    gap: float
    n_iter: int


def descend(
    problem: Quadratic, penalty: Elastic, start: Floats, goal: Goal, max_iter: int, order: Order | None = None
) -> Minimum:
    """Minimise until the duality gap reaches `goal`, or `max_iter` sweeps were made.

    Sweeps over the support alternate with one over all coordinates; after each round Newton steps on the support, cut
    where a coefficient would change its sign, make it exact: also where terms are nearly collinear.
    """
    w = np.maximum(start, 0.0) if penalty.positive else start.copy()
    everything = np.arange(len(w))
    order = order or (lambda chosen: chosen)
    sweep = (problem.gram, penalty.l1, penalty.l2, penalty.positive)
    n_iter = 0
    while True:
        q = problem.xy - problem.gram @ w
        product = problem.yy - float(w @ problem.xy)
        residual = max(product - float(w @ q), 0.0)
        gap = max(penalty.gap(w, q, residual, product)[0], 0.0)
        small = goal.gap(0.5 * residual + penalty.value(w))
        if gap <= small or n_iter >= max_iter:
            return Minimum(w, gap, n_iter)
        gram_descend(*sweep, order(everything), w, q)
        n_iter += 1
        support = np.flatnonzero(w)
        for _ in range(min(_SWEEPS, max_iter - n_iter)):
            n_iter += 1
            moved = gram_descend(*sweep, order(support), w, q)
            if moved * moved <= 1e-3 * small:
                break
        newton_on_support(problem, penalty, w)


def newton_on_support(problem: Quadratic, penalty: Elastic, w: Floats) -> None:
    """Move the coefficients that are not 0 to the minimum for their signs, in place; never raises the objective.

    A step that would change a sign ends there, and that coefficient leaves the support.
    """
    work = _NEWTON_WORK
    while work > 0.0:
        support = np.flatnonzero(w)
        if len(support) == 0:
            return
        work -= len(support) ** 3 / 3 + 1e4
        gram = problem.gram[np.ix_(support, support)]
        values = w[support]
        slope = problem.xy[support] - gram @ values - penalty.l2 * values - penalty.l1 * np.sign(values)
        # what is added keeps the matrix regular where terms are collinear: steps run along them until one is 0
        hessian = gram + np.diag(penalty.l2 + 1e-10 * gram.diagonal())
        try:
            step = linalg.cho_solve(linalg.cho_factor(hessian, check_finite=False), slope, check_finite=False)
        except linalg.LinAlgError:  # collinear beyond what was added: sweeps go on alone
            return
        crossing = values * step < 0.0
        limits = np.full(len(values), np.inf)
        limits[crossing] = -values[crossing] / step[crossing]
        length = min(1.0, float(limits.min()))
        moved = values + length * step
        moved[limits <= length] = 0.0
        w[support] = moved
        if length == 1.0:
            return
