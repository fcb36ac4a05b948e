"""Rows in memory whose dense terms are mostly zero, in compressed form: products and Hessians then skip the zeros.

Blocks are centred, so that a zero of the table is ``-centre`` in them. Terms that are packed lose their centre, and all
terms are put in another order (dense ones first, as in any block); parameters are translated there and back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbml.estimators.solvers.objective import Objective
from dbml.passes.block import Block, Floats, SparseRows

_MOST = 0.1  # share of values that are not 0, of a term that is packed
_LEAST_TERMS = 64  # below, a dense pass costs nothing


@dataclass(frozen=True)
class Packing:
    """How parameters over the terms of a block become those over the packed block.

    Attributes
    ----------
    order : ndarray of shape (n_terms,)
        Old number of each term.
    shift : ndarray of shape (n_terms,)
        What packing adds to each term, in the old order: the centre of packed ones, else 0.
    n_packed : int
        Terms that are packed; with 0 nothing changes.
    """

    order: NDArray[np.intp]
    shift: Floats
    n_packed: int = 0

    def objective(self, objective: Objective) -> Objective:
        """Return the same objective over the packed block."""
        return replace(objective, centre=(objective.centre - self.shift)[self.order])

    def packed(self, objective: Objective, theta: Floats) -> Floats:
        """Return the parameters over the packed block."""
        rows = theta.reshape(objective.n_outputs, -1).copy()
        if not objective.raw:
            rows[:, -1] -= rows[:, : len(self.order)] @ self.shift
        rows[:, : len(self.order)] = rows[:, self.order]
        return rows.ravel()

    def unpacked(self, objective: Objective, theta: Floats) -> Floats:
        """Undo `packed`."""
        rows = theta.reshape(objective.n_outputs, -1).copy()
        rows[:, self.order] = rows[:, : len(self.order)].copy()
        if not objective.raw:
            rows[:, -1] += rows[:, : len(self.order)] @ self.shift
        return rows.ravel()

    def packed_gradient(self, objective: Objective, gradient: Floats) -> Floats:
        """Return the derivatives by the packed parameters of derivatives by the others."""
        rows = gradient.reshape(objective.n_outputs, -1).copy()
        if not objective.raw:
            rows[:, : len(self.order)] += np.outer(rows[:, -1], self.shift)
        rows[:, : len(self.order)] = rows[:, self.order]
        return rows.ravel()


def pack(block: Block, objective: Objective) -> tuple[Block, Packing]:
    """Return a block with its mostly zero terms compressed, and how; the block as it is where they are few."""
    (n, d), centre = block.X.shape, objective.centre
    same = block, Packing(np.arange(len(centre)), np.zeros(len(centre)))
    if d < _LEAST_TERMS or n == 0 or objective.has_scale:
        return same
    used = [np.flatnonzero(block.X[:, j] != -centre[j]) for j in range(d)]
    chosen = np.array([len(rows) <= _MOST * n for rows in used])
    if chosen.sum() < _LEAST_TERMS:
        return same
    dense, sparse = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    row = np.concatenate([used[j] for j in sparse])
    number = np.repeat(np.arange(len(dense), d, dtype=np.int32), [len(used[j]) for j in sparse])
    value = np.concatenate([block.X[used[j], j] + centre[j] for j in sparse])
    if block.sparse is not None:
        row = np.concatenate([row, np.repeat(np.arange(n), np.diff(block.sparse.indptr))])
        number = np.concatenate([number, block.sparse.indices])
        value = np.concatenate([value, block.sparse.values])
    by_row = np.argsort(row, kind="stable")
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=n), out=indptr[1:])
    rows = SparseRows(indptr, number[by_row], value[by_row])
    shift = np.zeros(len(centre))
    shift[sparse] = centre[sparse]
    order = np.concatenate([dense, sparse, np.arange(d, len(centre))])
    X = np.asfortranarray(block.X[:, dense])
    return Block(X, rows, block.y, block.weight, block.start), Packing(order, shift, len(sparse))
