"""Averaged stochastic gradient descent over shuffled passes, in standardised coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels import sgd as codes
from dbml_kernels.sgd import sgd_block

from dbml.estimators.design import flat
from dbml.estimators.solvers.loss_step import RowReading
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

RUN = 16  # rows between two settlements of penalties and averages
_LEAST_SPREAD = 1e-2  # of a sparse term: rarer ones are treated as if they were this frequent

LOSSES = {
    "hinge": codes.HINGE,
    "squared_hinge": codes.SQUARED_HINGE,
    "log_loss": codes.LOG_LOSS,
    "modified_huber": codes.MODIFIED_HUBER,
    "perceptron": codes.PERCEPTRON,
    "squared_error": codes.SQUARED_ERROR,
    "huber": codes.HUBER,
    "epsilon_insensitive": codes.EPSILON_INSENSITIVE,
    "squared_epsilon_insensitive": codes.SQUARED_EPSILON_INSENSITIVE,
}
_KINDS = {"constant": 0, "adaptive": 0, "invscaling": 1, "optimal": 2, "auto": 3}


@dataclass(frozen=True)
class Coordinates:
    """Standardised terms ``v_j = (x_j + offset_j) inverse_j`` of blocks, learned once, from a sample.

    `offset` is 0 with an intercept; without one it undoes the centring of blocks, because the predictor must then be 0
    where the columns are.
    """

    offset: Floats
    inverse: Floats
    intercept_step: float

    @classmethod
    def of(cls, mean: Floats, scale: Floats, centre: Floats, n_dense: int, fit_intercept: bool) -> Coordinates:
        """Return the coordinates for means and standard deviations of centred terms."""
        offset = np.zeros(len(mean)) if fit_intercept else centre.copy()
        size = scale if fit_intercept else np.sqrt(scale**2 + (mean + offset) ** 2)
        size = np.where(size > 0.0, size, 1.0)
        size[n_dense:] = np.maximum(size[n_dense:], _LEAST_SPREAD)
        return cls(offset, 1.0 / size, float(fit_intercept))

    def to_raw(self, coef: Floats, intercept: Floats) -> tuple[Floats, Floats]:
        """Return coefficients and centred intercepts over centred terms."""
        raw = coef * self.inverse
        return raw, intercept + raw @ self.offset


@dataclass(frozen=True)
class Schedule:
    """Loss, penalty and learning rates of a descent.

    Attributes
    ----------
    loss : str
        Key of `LOSSES`.
    epsilon : float
        Parameter of the loss.
    kind : str
        "auto", "constant", "adaptive", "invscaling" or "optimal".
    base, power : float
        Parameters of the kind, see `dbml_kernels.sgd.schedule_rate`.
    alpha, l1_ratio : float
        Strength of the penalty on coefficients in the units of the columns, relative to the mean loss.
    averaging_from : float
        Rows before averaging starts; infinite for none.
    """

    loss: str
    epsilon: float
    kind: str
    base: float
    power: float
    alpha: float
    l1_ratio: float
    averaging_from: float


class SgdStep:
    """One epoch: every row moves the coefficients once.

    State: ``coef``, ``average`` (k, n_terms), ``intercept``, ``average_intercept`` (k,), in standardised coordinates;
    ``totals`` (4,) loss, weight, rows, runs averaged. Chained: blocks follow one another, nothing is merged.
    """

    tolerance = 0.0
    chained = True

    def __init__(
        self,
        state: State,
        coordinates: Coordinates,
        schedule: Schedule,
        reading: RowReading,
        validation: Validation | None = None,
    ) -> None:
        self.state, self.coordinates, self.schedule, self.reading = state, coordinates, schedule, reading
        self.validation = validation
        self.penalty = np.array(
            [
                schedule.alpha * schedule.l1_ratio * coordinates.inverse,
                schedule.alpha * (1.0 - schedule.l1_ratio) * coordinates.inverse**2,
            ]
        )
        self.rates = np.array([_KINDS[schedule.kind], schedule.base, schedule.power], float)

    def start(self) -> State:
        """Return the state the epoch starts from."""
        return {name: array.copy() for name, array in self.state.items()}

    def update(self, state: State, block: Block) -> None:
        """Go through the rows of a block."""
        n, d = block.X.shape
        weight = self.reading.weight(block)
        if self.validation is not None:
            weight[self.validation.chosen(block)] = 0.0
        if block.sparse is None:
            indptr, indices, values = np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0)
            run = RUN
        else:
            indptr, indices, values = block.sparse
            run = max(RUN, len(self.coordinates.inverse) * RUN // max(1, 4 * (d + len(values) // max(1, n))))
        sgd_block(
            flat(block.X), n, d, indptr, indices, values, self.coordinates.offset, self.coordinates.inverse,
            self.reading.target(block), weight, self.reading.own_weights(len(state["coef"])),
            LOSSES[self.schedule.loss], self.schedule.epsilon, self.coordinates.intercept_step, self.rates,
            self.penalty, run, self.schedule.averaging_from, np.empty((run, d)), state["coef"], state["intercept"],
            state["average"], state["average_intercept"], state["totals"],
        )  # fmt: skip

    def merge(self, into: State, other: State) -> State:
        """Return the later state: a chained step has one state."""
        return other


def first_state(n_outputs: int, n_terms: int) -> State:
    """Return coefficients of 0 and nothing seen."""
    return {
        "coef": np.zeros((n_outputs, n_terms)),
        "intercept": np.zeros(n_outputs),
        "average": np.zeros((n_outputs, n_terms)),
        "average_intercept": np.zeros(n_outputs),
        "totals": np.zeros(4),
    }


@dataclass(frozen=True)
class Validation:
    """A share of the rows held out, chosen by a hash of their values: in every order of the rows the same ones."""

    share: float
    seed: int

    def chosen(self, block: Block) -> np.ndarray:
        """Return which rows of a block are held out, shape (n,)."""
        first = (2 * self.seed + 1) * 0x9E3779B97F4A7C15 % 2**64
        mixed = np.full(block.n_rows, first, np.uint64)
        columns: list[np.ndarray] = [block.X[:, j] for j in range(block.X.shape[1])]
        if block.y is not None:
            columns.append(block.y)
        if block.sparse is not None:
            lengths = np.diff(block.sparse.indptr)
            rows = np.repeat(np.arange(block.n_rows), lengths)
            columns.append(np.bincount(rows, np.sqrt(block.sparse.indices + 2.0) * block.sparse.values, block.n_rows))
        for column in columns:
            mixed ^= np.ascontiguousarray(column).view(np.uint64) + (mixed >> np.uint64(29))
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
        return (mixed >> np.uint64(11)).astype(float) < self.share * 2.0**53
