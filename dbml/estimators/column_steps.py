"""Aggregates of every column by itself, missing values left out: moments, counts of different values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dbml_kernels.column_moments import column_moments_join, column_moments_update
from dbml_kernels.radix_histogram import radix_histogram_add
from numpy.typing import NDArray

from dbml.errors import ExhaustedMemory
from dbml.passes.block import Block, Floats
from dbml.passes.plan import ExpectedPasses
from dbml.passes.step import State

ONE_PASS = ExpectedPasses("1", "what is asked of each column is a sum, a limit or a count")

_NO_WEIGHT = np.zeros(0)
_DIGITS = 21  # binary ones of a weight


def weight_of(block: Block) -> Floats:
    """Return the weights of a block as kernels of columns take them: none where all are 1."""
    return _NO_WEIGHT if block.weight is None else block.weight


def rounded_weights(weight: Floats) -> Floats:
    """Return weights of 21 binary digits; from 1 on multiples of 2^-20, so that whole numbers stay what they are."""
    exponent = _DIGITS - np.minimum(np.frexp(weight)[1], 1)
    return np.ldexp(np.rint(np.ldexp(weight, exponent)), -exponent)


class ColumnMomentsStep:
    """Weight, mean, squares about the mean, least and greatest value of each dense term, of plain values.

    State: ``moments`` (3, n_terms), ``limits`` (2, n_terms), ``missing`` (n_terms,) weight of the rows where a term is
    missing, ``rows`` (2,) weight and number of all.
    """

    # Means of parts are moved to their common mean, in another order.
    tolerance = 1e-10
    chained = False

    def __init__(self, n_terms: int) -> None:
        self.n_terms = n_terms

    def start(self) -> State:
        """Return the state of no rows."""
        limits = np.empty((2, self.n_terms))
        limits[0], limits[1] = np.inf, -np.inf
        missing = np.zeros(self.n_terms)
        return {"moments": np.zeros((3, self.n_terms)), "limits": limits, "missing": missing, "rows": np.zeros(2)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        weight = weight_of(block)
        column_moments_update(block.X, weight, state["moments"], state["limits"], state["missing"])
        state["rows"] += (weight.sum(), np.count_nonzero(weight)) if weight.size else (block.n_rows, block.n_rows)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        column_moments_join(into["moments"], other["moments"])
        np.minimum(into["limits"][0], other["limits"][0], out=into["limits"][0])
        np.maximum(into["limits"][1], other["limits"][1], out=into["limits"][1])
        into["missing"] += other["missing"]
        into["rows"] += other["rows"]
        return into


class DistinctStep:
    """The different values of some dense terms and their weights, to six digits: those of whole numbers exactly.

    State: for term j ``values_j`` ascending and ``weights_j``, of the same length; ``missing`` (n_terms,) weights of
    the rows where a term is missing.

    Parameters
    ----------
    terms : sequence of int
        Dense terms that are counted.
    names : sequence of str
        Their names, for the error.
    most : int
        Most different values of a term.
    """

    # Sums of rounded weights are exact in any order, unless weights differ by so much that 53 digits do not hold them.
    tolerance = 0.0
    chained = False

    def __init__(self, terms: Sequence[int], names: Sequence[str], most: int) -> None:
        self.terms, self.names, self.most = tuple(terms), tuple(names), most

    def start(self) -> State:
        """Return the state of no rows."""
        state = {"missing": np.zeros(len(self.terms))}
        for j in self.terms:
            state |= {f"values_{j}": np.zeros(0), f"weights_{j}": np.zeros(0)}
        return state

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        for place, j in enumerate(self.terms):
            column, weight = block.X[:, j], block.weight
            if weight is not None:
                weight = rounded_weights(weight)
            seen = ~np.isnan(column)
            if weight is not None:
                state["missing"][place] += weight[~seen].sum()
                seen &= weight > 0.0
            else:
                state["missing"][place] += column.size - np.count_nonzero(seen)
            values, inverse, counts = np.unique(column[seen], return_inverse=True, return_counts=True)
            if weight is None:
                self._add(state, place, values, counts.astype(np.float64))
            else:
                self._add(state, place, values, np.bincount(inverse, weight[seen], values.size))

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["missing"] += other["missing"]
        for place, j in enumerate(self.terms):
            self._add(into, place, other[f"values_{j}"], other[f"weights_{j}"])
        return into

    def _add(self, state: State, place: int, values: Floats, weights: NDArray[Any]) -> None:
        j = self.terms[place]
        both = np.concatenate([state[f"values_{j}"], values])
        joined, inverse = np.unique(both + 0.0, return_inverse=True)  # -0 and 0 are one value
        if joined.size > self.most:
            raise ExhaustedMemory(
                f"column {self.names[place]!r} has more than {self.most:,} different values, which are not counted one "
                "by one. Leave the column out, or make bins of it"
            )
        mass = np.concatenate([state[f"weights_{j}"], weights])
        state[f"values_{j}"] = joined
        state[f"weights_{j}"] = np.bincount(inverse, mass, joined.size)


class RadixStep:
    """Weights of the values of each dense term by their next bits; see `dbml_kernels.radix_histogram`.

    State: for term j ``histogram_j`` (m_j, 2 ** bits).

    Parameters
    ----------
    prefixes : sequence of ndarray of uint64
        For each term the first bits of the values that count, ascending.
    fixed, bits : int
        Bits of a prefix, and bits that follow.
    """

    # Weights are added in another order.
    tolerance = 1e-12
    chained = False

    def __init__(self, prefixes: Sequence[np.ndarray], fixed: int, bits: int) -> None:
        self.prefixes, self.fixed, self.bits = list(prefixes), fixed, bits

    def start(self) -> State:
        """Return the state of no rows."""
        return {f"histogram_{j}": np.zeros((p.size, 1 << self.bits)) for j, p in enumerate(self.prefixes)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        weight = weight_of(block)
        for j, prefixes in enumerate(self.prefixes):
            histogram = state[f"histogram_{j}"]
            radix_histogram_add(block.X[:, j], weight, prefixes, self.fixed, self.bits, histogram)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        for name, histogram in other.items():
            into[name] += histogram
        return into
