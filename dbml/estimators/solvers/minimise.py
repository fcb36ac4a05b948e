"""From an objective to its minimum: which solver, warm start on a sample, passes shared by all outputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from dbml.errors import ConvergenceWarning
from dbml.estimators.far_columns import warn_of_far_columns
from dbml.estimators.row_counts import pass_rows
from dbml.estimators.solvers.active_set import minimise_active
from dbml.estimators.solvers.curvature import sample_curvature, widest_category
from dbml.estimators.solvers.held_rows import HeldRows, spread_rows
from dbml.estimators.solvers.lbfgs import Inverse, Preconditioner, lbfgs
from dbml.estimators.solvers.newton import Solution, Solver, newton
from dbml.estimators.solvers.objective import Evaluation, Objective, Request
from dbml.estimators.solvers.packing import pack
from dbml.estimators.solvers.remainder import sample_remainder
from dbml.estimators.solvers.run import Report, Source, run
from dbml.estimators.solvers.scaled_newton import scaled_newton
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses

_WHOLE_ROWS = 131_072  # up to here all rows are the sample
_SAMPLE_ROWS = 65_536
_ROWS_PER_TERM = 512  # of larger samples: far below, their minimum is too far from that of all rows for one pass
_SAMPLE_BYTES = 128 << 20
_FEWER = 8  # times fewer rows of a sample lead to its minimum, ..
_ROWS_PER_PARAMETER = 64  # .. where they are that many
_LAST_STAGES = 3  # run over all rows; the smoother ones before them only over the sample
_WIDEST_NEWTON = 1_000  # parameters: beyond, a Hessian costs more than the passes it saves
_WIDEST_PACKED = 2_500  # the same for rows in memory that are mostly zeros: factoring the Hessian is what costs
_CURVED = (10, 30, 90)  # iterations before which curvature is taken anew: far from the minimum it says little
_WIDEST_WHOLE = 200  # terms: beyond, l1 is solved on a growing set of them

_PASSES = {
    "newton": ExpectedPasses("1 to 3", "Newton's method starts from the minimum of a sample"),
    "proximal-newton": ExpectedPasses("1 to 3 for few terms, more for many", "it starts from the minimum of a sample"),
    "lbfgs": ExpectedPasses("some dozens", "each reads encoded blocks, which are kept in memory or spilled"),
}
_SMOOTHED = ExpectedPasses(
    "some", "smoother losses lead to one with a corner, over encoded blocks that are kept in memory or spilled"
)


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


def training_sample(data: Data) -> Block:
    """Return the rows that are solved first: all of them where they are few."""
    encoding = data.schema.encoding
    most = max(1_000, min(_WHOLE_ROWS, _SAMPLE_BYTES // (8 * (encoding.n_dense + 16))))
    if most < data.n_rows:
        most = min(most, max(_SAMPLE_ROWS, _ROWS_PER_TERM * encoding.n_terms))
    return data.sample(most, seed=0)


def minimise(
    data: Data,
    sample: Block,
    stages: Sequence[Sequence[Objective]],
    starts: Sequence[Floats],
    settings: Settings,
) -> list[Solution]:
    """Minimise the objectives of the last stage; all outputs of a stage share every pass.

    A sample is solved first, in memory, stage after stage. If it is all there is, that is the solution; else passes
    over all rows start from it, and Newton needs one to three.

    Parameters
    ----------
    data : Data
        The rows.
    sample : Block
        Some of them, from `training_sample`.
    stages : sequence of sequences of Objective
        One objective per output; earlier stages are smoother and lead to the next.
    starts : sequence of ndarray
        First parameters of each output.
    settings : Settings

    Warns
    -----
    ConvergenceWarning
        `max_iter` steps did not reach the tolerance.
    FarFromZero
        Columns are too far from 0 for an intercept that is penalised or missing.
    """
    if stages[-1][0].raw:
        warn_of_far_columns(settings.owner, data.schema, sample)
    n_rows, exact = pass_rows(data)
    if sample.n_rows == n_rows and exact:
        solutions = _minimise_held(data, sample, stages, starts, settings)
    else:
        solutions = _minimise_passes(data, sample, n_rows, stages, starts, settings)
    warn_of_missed(solutions, settings)
    return solutions


def _minimise_passes(
    data: Data,
    sample: Block,
    n_rows: int,
    stages: Sequence[Sequence[Objective]],
    starts: Sequence[Floats],
    settings: Settings,
) -> list[Solution]:
    """Minimise by passes over all rows, which start from the minimum over a sample."""
    solver = _choose(data, stages, settings.solver, _WIDEST_NEWTON)
    if _grows(solver, stages[-1]):
        return _minimise_growing(data, sample, n_rows, stages[-1], starts, settings)
    work = _Work(solver, settings, np.maximum(data.statistics.scale, 1e-300) if solver == "lbfgs" else None)
    if solver == "lbfgs" and len(stages) == len(stages[0]) == 1 and stages[0][0].size <= _WIDEST_PACKED:
        guessed = _packed_guess(sample, n_rows, stages[0][0], starts[0], settings)
        if guessed is not None:
            start, inverse = guessed
            reason = f"{sample.n_rows:,} rows of mostly zeros in memory"
            data.plan = data.plan.decide("preconditioner", "Hessian of a sample", reason)
            with data.materialise() as kept:
                fixed = [Preconditioner(lambda theta: inverse)]
                solutions = work.run_stages(
                    kept, stages, [[start, starts[0]]], solver, settings.report, preconditioners=fixed
                )
                data.plan = kept.plan
            return solutions
    held = HeldRows(sample)
    guesses = work.from_sample(data, held, n_rows, stages, starts)
    if solver != "lbfgs" and len(stages) == 1:
        return work.run_stages(data, stages, guesses, solver, settings.report, sample=held)
    with data.materialise() as kept:
        found = work.preconditioners(kept, stages, sample, n_rows)
        solutions = work.run_stages(
            kept, stages[-_LAST_STAGES:], guesses, solver, settings.report, preconditioners=found
        )
        data.plan = kept.plan
    return solutions


def _packed_guess(
    sample: Block, n_rows: int, objective: Objective, start: Floats, settings: Settings
) -> tuple[Floats, Inverse] | None:
    """Return the minimum over a sample of mostly zeros and its inverse Hessian there; None for other samples."""
    rows, packing = pack(sample, objective)
    weight = float(objective.reading.weight(sample).sum())
    if not packing.n_packed or weight == 0.0:
        return None
    moved = replace(packing.objective(objective), total_weight=weight * max(1.0, n_rows / sample.n_rows))
    held = HeldRows(rows)
    solver = newton([packing.packed(objective, start)], max(settings.tol, 1e-3), settings.max_iter)
    (found,) = run(held, [moved], [solver], "sample", lambda number, best: None)
    if not found.converged:
        return None
    request = Request(found.theta, True)
    hessian = moved.evaluate(request, held.fold(moved.step(request))[0]).hessian
    assert hessian is not None
    inverted = np.linalg.inv(hessian + 1e-9 * np.diag(hessian.diagonal()) + 1e-12 * np.eye(len(hessian)))

    def inverse(q: Floats) -> Floats:
        return packing.unpacked(objective, inverted @ packing.packed_gradient(objective, q))

    return packing.unpacked(objective, found.theta), inverse


def _minimise_growing(
    data: Data,
    sample: Block,
    n_rows: int,
    objectives: Sequence[Objective],
    starts: Sequence[Floats],
    settings: Settings,
) -> list[Solution]:
    """Minimise on a growing set of terms, which begins with those that a sample uses."""
    first = list(starts)
    weights = [float(o.reading.weight(sample).sum()) for o in objectives]
    if sample.n_rows and min(weights) > 0.0:
        rows, packing = pack(sample, objectives[0])
        moved = [
            replace(packing.objective(o), total_weight=weight * max(1.0, n_rows / sample.n_rows))
            for o, weight in zip(objectives, weights, strict=True)
        ]
        begin = [packing.packed(o, theta) for o, theta in zip(objectives, starts, strict=True)]
        found, _ = minimise_active(
            data, rows, moved, begin, max(settings.tol, 1e-2), settings.max_iter, lambda number, best: None
        )
        if all(solution.converged for solution in found):
            first = [packing.unpacked(o, s.theta) for o, s in zip(objectives, found, strict=True)]
    entries = sample.X.size + (0 if sample.sparse is None else 2 * len(sample.sparse.values))
    fits = 8 * entries * n_rows <= memory_budget().kept * max(1, sample.n_rows)
    with data.materialise() if fits else nullcontext(data) as kept:
        limits = settings.tol, settings.max_iter, settings.report
        solutions, sizes = minimise_active(kept, None, objectives, first, *limits)
        data.plan = kept.plan
    _tell_sizes(data, sizes)
    return solutions


def _minimise_held(
    data: Data,
    block: Block,
    stages: Sequence[Sequence[Objective]],
    starts: Sequence[Floats],
    settings: Settings,
) -> list[Solution]:
    """Minimise over rows that are all in memory."""
    final = stages[-1]
    rows, packing = pack(block, final[0])
    solver = _choose(data, stages, settings.solver, _WIDEST_PACKED if packing.n_packed else _WIDEST_NEWTON)

    def report(number: int, best: list[Evaluation]) -> None:
        told = [e._replace(theta=packing.unpacked(o, e.theta)) for e, o in zip(best, final, strict=True)]
        settings.report(number, told)

    moved = [[packing.objective(o) for o in stage] for stage in stages]
    first = [packing.packed(o, theta) for o, theta in zip(final, starts, strict=True)]
    if _grows(solver, final):
        limits = settings.tol, settings.max_iter, report
        solutions, sizes = minimise_active(data, rows, moved[-1], first, *limits)
        _tell_sizes(data, sizes)
    else:
        scale = np.maximum(data.statistics.scale, 1e-300)[packing.order] if solver == "lbfgs" else None
        work = _Work(solver, settings, scale)
        found = work.preconditioners(data, moved, rows, rows.n_rows)
        begin = [[theta] for theta in first]
        solutions = work.run_stages(HeldRows(rows), moved, begin, solver, report, preconditioners=found)
    return [s._replace(theta=packing.unpacked(o, s.theta)) for s, o in zip(solutions, final, strict=True)]


def _grows(solver: str, objectives: Sequence[Objective]) -> bool:
    """Whether the terms of the solver are a growing set of all."""
    return solver == "proximal-newton" and objectives[0].n_terms > _WIDEST_WHOLE


def _tell_sizes(data: Data, sizes: Sequence[int]) -> None:
    scanned = ", ".join(f"{size:,}" for size in sizes)
    data.plan = data.plan.decide(
        "columns scanned", scanned, f"by set of terms, of {data.schema.encoding.n_terms:,}; all to check each set"
    )


@dataclass(frozen=True)
class _Work:
    """A solver with its settings, and the scale of the terms where it needs one."""

    solver: str
    settings: Settings
    scale: Floats | None

    def started(
        self,
        objective: Objective,
        starts: Sequence[Floats],
        tol: float,
        max_iter: int,
        sample: HeldRows | None,
        preconditioner: Preconditioner | None,
    ) -> Solver:
        """Return the solver of one output, at its start."""
        if self.scale is None:
            remainder = None
            if sample is not None and sample.block.n_rows and objective.loss.unitless:
                remainder = sample_remainder(objective, sample)
            solve = scaled_newton if objective.has_scale else newton
            return solve(starts, tol, max_iter, remainder)
        row = np.append(self.scale, [1.0] * objective.fit_intercept)
        scale = np.append(np.tile(row, objective.n_outputs), [1.0] * objective.has_scale)
        return lbfgs(starts, scale, tol, max_iter, preconditioner)

    def run_stages(
        self,
        source: Source,
        stages: Sequence[Sequence[Objective]],
        starts: list[list[Floats]],
        purpose: str,
        report: Report,
        tol: float | None = None,
        sample: HeldRows | None = None,
        preconditioners: Sequence[Preconditioner | None] | None = None,
    ) -> list[Solution]:
        """Run the stages one after the other, each from the solutions of the one before."""
        solutions: list[Solution] = []
        for number, objectives in enumerate(stages):
            last = number == len(stages) - 1
            goal = (tol or self.settings.tol) if last else 0.1
            limit = self.settings.max_iter if last else 15
            inner = preconditioners or [None] * len(objectives)
            solvers = [
                self.started(o, s, goal, limit, sample, p) for o, s, p in zip(objectives, starts, inner, strict=True)
            ]
            solutions = run(source, objectives, solvers, purpose, report)
            starts = [[solution.theta] for solution in solutions]
        return solutions

    def preconditioners(
        self, data: Data, stages: Sequence[Sequence[Objective]], rows: Block, n_rows: int
    ) -> list[Preconditioner | None] | None:
        """Return what L-BFGS is preconditioned with, an output each, from some rows of `n_rows`; None for nothing."""
        if self.scale is None or len(stages) > 1 or rows.n_rows == 0:
            return None
        levels, share, found = widest_category(data.schema.encoding), n_rows / rows.n_rows, []
        part = data.statistics.scale[levels] ** 2  # f (1 - f) of a level of frequency f
        for objective in stages[0]:
            total = objective.total_weight or float(objective.reading.weight(rows).sum()) * share
            at = sample_curvature(objective, rows, total, levels, part, len(stages[0]))
            found.append(None if at is None else Preconditioner(at, _CURVED))
        if any(found):
            reason = "rows in memory tell the curvature of each output"
            data.plan = data.plan.decide("preconditioner", "Hessian of a sample", reason)
        return found

    def from_sample(
        self,
        data: Data,
        sample: HeldRows,
        n_rows: int,
        stages: Sequence[Sequence[Objective]],
        first: Sequence[Floats],
    ) -> list[list[Floats]]:
        """Return for each output the minimum over a sample (penalties as strong as over all rows), and its start."""
        rows, starts = sample.block, [[theta] for theta in first]
        weights = [float(objective.reading.weight(rows).sum()) for objective in stages[-1]]
        if rows.n_rows == 0 or min(weights) == 0.0:
            return starts
        share = max(1.0, n_rows / rows.n_rows)
        scaled = [
            [replace(o, total_weight=weight * share) for o, weight in zip(stage, weights, strict=True)]
            for stage in stages
        ]
        tol = max(self.settings.tol, 1e-4)
        few = spread_rows(rows, rows.n_rows // _FEWER)
        if self.scale is None and len(stages) == 1 and few.n_rows >= _ROWS_PER_PARAMETER * scaled[0][0].size:
            # Most steps are far from the minimum, where few rows tell the way as well as all of them.
            starts = self.from_sample(data, HeldRows(few), n_rows, stages, first)
        inner = self.preconditioners(data, scaled, rows, n_rows)
        found = self.run_stages(sample, scaled, starts, "sample", lambda number, best: None, tol, preconditioners=inner)
        return [[s.theta, theta] if s.converged else [theta] for s, theta in zip(found, first, strict=True)]


def _choose(data: Data, stages: Sequence[Sequence[Objective]], asked: str, widest: int) -> str:
    """Return the solver (Newton up to `widest` parameters) and write the choice into the plan."""
    size = max(objective.size for objective in stages[-1])
    l1 = any(objective.penalty.l1 > 0.0 for objective in stages[-1])
    if asked != "auto":
        choice, reason = asked, "as asked for"
    elif l1:
        choice, reason = (
            "proximal-newton",
            f"l1 penalty, {size:,} parameters" + (", on a growing set of terms" if size > _WIDEST_WHOLE else ""),
        )
    elif size <= widest:
        choice, reason = "newton", f"{size:,} parameters: a Hessian rides along with the scan and saves passes"
        if size > _WIDEST_NEWTON:
            reason = f"{size:,} parameters, most values 0: a Hessian of compressed rows in memory is cheap"
    else:
        choice, reason = "lbfgs", f"{size:,} parameters: a Hessian would cost more than the passes it saves"
    data.decide_solver(choice, reason, _SMOOTHED if len(stages) > 1 else _PASSES[choice])
    return choice


def warn_of_missed(solutions: Sequence[Solution], settings: Settings) -> None:
    """Warn of outputs that did not reach the tolerance."""
    missed = [s for s in solutions if not s.converged]
    if missed:
        most = max(s.iterations for s in missed)
        message = (
            f"{settings.owner}: the solver stopped after {most} iterations before it reached tol={settings.tol:g}; "
        )
        if most >= settings.max_iter:
            message += "raise max_iter, or scale or drop collinear columns"
        else:  # more iterations would change nothing
            message += "no step lowers the objective further: raise tol, or scale or drop collinear columns"
        warnings.warn(message, ConvergenceWarning, stacklevel=6)
