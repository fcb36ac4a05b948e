"""Where the derivatives of the loss are kept: rounded to words or to whole numbers, or in full precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import frexp, inf
from typing import ClassVar, Literal

import numpy as np
from dbml_kernels.tree_gradients import (
    GRADIENT_STEPS,
    HESSIAN_STEPS,
    N_EXPONENTS,
    gradients_bound,
    gradients_quantize,
    gradients_write,
    softmax_quantize,
    softmax_write,
    steps_round,
)
from dbml_kernels.tree_sample import MOST_FACTOR, floats_multiply, floats_rank, words_multiply, words_rank
from numpy.typing import NDArray

from dbml.estimators.trees.histograms import Buffers, FloatHistograms, Histograms
from dbml.estimators.trees.losses import BoostingLoss, weights_of
from dbml.passes.block import Floats
from dbml.passes.shards import Arrays, Shard

Precision = Literal["quantized", "float64"]

_MOST_INTEGER, _MOST_EXACT = 2.0**30, 2.0**53
_EXPONENT_OF_HALF = 1022  # as float64 stores it
_COUNTED_ROWS, _COUNTED_EVERY = 1 << 14, 13  # one row in so many of more rows: no period that tables have


class Derivatives(ABC):
    """What rows have of gradient and hessian, in resident arrays of their shards.

    Parameters
    ----------
    loss : BoostingLoss
        The loss.
    factor : float
        What the derivatives of some rows are multiplied by where they are sampled.
    n_rows : int
        Rows of the table.
    """

    arrays: ClassVar[dict[str, type[np.generic]]]

    def __init__(self, loss: BoostingLoss, factor: float, n_rows: int) -> None:
        self.loss, self.factor, self.n_rows = loss, factor, n_rows

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

    @classmethod
    def room(cls, loss: BoostingLoss, n_rows: int) -> Arrays:
        """Return the arrays of a shard."""
        return {name: np.empty((loss.n_outputs, n_rows), kind) for name, kind in cls.arrays.items()}

    def move_in(self, shard: Shard) -> None:
        """Make room in a shard, instead of what another kind of derivatives has there."""
        own = shard.resident
        if not own.keys() >= self.arrays.keys():
            for name in (*Words.arrays, *Doubles.arrays):
                own.pop(name, None)
            own.update(self.room(self.loss, shard.n_rows))


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


class Integers(Derivatives):
    """Both as whole numbers of 32 bits, for rows so unlike that a step of a word is more than most of them have.

    Their sums, as float64, are exact in any order. They take 4 bytes a row more than words.
    """

    arrays: ClassVar[dict[str, type[np.generic]]] = {"gradient": np.int32, "hessian": np.int32}

    def steps(self, bound: tuple[float, float]) -> Floats:
        most = min(_MOST_INTEGER, _MOST_EXACT / max(1, self.n_rows)) / max(1.0, self.factor)
        self._steps: Floats = np.maximum(bound, 1e-300) / np.floor(most)
        return self._steps

    def write(self, shard: Shard, seed: int) -> float:
        exact = np.empty((2, self.loss.n_outputs, shard.n_rows))
        total = _write(self.loss, shard, *exact)
        for name, values, step in zip(self.arrays, exact, self._steps.tolist(), strict=True):
            steps_round(values, step, shard.resident[name])
        return total

    def rank(self, shard: Shard) -> NDArray[np.uint16]:
        # By orders of magnitude: exponent and three bits more of a float32. In equal steps most would have one rank.
        sizes = np.abs(shard.resident["gradient"].astype(np.float32)).sum(axis=0)
        return (sizes.view(np.int32) >> 20).astype(np.uint16)

    def multiply(self, shard: Shard, flags: NDArray[np.uint16], seed: int) -> None:
        chosen = np.flatnonzero(flags)
        for name in self.arrays:
            values = shard.resident[name]
            values[:, chosen] = np.rint(values[:, chosen] * self.factor).astype(np.int32)

    def histograms(self, n_columns: int) -> Histograms:
        return FloatHistograms(n_columns)


class Doubles(Derivatives):
    """Both as float64."""

    arrays: ClassVar[dict[str, type[np.generic]]] = {"gradient": np.float64, "hessian": np.float64}

    def steps(self, bound: tuple[float, float]) -> Floats:
        self._step = max(bound[0], 1e-300) / GRADIENT_STEPS
        return np.ones(2)

    def write(self, shard: Shard, seed: int) -> float:
        return _write(self.loss, shard, *(shard.resident[name] for name in self.arrays))

    def rank(self, shard: Shard) -> NDArray[np.uint16]:
        ranks = np.empty(shard.n_rows, np.uint16)
        floats_rank(shard.resident["gradient"], self._step, ranks)
        return ranks

    def multiply(self, shard: Shard, flags: NDArray[np.uint16], seed: int) -> None:
        floats_multiply(flags, self.factor, shard.resident["gradient"], shard.resident["hessian"])

    def histograms(self, n_columns: int) -> Histograms:
        return FloatHistograms(n_columns)


def _write(loss: BoostingLoss, shard: Shard, gradient: Floats, hessian: Floats) -> float:
    """Write the derivatives of all rows in full precision, shapes (n_outputs, n); return the loss."""
    own = shard.resident
    scores, y, w = own["scores"], own["y"], weights_of(own)
    if loss.n_outputs > 1:
        return softmax_write(scores, y, w, gradient, hessian)
    return gradients_write(loss.code, loss.a, scores[0], y, w, gradient[0], hessian[0])


def bounds_of(loss: BoostingLoss, shard: Shard, n_rows: int) -> tuple[float, float, NDArray[np.int64]]:
    """Return the largest gradient and hessian of a shard, and how many have each exponent, shape (2, `N_EXPONENTS`).

    Of a table of many rows, `n_rows`, these are counts of a sample.
    """
    own, exponents = shard.resident, np.zeros((2, N_EXPONENTS), np.int64)
    every = 1 if n_rows <= _COUNTED_ROWS else _COUNTED_EVERY
    scores, y, w = own["scores"][0], own["y"], weights_of(own)
    return *gradients_bound(loss.code, loss.a, scores, y, w, shard.start, every, exponents), exponents


def exponents_of(values: Floats) -> NDArray[np.int64]:
    """Count values by their exponent as float64 stores it, shape (`N_EXPONENTS`,)."""
    return np.bincount((values.view(np.int64) >> 52) & (N_EXPONENTS - 1), minlength=N_EXPONENTS)


def too_small_for_words(bound: tuple[float, float], exponents: NDArray[np.int64]) -> bool:
    """Return whether too many gradients or hessians are below a quarter of a word's step; zeros aside.

    What rounding at random adds to such rows is more than they have to say. Too many are half of the gradients, or a
    thirty-second of the hessians: a leaf of few of these would divide by noise. `bound` are the largest, `exponents`
    counts by exponent, (2, `N_EXPONENTS`): so a quarter of a step is known within a factor of two.
    """
    for largest, counts, steps, one_in in zip(bound, exponents, (GRADIENT_STEPS, HESSIAN_STEPS), (2, 32), strict=True):
        if 0.0 < largest < inf:
            exponent = frexp(largest)[1] + _EXPONENT_OF_HALF
            small = counts[1 : max(1, exponent - (4 * steps).bit_length())].sum()
            if small and one_in * small > counts[1:].sum():
                return True
    return False


DERIVATIVES: dict[Precision, type[Derivatives]] = {"quantized": Words, "float64": Doubles}
