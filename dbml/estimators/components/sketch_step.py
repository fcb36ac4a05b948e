"""A step of the power method: what the second moments of all rows make of a few directions, without the moments."""

from __future__ import annotations

from typing import Any

import numpy as np
from dbml_kernels.column_products import STRIP, columns_there_and_back, matrix_of, tiles_empty, tiles_of
from dbml_kernels.sparse_products import sparse_times_add, sparse_transposed_times_add
from numpy.typing import NDArray

from dbml.estimators.design import flat, squared_transposed, transposed
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


class SketchStep:
    """``X' W X Q`` for a few columns Q, and where they are wanted sums of the terms and of their squares.

    Cost: 4 n p l multiplications for dense terms, 4 l for an entry of sparse ones.

    State: ``products`` (n_terms, l) ``X' W X Q``; ``sums``, ``squares`` (n_terms,); ``weight``, ``count`` (1,) rows
    of positive weight.

    Parameters
    ----------
    basis : ndarray of shape (n_terms, l)
        The columns Q.
    moments : bool
        Whether sums and squares are made; they are in double precision.
    single : bool, default=False
        Whether the products of the rows of a block are in single precision; those of blocks are added in double.
    """

    # Sums are added in another order, those of a block in its precision.
    tolerance = 1e-9
    chained = False

    def __init__(self, basis: Floats, moments: bool, single: bool = False) -> None:
        self.basis, self.moments, self.single = np.ascontiguousarray(basis), moments, single
        if single:
            self.tolerance = 1e-6
        self._dtype = np.float32 if single else np.float64
        self._dense: NDArray[Any] | None = None

    def _dense_basis(self, n_dense: int) -> NDArray[Any]:
        """Return the rows of the basis that belong to dense terms, as the kernel takes them."""
        if self._dense is None:
            self._dense = tiles_of(self.basis[:n_dense], self._dtype)
        return self._dense

    def start(self) -> State:
        """Return the state of no rows."""
        p, width = self.basis.shape
        return {
            "products": np.zeros((p, width)),
            "sums": np.zeros(p),
            "squares": np.zeros(p),
            "weight": np.zeros(1),
            "count": np.zeros(1, np.int64),
        }

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        weight = block.weights
        if self.basis.shape[1]:
            self._add_products(state, block, weight)
        elif self.moments:
            p = len(self.basis)
            state["sums"] += transposed(block, weight, p)
            state["squares"] += squared_transposed(block, weight, p)
        state["weight"] += weight.sum()
        state["count"] += np.count_nonzero(weight)

    def _add_products(self, state: State, block: Block, weight: Floats) -> None:
        (n, d), (p, width) = block.X.shape, self.basis.shape
        if block.sparse is None:
            scores = tiles_empty(n, width, self._dtype)
        else:
            entries = np.zeros((n, width))
            sparse_times_add(*block.sparse, self.basis, entries)
            scores = tiles_of(entries, self._dtype)
        basis, back = self._dense_basis(d), tiles_empty(d, width, self._dtype)
        sums, squares = (state[name] if self.moments else np.empty(0) for name in ("sums", "squares"))
        packed = np.empty(STRIP * basis.shape[1], self._dtype)
        columns_there_and_back(flat(block.X), n, d, basis, weight, packed, scores, back, sums[:d], squares[:d])
        state["products"][:d] += matrix_of(back, d, width)
        if block.sparse is not None:
            rows = matrix_of(scores, n, width)
            sparse_transposed_times_add(*block.sparse, rows, state["products"])
            if self.moments:
                only = Block(np.empty((n, 0)), block.sparse, None, None, block.start)
                sums += transposed(only, weight, p)
                squares += squared_transposed(only, weight, p)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name, array in other.items():
            into[name] += array
        return into
