"""Blockwise orthogonal decomposition: each block becomes a triangle, and two triangles become one.

Rows never leave where they lie, only triangles do. Nothing is squared, so that small singular values keep their digits
(Demmel, Grigori, Hoemmen & Langou 2012, communication-optimal QR).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbml.estimators.design import dense_rows
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

_TILE = 256  # rows that are decomposed at once, at least
_NARROW = 100  # terms up to which tiles are small enough


class TriangleStep:
    """R of ``diag(sqrt w) [1 X] = Q R``, with a diagonal that is not negative.

    The column of ones comes first: what is below the first row of R belongs to the rows about their mean, whatever the
    mean turns out to be. Cost: 2 n p^2 multiplications, and 4 p^3 / 3 for each block that is merged.

    State: ``triangle`` (n_terms + 1, n_terms + 1); ``count`` (1,) rows of positive weight.

    Parameters
    ----------
    n_terms : int
        Terms of the design.
    """

    # Triangles are computed from other rows first.
    tolerance = 1e-7
    chained = False

    def __init__(self, n_terms: int) -> None:
        self.n_terms = n_terms

    def start(self) -> State:
        """Return the state of no rows."""
        m = self.n_terms + 1
        return {"triangle": np.zeros((m, m)), "count": np.zeros(1, np.int64)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if block.n_rows == 0:
            return
        rows = np.empty((block.n_rows, self.n_terms + 1), order="F")
        rows[:, 0] = 1.0
        rows[:, 1:] = dense_rows(block, self.n_terms, order="F") if block.sparse is not None else block.X
        if block.weight is not None:
            rows *= np.sqrt(block.weight)[:, None]
        count = block.n_rows if block.weight is None else np.count_nonzero(block.weight)
        made = {"triangle": triangle_of(rows), "count": np.array([count])}
        state.update(self.merge(state, made))

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        if not other["count"].any():
            return into
        if into["count"].any():
            into["triangle"][:] = triangle_of(np.vstack([into["triangle"], other["triangle"]]))
        else:
            into["triangle"][:] = other["triangle"]
        into["count"] += other["count"]
        return into


def triangle_of(rows: Floats) -> Floats:
    """Return R of ``rows = Q R``, square and with a diagonal that is not negative.

    Many rows are decomposed in tiles that stay in the cache, then their triangles: LAPACK calls that are too small to
    be shared out among threads, which are busy with other blocks.
    """
    n, m = rows.shape
    tile = max(_TILE, 8 * m)
    if m <= _NARROW and n >= 2 * tile:
        whole = n // tile * tile
        triangles = np.asarray(np.linalg.qr(rows[:whole].reshape(-1, tile, m), mode="r")).reshape(-1, m)
        rows = np.vstack([triangles, rows[whole:]])
        return triangle_of(rows)
    made = np.linalg.qr(rows, mode="r")
    triangle = np.zeros((m, m))
    triangle[: len(made)] = made
    triangle[np.signbit(triangle.diagonal())] *= -1.0
    return triangle


@dataclass(frozen=True)
class Centred:
    """What a triangle says of its rows: sum of weights, mean, and the triangle of the rows about the mean."""

    weight: float
    mean: Floats
    triangle: Floats

    @classmethod
    def of(cls, triangle: Floats) -> Centred:
        """Return what the state of a `TriangleStep` says; its rows must have a positive weight."""
        root = float(triangle[0, 0])
        return cls(root * root, triangle[0, 1:] / root, triangle[1:, 1:])
