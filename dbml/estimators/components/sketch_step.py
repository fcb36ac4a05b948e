"""A step of the power method: what the second moments of all rows make of a few directions, without the moments."""

from __future__ import annotations

import numpy as np

from dbml.estimators.design import squared_transposed, times_columns, transposed_columns
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


class SketchStep:
    """``X' W X Q`` for a few columns Q, sums of the terms, and sums of their squares where they are wanted.

    Cost: 4 n p l multiplications for dense terms, 4 l for an entry of sparse ones.

    State: ``products`` (n_terms, l + 1) ``X' W [X Q, 1]``; ``squares`` (n_terms,); ``weight`` (1,), ``count`` (1,) rows
    of positive weight.

    Parameters
    ----------
    basis : ndarray of shape (n_terms, l)
        The columns Q.
    squares : bool
        Whether squares are summed.
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, basis: Floats, squares: bool) -> None:
        self.basis, self.squares = np.ascontiguousarray(basis), squares

    def start(self) -> State:
        """Return the state of no rows."""
        p, width = self.basis.shape
        return {
            "products": np.zeros((p, width + 1)),
            "squares": np.zeros(p),
            "weight": np.zeros(1),
            "count": np.zeros(1, np.int64),
        }

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        p, width = self.basis.shape
        weight = np.ones(block.n_rows) if block.weight is None else block.weight
        rows = np.empty((block.n_rows, width + 1), order="F")
        rows[:, :width] = times_columns(block, self.basis)
        rows[:, width] = 1.0
        if block.weight is not None:
            rows *= weight[:, None]
        state["products"] += transposed_columns(block, rows, p)
        if self.squares:
            state["squares"] += squared_transposed(block, weight, p)
        state["weight"] += weight.sum()
        state["count"] += np.count_nonzero(weight)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name, array in other.items():
            into[name] += array
        return into
