"""L-BFGS on passes, for designs too wide for a Hessian."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dbml.estimators.solvers.newton import Solution, Solver, first_finite
from dbml.estimators.solvers.objective import Request
from dbml.passes.block import Floats

Inverse = Callable[[Floats], Floats]


class Preconditioner(NamedTuple):
    """An approximate inverse Hessian: `at` makes it from parameters, anew before the iterations `when`.

    `near` says that it comes so near that what a step promises tells when to stop, as in Newton's method.
    """

    at: Callable[[Floats], Inverse]
    when: tuple[int, ...] = (0,)
    near: bool = False


_MEMORY = 12
_ROUNDING = 1e-13


def lbfgs(
    starts: Sequence[Floats],
    scale: Floats,
    tol: float,
    max_iter: int,
    preconditioner: Preconditioner | None = None,
) -> Solver:
    """Minimise from `starts` (Liu and Nocedal 1989), in the coordinates ``theta * scale``.

    A pass per step, two where a step is too long. Stops where the largest derivative, each times the spread of the
    linear predictor that its parameter makes, is below `tol` and the next step promises to lower the value by less than
    `tol` of itself (many small derivatives together are much), or the value no longer falls. With a preconditioner that
    is near it stops where the next step is foretold to lower the value by at most ``tol ** 2`` of itself, after a last
    step that is not evaluated.

    Parameters
    ----------
    starts : sequence of ndarray of shape (p,)
        The first with a finite value is the start.
    scale : ndarray of shape (p,)
        Standard deviation of the term of each parameter (1 for intercepts): what makes their units alike.
    tol : float
        Bound on the derivatives of the mean loss.
    max_iter : int
        Most steps.
    preconditioner : Preconditioner, optional
        Until its first iteration, and without one, the unit matrix, of the right size.
    """
    base: Inverse | None = None
    best = yield from first_finite(starts, False)
    if not np.isfinite(best.value):
        return Solution(best.theta, best.value, np.inf, False, 0)
    pairs: deque[tuple[Floats, Floats]] = deque(maxlen=_MEMORY)
    goal = tol * min(1.0, max(abs(best.value), 1e-3))
    near, previous = preconditioner is not None and preconditioner.near, np.inf
    for iteration in range(max_iter):
        gradient = best.gradient / scale
        if preconditioner is not None and iteration in preconditioner.when:
            base = _rescaled(preconditioner.at(best.theta), scale)
        step = -_inverse_hessian_times(gradient, pairs, base or _same)
        slope = float(gradient @ step)
        if near and slope < 0.0:
            rate = min(1.0, -slope / previous) if np.isfinite(previous) else 1.0
            if -0.5 * slope * rate <= tol * tol * max(abs(best.value), 1e-3):
                value = best.value + 0.5 * slope
                return Solution(best.theta + step / scale, value, -0.5 * slope * rate, True, iteration + 1)
            previous = -slope
        elif np.abs(gradient).max(initial=0.0) <= goal and (not pairs or -slope <= tol * max(abs(best.value), 1e-3)):
            return Solution(best.theta, best.value, 0.0, True, iteration)
        if slope >= 0.0:
            pairs.clear()
            step, slope = -gradient, -float(gradient @ gradient)
        length = 1.0 if pairs or base is not None else min(1.0, 1.0 / float(np.linalg.norm(gradient)))
        trial = yield Request(best.theta + length * step / scale, False)
        while trial.value > best.value + 1e-4 * length * slope:
            change = trial.value - best.value
            if abs(change) <= _ROUNDING * abs(best.value) or length < 1e-12:
                return Solution(best.theta, best.value, abs(slope), length >= 1e-12, iteration + 1)
            finite = np.isfinite(change)
            length *= float(np.clip(-slope * length / (2.0 * (change - slope * length)), 0.1, 0.5)) if finite else 0.1
            trial = yield Request(best.theta + length * step / scale, False)
        moved, turned = (trial.theta - best.theta) * scale, trial.gradient / scale - gradient
        if moved @ turned > 1e-10 * np.linalg.norm(moved) * np.linalg.norm(turned):
            pairs.append((moved, turned))
        best = trial
    return Solution(best.theta, best.value, np.inf, False, max_iter)


def _same(q: Floats) -> Floats:
    return q


def _rescaled(inverse: Inverse, scale: Floats) -> Inverse:
    return lambda q: scale * inverse(q * scale)


def _inverse_hessian_times(gradient: Floats, pairs: deque[tuple[Floats, Floats]], base: Inverse) -> Floats:
    """Return the product of the approximate inverse Hessian with the gradient (two-loop recursion)."""
    q, weights = gradient.copy(), []
    for moved, turned in reversed(pairs):
        weight = (moved @ q) / (moved @ turned)
        q -= weight * turned
        weights.append(weight)
    if pairs:
        moved, turned = pairs[-1]
        q = base(q) * (moved @ turned) / (turned @ base(turned))
    else:
        q = base(q)
    for (moved, turned), weight in zip(pairs, reversed(weights), strict=True):
        q += moved * (weight - (turned @ q) / (moved @ turned))
    return q
