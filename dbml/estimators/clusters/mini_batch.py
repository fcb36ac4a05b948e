"""Mini-batches: centres move by each batch of rows, less and less. Sculley 2010."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbml.estimators.clusters.centres import Centres, add_sums
from dbml.estimators.design import dense_rows
from dbml.estimators.solvers.held_rows import chosen_rows
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

# Entries of the state's `progress`.
STEPS, SINCE, MEAN, LOWEST, WORSE, STOPPED = range(6)


@dataclass(frozen=True)
class Batches:
    """How batches are taken, and when to stop.

    Attributes
    ----------
    size : int
        Rows of a batch; one at the end of a block may have fewer.
    n_rows : int
        Rows of an epoch, for the average of the losses; 0: never stop.
    tol : float
        Sum of the squared shifts of the centres, averaged like the losses, below which it stops; 0: not asked.
    max_no_improvement : int or None
        Batches in a row without a lower average loss, after which it stops.
    reassignment_ratio : float
        Centres of less than this share of the largest weight start anew.
    seed : int
    """

    size: int
    n_rows: int
    tol: float
    max_no_improvement: int | None
    reassignment_ratio: float
    seed: int


class MiniBatchStep:
    """Rows in batches: each centre becomes the mean of all rows of all batches that were nearest to it.

    State: ``points`` (k, n_terms); ``weight`` (k,); ``progress`` (6,): batches seen, rows since centres started anew,
    mean loss, lowest mean loss, batches without improvement, 1 where it has stopped.

    Parameters
    ----------
    centres : Centres
        Where to begin.
    weight : ndarray of shape (k,)
        What the centres are the mean of already.
    progress : ndarray of shape (6,)
    batches : Batches
    """

    tolerance = 0.0
    chained = True

    def __init__(self, centres: Centres, weight: Floats, progress: Floats, batches: Batches) -> None:
        self.centres, self.weight, self.progress, self.batches = centres, weight, progress, batches

    def start(self) -> State:
        """Return the state to begin with."""
        return {"points": self.centres.points.copy(), "weight": self.weight.copy(), "progress": self.progress.copy()}

    def update(self, state: State, block: Block) -> None:
        """Go through the batches of a block, until it stops."""
        if state["progress"][STOPPED]:
            return
        block = self.centres.scaled(block)
        label, best = np.zeros(block.n_rows, np.int32), np.zeros(block.n_rows)
        for start in range(0, block.n_rows, self.batches.size):
            stop = min(start + self.batches.size, block.n_rows)
            self._batch(state, block, start, stop, label, best)
            if state["progress"][STOPPED]:
                return

    def merge(self, into: State, other: State) -> State:
        """A chained state is never merged."""
        raise NotImplementedError

    def _batch(self, state: State, block: Block, start: int, stop: int, label: np.ndarray, best: Floats) -> None:
        points, weight, progress = state["points"], state["weight"], state["progress"]
        k, n_terms = points.shape
        self.centres.at(points).label(block, start, stop, label, best)
        found = {"sums": np.zeros((n_terms, k)), "totals": np.zeros((3, k))}
        add_sums(block, start, stop, label, best, found)
        more, squares = found["totals"][0], found["totals"][1].sum()
        if not more.any():
            return
        weight += more
        used = more > 0.0
        before = points.copy()
        points[used] += (found["sums"].T[used] - more[used, None] * points[used]) / weight[used, None]
        progress[STEPS] += 1
        progress[SINCE] += stop - start
        if (weight == 0.0).any() or progress[SINCE] >= 10 * k:
            progress[SINCE] = 0.0
            self._start_anew(state, block, start, stop)
        if self.batches.n_rows:
            self._judge(progress, squares / more.sum(), stop - start, float(((points - before) ** 2).sum()))

    def _start_anew(self, state: State, block: Block, start: int, stop: int) -> None:
        """Move the centres of little weight to rows of the batch."""
        points, weight = state["points"], state["weight"]
        little = np.flatnonzero(weight < self.batches.reassignment_ratio * weight.max())
        used = np.arange(start, stop)
        if block.weight is not None:
            used = used[block.weight[start:stop] > 0.0]
        most = min(len(little), len(used) // 2)
        if most == 0:
            return
        moved = little[np.argsort(weight[little], kind="stable")[:most]]
        generator = np.random.default_rng([self.batches.seed, int(state["progress"][STEPS])])
        points[moved] = dense_rows(chosen_rows(block, generator.choice(used, most, replace=False)), points.shape[1])
        rest = np.delete(weight, moved)
        weight[moved] = rest.min(initial=np.inf) if len(rest) else 0.0

    def _judge(self, progress: Floats, loss: float, size: int, shift: float) -> None:
        """Average the loss, and stop where it does not fall any more or the centres hardly move."""
        batches = self.batches
        if progress[STEPS] == 1:  # the loss of where it started says nothing
            return
        share = min(2.0 * size / (batches.n_rows + 1), 1.0)
        first = progress[STEPS] == 2
        progress[MEAN] = loss if first else (1.0 - share) * progress[MEAN] + share * loss
        if batches.tol > 0.0 and shift <= batches.tol:
            progress[STOPPED] = 1.0
        if first or progress[MEAN] < progress[LOWEST]:
            progress[LOWEST] = progress[MEAN]
            progress[WORSE] = 0.0
        else:
            progress[WORSE] += 1
        if batches.max_no_improvement is not None and progress[WORSE] >= batches.max_no_improvement:
            progress[STOPPED] = 1.0
