"""Centres, and the steps that compare rows with them: sums of the rows of each centre, and rows drawn far from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.centre_distance import SLICE, centre_distances, centre_sums_add, centres_nearest
from dbml_kernels.centre_draw import draw_priorities

from dbml.estimators.design import dense_rows, flat
from dbml.estimators.gram_step import thread_buffer
from dbml.estimators.solvers.held_rows import chosen_rows
from dbml.passes.block import Block, Floats, SparseRows
from dbml.passes.step import State

Labels = np.ndarray

NO_ROWS = SparseRows(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0))


@dataclass(frozen=True)
class Centres:
    """Centres in the coordinates of blocks: centred terms, dense ones divided by a scale where there is one.

    Attributes
    ----------
    points : ndarray of shape (n_centres, n_terms)
        The centres, in scaled coordinates.
    n_dense : int
        Dense terms.
    inverse : ndarray of shape (n_dense,) or None
        What dense terms are multiplied by; None: they are taken as they are.
    """

    points: Floats
    n_dense: int
    inverse: Floats | None = None

    def __len__(self) -> int:
        return len(self.points)

    def at(self, points: Floats) -> Centres:
        """Return other centres in the same coordinates."""
        return Centres(np.ascontiguousarray(points), self.n_dense, self.inverse)

    def plain(self) -> Centres:
        """Return the centres for rows that are scaled already."""
        return Centres(self.points, self.n_dense)

    def scaled(self, block: Block) -> Block:
        """Return the rows of a block in the coordinates of the centres."""
        if self.inverse is None:
            return block
        X = np.multiply(block.X, self.inverse, out=np.empty(block.X.shape, order="F"))
        return Block(X, block.sparse, block.y, block.weight, block.start)

    def unscaled(self) -> Floats:
        """Return the centres in the units of the terms, still about the centre of the encoding."""
        points = self.points.copy()
        if self.inverse is not None:
            points[:, : self.n_dense] /= self.inverse
        return points

    # of scaled rows ----------------------------------------------------------------------------------------------

    def nearest(self, block: Block) -> tuple[Labels, Floats]:
        """Return the number of the nearest centre of each scaled row, int32, and the squared distance to it."""
        label, best = np.zeros(block.n_rows, np.int32), np.zeros(block.n_rows)
        self.label(block, 0, block.n_rows, label, best)
        return label, best

    def label(self, block: Block, start: int, stop: int, label: Labels, best: Floats) -> None:
        """Write `nearest` of the rows from `start` to `stop`."""
        n, d = block.X.shape
        rows = block.sparse or NO_ROWS
        into = (self._scratch(), label, best)
        centres_nearest(flat(block.X), n, start, stop, d, self.points, self.squares(), *rows, *into)

    def squares_to(self, block: Block) -> Floats:
        """Return the squared distance of each scaled row to each centre, shape (n_centres, n)."""
        n, d = block.X.shape
        found = np.zeros((len(self), n))
        rows = block.sparse or NO_ROWS
        centre_distances(flat(block.X), n, d, self.points, self.squares(), *rows, self._scratch(), found)
        return found

    def means(self, sums: Floats, weight: Floats) -> Floats:
        """Return the means of rows from sums (n_terms, n_centres), where they weigh anything, else the centres."""
        points = self.points.copy()
        used = weight > 0.0
        points[used] = (sums[:, used] / weight[used]).T
        return points

    def squares(self) -> Floats:
        """Return the sum of the squares of the sparse terms of each centre."""
        tail = self.points[:, self.n_dense :]
        return np.einsum("kj,kj->k", tail, tail)

    def _scratch(self) -> Floats:
        return thread_buffer((len(self) + 1) * SLICE)[: (len(self) + 1) * SLICE].reshape(len(self) + 1, SLICE)


class CentreStep:
    """One look at all rows from some centres: sums, weight and distances of the rows nearest to each.

    State: ``sums`` (n_terms, k) of ``w x``, scaled; ``totals`` (3, k): weight, squared distances, distances.

    Parameters
    ----------
    centres : Centres
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, centres: Centres) -> None:
        self.centres = centres

    def start(self) -> State:
        """Return the state of no rows."""
        k, n_terms = self.centres.points.shape
        return {"sums": np.zeros((n_terms, k)), "totals": np.zeros((3, k))}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        block = self.centres.scaled(block)
        label, best = self.centres.nearest(block)
        add_sums(block, 0, block.n_rows, label, best, state)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["sums"] += other["sums"]
        into["totals"] += other["totals"]
        return into


def add_sums(block: Block, start: int, stop: int, label: Labels, best: Floats, state: State) -> None:
    """Add the scaled rows from `start` to `stop` to a state of `CentreStep`."""
    n, d = block.X.shape
    weight = best if block.weight is None else block.weight
    rows = block.sparse or NO_ROWS
    given = (label, best, weight, block.weight is not None)
    centre_sums_add(flat(block.X), n, start, stop, d, *given, *rows, state["sums"], state["totals"])


class WeightedDrawStep:
    """Rows drawn at random, in proportion to weight times squared distance to the nearest of some centres.

    Without centres in proportion to the weight. Rows at a distance of 0 are never drawn.

    State: ``priorities`` (n,) descending, 0 where no row was drawn; ``rows`` (n, n_terms), scaled like the centres.

    Parameters
    ----------
    centres : Centres
    n : int
        Rows to draw.
    seed : int
    """

    # Distances are rounded otherwise at the end of a block.
    tolerance = 1e-9
    chained = False

    def __init__(self, centres: Centres, n: int, seed: int) -> None:
        self.centres, self.n, self.seed = centres, n, seed

    def start(self) -> State:
        """Return the state of no rows."""
        return {"priorities": np.zeros(self.n), "rows": np.zeros((self.n, self.centres.points.shape[1]))}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if block.n_rows == 0:
            return
        block = self.centres.scaled(block)
        best = self.centres.nearest(block)[1] if len(self.centres) else np.ones(block.n_rows)
        weight = best if block.weight is None else block.weight
        priorities = np.empty(block.n_rows)
        draw_priorities(max(block.start, 0), self.seed, best, weight, block.weight is not None, priorities)
        first = np.arange(block.n_rows)
        if block.n_rows > self.n:
            first = np.sort(np.argpartition(-priorities, self.n - 1)[: self.n])
        first = first[priorities[first] > 0.0]
        rows = dense_rows(chosen_rows(block, first), state["rows"].shape[1])
        self.merge(state, {"priorities": priorities[first], "rows": rows})

    def merge(self, into: State, other: State) -> State:
        """Keep the largest priorities."""
        priorities = np.concatenate([into["priorities"], other["priorities"]])
        order = np.argsort(-priorities, kind="stable")[: self.n]
        into["rows"][:] = np.concatenate([into["rows"], other["rows"]])[order]
        into["priorities"][:] = priorities[order]
        return into

    @staticmethod
    def drawn(state: State) -> Floats:
        """Return the rows of a state, as many as were drawn."""
        return state["rows"][state["priorities"] > 0.0]
