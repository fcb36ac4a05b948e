"""Where a sketch begins: the leading directions of a sample, which also tells whether single precision will do.

The better the first directions, the fewer passes over all rows: a sample of 24 rows a term costs a quarter of a pass at
most, and mostly saves one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from dbml.estimators.clusters.rows import Rows
from dbml.estimators.components.krylov import orthonormal
from dbml.estimators.components.view import View, variation
from dbml.estimators.row_counts import row_count
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.step import State

_COARSE, _ROUGH, _FINE = 4, 6, 4  # one part in four, multiplications by it, and by all of them
_FEWEST, _A_TERM, _SHARE = 10_000, 24, 0.25  # rows of a sample: at least, for each dense term, of all
# Single precision: not where more is asked for, nor for numbers whose products leave its range, nor for directions
# along which rows vary too little beside the largest, or about a mean too far off, for their digits.
_TOLERANCE, _RANGE, _SMALLEST, _FARTHEST = 1e-5, 1e15, 1e-6, 100.0


@dataclass(frozen=True)
class Start:
    """Where passes over all rows begin.

    Attributes
    ----------
    directions : ndarray of shape (n_terms, l)
        Orthonormal directions.
    single : bool
        Whether products of a block are made in single precision.
    reason : str
        Why.
    n_rows : int
        Rows of the sample.
    """

    directions: Floats
    single: bool
    reason: str
    n_rows: int


def first_directions(data: Data, view: View, n: int, width: int, tol: float, seed: int) -> Start:
    """Return the first `width` directions of a sample, of which `n` are wanted, by the power method."""
    reason = f"tol = {tol:g} asks for it"
    rows = None
    if tol >= _TOLERANCE:
        rows = _sampled(data, width, seed, np.float32)
        if rows is None or not _in_range(view.scale):
            rows, reason = None, "numbers are so large or small that their products leave single precision"
    single = rows is not None
    rows = rows or _sampled(data, width, seed, np.float64)
    assert rows is not None
    directions = orthonormal(np.random.default_rng(seed).normal(size=(len(view.scale), width)))
    few = Rows(rows.parts[::_COARSE], rows.n_terms, False)
    for some, powers in ((few, _ROUGH), (rows, _FINE)):
        directions, values, moments = _multiplied(some, view, directions, powers, single)
    if not float(moments["weight"][0]) > 0.0:
        return Start(directions, single, reason, rows.n_rows)
    if single:
        means = moments["sums"] / float(moments["weight"][0])
        spread = float(variation(moments).sum()) / float(moments["weight"][0])
        if values[-n] < _SMALLEST * values[-1]:
            single, reason = False, "along the last directions rows vary too little for the digits of single precision"
        elif float(means @ means) > _FARTHEST * spread:
            single, reason = False, "means are too far off for the digits of single precision"
        else:
            reason = f"tol = {tol:g} asks for no more"
    return Start(directions, single, reason, rows.n_rows)


def _multiplied(rows: Rows, view: View, directions: Floats, powers: int, single: bool) -> tuple[Floats, Floats, State]:
    """Return directions after some multiplications by second moments, sums of squares along them, and moments.

    Where no row has a weight, or second moments overflow, they are what they were.
    """
    values: Floats = np.zeros(directions.shape[1])
    moments: State | None = None
    try:
        for _ in range(powers):
            (state,) = rows.fold(view.step(directions, moments is None, single))
            moments = moments or state
            if not float(moments["weight"][0]) > 0.0:
                break
            image = view.image(state, directions, moments)
            if not np.isfinite(image).all():
                break
            before, directions = directions, np.linalg.qr(image)[0]
        else:
            values = np.asarray(np.linalg.eigvalsh(before.T @ image), np.float64)
    finally:
        rows.close()
    assert moments is not None
    return directions, values, moments


def _in_range(values: Floats) -> bool:
    """Whether products of the largest of some numbers have their digits in single precision."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest == 0.0 or 1.0 / _RANGE < largest < _RANGE


def _sampled(data: Data, width: int, seed: int, dtype: DTypeLike) -> Rows | None:
    """Return sampled rows in memory; None where their numbers are out of the range of single precision."""
    encoding = data.schema.encoding
    wanted = max(_FEWEST, min(_A_TERM * encoding.n_dense, int(_SHARE * row_count(data)[0])))
    row_bytes = data.row_bytes - (8 - np.dtype(dtype).itemsize) * encoding.n_dense
    largest: list[Floats] = []

    def held(block: Block) -> Block:
        """Return a copy of a block."""
        largest.append(np.array([block.X.max(initial=0.0), block.X.min(initial=0.0)]))
        with np.errstate(over="ignore"):
            X = block.X.astype(dtype, order="F")
        sparse = None if block.sparse is None else block.sparse.copied()
        return Block(X, sparse, None, None if block.weight is None else block.weight.copy(), -1)

    parts = data.sampled(held, min(wanted, max(memory_budget().kept // row_bytes, width)), seed)
    if dtype == np.float32 and not _in_range(np.array(largest)):
        return None
    return Rows(parts, encoding.n_terms, False)
