"""What kernel models take from all rows in one pass: the spread of the terms, and a few rows drawn at random."""

from __future__ import annotations

import numpy as np
from dbml_kernels.folds import uniforms_draw

from dbml.estimators.design import squared_transposed, transposed
from dbml.estimators.kernel_machines.kernel_function import dense_rows
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


class DrawStep:
    """Rows drawn without replacement, in proportion to their weights: those of the smallest keys.

    The key of a row is ``-log(u) / weight`` with u a random number of its position (Efraimidis & Spirakis 2006), so that
    blocks, threads and order do not matter.
    State: ``keys``, ``positions`` (n,), ``rows`` (n, n_terms), ``y`` (n,), by key; keys are infinite where there is none.
    """

    tolerance = 0.0
    chained = False

    def __init__(self, n: int, n_terms: int, seed: int) -> None:
        self.n, self.n_terms, self.seed = n, n_terms, seed

    def start(self) -> State:
        """Return the state of no rows."""
        n = self.n
        return {
            "keys": np.full(n, np.inf),
            "positions": np.full(n, -1, np.int64),
            "rows": np.zeros((n, self.n_terms)),
        }

    def update(self, state: State, block: Block) -> None:
        """Offer the rows of a block."""
        keys = np.empty(block.n_rows)
        uniforms_draw(block.start, self.seed, keys)
        keys = -np.log(keys)
        if block.weight is not None:
            with np.errstate(divide="ignore"):
                keys = np.where(block.weight > 0.0, keys / block.weight, np.inf)
        chosen = np.flatnonzero(keys < state["keys"].max(initial=0.0))
        chosen = chosen[np.argsort(keys[chosen], kind="stable")[: self.n]]
        if not chosen.size:
            return
        rows = np.concatenate([dense_rows(block, self.n_terms, slice(i, i + 1)) for i in chosen])
        found = {"keys": keys[chosen], "positions": block.start + chosen, "rows": rows}
        self._take(state, found)

    def merge(self, into: State, other: State) -> State:
        """Offer what was drawn of later rows."""
        self._take(into, other)
        return into

    def _take(self, state: State, found: State) -> None:
        keys = np.concatenate([state["keys"], found["keys"]])
        positions = np.concatenate([state["positions"], found["positions"]])
        order = np.lexsort((positions, keys))[: self.n]
        rows = np.concatenate([state["rows"], found["rows"]])
        state["keys"], state["positions"], state["rows"] = keys[order], positions[order], rows[order]


def drawn_rows(state: State) -> tuple[Floats, np.ndarray]:
    """Return the rows that a `DrawStep` drew, centred, shape (n, n_terms), and their positions, both by position."""
    drawn = np.flatnonzero(np.isfinite(state["keys"]))
    order = drawn[np.argsort(state["positions"][drawn])]
    return state["rows"][order], state["positions"][order]
