"""Rows in memory that follow centres: bounds on their distances, kept from look to look, spare most of the work."""

from __future__ import annotations

import numpy as np
from dbml_kernels.centre_bounds import centres_follow
from dbml_kernels.centre_distance import SLICE

from dbml.estimators.clusters.centres import NO_ROWS, Centres
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.design import flat
from dbml.estimators.gram_step import thread_buffer
from dbml.passes.block import Block, Floats


class Tracked:
    """The sums of the rows nearest to centres that move from look to look.

    Memory: 20 bytes a row. The sums change by the rows that changed their centre, so that they are rounded otherwise
    than those of a `CentreStep`, by about 1e-16 a look.

    Parameters
    ----------
    rows : Rows

    Attributes
    ----------
    sums : ndarray of shape (n_terms, k)
    weight : ndarray of shape (k,)
    """

    def __init__(self, rows: Rows, centres: Centres) -> None:
        self.rows, self._centres = rows, centres
        k = len(centres)
        self.sums, self._totals = np.zeros((rows.n_terms, k)), np.zeros((2, k))
        self._bounds = [
            (np.full(p.n_rows, -1, np.int32), np.full(p.n_rows, np.inf), np.zeros(p.n_rows)) for p in rows.parts
        ]

    @property
    def weight(self) -> Floats:
        """Weight of the rows of each centre, exactly 0 where there are none."""
        return np.where(self._totals[1] > 0.5, self._totals[0], 0.0)

    def look(self, centres: Centres) -> None:
        """Bring the sums up to other centres."""
        drift = np.sqrt(((centres.points - self._centres.points) ** 2).sum(axis=1))
        farthest = int(np.argmax(drift))
        second = float(np.delete(drift, farthest).max(initial=0.0))
        moves = (drift, farthest, float(drift[farthest]), second)
        squares = centres.squares()

        def follow(number: int) -> tuple[Floats, Floats]:
            return self._follow(self.rows.parts[number], self._bounds[number], centres.points, squares, moves)

        for sums, totals in self.rows.each(follow):
            self.sums += sums
            self._totals += totals
        empty = self._totals[1] < 0.5
        self.sums[:, empty] = 0.0
        self._centres = centres

    def _follow(
        self, part: Block, bounds: tuple[np.ndarray, ...], points: Floats, squares: Floats, moves: tuple[object, ...]
    ) -> tuple[Floats, Floats]:
        n, d = part.X.shape
        k = len(points)
        sums, totals = np.empty((self.rows.n_terms, k)), np.empty((2, k))
        end = (d + k + 1) * SLICE
        scratch = thread_buffer(end + n)
        tile, out = scratch[: d * SLICE], scratch[d * SLICE : end].reshape(k + 1, SLICE)
        chosen = scratch[end : end + n].view(np.int64)
        weight = bounds[1] if part.weight is None else part.weight
        rows = part.sparse or NO_ROWS
        centres_follow(
            flat(part.X), n, d, points, squares, weight, part.weight is not None, *rows, *moves, *bounds,
            chosen, tile, out, sums, totals,
        )  # fmt: skip
        return sums, totals
