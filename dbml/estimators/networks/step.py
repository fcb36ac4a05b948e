"""Passes of a network: one that trains, one that judges held out rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.network_activation import LOG_LOSS, SOFTMAX, SQUARED
from dbml_kernels.network_update import (
    ADAM,
    BATCHES,
    FILLED,
    LOSS,
    MOMENTUM,
    NESTEROV,
    WEIGHT,
    Rule,
    Training,
    network_block,
    network_update,
)

from dbml.estimators.design import flat
from dbml.estimators.networks.network import Network, fixed, sparse_arrays
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import Validation
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

__all__ = ["LOG_LOSS", "SOFTMAX", "SQUARED", "NetworkStep", "Optimizer", "begun_state"]


@dataclass(frozen=True)
class Optimizer:
    """How the parameters move; see `dbml_kernels.network_update.Rule`."""

    solver: str
    rate: float
    alpha: float
    beta_1: float
    beta_2: float
    epsilon: float
    momentum: float
    nesterov: bool
    batch: int
    loss: int
    dropout: float = 0.0
    seed: int = 0

    def rule(self, network: Network) -> Rule:
        """Return the rule for the kernels."""
        adam = self.solver == "adam"
        kind = ADAM if adam else NESTEROV if self.nesterov and self.momentum > 0 else MOMENTUM
        first = self.beta_1 if adam else self.momentum
        return Rule(
            kind, float(self.rate), float(self.alpha), float(first), float(self.beta_2), float(self.epsilon),
            int(self.batch), self.loss, network.n_weights, network.n_layered, float(self.dropout), int(self.seed) << 8,
        )  # fmt: skip


def begun_state(network: Network) -> State:
    """Return the state of a training that has made no step."""
    params, n_sparse = network.params, len(network.layout.table)
    return {
        "params": params.copy(),
        "first": np.zeros_like(params),
        "second": np.zeros_like(params),
        "gradient": np.zeros_like(params),
        "seen": np.zeros(n_sparse, np.int64),
        "marked": np.zeros(n_sparse, np.uint8),
        "touched": np.zeros(n_sparse, np.int32),
        "counts": np.zeros(4, np.int64),
        "sums": np.zeros(4),
    }


class NetworkStep:
    """One epoch: a step of the optimizer for every batch of rows, across the borders of blocks.

    State: the arrays of `dbml_kernels.network_update.Training`. Chained: blocks follow one another, nothing is merged.

    Parameters
    ----------
    network : Network
        Its layout; the parameters are those of `state`.
    state : State
        What the epoch starts from.
    optimizer : Optimizer
    reading : RowReading
        Of weights.
    validation : Validation, optional
        Rows that are left out.
    """

    tolerance = 0.0
    chained = True

    def __init__(
        self,
        network: Network,
        state: State,
        optimizer: Optimizer,
        reading: RowReading,
        validation: Validation | None = None,
    ) -> None:
        self.network, self.state, self.reading, self.validation = network, state, reading, validation
        self.rule = optimizer.rule(network)
        self.work = np.zeros(network.n_work, network.params.dtype)
        self.numbers = np.zeros(8, network.params.dtype)

    def start(self) -> State:
        """Return the state the epoch starts from."""
        return {name: array.copy() for name, array in self.state.items()}

    def update(self, state: State, block: Block) -> None:
        """Go through the rows of a block."""
        weight = self.reading.weight(block)
        if self.validation is not None:
            weight[self.validation.chosen(block)] = 0.0
        mean, scale = self.network.coordinates.target
        y = (self.reading.target(block) - mean) / scale
        network_block(
            self.network.layout, self.rule, fixed(flat(block.X)), block.n_rows, sparse_arrays(block), y, weight,
            fixed(np.flatnonzero(weight > 0.0)), Training(**state), self.work, self.numbers,
        )  # fmt: skip

    def merge(self, into: State, other: State) -> State:
        """Return the later state: a chained step has one state."""
        return other

    def finish(self, state: State) -> float:
        """Make the step of the last rows, which fill no batch; return the mean loss of the epoch, penalty included."""
        if state["counts"][FILLED]:
            network_update(self.network.layout, self.rule, Training(**state), self.numbers)
        sums = state["sums"]
        weight = max(float(sums[WEIGHT]), 1e-300)
        params, rule = state["params"], self.rule
        squares = float(np.square(params[: rule.n_weights], dtype=np.float64).sum())
        squares += float(np.square(params[rule.n_dense :], dtype=np.float64).sum())
        loss = float(sums[LOSS]) / weight + 0.5 * rule.alpha * squares * float(sums[BATCHES]) / weight
        sums[:] = 0.0
        return loss


def held_out_sums(network: Network, block: Block, validation: Validation, weight: Floats, classes: bool) -> Floats:
    """Return weight and hits of the held out rows of a block, or of a number the sums that R² is made of."""
    chosen = validation.chosen(block)
    assert block.y is not None, "a supervised step sees targets"
    weight, y, outputs = weight[chosen], block.y[chosen], network.outputs(block)[chosen]
    if not classes:
        y, outputs = y - network.coordinates.target[0], outputs[:, 0] - network.coordinates.target[0]
        return np.array([weight.sum(), weight @ y, weight @ y**2, weight @ (y - outputs) ** 2])
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.0
    return np.array([weight.sum(), weight @ (predicted == y), 0.0, 0.0])
