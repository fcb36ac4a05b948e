"""Which coefficients an l1 penalty holds at 0, told by the mean slope of the loss: averages only come near.

At the minimum a coefficient is 0 exactly where the derivative of the mean loss is within the strength of the penalty.
Close to it, one proximal step from the averages tells the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.sgd import loss_slopes
from numpy.typing import NDArray

from dbml.estimators.design import times, transposed
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import LOSSES, Coordinates, Schedule, Validation
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.step import State


@dataclass(frozen=True)
class SlopeStep:
    """Sums of the slopes of the loss by coefficients (k, n_terms) over centred terms.

    State: ``gradient`` (k, n_terms); ``slopes`` (k,); ``rows`` (1,) of positive weight.
    """

    coef: Floats
    intercept: Floats
    loss: str
    epsilon: float
    reading: RowReading
    validation: Validation | None

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def start(self) -> State:
        """Return the state of no rows."""
        return {"gradient": np.zeros_like(self.coef), "slopes": np.zeros(len(self.coef)), "rows": np.zeros(1)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        weight, y = self.reading.weight(block), self.reading.target(block)
        if self.validation is not None:
            weight[self.validation.chosen(block)] = 0.0
        out, own_weights = np.empty(block.n_rows), self.reading.own_weights(len(self.coef))
        for c, row in enumerate(self.coef):
            target, w = y, weight
            if len(self.coef) > 1:
                own = y == c
                target, w = np.where(own, 1.0, -1.0), np.where(own, own_weights[c] * weight, weight)
            loss_slopes(LOSSES[self.loss], self.epsilon, times(block, row, float(self.intercept[c])), target, w, out)
            state["gradient"][c] += transposed(block, out, len(row))
            state["slopes"][c] += out.sum()
        state["rows"] += np.count_nonzero(weight)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name in into:
            into[name] += other[name]
        return into


def useless_terms(
    data: Data,
    coef: Floats,
    intercept: Floats,
    coordinates: Coordinates,
    schedule: Schedule,
    reading: RowReading,
    validation: Validation | None,
    curvature: float,
) -> NDArray[np.bool_]:
    """Return which coefficients the l1 penalty holds at 0, shape (k, n_terms); one pass.

    Parameters
    ----------
    data : Data
    coef, intercept : ndarray of shape (k, n_terms) and (k,)
        The model, over centred terms.
    coordinates, schedule, reading, validation
        Those of the descent.
    curvature : float
        Largest second derivative of the loss.
    """
    step = SlopeStep(coef, intercept, schedule.loss, schedule.epsilon, reading, validation)
    (state,) = data.fold(step, purpose="useless terms")
    gradient = (state["gradient"] + np.outer(state["slopes"], coordinates.offset)) / max(1.0, float(state["rows"][0]))
    gradient += schedule.alpha * (1.0 - schedule.l1_ratio) * coef
    size = curvature / coordinates.inverse**2
    return np.asarray(np.abs(size * coef - gradient) <= schedule.alpha * schedule.l1_ratio)
