"""Steps whose states grow with the terms, not with their square: for designs too wide for a Gram matrix."""

from __future__ import annotations

import numpy as np

from dbml.estimators.design import squared_transposed, times, transposed
from dbml.estimators.folds import Held
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

# Second moments about the mean that are a smaller share of those about another centre are rounding of their sums.
_ROUNDING = 1e-12


class DiagonalStep:
    """Sums, products with the target and squares of every term.

    The target is taken from the mean of the first block on (`shift`), as in `GramStep`.
    State: ``sums``, ``products``, ``squares`` (n_terms,); ``target`` (3,) weight, sum, sum of squares; ``shift`` (1,);
    ``count`` (1,) rows of positive weight.

    Parameters
    ----------
    n_terms : int
        Terms of the design.
    held : Held, optional
        Rows to leave out.
    """

    # Sums are added in another order, and moved to another shift.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_terms: int, held: Held | None = None) -> None:
        self.n_terms, self.held = n_terms, held

    def start(self) -> State:
        """Return the state of no rows."""
        state = {name: np.zeros(self.n_terms) for name in ("sums", "products", "squares")}
        return {**state, "target": np.zeros(3), "shift": np.zeros(1), "count": np.zeros(1, np.int64)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if block.n_rows == 0:
            return
        assert block.y is not None
        if state["count"][0] == 0:
            state["shift"][0] = block.y.mean()
        weight = row_weights(block, self.held)
        y = block.y - state["shift"][0]
        state["sums"] += transposed(block, weight, self.n_terms)
        state["products"] += transposed(block, weight * y, self.n_terms)
        state["squares"] += squared_transposed(block, weight, self.n_terms)
        state["target"] += weight.sum(), weight @ y, weight @ (y * y)
        state["count"] += np.count_nonzero(weight)

    def merge(self, into: State, other: State) -> State:
        """Add later rows, moved to the shift of the earlier ones."""
        if other["count"][0] == 0:
            return into
        if into["count"][0] == 0:
            into["shift"][:] = other["shift"]
        delta = other["shift"][0] - into["shift"][0]
        weight, total, square = other["target"]
        into["sums"] += other["sums"]
        into["squares"] += other["squares"]
        into["products"] += other["products"] + delta * other["sums"]
        into["target"] += weight, total + delta * weight, square + delta * (2.0 * total + delta * weight)
        into["count"] += other["count"]
        return into


def squares_about_mean(squares: Floats, sums: Floats, weight: float) -> Floats:
    """Return the sums of squares of terms about their means, from those about any centre; see `beyond_rounding`."""
    return beyond_rounding(squares - sums * sums / weight, squares)


def beyond_rounding(variation: Floats, squares: Floats) -> Floats:
    """Return sums of squares about the means, 0 where they are rounding of `squares`, those about another centre.

    Every term is judged by itself: what units the others have says nothing about it.
    """
    return np.where(variation < _ROUNDING * squares, 0.0, variation)


class ResidualStep:
    """Products of every term with the residuals of a linear predictor: ``X' W r``, ``r = t y - b - X w``.

    State: ``gradient`` (n_terms,) ``X' W r``; ``sums`` (3,) weight, ``sum w r``, ``sum w r^2``.

    Parameters
    ----------
    coef : ndarray of shape (n_terms,)
    intercept : float
        Of the centred predictor.
    target : bool
        Whether the target counts (t = 1) or not (t = 0: the product of the design with a vector).
    held : Held, optional
        Rows to leave out.
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, coef: Floats, intercept: float, target: bool = True, held: Held | None = None) -> None:
        self.coef, self.intercept, self.target, self.held = coef, intercept, target, held

    def start(self) -> State:
        """Return the state of no rows."""
        return {"gradient": np.zeros(len(self.coef)), "sums": np.zeros(3)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        residual = -times(block, self.coef, self.intercept)
        if self.target:
            assert block.y is not None
            residual += block.y
        weight = row_weights(block, self.held)
        weighted = weight * residual
        state["gradient"] += transposed(block, weighted, len(self.coef))
        state["sums"] += weight.sum(), weighted.sum(), weighted @ residual

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["gradient"] += other["gradient"]
        into["sums"] += other["sums"]
        return into


def row_weights(block: Block, held: Held | None) -> Floats:
    """Return the weight of each row of a block, 0 for rows that are held out."""
    weight = block.weights
    return weight if held is None else weight * held.used(block)
