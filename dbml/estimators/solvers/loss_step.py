"""One pass of a solver: the loss of given coefficients, its gradient, and its Hessian where asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from dbml_kernels.gram import SLICE
from dbml_kernels.gram_sparse import gram_sparse_add
from dbml_kernels.losses import loss_rows
from dbml_kernels.newton_gram import hessian_add
from dbml_kernels.softmax import softmax_curvature, softmax_loss

from dbml.estimators.design import flat, times, transposed
from dbml.estimators.gram_step import thread_buffer
from dbml.estimators.losses import Loss
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


@dataclass(frozen=True)
class RowReading:
    """How target and weight are read from a block.

    Attributes
    ----------
    positive : int or None
        Class that counts as 1 against all others as -1; None: the target as it is.
    class_weight : ndarray of shape (n_classes,) or None
        Factor on the weight of the rows of each class.
    own_weight : ndarray of shape (n_classes,) or None
        Of outputs that are a class against the rest each: factor on the weight of the rows of the class in its own
        output alone.
    """

    positive: int | None = None
    class_weight: Floats | None = None
    own_weight: Floats | None = field(default=None, kw_only=True)

    def target(self, block: Block) -> Floats:
        """Return the target of the rows, a new array."""
        assert block.y is not None
        if self.positive is None:
            return np.array(block.y, dtype=np.float64)
        return np.where(block.y == self.positive, 1.0, -1.0)

    def weight(self, block: Block) -> Floats:
        """Return the weights of the rows, a new array."""
        weight = np.ones(block.n_rows) if block.weight is None else np.array(block.weight, dtype=np.float64)
        if self.class_weight is not None:
            assert block.y is not None, "a supervised step sees labels"
            weight *= self.class_weight[block.y.astype(np.intp)]
        return weight

    def own_weights(self, n_outputs: int) -> Floats:
        """Return `own_weight`, 1 for every output where there is none."""
        return np.ones(n_outputs) if self.own_weight is None else self.own_weight


def weighted_median(values: Floats, weight: Floats) -> float:
    """Return the value half of the weight lies at or below, 0 for none; rows of weight 0 do not count."""
    used = np.flatnonzero(weight > 0.0)
    if not len(used):
        return 0.0
    order = used[np.argsort(values[used], kind="stable")]
    running = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(running, 0.5 * running[-1] * (1.0 - 1e-12))])


class LossStep:
    """Sums of loss, gradient and Hessian over the rows, at one vector of coefficients over centred terms.

    State: ``sums`` (3,) weight, loss, derivative by the scale; ``lowest`` (1,) smallest target; ``gradient``
    (n_terms + 1,), intercept last; with a Hessian ``gram`` (m, m) of ``[1 z X]``, m = n_terms + 2, lower triangle.
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(
        self, loss: Loss, reading: RowReading, coef: Floats, intercept: float, scale: float, hessian: bool
    ) -> None:
        self.loss, self.reading, self.hessian = loss, reading, hessian
        self.coef, self.intercept, self.scale = coef, intercept, scale

    def start(self) -> State:
        """Return the state of no rows."""
        n_terms = len(self.coef)
        state = {"sums": np.zeros(3), "lowest": np.full(1, np.inf), "gradient": np.zeros(n_terms + 1)}
        if self.hessian:
            state["gram"] = np.zeros((n_terms + 2, n_terms + 2))
        return state

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        n = block.n_rows
        if n == 0:
            return
        y, weight = self.reading.target(block), self.reading.weight(block)
        eta = times(block, self.coef, self.intercept)
        gradient, curvature, ratio = np.empty(n), np.empty(n), np.zeros(n)
        b = self.scale if self.scale > 0.0 else self.loss.b
        sums, slope = state["sums"], np.zeros(1)
        sums[1] += loss_rows(self.loss.code, self.loss.a, b, eta, y, weight, gradient, curvature, ratio, slope)
        sums[0] += weight.sum()
        sums[2] += slope[0]
        state["lowest"][0] = min(state["lowest"][0], y.min())
        state["gradient"][:-1] += transposed(block, gradient, len(self.coef))
        state["gradient"][-1] += gradient.sum()
        if self.hessian:
            add_hessian(block, ratio, curvature, state["gram"])

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name in into.keys() - {"lowest"}:
            into[name] += other[name]
        np.minimum(into["lowest"], other["lowest"], out=into["lowest"])
        return into


class SoftmaxStep:
    """The same for the multinomial logistic loss of all classes together.

    State: ``sums`` (2,) weight and loss; ``gradient`` (k, n_terms + 1); with a Hessian ``gram`` (k (k + 1) / 2, m, m),
    the pairs (0, 0), (1, 0), (1, 1), … of classes.
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(self, reading: RowReading, coef: Floats, intercept: Floats, hessian: bool) -> None:
        self.reading, self.coef, self.intercept, self.hessian = reading, coef, intercept, hessian

    def start(self) -> State:
        """Return the state of no rows."""
        k, n_terms = self.coef.shape
        state = {"sums": np.zeros(2), "gradient": np.zeros((k, n_terms + 1))}
        if self.hessian:
            state["gram"] = np.zeros((k * (k + 1) // 2, n_terms + 2, n_terms + 2))
        return state

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        n, (k, n_terms) = block.n_rows, self.coef.shape
        if n == 0:
            return
        loss, proba, gradient, weight = self._rows(block)
        state["sums"][1] += loss
        state["sums"][0] += weight.sum()
        for c in range(k):
            state["gradient"][c, :-1] += transposed(block, gradient[c], n_terms)
        state["gradient"][:, -1] += gradient.sum(axis=1)
        if self.hessian:
            zero, curvature, pair = np.zeros(n), np.empty(n), 0
            for left in range(k):
                for right in range(left + 1):
                    softmax_curvature(weight, proba[left], proba[right], float(left == right), curvature)
                    add_hessian(block, zero, curvature, state["gram"][pair])
                    pair += 1

    def add_curvature(self, block: Block, output: int, gram: Floats) -> float:
        """Add the Hessian of a block by the coefficients of one class, of ``[1 z X]``; return its weight."""
        _, proba, _, weight = self._rows(block)
        zero, curvature = np.zeros(block.n_rows), np.empty(block.n_rows)
        softmax_curvature(weight, proba[output], proba[output], 1.0, curvature)
        add_hessian(block, zero, curvature, gram)
        return float(weight.sum())

    def _rows(self, block: Block) -> tuple[float, Floats, Floats, Floats]:
        """Return the loss of a block, the probabilities and derivatives (k, n) of its rows, and their weights."""
        n, k = block.n_rows, len(self.coef)
        y, weight = self.reading.target(block), self.reading.weight(block)
        eta, proba, gradient = np.empty((k, n)), np.empty((k, n)), np.empty((k, n))
        for c in range(k):
            eta[c] = times(block, self.coef[c], self.intercept[c])
        return softmax_loss(eta, y, weight, proba, gradient), proba, gradient, weight

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name in into:
            into[name] += other[name]
        return into


def add_hessian(block: Block, ratio: Floats, curvature: Floats, gram: Floats) -> None:
    """``gram += [1 z X]' diag(curvature) [1 z X]`` with z = `ratio`, dense and sparse terms, lower triangle."""
    n, d = block.X.shape
    x = flat(block.X)
    hessian_add(x, n, d, ratio, curvature, thread_buffer((2 * d + 3) * SLICE), gram)
    if block.sparse is not None:
        gram_sparse_add(x, n, d, ratio, curvature, True, np.arange(n), *block.sparse, gram)
