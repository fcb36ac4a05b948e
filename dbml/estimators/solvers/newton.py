"""Newton's method on passes: each gives value, gradient and Hessian; with l1, its proximal form.

A solver is a generator that yields a `Request` and receives its `Evaluation`, so that many of them can share a pass.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from dbml_kernels.penalties import quadratic_descent

from dbml.estimators.solvers.objective import Evaluation, Request
from dbml.estimators.solvers.remainder import Remainder
from dbml.passes.block import Floats

_SMALLEST_STEP = 2.0**-30
_LEAST_SHARE = 1e-3  # of the first value, below which the tolerance shrinks no more: some objectives fall to 0
_TRIANGLE = 128
_ROUNDING = 1e-13  # of the value: a difference below is noise of the sums


class Solution(NamedTuple):
    """Where a solver ended.

    `gain` is what the model still promises there (the last decrease it predicted times how fast those fell), relative
    to the value; `converged` says whether it is below the tolerance.
    """

    theta: Floats
    value: float
    gain: float
    converged: bool
    iterations: int


Solver = Generator[Request, Evaluation, Solution]


def first_finite(starts: Sequence[Floats], hessian: bool) -> Generator[Request, Evaluation, Evaluation]:
    """Evaluate starts in order until one has a finite value; return its evaluation, or that of the last."""
    for theta in starts:
        at = yield Request(theta, hessian)
        if np.isfinite(at.value):
            break
    return at


def newton(
    starts: Sequence[Floats], tol: float, max_iter: int, remainder: Remainder | None = None, corner_ends: bool = True
) -> Solver:
    """Minimise from the first of `starts` with a finite value.

    Stops where the value can fall by at most ``tol ** 2`` of itself. The decrease a step will bring is known before
    the step (half the squared Newton decrement), and how fast those decreases fall is known from the last two: once the
    *next* one is predicted below the goal, the step is taken and not evaluated, which saves the last pass. With a
    `remainder` from a sample the second of the two is the step after next, made from it and taken too. A step that does
    not decrease the value enough is shortened; where a short one gains next to nothing, at a corner, that is the end,
    which counts as the minimum unless `corner_ends` is false.
    """
    best = yield from first_finite(starts, True)
    previous, least = np.inf, _LEAST_SHARE * abs(best.value)
    if not np.isfinite(best.value):
        return Solution(best.theta, best.value, np.inf, False, 0)
    for iteration in range(max_iter):
        step, slope, decrease = direction(best, tol)
        goal = max(tol * tol, _ROUNDING) * max(abs(best.value), least)
        rate = min(1.0, decrease / previous) if np.isfinite(previous) else 1.0
        if decrease * rate <= goal:
            return Solution(best.theta + step, best.value - decrease, decrease * rate, True, iteration + 1)
        after = None if remainder is None or best.l1.any() else remainder(best, step)
        if after is not None:
            second, _, further = direction(best._replace(gradient=after), tol)
            if further * min(1.0, further / decrease) <= goal:
                value = best.value - decrease - further
                return Solution(best.theta + step + second, value, further, True, iteration + 1)
        length = 1.0
        while True:
            trial = yield Request(best.theta + length * step, True)
            if trial.value <= best.value + 1e-4 * length * slope + _ROUNDING * abs(best.value):
                break
            length *= 0.5 if not np.isfinite(trial.value) else _shorter(length, slope, trial.value - best.value)
            if length < _SMALLEST_STEP:
                return Solution(best.theta, best.value, decrease, False, iteration + 1)
        gained = best.value - trial.value
        previous = decrease if length == 1.0 else np.inf
        best = trial
        if length < 1.0 and gained <= goal:  # the model promises what the objective does not hold: a corner
            return Solution(best.theta, best.value, gained, corner_ends, iteration + 1)
    return Solution(best.theta, best.value, previous, False, max_iter)


def _shorter(length: float, slope: float, change: float) -> float:
    """Return the factor to the minimum of the parabola through both values, within [0.1, 0.5]."""
    return float(np.clip(-slope * length / (2.0 * (change - slope * length)), 0.1, 0.5))


def direction(at: Evaluation, tol: float) -> tuple[Floats, float, float]:
    """Return the step to the minimum of the quadratic model, the slope along it and the decrease it promises."""
    assert at.hessian is not None
    if not at.l1.any():
        step = solve_scaled(_steep(at.hessian, at.flat), -at.gradient)
        slope = float(at.gradient @ step)
        return step, min(slope, 0.0), max(-0.5 * slope, 0.0)
    step, model_slope = np.zeros(len(at.theta)), np.empty(len(at.theta))
    # Far more precise than the step itself must be: the model costs no pass.
    exact = max(tol * tol, _ROUNDING) * 1e-3 * max(abs(at.value), 1e-300)
    quadratic_descent(at.hessian, at.gradient, at.theta, at.l1, exact, 10_000, step, model_slope)
    change = float(at.gradient @ step + at.l1 @ (np.abs(at.theta + step) - np.abs(at.theta)))
    return step, min(change, 0.0), max(-(change + 0.5 * float(step @ (model_slope - at.gradient))), 0.0)


def _steep(hessian: Floats, flat: Floats) -> Floats:
    """Add curvature along directions that have none, nor a slope: the step stays, and the matrix can be factored.

    A singular one takes its eigenvectors, twenty times the work.
    """
    curvature = flat**2 @ hessian.diagonal()
    return hessian + (flat.T * curvature) @ flat if len(flat) else hessian


def solve_scaled(hessian: Floats, right: Floats) -> Floats:
    """Solve ``H s = right`` for a positive semidefinite H of any scaling: the smallest s where H is singular."""
    diagonal = hessian.diagonal()
    scale = np.where(diagonal > 0.0, np.sqrt(np.maximum(diagonal, 1e-300)), 1.0)
    scaled, target = hessian / np.outer(scale, scale), right / scale
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        factor = None
    if factor is not None and factor.diagonal().min() > 1e-6:
        half = _substituted(factor, target)
        return _substituted(factor.T[::-1, ::-1], half[::-1])[::-1] / scale
    values, vectors = np.linalg.eigh(scaled)
    kept = values > 1e-11 * values[-1]
    return vectors[:, kept] @ ((vectors[:, kept].T @ target) / values[kept]) / scale


def _substituted(lower: Floats, right: Floats) -> Floats:
    """Solve ``L s = right`` for a lower triangular L, by blocks: a general solver costs more than L itself."""
    solution = right.copy()
    for start in range(0, len(right), _TRIANGLE):
        part = slice(start, start + _TRIANGLE)
        solution[part] -= lower[part, :start] @ solution[:start]
        solution[part] = np.linalg.solve(lower[part, part], solution[part])
    return solution
