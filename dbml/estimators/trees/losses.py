"""Losses of boosting as data: kernel, bounds of the derivatives, first score, and the value of a leaf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from math import fsum

import numpy as np
from dbml_kernels import losses as codes
from dbml_kernels.exact_sum import sum_with_rest
from dbml_kernels.tree_gradients import ABSOLUTE_ERROR, QUANTILE, loss_sum
from numpy.typing import NDArray

from dbml.estimators.trees.model import TreeLink
from dbml.passes.block import Floats
from dbml.passes.shards import Arrays, Shard, Shards

Rows = slice | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoostingLoss:
    """A loss of the scores.

    Attributes
    ----------
    name : str
        What plans and messages call it.
    link : str
        From scores to predictions, see `TreeModel`.
    code : int
        Which branch of `dbml_kernels.tree_gradients.derivatives`; -1 for the multinomial log loss.
    a : float
        Parameter of the kernel: the quantile.
    bound : (float, float) or None
        Largest gradient and hessian of a row of weight 1, where they do not depend on the rows.
    n_outputs : int
        Scores of a row.
    quantile : float or None
        The leaf takes this quantile of its residuals, since the hessian says nothing.
    at_least, above : float or None
        Bounds of the target.
    """

    name: str
    link: TreeLink
    code: int
    a: float = 0.0
    bound: tuple[float, float] | None = None
    n_outputs: int = 1
    quantile: float | None = None
    at_least: float | None = None
    above: float | None = None

    def baseline(self, shards: Shards, rows_of: Callable[[Shard], Rows]) -> Floats:
        """Return the best constant scores of some rows of each shard, shape (n_outputs,)."""

        def targets(shard: Shard) -> tuple[Floats, Floats]:
            rows, own = rows_of(shard), shard.resident
            w = weights_of(own)
            return own["y"][rows], w[rows] if w.size else w

        if self.quantile is not None:
            rows = shards.each(targets, "trees: baseline")
            y, w = (np.concatenate([part[i] for part in rows]) for i in (0, 1))
            return np.array([weighted_quantile(y, w if w.size else np.ones(y.size), self.quantile)])
        parts = shards.each(lambda shard: self._totals(*targets(shard)), "trees: baseline")
        totals = np.array([fsum(chain.from_iterable(same)) for same in zip(*parts, strict=True)])
        share = totals[1:] / totals[0]
        if self.code < 0:
            return np.log(np.maximum(share, 1e-15))
        mean = float(share[0])
        if self.link == "logistic":
            positive = min(max(0.5 + 0.5 * mean, 1e-15), 1.0 - 1e-15)
            return np.array([np.log(positive / (1.0 - positive))])
        return np.array([np.log(max(mean, 1e-300)) if self.link == "log" else mean])

    def _totals(self, y: Floats, w: Floats) -> list[tuple[float, float]]:
        """Return the weight of rows, and the weighted sum of y (of several outputs: of each class); see `exact_sum`."""
        w = w if w.size else np.ones(y.size)
        terms = [w * (y == label) for label in range(self.n_outputs)] if self.code < 0 else [w * y]
        return [sum_with_rest(values) for values in (w, *terms)]

    def total(self, scores: Floats, y: Floats, w: Floats) -> float:
        """Return the weighted sum of the loss; shapes of `scores` (n_outputs, n), of `w` (n,) or (0,)."""
        if self.code >= 0:
            return float(loss_sum(self.code, self.a, np.ascontiguousarray(scores[0]), y, w))
        top = scores.max(axis=0)
        chosen = scores[y.astype(np.intp), np.arange(y.size)]
        each = np.log(np.exp(scores - top).sum(axis=0)) + top - chosen
        return float(w @ each if w.size else each.sum())

    def domain(self) -> str:
        """Return the domain of the target in words."""
        return f"> {self.above:g}" if self.above is not None else f">= {self.at_least or 0:g}"


SQUARED_ERROR = BoostingLoss("squared error", "identity", codes.SQUARED_ERROR)
ABSOLUTE = BoostingLoss("absolute error", "identity", ABSOLUTE_ERROR, bound=(0.5, 1.0), quantile=0.5)
POISSON = BoostingLoss("Poisson", "log", codes.POISSON, at_least=0.0)
GAMMA = BoostingLoss("gamma", "log", codes.GAMMA, above=0.0)
LOGISTIC = BoostingLoss("log loss", "logistic", codes.LOGISTIC, bound=(1.0, 0.25))


def quantile_loss(level: float) -> BoostingLoss:
    """Return the pinball loss of a quantile."""
    return BoostingLoss(
        f"quantile {level:g}", "identity", QUANTILE, level, bound=(max(level, 1.0 - level), 1.0), quantile=level
    )


def multinomial_loss(n_classes: int) -> BoostingLoss:
    """Return the multinomial log loss."""
    return BoostingLoss("multinomial log loss", "softmax", -1, bound=(1.0, 0.25), n_outputs=n_classes)


def weights_of(own: Arrays) -> Floats:
    """Return the weights of a shard's rows, shape (n,), or (0,) where all are 1."""
    return own["weight"] if "weight" in own else np.empty(0)


def weighted_quantile(values: Floats, w: Floats, level: float) -> float:
    """Return the smallest value that at least a share `level` of the weight lies at or below."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(w[order])
    place = np.searchsorted(cumulated, level * cumulated[-1], side="left")
    return float(values[order[min(int(place), values.size - 1)]])
