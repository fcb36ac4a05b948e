"""Proximal Newton where terms are many: solved on a growing set of terms, checked by the gradient of all.

The Hessian is that of the set alone, and passes of the solver scan only its columns (Friedman, Hastie and Tibshirani
2010 call it the active set).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dbml.estimators.solvers.held_rows import HeldRows, chosen_terms
from dbml.estimators.solvers.newton import Solution, newton
from dbml.estimators.solvers.objective import Evaluation, Objective, Request
from dbml.estimators.solvers.run import Report, Source, run
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

_SMALLEST = 64


def minimise_active(
    data: Data,
    sample: Block | None,
    objectives: Sequence[Objective],
    starts: Sequence[Floats],
    tol: float,
    max_iter: int,
    report: Report,
) -> tuple[list[Solution], list[int]]:
    """Minimise objectives with l1; return the solutions and the sizes of the sets. All outputs share the passes and the
    set.

    Ends where no derivative of a term outside the set exceeds its l1 strength by more than the share `tol`.

    Parameters
    ----------
    data : Data
        The rows.
    sample : Block or None
        All rows, where they are few enough to be held in memory.
    objectives, starts, tol, max_iter, report
        See `minimise`; `max_iter` bounds the steps on each set.
    """
    whole: Source = data if sample is None else HeldRows(sample)
    thetas, terms, steps = list(starts), np.zeros(0, np.intp), 0
    sizes: list[int] = []
    while True:
        evaluations = _evaluate(whole, objectives, thetas)
        report(max(1, steps), evaluations)
        excess = np.max([_excess(o, e) for o, e in zip(objectives, evaluations, strict=True)], axis=0)
        used = np.any(
            [_rows(o, t)[:, : o.n_terms].any(axis=0) for o, t in zip(objectives, thetas, strict=True)], axis=0
        )
        outside = np.setdiff1d(np.flatnonzero(excess > tol), terms)
        if steps and not len(outside):
            return [Solution(e.theta, e.value, 0.0, True, steps) for e in evaluations], sizes
        size = max(_SMALLEST, 2 * int(used.sum()), 2 * len(terms))
        worst = outside[np.argsort(-excess[outside], kind="stable")][: max(1, size - int(used.sum()))]
        terms = np.union1d(np.flatnonzero(used), worst)
        if not len(terms):
            terms = np.array([int(np.argmax(excess))])
        sizes.append(len(terms))
        source: Source = data.take(terms) if sample is None else HeldRows(chosen_terms(sample, terms))
        smaller = [replace(o, n_terms=len(terms), centre=o.centre[terms]) for o in objectives]
        columns = [np.append(terms, [o.n_terms] * o.fit_intercept) for o in objectives]
        parts = [_rows(o, t)[:, c].ravel() for o, t, c in zip(objectives, thetas, columns, strict=True)]
        solvers = [newton([part], tol, max_iter) for part in parts]
        found = run(source, smaller, solvers, f"active set of {len(terms):,}", lambda number, best: None)
        steps += max(1, *(solution.iterations for solution in found))
        for i, solution in enumerate(found):
            rows = np.zeros_like(_rows(objectives[i], thetas[i]))
            rows[:, columns[i]] = solution.theta.reshape(len(rows), -1)
            thetas[i] = rows.ravel()
        if not all(solution.converged for solution in found):
            evaluations = _evaluate(whole, objectives, thetas)
            return [Solution(e.theta, e.value, np.inf, False, steps) for e in evaluations], sizes


def _evaluate(source: Source, objectives: Sequence[Objective], thetas: Sequence[Floats]) -> list[Evaluation]:
    """Return value and gradient of each objective, from one pass."""
    requests = [Request(theta, False) for theta in thetas]
    steps = [objective.step(request) for objective, request in zip(objectives, requests, strict=True)]
    states = source.fold(*steps, purpose="gradient of all terms")
    return [o.evaluate(request, state) for o, request, state in zip(objectives, requests, states, strict=True)]


def _rows(objective: Objective, theta: Floats) -> Floats:
    """Return the parameters as (n_outputs, n_terms + intercept)."""
    return theta.reshape(objective.n_outputs, -1)


def _excess(objective: Objective, at: Evaluation) -> Floats:
    """Return by which share of its l1 strength the derivative of each term exceeds it, shape (n_terms,)."""
    share = np.abs(at.gradient) / np.where(at.l1 > 0.0, at.l1, np.inf) - 1.0
    return _rows(objective, share)[:, : objective.n_terms].max(axis=0)
