"""Epochs of a network: learning rates, when to stop, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.networks.network import Network
from dbml.estimators.networks.step import NetworkStep, Optimizer, held_out_sums
from dbml.estimators.solvers.loss_step import RowReading
from dbml.estimators.solvers.sgd import Validation
from dbml.passes.data import Data
from dbml.passes.step import Sequential, Shuffled, State

_SMALLEST_RATE = 1e-6  # where "adaptive" ends


@dataclass
class History:
    """What the epochs showed.

    Attributes
    ----------
    losses, scores : list of float
        Mean loss of each epoch, and score on the held out rows (early stopping).
    best_loss, best_score : float
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf


@dataclass
class NetworkDescent:
    """Runs epochs from a state, and keeps the best.

    Attributes
    ----------
    owner : str
        Whom messages name.
    network : Network
    optimizer : Optimizer
    reading : RowReading
    learning_rate : {"constant", "invscaling", "adaptive"}
    power_t : float
        Exponent of "invscaling".
    max_iter, tol, n_iter_no_change, shuffle, seed
        As hyperparameters.
    validation : Validation or None
        Held out rows (early stopping).
    classes : bool
        Whether the score is accuracy, else R².
    history : History
        Of earlier fits too where training goes on.
    report : callable
        Called after every epoch with its number and the state to keep.
    """

    owner: str
    network: Network
    optimizer: Optimizer
    reading: RowReading
    learning_rate: str
    power_t: float
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    shuffle: bool
    seed: int
    validation: Validation | None
    classes: bool
    history: History
    report: Callable[[int, State], None]

    def epoch(self, data: Data, state: State, number: int) -> State:
        """Return the state after one pass over the rows."""
        step = NetworkStep(self.network, state, self.optimizer, self.reading, self.validation)
        order = Shuffled(self.seed, number) if self.shuffle else Sequential()
        (after,) = data.fold(step, order=order, purpose=f"epoch {number + 1}")
        self.history.losses.append(step.finish(after))
        return after

    def run(self, data: Data, state: State) -> tuple[State, int, bool]:
        """Return the final state, the number of epochs and whether they were enough."""
        history, first, waited, kept, rows = self.history, self.optimizer.rate, 0, state, 0
        tol = -np.inf if self.tol is None else self.tol  # then every epoch counts as better
        for number in range(self.max_iter):
            state = self.epoch(data, state, number)
            if self.validation is None:
                loss = history.losses[-1]
                better = not loss > history.best_loss - tol
                history.best_loss, kept = min(history.best_loss, loss), state
            else:
                score = self._score(data, state)
                better = not score < history.best_score + tol
                if score > history.best_score:
                    kept, history.best_score = state, score
                history.scores.append(score)
            waited = 0 if better else waited + 1
            self.report(number + 1, kept)
            rows = int(state["counts"][3])
            if self.optimizer.solver == "sgd" and self.learning_rate == "invscaling":
                self.optimizer = replace(self.optimizer, rate=first / (rows + 1.0) ** self.power_t)
            if waited > self.n_iter_no_change:
                adaptive = self.optimizer.solver == "sgd" and self.learning_rate == "adaptive"
                if not adaptive or self.optimizer.rate <= _SMALLEST_RATE:
                    return kept, number + 1, True
                self.optimizer = replace(self.optimizer, rate=self.optimizer.rate / 5.0)
                waited = 0
        return kept, self.max_iter, False

    def _score(self, data: Data, state: State) -> float:
        """Return accuracy or R² on the held out rows; one pass."""
        network, validation = self.network.moved(state["params"]), self.validation
        assert validation is not None, "there are held out rows"
        sums = data.map(
            lambda block: held_out_sums(network, block, validation, self.reading.weight(block), self.classes),
            purpose="early stopping",
        )
        total, first, squares, residual = np.sum(list(sums), axis=0)
        if not total > 0.0:
            raise InvalidData(
                f"{self.owner}: early_stopping needs held out rows; validation_fraction={validation.share:g} of these "
                "rows are none. Raise it, or leave early_stopping out"
            )
        if self.classes:
            return float(first / total)
        spread = squares - first**2 / total
        return float(1.0 - residual / spread) if spread > 0.0 else 0.0
