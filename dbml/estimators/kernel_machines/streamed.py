"""Kernel machines of many rows: features of landmarks, and a linear support vector machine over them.

The hinge has its corner rounded, so that Newton's method needs few passes over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.estimators.design import times
from dbml.estimators.kernel_machines.exact import N_FOLDS
from dbml.estimators.kernel_machines.feature_data import FeatureData
from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Vectors
from dbml.estimators.kernel_machines.platt import fit_sigmoid
from dbml.estimators.kernel_machines.row_steps import drawn_rows
from dbml.estimators.losses import Loss
from dbml.estimators.penalties import Penalty
from dbml.estimators.quadratic import row_count
from dbml.estimators.solvers.held_rows import HeldRows, chosen_rows
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.minimise import Settings, minimise, training_sample
from dbml.estimators.solvers.newton import newton
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.estimators.solvers.run import run
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.step import State

_IN_FLIGHT = 8  # states of blocks that exist at a time
_LEAST_SAMPLE, _ROWS_PER_TERM = 8_192, 32
_MOST_PASSES = 100
_PASS_TOL = 1e-3  # the rounded corner is farther from the hinge than a smaller one would bring it


@dataclass(frozen=True)
class PairReading(RowReading):
    """Reads the rows of two classes only; `negative` counts as -1."""

    negative: int = 0

    def weight(self, block: Block) -> Floats:
        """Return the weights of the rows, 0 for those of other classes."""
        weight = RowReading.weight(self, block)
        weight[(block.y != self.positive) & (block.y != self.negative)] = 0.0
        return weight


class Machines(NamedTuple):
    """Linear machines that are trained together.

    Attributes
    ----------
    losses : sequence of Loss
        Each smoother than the next; the last is wanted.
    readings : sequence of RowReading
        One per machine.
    C : float
    start : float
        First intercept.
    """

    losses: Sequence[Loss]
    readings: Sequence[RowReading]
    C: float
    start: float


class Solved(NamedTuple):
    """Coefficients (n_outputs, n_features), intercepts over centred features, steps of each, whether all converged."""

    coef: Floats
    intercept: Floats
    steps: list[int]
    converged: bool


def drawn_landmarks(drawn: State, kernel: KernelFunction, centre: Floats, owner: str) -> Vectors:
    """Return the rows that a `DrawStep` drew as the kernel sees them."""
    rows, _ = drawn_rows(drawn)
    if not len(rows):
        raise InvalidData(f"{owner}: there are no rows of positive weight to learn from")
    origin = kernel.origin(centre)
    return Vectors(rows + origin, origin, kernel)


def machine_sample(data: Data, share: float = 1.0) -> Block:
    """Return some rows with their features in memory, at most a share of all."""
    most = max(_LEAST_SAMPLE, _ROWS_PER_TERM * data.schema.encoding.n_terms)
    return data.sample(min(most, math.ceil(share * row_count(data)[0])), seed=0)


def train_machines(model: Estimator, data: Data, machines: Machines) -> Solved:
    """Train all machines, as many at a time as the states of a pass have room for.

    Features of at most half of the rows are held in memory: a pass over values of the kernel sees all of them.
    """
    m = data.schema.encoding.n_terms + 2
    together = max(1, memory_budget().blocks // (_IN_FLIGHT * 8 * m * m))
    sample = machine_sample(data, 0.5) if isinstance(data, FeatureData) else training_sample(data)
    coefs, intercepts, steps, converged = [], [], [], True
    for first in range(0, len(machines.readings), together):
        part = machines._replace(readings=machines.readings[first : first + together])
        stages = [_objectives(model, data, loss, part) for loss in machines.losses]
        start = stages[-1][0].theta(np.zeros(m - 2), np.array([machines.start]))

        def report(number: int, best: list[Evaluation]) -> None:
            model._iteration(number, loss=sum(e.value for e in best) / len(best))

        settings = Settings("auto", _PASS_TOL, _MOST_PASSES, type(model).__name__, report)
        for objective, solution in zip(
            stages[-1], minimise(data, sample, stages, [start for _ in part.readings], settings), strict=True
        ):
            coef, intercept, _ = objective.split(solution.theta)
            coefs.append(coef[0])
            intercepts.append(float(intercept[0]))
            steps.append(max(1, int(solution.iterations)))
            converged = converged and solution.converged
    return Solved(np.array(coefs), np.array(intercepts), steps, converged)


def _objectives(model: Estimator, data: Data, loss: Loss, machines: Machines) -> list[Objective]:
    encoding, penalty = data.schema.encoding, Penalty(l2=1.0 / machines.C, per_sum=True)
    centre, owner = np.array(encoding.centre()), type(model).__name__
    return [
        Objective(loss, penalty, encoding.n_terms, centre, True, reading, owner=owner) for reading in machines.readings
    ]


def held_out_curves(model: Estimator, data: Data, machines: Machines, seed: int) -> list[tuple[float, float]]:
    """Return A and B of Platt's curve for each machine, from decisions on rows of a sample held out of five folds."""
    sample = machine_sample(data)
    fold = np.random.RandomState(seed).permutation(sample.n_rows) % N_FOLDS
    objectives = _objectives(model, data, machines.losses[-1], machines)
    curves = []
    for objective in objectives:
        weight, target = objective.reading.weight(sample), objective.reading.target(sample)
        rows = np.flatnonzero(weight > 0.0)
        decision = np.zeros(sample.n_rows)
        for k in range(N_FOLDS):
            train, held = rows[fold[rows] != k], rows[fold[rows] == k]
            if len(np.unique(target[train])) < 2:
                decision[held] = np.sign(target[train].sum())
                continue
            coef, intercept = _solved_on(objective, chosen_rows(sample, train), float(weight.sum()))
            decision[held] = times(chosen_rows(sample, held), coef) + intercept
        curves.append(fit_sigmoid(decision[rows], target[rows] > 0.0, weight[rows]))
    return curves


def _solved_on(objective: Objective, rows: Block, total: float) -> tuple[Floats, float]:
    """Return coefficients and intercept of rows in memory, penalised as rows of that total weight are."""
    moved = replace(objective, total_weight=total)
    start = moved.theta(np.zeros(moved.n_terms), np.zeros(1))
    (found,) = run(HeldRows(rows), [moved], [newton([start], 1e-2, 50)], "folds", lambda number, best: None)
    coef, intercept, _ = moved.split(found.theta)
    return coef[0], float(intercept[0])
