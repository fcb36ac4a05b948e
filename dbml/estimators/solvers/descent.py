"""Epochs of stochastic gradient descent: learning rates without tuning, when to stop, what is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbml.errors import ConvergenceWarning
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import Coordinates, Schedule, SgdStep, Validation
from dbml.estimators.solvers.useless_terms import useless_terms
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses
from dbml.passes.schema import Statistics
from dbml.passes.step import Sequential, Shuffled, State

MINIBATCHES = ExpectedPasses("some", "each goes through the rows in minibatches, until the loss no longer falls")

# Largest curvature of each loss; those without a bound that matters have 1.
_CURVATURE = {"log_loss": 0.25, "squared_hinge": 2.0, "modified_huber": 2.0, "squared_epsilon_insensitive": 2.0}
_FIRST, _DECAY = 0.5, 30.0  # of the default rates; within a factor of 3 of the best on every table tried
_SMALLEST_RATE = 1e-6  # where "adaptive" ends


def epochs_at_most(max_iter: int) -> ExpectedPasses:
    """Return the passes of a descent by epochs."""
    reason = "each epoch is one, until the loss no longer falls"
    return ExpectedPasses(f"at most {max_iter:,}", reason, however_few=True)


class Epochs(NamedTuple):
    """When to stop.

    `score` returns how good coefficients and centred intercepts are on the held out rows (early stopping), larger is
    better; None: the mean loss of an epoch, each row judged before the step it causes, decides.
    `relative`: `tol` is a share of the loss, because the target has a unit.
    """

    max_iter: int
    tol: float | None
    n_iter_no_change: int
    shuffle: bool
    seed: int
    validation: Validation | None
    score: Callable[[Data, Floats, Floats], float] | None
    relative: bool = False


def default_rates(loss: str, epsilon: float, squared_norm: float, spread: float) -> tuple[float, float]:
    """Return base and decay of the default schedule, ``base / sqrt(1 + t / decay)``.

    The first step goes a third of the way to the minimum of its row; rates fall from some dozens of rows a parameter
    on.
    Losses with bounded slope move in units of the spread of the target.

    Parameters
    ----------
    loss, epsilon
        See `Schedule`.
    squared_norm : float
        Mean squared norm of the standardised terms of a row.
    spread : float
        Standard deviation of the target, 1 for classes.
    """
    unit = 1.0
    if loss == "epsilon_insensitive":
        unit = spread
    elif loss == "huber":
        unit = max(1.0, spread / max(epsilon, 1e-300))
    return _FIRST * unit / (_CURVATURE.get(loss, 1.0) * squared_norm), _DECAY * squared_norm


def mean_squared_norm(coordinates: Coordinates, statistics: Statistics) -> float:
    """Return the mean squared norm of a row in standardised terms, the intercept's 1 included."""
    square = statistics.scale**2 + (statistics.mean + coordinates.offset) ** 2
    return coordinates.intercept_step + float(square @ coordinates.inverse**2) or 1.0


def optimal_start(loss: str, epsilon: float, alpha: float) -> float:
    """Return t0 of Bottou's schedule ``1 / (alpha (t0 + t))``: the first step is about one typical coefficient."""
    typical = np.sqrt(1.0 / np.sqrt(alpha))
    slope = typical if loss in ("squared_error", "squared_hinge", "squared_epsilon_insensitive") else 1.0
    first = typical / max(1.0, epsilon if loss == "huber" else slope)
    return 1.0 / (first * alpha)


@dataclass
class SgdDescent:
    """Runs epochs from a state, and keeps the best.

    Attributes
    ----------
    coordinates, schedule, reading
        See `SgdStep`.
    report : callable
        Called after every epoch with its number, its mean loss and the state.
    owner : str
        Whom messages name.
    useless : ndarray of bool, shape (k, n_terms), or None
        After `run`: coefficients that the l1 penalty holds at 0.
    """

    coordinates: Coordinates
    schedule: Schedule
    reading: RowReading
    report: Callable[[int, float, State], None]
    owner: str
    useless: NDArray[np.bool_] | None = field(default=None, init=False)

    def model(self, state: State) -> tuple[Floats, Floats]:
        """Return coefficients (k, n_terms) and centred intercepts (k,) of a state: the averages, if there are any."""
        averaged = state["totals"][3] > 0.0
        coef = state["average" if averaged else "coef"]
        intercept = state["average_intercept" if averaged else "intercept"]
        if self.useless is not None:
            coef = np.where(self.useless, 0.0, coef)
        return self.coordinates.to_raw(coef, intercept)

    def epoch(self, data: Data, state: State, number: int, epochs: Epochs) -> tuple[State, float]:
        """Return the state after one pass over the rows, and the mean loss on the way."""
        step = SgdStep(state, self.coordinates, self.schedule, self.reading, epochs.validation)
        order = Shuffled(epochs.seed, number) if epochs.shuffle else Sequential()
        (after,) = data.fold(step, order=order, purpose=f"epoch {number + 1}")
        loss = float(after["totals"][0] / max(after["totals"][1], 1e-300))
        after["totals"][:2] = 0.0
        return after, loss

    def run(self, data: Data, state: State, epochs: Epochs) -> tuple[State, int]:
        """Return the final state and the number of epochs; with l1, a pass more finds what is exactly 0."""
        state, number = self._epochs(data, state, epochs)
        if self.schedule.alpha * self.schedule.l1_ratio > 0.0:
            curvature = _CURVATURE.get(self.schedule.loss, 1.0)
            self.useless = useless_terms(
                data, *self.model(state), self.coordinates, self.schedule, self.reading, epochs.validation, curvature
            )
        return state, number

    def _epochs(self, data: Data, state: State, epochs: Epochs) -> tuple[State, int]:
        best, waited, kept = np.inf, 0, state
        for number in range(epochs.max_iter):
            state, loss = self.epoch(data, state, number, epochs)
            judged = loss
            if epochs.score is not None:
                judged = -epochs.score(data, *self.model(state))
            unit = abs(best) if epochs.relative and np.isfinite(best) else 1.0
            waited = waited + 1 if epochs.tol is not None and judged > best - epochs.tol * unit else 0
            if epochs.score is None or judged < best:
                kept = state
            best = min(best, judged)
            self.report(number + 1, loss, kept)
            if waited >= epochs.n_iter_no_change:
                if self.schedule.kind != "adaptive" or self.schedule.base <= _SMALLEST_RATE:
                    return kept, number + 1
                self.schedule = replace(self.schedule, base=self.schedule.base / 5.0)
                waited = 0
        if epochs.tol is not None:
            message = f"{self.owner}: stopped after max_iter={epochs.max_iter} epochs, while the loss was still falling"
            warnings.warn(message, ConvergenceWarning, stacklevel=8)
        return kept, epochs.max_iter


def held_out_score(
    data: Data, coef: Floats, intercept: Floats, reading: RowReading, validation: Validation, classes: bool
) -> float:
    """Return accuracy (`classes`) or R² on the held out rows; one pass."""
    from dbml.estimators.design import times

    def sums(block: Block) -> Floats:
        chosen = validation.chosen(block)
        weight, y = reading.weight(block)[chosen], reading.target(block)[chosen]
        etas = [times(block, row, float(c))[chosen] for row, c in zip(coef, intercept, strict=True)]
        if not classes:
            return np.array([weight.sum(), weight @ y, weight @ y**2, weight @ (y - etas[0]) ** 2])
        predicted = np.argmax(etas, axis=0) if len(etas) > 1 else np.where(etas[0] > 0.0, 1.0, -1.0)
        return np.array([weight.sum(), weight @ (predicted == y)])

    total = np.sum(list(data.map(sums, purpose="early stopping")), axis=0)
    if not total[0] > 0.0:
        return 0.0
    if classes:
        return float(total[1] / total[0])
    spread = total[2] - total[1] ** 2 / total[0]
    return float(1.0 - total[3] / spread) if spread > 0.0 else 0.0
