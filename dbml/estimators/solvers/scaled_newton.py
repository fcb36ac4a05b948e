"""Newton's method where the last parameter is a scale: safe where the least scale is 0, as rows are fitted exactly.

Near such a minimum the objective is a cone: along the ray to its tip it has no curvature, and beyond there is nothing;
and outliers make ever sharper corners as the scale falls. A logarithmic barrier of falling weight leads there: it holds
the scale up until the coefficients have followed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

import numpy as np

from dbml.estimators.solvers.damped_newton import damped_newton
from dbml.estimators.solvers.newton import Solution, Solver, direction, newton
from dbml.estimators.solvers.objective import Evaluation, Request
from dbml.estimators.solvers.remainder import Remainder
from dbml.passes.block import Floats

_FIRST = 0.1  # weight of the first barrier, of the value
_FALL = 0.1  # from one barrier to the next; its square root where that is too far, ..
_LEAST_FALL = 0.9  # .. up to here
_NEAR = 0.1  # of a barrier's weight: how near its minimum the next one starts
_LEAST = 1e-12  # of the value: a barrier below changes nothing that sums can tell
_ROUNDED = 1e-6  # the same where the quotients of residuals and a tiny scale are mostly rounding: no step leads on


def scaled_newton(starts: Sequence[Floats], tol: float, max_iter: int, remainder: Remainder | None = None) -> Solver:
    """Minimise as `newton` does; where it stalls, follow the minima under barriers, from the last of `starts`.

    Under barriers steps are damped: as the scale falls, ever more rows are outliers, of constant slope.

    Of the minimum under a barrier the value is above the least by at most the weight of the barrier.
    """
    # Where plain steps are many they are short: the rest is for barriers.
    plain = newton(starts, tol, max_iter - max_iter // 2, remainder, corner_ends=False)
    found, at = yield from _watched(plain, _unchanged)
    if found.converged and found.theta[-1] > 0.0 and not _has_cone(at, tol):
        return found
    best, iterations = (at.theta, at.value), found.iterations
    if not np.isfinite(at.value) or iterations >= max_iter:
        return Solution(*best, found.gain, False, iterations)
    weight, gain = _FIRST * abs(at.value), np.inf
    first = starts[-1].copy()
    first[-1] = max(first[-1], weight)
    at = yield Request(first, True)
    least = 1e-3 * abs(at.value)
    goal, fall = max(tol * tol, _LEAST), _FALL
    while iterations < max_iter and gain > goal and fall < _LEAST_FALL:
        start, size = at, max(abs(at.value), least)
        solver = damped_newton(at.theta, float(np.sqrt(_NEAR * weight / size)), max_iter - iterations)
        under, at = yield from _watched(solver, partial(_with_barrier, weight=weight), at)
        iterations += under.iterations
        if under.converged and under.theta[-1] > 0.0:
            at = yield Request(under.theta, True)
        if at.value <= best[1]:
            best = (at.theta, at.value)
        if not under.converged:
            weight, fall, at = weight / fall, np.sqrt(fall), start
        elif at.theta[-1] < 0.5 * weight:  # the derivative by the scale is at most 1, and weight / scale at the minimum
            continue
        else:
            gain = weight / size
        weight *= fall
    return Solution(*best, gain, gain <= max(goal, _ROUNDED), iterations)


def _watched(
    solver: Solver, seen: Callable[[Evaluation], Evaluation], at: Evaluation | None = None
) -> Generator[Request, Evaluation, tuple[Solution, Evaluation]]:
    """Run a solver that sees the objective as `seen` shows it; return with its end the best it has evaluated.

    `at` is the evaluation of its start, where that is known.
    """
    request = next(solver)
    if at is None:
        at = yield request
    best, lowest = at, np.inf
    while True:
        shown = seen(at)
        if shown.value <= lowest:
            best, lowest = at, shown.value
        try:
            request = solver.send(shown)
        except StopIteration as end:
            return end.value, best
        at = yield request


def _unchanged(at: Evaluation) -> Evaluation:
    return at


def _has_cone(at: Evaluation, tol: float) -> bool:
    """Whether the scale leads on where the Hessian knows no curvature, so that a step leaves it as it is."""
    if at.hessian is None:
        return False
    left = at.gradient + at.hessian @ direction(at, tol)[0]
    return bool(at.theta[-1] * abs(left[-1]) > _ROUNDED * abs(at.value))


def _with_barrier(at: Evaluation, weight: float) -> Evaluation:
    """Add ``-weight * log(scale)``, and the curvature that the value has more by the logarithm of a scale too large."""
    if at.hessian is None or not np.isfinite(at.value):
        return at
    scale, gradient, hessian = at.theta[-1], at.gradient.copy(), at.hessian.copy()
    gradient[-1] -= weight / scale
    hessian[-1, -1] += weight / scale**2 + max(gradient[-1], 0.0) / scale
    return at._replace(value=at.value - weight * np.log(scale), gradient=gradient, hessian=hessian)
