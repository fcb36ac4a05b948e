"""Alternating least squares over ratings: in memory, grouped both ways, or by passes over slices of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from dbml_kernels.rating_factors import (
    equations_add,
    equations_finish,
    factors_solve,
    ratings_count,
    ratings_group,
)
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.estimators.key_codes import Keys
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.engine import Crew
from dbml.passes.memory import memory_budget
from dbml.passes.step import State

Factors = NDArray[np.float32]

_NONE = np.empty(0, np.float32)
_RANGES = 64  # parts that threads take, of about as many ratings each


@dataclass(frozen=True, slots=True)
class Model:
    """What is minimised; see `dbml_kernels.rating_factors`."""

    k: int
    l2: float
    bias_l2: float
    by_weight: bool
    biases: bool
    implicit: bool
    alpha: float
    mean: float

    @property
    def width(self) -> int:
        """Unknowns of a user or an item."""
        return self.k + self.biases

    def shared(self, factors: Factors) -> Floats:
        """Return what the equations of all users begin with: of implicit feedback, the items that they did not see."""
        shared = np.zeros((self.width, self.width))
        if self.implicit:
            for start in range(0, len(factors), 65_536):
                part = factors[start : start + 65_536].astype(np.float64)
                shared += part.T @ part
        return shared


@dataclass
class Side:
    """Factors and biases of the users, or of the items."""

    factors: Factors
    bias: Factors

    @classmethod
    def of(cls, n: int, k: int) -> Side:
        """Return factors of 0."""
        return cls(np.zeros((n, k), np.float32), np.zeros(n, np.float32))


@dataclass
class Grouped:
    """Ratings in memory, grouped by the codes of one side.

    Attributes
    ----------
    indptr : ndarray of shape (n_own + 1,), int64
    indices : ndarray of shape (n_ratings,), int32
        Code of the other side.
    values, weights : ndarray of shape (n_ratings,), float32
        Rating less the mean; weights are empty for none.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Factors
    weights: Factors
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(
        cls, own: NDArray[np.int32], other: NDArray[np.int32], values: Factors, weights: Factors, n_own: int
    ) -> Grouped:
        """Group ratings by their `own` code; those of a code keep their order."""
        counts = np.zeros(n_own, np.int64)
        ratings_count(own, counts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        made = cls(indptr, np.empty(own.size, np.int32), np.empty(own.size, np.float32), np.empty_like(weights))
        ratings_group(own, other, values, weights, indptr[:-1].copy(), made.indices, made.values, made.weights)
        ends = np.searchsorted(indptr, np.linspace(0, own.size, _RANGES + 1)[1:-1])
        edges = np.unique([0, *ends.tolist(), n_own]).tolist()
        made.ranges = list(pairwise(edges))
        return made

    def solve(self, model: Model, own: Side, other: Side, crew: Crew) -> float:
        """Find the factors of one side on all cores; return the loss of the ratings."""
        shared, d = model.shared(other.factors), model.width

        def some(part: tuple[int, int]) -> float:
            few = max(4, d // 2)
            scratch = (np.empty((d, d)), np.empty(d), np.zeros((few, d)), np.zeros(few), np.zeros(few), np.empty(d))
            penalties = (model.l2, model.bias_l2, model.by_weight, model.biases, model.implicit, model.alpha)
            ratings = (self.indptr, self.indices, self.values, self.weights)
            return factors_solve(
                *ratings, *part, other.factors, other.bias, shared, *penalties, own.factors, own.bias, *scratch
            )

        return float(sum(crew.each(some, self.ranges, "factors")))


def codes_of(block: Block, keys: Sequence[Keys]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the codes of user and item of each row, -1 for both where one is missing."""
    user, item = (key.codes(np.ascontiguousarray(block.X[:, place])) for place, key in enumerate(keys))
    missing = (user < 0) | (item < 0)
    user[missing] = item[missing] = -1
    return user, item


class EquationsStep:
    """Normal equations of some users or items, from ratings that do not fit in memory.

    State: ``A`` (n, d, d), ``b`` (n, d), ``masses`` (n,) weight of the ratings, ``loss`` (1,). Cost: d^2 / 2
    multiplications a rating.

    Parameters
    ----------
    model : Model
        What is minimised.
    keys : pair of Keys
        Users and items.
    side : {0, 1}
        Whose equations: of users, of items.
    first, last : int
        Codes.
    other : Side
        Factors of the other side.
    """

    tolerance = 0.0
    chained = True

    def __init__(self, model: Model, keys: Sequence[Keys], side: int, first: int, last: int, other: Side) -> None:
        self.model, self.keys, self.side = model, keys, side
        self.first, self.last, self.other = first, last, other

    def start(self) -> State:
        """Return the state of no ratings."""
        n, d = self.last - self.first, self.model.width
        return {
            "A": np.zeros((n, d, d)),
            "b": np.zeros((n, d)),
            "masses": np.zeros(n),
            "loss": np.zeros(1),
        }

    def update(self, state: State, block: Block) -> None:
        """Add the ratings of a block."""
        codes = codes_of(block, self.keys)
        model, other = self.model, self.other
        values, weights = ratings_of(block, model.mean)
        state["loss"] += equations_add(
            codes[self.side],
            codes[1 - self.side],
            values,
            weights,
            self.first,
            self.last,
            other.factors,
            other.bias,
            model.biases,
            model.implicit,
            model.alpha,
            state["A"],
            state["b"],
            state["masses"],
            np.zeros((4, model.width)),
            np.zeros(4),
            np.zeros(4),
        )

    def merge(self, into: State, other: State) -> State:
        """Return the later state: one state sees all blocks."""
        return other


def ratings_of(block: Block, mean: float) -> tuple[Factors, Factors]:
    """Return the ratings of a block less their mean, and the weights, empty for none."""
    assert block.y is not None
    weights = _NONE if block.weight is None else block.weight.astype(np.float32)
    return (block.y - mean).astype(np.float32), weights


class Streamed:
    """Ratings that are read again for every slice of users or items.

    Parameters
    ----------
    data : Data
        The ratings, kept encoded.
    keys : pair of Keys
        Users and items.
    side : {0, 1}
        Whose factors are found.
    """

    def __init__(self, data: Data, keys: Sequence[Keys], side: int) -> None:
        self.data, self.keys, self.side = data, keys, side

    def solve(self, model: Model, own: Side, other: Side, crew: Crew) -> float:
        """Find the factors of one side, slice by slice; return the loss of the ratings."""
        shared, d = model.shared(other.factors), model.width
        size = max(1, memory_budget().blocks // (16 * d * (d + 1)))
        loss = 0.0
        for first in range(0, len(own.factors), size):
            last = min(first + size, len(own.factors))
            step = EquationsStep(model, self.keys, self.side, first, last, other)
            (state,) = self.data.fold(step, purpose="normal equations of " + ("users", "items")[self.side])
            penalties = (model.l2, model.bias_l2, model.by_weight, model.biases)
            loss += float(state["loss"][0]) - equations_finish(
                state["A"], state["b"], state["masses"], first, shared, *penalties, own.factors, own.bias, np.empty(d)
            )
        return loss


def mean_rating(data: Data, keys: Sequence[Keys], implicit: bool) -> tuple[float, float]:
    """Return mean and weight of the ratings whose user and item are known; check what they may be."""

    def sums(block: Block) -> tuple[float, float, float]:
        assert block.y is not None
        known = codes_of(block, keys)[0] >= 0
        y = block.y[known]
        weight = np.ones(y.size) if block.weight is None else block.weight[known]
        return float(weight.sum()), float(weight @ y), float(y.min(initial=np.inf))

    parts = np.array([*data.map(sums, purpose="mean rating"), (0.0, 0.0, np.inf)])
    total, weighted, least = parts[:, 0].sum(), parts[:, 1].sum(), parts[:, 2].min()
    if total <= 0.0:
        raise InvalidData(
            f"MatrixFactorization: {data.plan.source} has no rows to learn from: none of positive weight has a "
            "user, an item and a rating"
        )
    if implicit and least < 0.0:
        raise InvalidData(
            f"MatrixFactorization: ratings must be >= 0 for feedback = 'implicit'; the least of {data.plan.source} "
            f"is {least:g}. Hint: feedback = 'explicit'"
        )
    return float(weighted / total), float(total)
