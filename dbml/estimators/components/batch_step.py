"""Principal components batch by batch: the decomposition so far stands for all rows seen.

Ross, Lim, Lin & Yang 2008, incremental learning for robust visual tracking: components times singular values, the rows
of a batch about their mean, and one row for the way between the means have the second moments of all rows together.
"""

from __future__ import annotations

import numpy as np

from dbml.estimators.components.spectrum import signed
from dbml.estimators.design import dense_rows
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


class BatchStep:
    """Absorbs rows in batches, in their order; `finished` absorbs those that wait at the end.

    State: ``directions`` (k, n_terms) components times singular values; ``mean``, ``squares`` (n_terms,) of the rows
    absorbed, squares about the mean; ``totals`` (3,) weight absorbed, rows absorbed, mean square along directions left
    out; ``buffer`` (batch + k, n_terms + 1) rows that wait, their weights last; ``waiting`` (1,).

    Parameters
    ----------
    n_terms : int
        Terms of the design.
    n : int or None
        Components; None: as many as the first batch has rows, or terms.
    batch : int
        Rows of a batch; the last one takes up to k more, so that none has fewer rows than there are components.
    begin : dict of ndarray, optional
        ``directions``, ``mean``, ``squares``, ``totals`` of an earlier fit to go on from.
    """

    tolerance = 0.0
    chained = True

    def __init__(self, n_terms: int, n: int | None, batch: int, begin: State | None = None) -> None:
        self.n_terms, self.n, self.batch, self.begin = n_terms, n, batch, begin

    def start(self) -> State:
        """Return the state of no rows, or of those of the earlier fit."""
        p = self.n_terms
        k = self.n if self.n is not None else min(p, self.batch)
        state = {"directions": np.zeros((k, p)), "mean": np.zeros(p), "squares": np.zeros(p), "totals": np.zeros(3)}
        if self.begin is not None:
            state = {name: array.copy() for name, array in self.begin.items()}
            k = len(state["directions"])
        return {**state, "buffer": np.zeros((self.batch + k, p + 1)), "waiting": np.zeros(1, np.int64)}

    def update(self, state: State, block: Block) -> None:
        """Add a block to the rows that wait, and absorb every batch that is full and not the last."""
        rows = dense_rows(block, self.n_terms, order="F")
        weight = block.weights
        if block.weight is not None:
            rows, weight = rows[weight > 0.0], weight[weight > 0.0]
        buffer, taken = state["buffer"], 0
        while taken < len(rows):
            waiting = int(state["waiting"][0])
            n = min(len(buffer) - waiting, len(rows) - taken)
            buffer[waiting : waiting + n, :-1] = rows[taken : taken + n]
            buffer[waiting : waiting + n, -1] = weight[taken : taken + n]
            taken += n
            state["waiting"][0] = waiting + n
            if waiting + n == len(buffer):
                absorb(state, buffer[: self.batch])
                buffer[: len(buffer) - self.batch] = buffer[self.batch :].copy()
                state["waiting"][0] = len(buffer) - self.batch

    def merge(self, into: State, other: State) -> State:
        """Return the later state: there is one, which sees all blocks."""
        return other if other["totals"][1] or other["waiting"][0] else into

    def finished(self, state: State) -> State:
        """Return the state with the rows that wait absorbed."""
        waiting = int(state["waiting"][0])
        if waiting:
            absorb(state, state["buffer"][:waiting])
            state["waiting"][0] = 0
        return state


def absorb(state: State, batch: Floats) -> None:
    """Add a batch of rows, weights last, to a state, in place."""
    rows, weight = batch[:, :-1], batch[:, -1]
    seen, more = float(state["totals"][0]), float(weight.sum())
    mean = weight @ rows / more
    centred = (rows - mean) * np.sqrt(weight)[:, None]
    step = mean - state["mean"]
    state["squares"] += np.einsum("ij,ij->j", centred, centred) + step * step * (seen * more / (seen + more))
    parts = [centred]
    if seen > 0.0:
        parts = [state["directions"], centred, (np.sqrt(seen * more / (seen + more)) * step)[None, :]]
    state["mean"] += step * (more / (seen + more))
    stacked = np.vstack(parts)
    if len(stacked) > rows.shape[1]:
        stacked = np.asarray(np.linalg.qr(stacked, mode="r"))
    _, singular, vectors = np.linalg.svd(stacked, full_matrices=False)
    k = min(len(state["directions"]), len(singular))
    state["directions"][:] = 0.0
    state["directions"][:k] = signed(vectors[:k]) * singular[:k, None]
    rest = singular[k:] ** 2
    state["totals"] += more, len(rows), 0.0
    state["totals"][2] = rest.mean() if rest.size else 0.0
