"""The Gram step: everything least squares needs of the rows, for several folds at once, in one pass."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from dbml_kernels.gram import SLICE, gram_add, gram_add_rows
from dbml_kernels.gram_sparse import gram_sparse_add

from dbml.errors import InvalidData
from dbml.estimators.design import flat
from dbml.estimators.folds import Folds
from dbml.estimators.moment_steps import beyond_rounding
from dbml.passes.block import Block, Floats
from dbml.passes.step import State

_scratch = threading.local()


class GramStep:
    """``V' diag(w) V`` for ``V = [1, y - shift, X]``, lower triangle, one matrix per fold.

    The shift of the first block (the mean of its y) becomes that of the merged state, so that no large offset of the
    target is ever squared; terms come centred already.

    State: ``gram`` (n_folds, m, m) with ``m = n_terms + 2``, ``count`` (n_folds,) rows of positive weight,
    ``shift`` (1,). Cost: n m^2 / 2 multiplications for dense terms, one per pair of entries of a row for sparse ones.

    Parameters
    ----------
    n_terms : int
        Terms of the design.
    folds : Folds, optional
        Rows of different folds go to different matrices.
    """

    # Sums are added in another order, and moved to another shift.
    tolerance = 1e-9
    chained = False

    def __init__(self, n_terms: int, folds: Folds | None = None) -> None:
        self.n_terms, self.folds = n_terms, folds
        self.n_folds = folds.n_folds if folds else 1

    def start(self) -> State:
        """Return the state of no rows."""
        m = self.n_terms + 2
        return {
            "gram": np.zeros((self.n_folds, m, m)),
            "count": np.zeros(self.n_folds, np.int64),
            "shift": np.zeros(1),
        }

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        if block.n_rows == 0:
            return
        target = np.zeros(block.n_rows) if block.y is None else block.y
        if not state["count"].any():
            state["shift"][0] = target.mean()
        y = target - state["shift"][0]
        used = np.arange(block.n_rows) if block.weight is None else np.flatnonzero(block.weight)
        if self.folds is None:
            self._add(state["gram"][0], block, y, used)
            state["count"][0] += len(used)
            return
        folds = self.folds.of(block)[used]
        for fold in range(self.n_folds):
            chosen = used[folds == fold]
            self._add(state["gram"][fold], block, y, chosen)
            state["count"][fold] += len(chosen)

    def _add(self, gram: Floats, block: Block, y: Floats, chosen: np.ndarray) -> None:
        n, d = block.X.shape
        x, weighted = flat(block.X), block.weight is not None
        weight = block.weight if block.weight is not None else y
        if len(chosen) == n and not weighted:
            gram_add(x, n, d, y, gram)
        else:
            gram_add_rows(x, n, d, y, weight, weighted, chosen, thread_buffer((2 * d + 3) * SLICE), gram)
        if block.sparse is not None:
            gram_sparse_add(x, n, d, y, weight, weighted, chosen, *block.sparse, gram)

    def merge(self, into: State, other: State) -> State:
        """Add later rows, moved to the shift of the earlier ones."""
        if not other["count"].any():
            return into
        if not into["count"].any():
            into["shift"][:] = other["shift"]
        delta = other["shift"][0] - into["shift"][0]
        gram = other["gram"]
        if delta != 0.0:
            gram = gram.copy()
            gram[:, 1, 1] += delta * (2.0 * gram[:, 1, 0] + delta * gram[:, 0, 0])
            gram[:, 1, 0] += delta * gram[:, 0, 0]
            gram[:, 2:, 1] += delta * gram[:, 2:, 0]
        into["gram"] += gram
        into["count"] += other["count"]
        return into


def thread_buffer(size: int) -> Floats:
    """Return this thread's scratch memory, kept from block to block."""
    kept = getattr(_scratch, "buffer", None)
    if kept is None or len(kept) < size:
        kept = _scratch.buffer = np.empty(size)
    return kept


@dataclass(frozen=True)
class Moments:
    """Least squares of some rows: all of ``sum w (y - b - x . w)^2`` as a function of the coefficients.

    Attributes
    ----------
    weight : float
        Sum of the weights.
    count : int
        Rows of positive weight.
    x_mean : ndarray of shape (n_terms,)
        Mean of the terms of the blocks.
    y_mean : float
        Mean of the target.
    gram : ndarray of shape (n_terms, n_terms)
        ``X'WX``, about the means (or about 0 in raw units: see `about_zero`).
    xy : ndarray of shape (n_terms,)
        ``X'Wy`` alike.
    yy : float
        ``y'Wy`` alike.
    """

    weight: float
    count: int
    x_mean: Floats
    y_mean: float
    gram: Floats
    xy: Floats
    yy: float

    @classmethod
    def of(cls, state: State, folds: slice | int = slice(None)) -> Moments:
        """Return the moments of a `GramStep` state, of all folds or of some.

        Raises
        ------
        InvalidData
            The weights of all rows are 0, or the squares of values overflow.
        """
        chosen = state["gram"][folds]
        raw = chosen if chosen.ndim == 2 else chosen.sum(axis=0)
        if isinstance(folds, slice):
            _check_sums(raw)
        return cls._of_matrix(raw, int(state["count"][folds].sum()), float(state["shift"][0]))

    @classmethod
    def without(cls, state: State, fold: int) -> Moments:
        """Return the moments of all folds but one."""
        rest = np.arange(len(state["count"])) != fold
        return cls._of_matrix(
            state["gram"][rest].sum(axis=0), int(state["count"][rest].sum()), float(state["shift"][0])
        )

    @classmethod
    def _of_matrix(cls, raw: Floats, count: int, shift: float) -> Moments:
        weight = float(raw[0, 0])
        mean = raw[1:, 0] / weight if weight > 0.0 else np.zeros(len(raw) - 1)
        lower = raw[1:, 1:] - np.outer(raw[1:, 0], mean)
        gram, xy = np.tril(lower[1:, 1:]), lower[1:, 0].copy()
        gram += np.tril(gram, -1).T
        constant = beyond_rounding(gram.diagonal(), raw.diagonal()[2:]) == 0.0
        gram[constant] = gram[:, constant] = xy[constant] = 0.0
        return cls(weight, count, mean[1:], shift + mean[0], gram, xy, max(float(lower[0, 0]), 0.0))

    def about_zero(self, centre: Floats) -> Moments:
        """Return the moments about 0 in the units of the columns, for a model without intercept."""
        mean = self.x_mean + centre
        gram = self.gram + self.weight * np.outer(mean, mean)
        xy = self.xy + self.weight * mean * self.y_mean
        return Moments(
            self.weight, self.count, self.x_mean, self.y_mean, gram, xy, self.yy + self.weight * self.y_mean**2
        )

    def centred_intercept(self, coef: Floats, centre: Floats, fit_intercept: bool) -> float:
        """Return the prediction at the centre of the terms: through the means, or through 0 in raw units."""
        return float(self.y_mean - self.x_mean @ coef) if fit_intercept else float(centre @ coef)

    def squared_error(self, coef: Floats) -> float:
        """Return ``sum w (residual)^2`` of coefficients (with the best intercept if about the means)."""
        return max(float(self.yy - 2.0 * coef @ self.xy + coef @ self.gram @ coef), 0.0)

    def error_of(self, coef: Floats, centred_intercept: float) -> float:
        """Return ``sum w (residual)^2`` of a model with a given intercept; the moments must be about the means."""
        offset = self.y_mean - float(self.x_mean @ coef) - centred_intercept
        return self.squared_error(coef) + self.weight * offset * offset


def _check_sums(raw: Floats) -> None:
    if not raw[0, 0] > 0.0:
        raise InvalidData("the weights of the rows must not all be 0; their sum is 0")
    if not np.isfinite(raw.diagonal()).all():
        raise InvalidData(
            "values of a column or of the target are too large: the sum of their squares must be below 1.8e308. "
            "Divide the column, or leave out the rows of extreme values"
        )
