"""Least squares by conjugate gradients: a pass per iteration, memory for a few vectors of terms."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from dbml.errors import ConvergenceWarning
from dbml.estimators.moment_steps import DiagonalStep, ResidualStep, squares_about_mean
from dbml.estimators.quadratic import Solved
from dbml.passes.block import Floats
from dbml.passes.data import Data

Report = Callable[[int, Floats, float, float], None]


def solve_passes(
    data: Data, alpha: float, fit_intercept: bool, tol: float, max_iter: int | None, owner: str, report: Report
) -> Solved:
    """Solve ``(X'X + alpha) w = X'y`` about the means by preconditioned conjugate gradients (Hestenes & Stiefel 1952).

    Stops where the residual of the equations is below ``tol`` times that of the start, both in terms of unit variance.
    With fewer rows than terms and no penalty the preconditioner is left out: the limit then has the smallest norm.

    Parameters
    ----------
    report : callable
        Called with iteration, coefficients, centred intercept and relative residual after each iteration.
    """
    encoding = data.schema.encoding
    centre, p = np.array(encoding.centre()), encoding.n_terms
    limit = max_iter if max_iter is not None else max(1_000, p)
    with data.materialise() as kept:
        (first,) = kept.fold(DiagonalStep(p), purpose="moments")
        weight = first["target"][0]
        x_mean = first["sums"] / weight
        shifted_mean = first["target"][1] / weight
        y_mean = float(first["shift"][0] + shifted_mean)
        about = -x_mean if fit_intercept else centre
        squares = squares_about_mean(first["squares"], first["sums"], weight)
        xy = first["products"] - weight * x_mean * shifted_mean
        if not fit_intercept:
            squares = squares + weight * (x_mean + centre) ** 2
            xy = xy + weight * (x_mean + centre) * y_mean

        def intercept(coef: Floats) -> float:
            return float(y_mean - x_mean @ coef) if fit_intercept else float(centre @ coef)

        def product(v: Floats) -> Floats:
            (state,) = kept.fold(ResidualStep(v, float(about @ v), target=False), purpose="conjugate gradients")
            return alpha * v - (state["gradient"] + about * state["sums"][1])

        scale = squares + alpha
        if alpha == 0.0 and data.statistics.n_rows <= p:
            scale = np.ones(p)
        inverse = np.divide(1.0, scale, out=np.zeros(p), where=scale > 0.0)
        coef, residual = np.zeros(p), xy
        direction = inverse * residual
        size = start = float(residual @ direction)
        number = 0
        while size > tol * tol * start and number < limit:
            number += 1
            turned = product(direction)
            length = size / float(direction @ turned)
            coef = coef + length * direction
            residual = residual - length * turned
            before, size = size, float(residual @ (inverse * residual))
            direction = inverse * residual + (size / before) * direction
            report(number, coef, intercept(coef), float(np.sqrt(size / start)))
    if size > tol * tol * start:
        message = f"{owner}: conjugate gradients stopped after {number} passes before they reached tol={tol:g}"
        warnings.warn(message + "; raise max_iter or alpha", ConvergenceWarning, stacklevel=5)
    return Solved(coef, intercept(coef), None, number)
