"""Linear machines over features of landmarks: Newton's method on a sample, then L-BFGS by passes over all rows.

A pass costs values of the kernel and gradients, for all machines; Hessians cost m times as much, and are made of the
sample only. Its last one preconditions the passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dbml.estimators.base import Estimator
from dbml.estimators.kernel_machines.landmark_step import FeatureRows, PackedFeatures
from dbml.estimators.kernel_machines.landmarks import NystroemFeatures
from dbml.estimators.kernel_machines.streamed import (
    Machines,
    Solved,
    machine_objectives,
    machine_sample,
    silent,
    trained,
)
from dbml.estimators.row_counts import pass_rows
from dbml.estimators.solvers.held_rows import HeldRows, spread_rows
from dbml.estimators.solvers.lbfgs import Preconditioner, lbfgs
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.minimise import Settings, warn_of_missed
from dbml.estimators.solvers.newton import Solution, Solver, newton
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.estimators.solvers.run import Report, Source, run
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

_FEWER, _LEAST_FEW = 3, 2_048  # times fewer rows lead near the minimum over the sample
_PIECES = 8  # of a sample: threads take one each
_STAGE_TOL = 1.0  # one step through each wide corner: nearly a quadratic there, and the next stage looks at the value
_FEW_TOL, _SAMPLE_TOL = 0.1, 1e-2

Objectives = Sequence[Objective]


def train_over_features(model: Estimator, data: Data, features: NystroemFeatures, machines: Machines) -> Solved:
    """Train all machines over the features of landmarks.

    A machine of whose rows the sample has too few is left to Newton's method over all rows.
    """
    training = _Training(model, data, features, machines.share)
    return trained(model, features.n_out, machines, training.train)


class _Training:
    """Rows and features of a training."""

    def __init__(self, model: Estimator, data: Data, features: NystroemFeatures, share: float) -> None:
        self.model, self.data, self.m, self.packed = model, data, features.n_out, PackedFeatures(features)
        self.sample = machine_sample(data, self.m, share)
        self.few = spread_rows(self.sample, max(self.sample.n_rows // _FEWER, _LEAST_FEW))
        self.n_rows, exact = pass_rows(data)
        self.whole = exact and self.sample.n_rows == self.n_rows
        choice = "newton" if self.whole else "lbfgs, preconditioned by the Hessian of a sample"
        told = "are all there are" if self.whole else "lead near the minimum over all"
        data.plan = data.plan.decide("linear solver", choice, f"{self.sample.n_rows:,} rows in memory {told}")

    def train(self, machines: Machines, settings: Settings) -> list[Solution]:
        """Return the minimum of each machine."""
        owner, centre = type(self.model).__name__, np.zeros(self.m)
        stages = [machine_objectives(owner, self.m, centre, loss, machines) for loss in machines.losses]
        start = stages[-1][0].theta(np.zeros(self.m), np.array([machines.start]))
        tells = [_tells(self.few, reading) for reading in machines.readings]
        known, unknown = ([i for i, told in enumerate(tells) if told is wanted] for wanted in (True, False))
        found: dict[int, Solution] = {}
        for numbers, solve in ((known, self._from_sample), (unknown, self._over_all)):
            if numbers:
                part = [[stage[i] for i in numbers] for stage in stages]
                found.update(zip(numbers, solve(part, [start] * len(numbers), settings), strict=True))
        solved = [found[i] for i in range(len(tells))]
        warn_of_missed(solved, settings)
        return solved

    def _over_all(self, stages: Sequence[Objectives], starts: list[Floats], settings: Settings) -> list[Solution]:
        """Return minima by Newton's method over all rows."""
        for stage in stages[:-1]:
            starts = [one.theta for one in self._newton(self.data, stage, starts, _STAGE_TOL, settings, silent)]
        return self._newton(self.data, stages[-1], starts, settings.tol, settings, settings.report)

    def _from_sample(self, stages: Sequence[Objectives], starts: list[Floats], settings: Settings) -> list[Solution]:
        """Return minima by way of those over a sample, to whose last stage few of its rows lead."""
        rows, first = in_pieces(self.few), starts
        for number, stage in enumerate(stages, 1):
            few, tol = self._weighted(stage, self.few), _STAGE_TOL if number < len(stages) else _FEW_TOL
            starts = [one.theta for one in self._newton(rows, few, starts, tol, settings, silent)]
        rows, final = in_pieces(self.sample), self._weighted(stages[-1], self.sample)
        if self.whole:
            return self._newton(rows, final, starts, settings.tol, settings, settings.report)
        last: list[Evaluation] = []

        def keep(number: int, best: list[Evaluation]) -> None:
            last[:] = best

        found = self._newton(rows, final, starts, _SAMPLE_TOL, settings, keep)
        scale = np.ones(stages[-1][0].size)
        solvers = [
            lbfgs([one.theta, start], scale, settings.tol, settings.max_iter, _preconditioner(at))
            for one, start, at in zip(found, first, last, strict=True)
        ]
        return self._run(self.data, stages[-1], solvers, "lbfgs", settings.report)

    def _newton(
        self, rows: Source, objectives: Objectives, starts: list[Floats], tol: float, settings: Settings, report: Report
    ) -> list[Solution]:
        solvers = [newton([start], tol, settings.max_iter) for start in starts]
        return self._run(rows, objectives, solvers, "newton", report)

    def _run(
        self, rows: Source, objectives: Objectives, solvers: list[Solver], purpose: str, report: Report
    ) -> list[Solution]:
        return run(FeatureRows(rows, self.packed), objectives, solvers, purpose, report)

    def _weighted(self, objectives: Objectives, rows: Block) -> list[Objective]:
        """Return the objectives for some of the rows, with penalties as strong as over all."""
        share = max(1.0, self.n_rows / rows.n_rows)
        return [replace(one, total_weight=share * float(one.reading.weight(rows).sum())) for one in objectives]


def _tells(rows: Block, reading: RowReading) -> bool:
    """Whether some of the rows are a machine's, and of both of its classes."""
    target = reading.target(rows)[reading.weight(rows) > 0.0]
    return len(target) > 0 and (reading.positive is None or len(np.unique(target)) == 2)


def in_pieces(rows: Block) -> HeldRows:
    """Return rows in memory as a source of passes, in pieces whose number depends on nothing but the rows."""
    return HeldRows(rows, 8 * -(-rows.n_rows // _PIECES) * max(1, rows.X.shape[1]))


def _preconditioner(at: Evaluation) -> Preconditioner:
    """Return the inverse of the Hessian of an evaluation as what L-BFGS is preconditioned with."""
    assert at.hessian is not None
    hessian = at.hessian.copy()
    hessian[np.diag_indices_from(hessian)] *= 1.0 + 1e-9
    inverse = np.linalg.inv(hessian)
    return Preconditioner(lambda theta: lambda q: inverse @ q, near=True)
