"""Newton's method with damping: for a convex objective whose curvature vanishes where its slope does not.

Rows of a constant slope add nothing to the Hessian. Where the others are fewer than the terms, some directions have a
slope and (nearly) no curvature: a plain step along them is endless, or none. A damped step is as long as the objective
has borne out so far.

Levenberg 1944; Moré 1978 (the diagonal never falls).
"""

from __future__ import annotations

import numpy as np

from dbml.estimators.solvers.newton import Solution, Solver, solve_scaled
from dbml.estimators.solvers.objective import Request
from dbml.passes.block import Floats

_LEAST, _MOST = 1e-14, 1e12  # damping, of the diagonal of the Hessian
_FIRST = 1e-6  # once a step has failed
_RISE, _FALL = 10.0, 0.1
_GOOD, _POOR, _ENOUGH = 0.75, 0.25, 1e-4  # shares of the promised decrease
_LEAST_SHARE = 1e-3  # of the first value, below which the goal shrinks no more: with a barrier it may be 0
_KEPT = 0.1  # share of the last parameter, a scale above 0, that a step leaves


def damped_newton(start: Floats, tol: float, max_iter: int) -> Solver:
    """Minimise from `start`, whose last parameter is a scale; no l1.

    Ends where a step of the least damping promises at most ``tol ** 2`` of the value.
    """
    best = yield Request(start, True)
    damping, diagonal, predicted = _LEAST, np.zeros(len(start)), np.inf
    least = _LEAST_SHARE * abs(best.value)
    for iteration in range(max_iter):
        assert best.hessian is not None
        diagonal = np.maximum(diagonal, best.hessian.diagonal())
        goal, failed = tol * tol * max(abs(best.value), least), False
        while True:
            step = solve_scaled(best.hessian + np.diag(damping * diagonal), -best.gradient)
            if step[-1] < (_KEPT - 1.0) * best.theta[-1]:
                step *= (_KEPT - 1.0) * best.theta[-1] / step[-1]
            predicted = -float(best.gradient @ step + 0.5 * step @ best.hessian @ step)
            if predicted <= goal:
                if failed or damping <= _LEAST:
                    return Solution(best.theta, best.value, max(predicted, 0.0), True, iteration + 1)
                damping = max(damping * _FALL, _LEAST)
                continue
            trial = yield Request(best.theta + step, True)
            share = (best.value - trial.value) / predicted
            if share >= _ENOUGH:
                break
            damping, failed = max(damping * _RISE, _FIRST), True
            if damping > _MOST:
                return Solution(best.theta, best.value, predicted, False, iteration + 1)
        if share > _GOOD:
            damping = max(damping * _FALL, _LEAST)
        elif share < _POOR:
            damping = max(damping * _RISE, _FIRST)
        best = trial
    return Solution(best.theta, best.value, predicted, False, max_iter)
