"""What kernel models take from all rows in one pass: the spread of the terms, and a few rows drawn at random."""

from __future__ import annotations

import numpy as np
from dbml_kernels.row_hash import hashes_spread, rows_hash, rows_hash_sparse
from numpy.typing import NDArray

from dbml.estimators.design import dense_rows, flat, squared_transposed, transposed
from dbml.estimators.solvers.held_rows import chosen_rows
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


class SpreadStep:
    """Weighted sums and squares of the centred terms.

    State: ``sums``, ``squares`` (n_terms,); ``weight`` (1,).
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_terms: int) -> None:
        self.n_terms = n_terms

    def start(self) -> State:
        """Return the state of no rows."""
        return {"sums": np.zeros(self.n_terms), "squares": np.zeros(self.n_terms), "weight": np.zeros(1)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        weight = np.ones(block.n_rows) if block.weight is None else np.array(block.weight)
        state["sums"] += transposed(block, weight, self.n_terms)
        state["squares"] += squared_transposed(block, weight, self.n_terms)
        state["weight"] += weight.sum()

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name in into:
            into[name] += other[name]
        return into


def total_variance(state: State, centre: Floats) -> float:
    """Return the variance of all entries of the design together, in the units of the columns.

    That is the spread inside the terms and that between their means, as scikit-learn's ``X.var()``.
    """
    weight = float(state["weight"][0])
    if not weight > 0.0 or not len(centre):
        return 0.0
    shift = state["sums"] / weight
    inside = np.maximum(state["squares"] / weight - shift**2, 0.0)
    return float(inside.mean() + (centre + shift).var())


def term_scales(state: State) -> Floats:
    """Return the standard deviation of each term."""
    weight = max(float(state["weight"][0]), 1e-300)
    return np.sqrt(np.maximum(state["squares"] / weight - (state["sums"] / weight) ** 2, 0.0))


class HashedDrawStep:
    """Different rows drawn at random, those of the smallest keys.

    The key of a row is a random number of its values, not of its position. So equal rows are drawn once, and neither
    blocks and threads nor the order of the rows matter; weights only where they are 0.
    State: ``keys``, ``positions`` (n,), ``rows`` (n, n_terms), by key; keys are infinite where there is none.
    """

    tolerance = 0.0
    chained = False

    def __init__(self, n: int, centre: Floats, seed: int) -> None:
        self.n, self.centre, self.seed = n, centre, seed

    def start(self) -> State:
        """Return the state of no rows."""
        return {
            "keys": np.full(self.n, np.inf),
            "positions": np.full(self.n, -1, np.int64),
            "rows": np.zeros((self.n, len(self.centre))),
        }

    def update(self, state: State, block: Block) -> None:
        """Offer the rows of a block."""
        keys = self._keys(block)
        near = np.flatnonzero(keys <= state["keys"].max(initial=0.0))
        near = near[np.isfinite(keys[near])]
        _, first = np.unique(keys[near], return_index=True)
        chosen = near[first[: self.n]]
        if chosen.size:
            rows = dense_rows(chosen_rows(block, chosen), len(self.centre))
            self._take(state, {"keys": keys[chosen], "positions": block.start + chosen, "rows": rows})

    def _keys(self, block: Block) -> Floats:
        n, d = block.X.shape
        hashes, keys = np.zeros(n, np.uint64), np.empty(n)
        rows_hash(flat(block.X), n, d, self.centre[:d], hashes)
        if block.sparse is not None:
            rows_hash_sparse(*block.sparse, hashes)
        hashes_spread(hashes, self.seed, keys)
        return keys if block.weight is None else np.where(block.weight > 0.0, keys, np.inf)

    def merge(self, into: State, other: State) -> State:
        """Offer what was drawn of later rows."""
        self._take(into, other)
        return into

    def _take(self, state: State, found: State) -> None:
        keys = np.concatenate([state["keys"], found["keys"]])
        positions = np.concatenate([state["positions"], found["positions"]])
        order = np.lexsort((positions, keys))
        ranked = keys[order]
        new = np.append(True, ranked[1:] != ranked[:-1]) | np.isinf(ranked)
        order = order[new][: self.n]
        rows = np.concatenate([state["rows"], found["rows"]])
        state["keys"], state["positions"], state["rows"] = keys[order], positions[order], rows[order]

    @staticmethod
    def drawn(state: State) -> tuple[Floats, NDArray[np.int64]]:
        """Return the rows of a state, centred, shape (n, n_terms), and their positions."""
        drawn = np.isfinite(state["keys"])
        return state["rows"][drawn], state["positions"][drawn]
