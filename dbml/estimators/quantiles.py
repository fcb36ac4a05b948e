"""Exact weighted quantiles of every column: of rows in memory by sorting, of others by radix selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dbml.estimators.column_steps import ColumnMomentsStep, RadixStep
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

QUANTILE_PASSES = ExpectedPasses("some", "each narrows down where the quantiles of the columns lie")
METHODS = ("averaged_inverted_cdf", "inverted_cdf", "linear")

_STATE_BYTES = 1 << 22  # of the histograms of a pass, where the wanted bins allow it


@dataclass(frozen=True, slots=True)
class _Target:
    """The least value up to which the weights sum to `mass` or more; to more than that, if `above`."""

    mass: float
    above: bool


def column_quantiles(data: Data, shares: Sequence[Sequence[float]], method: str, purpose: str) -> list[Floats]:
    """Return the quantiles of each dense term over all rows, exactly; NaN for a term without values.

    Parameters
    ----------
    data : Data
        Rows, plain values.
    shares : sequence of sequences of float
        For each term, between 0 and 1.
    method : {"averaged_inverted_cdf", "inverted_cdf", "linear"}
        As in `numpy.quantile`; ``linear`` is of rows without weights.
    purpose : str
        Name of the passes.

    Notes
    -----
    Values are counted by their first bits, and then those with the wanted first bits by the bits that follow: 6 passes
    of 12 bits for a quantile or two a column, more passes of fewer bits for more. A state of a pass takes at most
    4 MiB, or 16 numbers for each quantile.
    """
    (state,) = data.fold(ColumnMomentsStep(len(shares)), purpose=purpose)
    masses = state["moments"][0]
    targets = [_targets(some, float(mass), method) for some, mass in zip(shares, masses, strict=True)]
    data.plan = data.plan.decide(
        "quantiles", "exact", "by radix selection: passes over all rows, counted by their bits"
    )
    found = _select(data, targets, purpose)
    return [
        _joined(values, some, float(mass), method) if mass > 0.0 else np.full(len(some), np.nan)
        for values, some, mass in zip(found, shares, masses, strict=True)
    ]


def block_quantiles(block: Block, shares: Sequence[Sequence[float]], method: str) -> list[Floats]:
    """Return the quantiles of each dense term over the rows of a block."""
    found = []
    for j, some in enumerate(shares):
        column = block.X[:, j]
        seen = ~np.isnan(column)
        if block.weight is not None:
            seen &= block.weight > 0.0
        values = column[seen]
        weight = np.ones(values.size) if block.weight is None else block.weight[seen]
        order = np.argsort(values, kind="stable")
        values, upto = values[order] + 0.0, np.cumsum(weight[order])
        if not values.size:
            found.append(np.full(len(some), np.nan))
            continue
        mass = float(upto[-1])
        places = [_place(upto, target) for target in _targets(some, mass, method)]
        found.append(_joined(values[np.array(places, np.intp)], some, mass, method))
    return found


def _targets(shares: Sequence[float], mass: float, method: str) -> list[_Target]:
    """Return two targets for each share: the values below and above it."""
    found = []
    for share in shares:
        if method == "linear":
            rank = share * (mass - 1.0)
            found += [_Target(np.floor(rank), True), _Target(min(np.floor(rank) + 1.0, mass - 1.0), True)]
        else:
            found += [_Target(share * mass, False), _Target(share * mass, method == "averaged_inverted_cdf")]
    return found


def _joined(values: Floats, shares: Sequence[float], mass: float, method: str) -> Floats:
    """Return one quantile a share, from the values of its two targets."""
    below, above = values[0::2], values[1::2]
    if method == "linear":
        rank = np.asarray(shares) * (mass - 1.0)
        part = rank - np.floor(rank)
        return np.where(part < 0.5, below + (above - below) * part, above - (above - below) * (1.0 - part))
    return np.where(below == above, below, 0.5 * (below + above))


def _place(upto: Floats, target: _Target) -> int:
    """Return the place of a target among cumulative weights."""
    # Weights that are no whole numbers sum to a share of all with an error.
    slack = 4.0 * np.finfo(float).eps * upto[-1]
    mass = target.mass + slack if target.above else target.mass - slack
    place = int(np.searchsorted(upto, mass, side="right" if target.above else "left"))
    return min(place, int(np.searchsorted(upto, upto[-1], side="left")))


def _select(data: Data, targets: Sequence[list[_Target]], purpose: str) -> list[Floats]:
    """Return the value of each target, bit by bit."""
    prefixes = [np.zeros(len(some), np.uint64) for some in targets]
    below = [np.zeros(len(some)) for some in targets]
    fixed = 0
    while fixed < 64:
        distinct = [np.unique(some) for some in prefixes]
        bits = min(_bits(sum(some.size for some in distinct)), 64 - fixed)
        (state,) = data.fold(RadixStep(distinct, fixed, bits), purpose=purpose)
        for j, some in enumerate(targets):
            for i, target in enumerate(some):
                row = state[f"histogram_{j}"][np.searchsorted(distinct[j], prefixes[j][i])]
                if not row.any():
                    continue
                digit = _digit(below[j][i] + np.cumsum(row), row, target)
                below[j][i] += row[:digit].sum()
                prefixes[j][i] = (prefixes[j][i] << np.uint64(bits)) | np.uint64(digit)
        fixed += bits
    return [_values(some) for some in prefixes]


def _digit(upto: Floats, row: Floats, target: _Target) -> int:
    filled = np.flatnonzero(row)
    return int(min(max(_place(upto, target), filled[0]), filled[-1]))


def _bits(n_prefixes: int) -> int:
    """Return how many bits a pass resolves."""
    return next((bits for bits in (12, 10, 8, 6) if 8 * n_prefixes << bits <= _STATE_BYTES), 4)


def _values(words: np.ndarray) -> Floats:
    """Return the doubles of order-preserving integers."""
    sign = np.uint64(1 << 63)
    return np.where(words & sign, words ^ sign, ~words).view(np.float64)
