"""From an objective to its minimum: which solver, warm start on a sample, passes shared by all outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dbml.errors import ConvergenceWarning
from dbml.estimators.solvers.held_rows import HeldRows
from dbml.estimators.solvers.lbfgs import lbfgs
from dbml.estimators.solvers.newton import Solution, Solver, newton
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.step import State, Step

_SAMPLE_ROWS = 131_072
_SAMPLE_BYTES = 128 << 20
_WIDEST_NEWTON = 1_000  # parameters: beyond, a Hessian costs more than the passes it saves


class Source(Protocol):
    """Rows that steps can be folded over."""

    def fold(self, *steps: Step, purpose: str) -> tuple[State, ...]: ...


Report = Callable[[int, list[Evaluation]], None]


@dataclass(frozen=True)
class Settings:
    """How a minimum is looked for.

    Attributes
    ----------
    solver : {"auto", "newton", "lbfgs", "proximal-newton"}
    tol : float
    max_iter : int
        Most steps of the solver over all rows.
    owner : str
        Whom messages name.
    report : callable
        Called after every pass over all rows with its number and the best evaluation of each objective.
    """

    solver: str
    tol: float
    max_iter: int
    owner: str
    report: Report


def minimise(
    data: Data, objectives: Sequence[Objective], starts: Callable[[Block], list[Floats]], settings: Settings
) -> list[Solution]:
    """Minimise objectives that read the same rows, each pass serving all of them.

    A sample is solved first, in memory. If it is all there is, that is the solution; else passes over all rows start
    from it, and Newton needs two or three.

    Parameters
    ----------
    data : Data
        The rows.
    objectives : sequence of Objective
        One per output that is solved on its own.
    starts : callable
        Returns the first parameters of each objective from a sample of the rows.
    settings : Settings

    Warns
    -----
    ConvergenceWarning
        `max_iter` steps did not reach the tolerance.
    """
    encoding = data.schema.encoding
    rows = max(1_000, min(_SAMPLE_ROWS, _SAMPLE_BYTES // (8 * (encoding.n_dense + 16))))
    sample = data.sample(rows, seed=0)
    statistics = data.statistics
    whole = statistics.exact_rows and statistics.n_rows == sample.n_rows
    solver = _choose(data, objectives, settings.solver)
    scale = np.maximum(statistics.scale, 1e-300)
    thetas = starts(sample)
    if not whole:
        thetas = _from_sample(sample, statistics.n_rows, objectives, thetas, solver, settings, scale)
    solvers = [
        _solver(solver, o, t, scale, settings.tol, settings.max_iter) for o, t in zip(objectives, thetas, strict=True)
    ]
    if whole:
        solutions = run(HeldRows(sample), objectives, solvers, f"{solver}", settings.report)
    elif solver == "lbfgs":
        with data.materialise() as kept:
            solutions = run(kept, objectives, solvers, "lbfgs", settings.report)
            data.plan = kept.plan
    else:
        solutions = run(data, objectives, solvers, solver, settings.report)
    _warn(solutions, settings)
    return solutions


def _choose(data: Data, objectives: Sequence[Objective], asked: str) -> str:
    """Return the solver and write the choice into the plan."""
    size = max(objective.size for objective in objectives)
    l1 = any(objective.penalty.l1 > 0.0 for objective in objectives)
    if asked != "auto":
        choice, reason = asked, "as asked for"
    elif l1:
        choice, reason = "proximal-newton", f"l1 penalty, {size:,} parameters"
    elif size <= _WIDEST_NEWTON:
        choice, reason = "newton", f"{size:,} parameters: a Hessian rides along with the scan and saves passes"
    else:
        choice, reason = "lbfgs", f"{size:,} parameters: a Hessian would cost more than the passes it saves"
    data.plan = data.plan.decide("solver", choice, reason)
    return choice


def _solver(name: str, objective: Objective, theta: Floats, scale: Floats, tol: float, max_iter: int) -> Solver:
    if name != "lbfgs":
        return newton(theta, tol, max_iter)
    row = np.append(scale, [1.0] * objective.fit_intercept)
    return lbfgs(theta, np.append(np.tile(row, objective.n_outputs), [1.0] * objective.has_scale), tol, max_iter)


def _from_sample(
    sample: Block,
    n_rows: int,
    objectives: Sequence[Objective],
    thetas: list[Floats],
    solver: str,
    settings: Settings,
    scale: Floats,
) -> list[Floats]:
    """Return the minima over a sample, with penalties as strong as over all rows; where one fails, its start."""
    share = max(1.0, n_rows / max(1, sample.n_rows))
    held = HeldRows(sample)
    scaled = []
    for objective in objectives:
        weight = float(objective.reading.weight(sample).sum())
        if weight == 0.0:
            return thetas
        scaled.append(replace(objective, total_weight=weight * share))
    tol = max(settings.tol, 1e-4)
    solvers = [_solver(solver, o, t, scale, tol, 50) for o, t in zip(scaled, thetas, strict=True)]
    found = run(held, scaled, solvers, "sample", lambda number, best: None)
    return [s.theta if s.converged else t for s, t in zip(found, thetas, strict=True)]


def run(
    source: Source, objectives: Sequence[Objective], solvers: Sequence[Solver], purpose: str, report: Report
) -> list[Solution]:
    """Run solvers to their end, every pass over the rows serving all that still wait for one."""
    requests = {i: next(solver) for i, solver in enumerate(solvers)}
    best: dict[int, Evaluation] = {}
    solutions: dict[int, Solution] = {}
    number = 0
    while requests:
        number += 1
        steps = [objectives[i].step(request) for i, request in requests.items()]
        states = source.fold(*steps, purpose=f"{purpose} pass {number}")
        evaluations = {
            i: objectives[i].evaluate(request, state)
            for (i, request), state in zip(requests.items(), states, strict=True)
        }
        for i, evaluation in evaluations.items():
            if i not in best or evaluation.value <= best[i].value:
                best[i] = evaluation
        report(number, [best[i] for i in sorted(best)])
        for i, evaluation in evaluations.items():
            try:
                requests[i] = solvers[i].send(evaluation)
            except StopIteration as end:
                solutions[i] = end.value
                del requests[i]
    return [solutions[i] for i in range(len(solvers))]


def _warn(solutions: Sequence[Solution], settings: Settings) -> None:
    missed = [s for s in solutions if not s.converged]
    if missed:
        message = (
            f"{settings.owner}: the solver stopped after {max(s.iterations for s in missed)} iterations before it "
            f"reached tol={settings.tol:g}; raise max_iter, or scale or drop collinear columns"
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=6)
