"""Where the derivatives of the loss are kept: rounded to words, or in full precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
from dbml_kernels.tree_gradients import (
    GRADIENT_STEPS,
    HESSIAN_STEPS,
    gradients_quantize,
    gradients_write,
    softmax_quantize,
    softmax_write,
)
from dbml_kernels.tree_sample import MOST_FACTOR, floats_multiply, floats_rank, words_multiply, words_rank
from numpy.typing import NDArray

from dbml.estimators.trees.histograms import Buffers, FloatHistograms, Histograms
from dbml.estimators.trees.losses import BoostingLoss, weights_of
from dbml.passes.block import Floats
from dbml.passes.shards import Arrays, Shard

Precision = Literal["quantized", "float64"]


class Derivatives(ABC):
    """What rows have of gradient and hessian, in resident arrays of their shards.

    Parameters
    ----------
    loss : BoostingLoss
        The loss.
    factor : float
        What the derivatives of some rows are multiplied by where they are sampled.
    """

    arrays: ClassVar[dict[str, type[np.generic]]]

    def __init__(self, loss: BoostingLoss, factor: float = 1.0) -> None:
        self.loss, self.factor = loss, factor

    @abstractmethod
    def steps(self, bound: tuple[float, float]) -> Floats:
        """Take the largest gradient and hessian; return the units of histograms, shape (2,)."""

    @abstractmethod
    def write(self, shard: Shard, seed: int) -> float:
        """Write the derivatives of all rows; return the loss."""

    @abstractmethod
    def rank(self, shard: Shard) -> NDArray[np.uint16]:
        """Return the sizes of the gradients as small integers."""

    @abstractmethod
    def multiply(self, shard: Shard, flags: NDArray[np.uint16], seed: int) -> None:
        """Multiply the derivatives of the flagged rows by `factor`."""

    @abstractmethod
    def histograms(self, n_columns: int) -> Histograms:
        """Return what adds the derivatives up."""

    def room(self, n_rows: int) -> Arrays:
        """Return the arrays of a shard."""
        return {name: np.empty((self.loss.n_outputs, n_rows), kind) for name, kind in self.arrays.items()}


class Words(Derivatives):
    """Both in one word of 32 bits, rounded at random without bias: their sums are exact in any order."""

    arrays: ClassVar[dict[str, type[np.generic]]] = {"words": np.int32}

    def steps(self, bound: tuple[float, float]) -> Floats:
        # A word holds MOST_FACTOR times the largest; beyond that its steps are coarser.
        coarser = max(1.0, self.factor / MOST_FACTOR)
        self._steps = coarser * np.maximum(bound, 1e-300) / np.array([GRADIENT_STEPS, HESSIAN_STEPS])
        return self._steps

    def write(self, shard: Shard, seed: int) -> float:
        loss, own = self.loss, shard.resident
        units = (float(self._steps[0]), float(self._steps[1]))
        scores, y, w, words = own["scores"], own["y"], weights_of(own), own["words"]
        if loss.n_outputs > 1:
            return softmax_quantize(scores, y, w, shard.start, seed, *units, words)
        return gradients_quantize(loss.code, loss.a, scores[0], y, w, shard.start, seed, *units, words[0])

    def rank(self, shard: Shard) -> NDArray[np.uint16]:
        ranks = np.empty(shard.n_rows, np.uint16)
        words_rank(shard.resident["words"], ranks)
        return ranks

    def multiply(self, shard: Shard, flags: NDArray[np.uint16], seed: int) -> None:
        words_multiply(shard.start, seed, flags, self.factor, shard.resident["words"])

    def histograms(self, n_columns: int) -> Histograms:
        return Buffers(n_columns, int(np.ceil(min(self.factor, MOST_FACTOR))))


class Doubles(Derivatives):
    """Both as float64."""

    arrays: ClassVar[dict[str, type[np.generic]]] = {"gradient": np.float64, "hessian": np.float64}

    def steps(self, bound: tuple[float, float]) -> Floats:
        self._step = max(bound[0], 1e-300) / GRADIENT_STEPS
        return np.ones(2)

    def write(self, shard: Shard, seed: int) -> float:
        loss, own = self.loss, shard.resident
        scores, y, w, gradient, hessian = own["scores"], own["y"], weights_of(own), own["gradient"], own["hessian"]
        if loss.n_outputs > 1:
            return softmax_write(scores, y, w, gradient, hessian)
        return gradients_write(loss.code, loss.a, scores[0], y, w, gradient[0], hessian[0])

    def rank(self, shard: Shard) -> NDArray[np.uint16]:
        ranks = np.empty(shard.n_rows, np.uint16)
        floats_rank(shard.resident["gradient"], self._step, ranks)
        return ranks

    def multiply(self, shard: Shard, flags: NDArray[np.uint16], seed: int) -> None:
        floats_multiply(flags, self.factor, shard.resident["gradient"], shard.resident["hessian"])

    def histograms(self, n_columns: int) -> Histograms:
        return FloatHistograms(n_columns)


DERIVATIVES: dict[Precision, type[Derivatives]] = {"quantized": Words, "float64": Doubles}
