"""Kernel machines of many rows: linear support vector machines, over terms or over features of landmarks.

The hinge has its corner rounded, so that Newton's method needs few passes over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.base import Estimator
from dbml.estimators.kernel_machines.kernel_function import KernelFunction, Vectors
from dbml.estimators.kernel_machines.row_steps import HashedDrawStep
from dbml.estimators.losses import Loss
from dbml.estimators.penalties import Penalty
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.minimise import Settings, minimise, training_sample
from dbml.estimators.solvers.newton import Solution
from dbml.estimators.solvers.objective import Evaluation, Objective
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.step import State

IN_FLIGHT = 8  # states of blocks, and of pieces of a sample, that exist at a time
_LEAST_SAMPLE, _MOST_SAMPLE, _ROWS_PER_TERM = 8_192, 262_144, 32
_SAMPLE_BYTES = 64 << 20
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
    share : float
        What part of the rows one machine sees, about.
    """

    losses: Sequence[Loss]
    readings: Sequence[RowReading]
    C: float
    start: float
    share: float = 1.0


class Solved(NamedTuple):
    """Coefficients (n_outputs, n_features), intercepts over centred features, steps of each, whether all converged."""

    coef: Floats
    intercept: Floats
    steps: list[int]
    converged: bool


def drawn_landmarks(drawn: State, kernel: KernelFunction, centre: Floats, owner: str) -> Vectors:
    """Return the rows that a `HashedDrawStep` drew as the kernel sees them."""
    rows, _ = HashedDrawStep.drawn(drawn)
    if not len(rows):
        raise InvalidData(f"{owner}: there are no rows of positive weight to learn from")
    origin = kernel.origin(centre)
    return Vectors(rows + origin, origin, kernel)


def machine_sample(data: Data, n_terms: int, share: float = 1.0) -> Block:
    """Return some rows, as many as tell the minimum of machines over that many terms which each see a share of them."""
    wanted = max(_LEAST_SAMPLE, math.ceil(_ROWS_PER_TERM * n_terms / share))
    room = min(_SAMPLE_BYTES, memory_budget().kept // 4) // (8 * (data.schema.encoding.n_dense + 16))
    return data.sample(min(wanted, _MOST_SAMPLE, max(1_000, room)), seed=0)


def train_over_terms(model: Estimator, data: Data, machines: Machines) -> Solved:
    """Train all machines over the terms of the rows."""
    n_terms = data.schema.encoding.n_terms
    sample, centre = training_sample(data), np.array(data.schema.encoding.centre())

    def train(part: Machines, settings: Settings) -> list[Solution]:
        stages = [machine_objectives(type(model).__name__, n_terms, centre, loss, part) for loss in part.losses]
        start = stages[-1][0].theta(np.zeros(n_terms), np.array([part.start]))
        return minimise(data, sample, stages, [start for _ in part.readings], settings)

    return trained(model, n_terms, machines, train)


def trained(
    model: Estimator, n_terms: int, machines: Machines, train: Callable[[Machines, Settings], list[Solution]]
) -> Solved:
    """Train machines, as many at a time as the states of a pass have room for."""
    together = max(1, memory_budget().blocks // (IN_FLIGHT * 8 * (n_terms + 2) ** 2))
    solutions: list[Solution] = []

    def report(number: int, best: list[Evaluation]) -> None:
        model._iteration(number, loss=sum(e.value for e in best) / len(best))

    settings = Settings("auto", _PASS_TOL, _MOST_PASSES, type(model).__name__, report)
    for first in range(0, len(machines.readings), together):
        part = machines._replace(readings=machines.readings[first : first + together])
        solutions += train(part, settings)
    theta = np.array([one.theta for one in solutions])
    steps = [max(1, int(one.iterations)) for one in solutions]
    return Solved(theta[:, :-1], theta[:, -1], steps, all(one.converged for one in solutions))


def silent(number: int, best: list[Evaluation]) -> None:
    """Report nothing: passes over a sample are not counted."""


def machine_objectives(owner: str, n_terms: int, centre: Floats, loss: Loss, machines: Machines) -> list[Objective]:
    """Return the objective of each machine."""
    penalty = Penalty(l2=1.0 / machines.C, per_sum=True)
    return [Objective(loss, penalty, n_terms, centre, True, reading, owner=owner) for reading in machines.readings]
