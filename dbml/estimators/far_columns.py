"""A warning of columns so far from 0 that a model through 0 loses their spread in rounding."""

from __future__ import annotations

import warnings

import numpy as np

from dbml.errors import DbmlWarning
from dbml.passes.block import Block, Floats
from dbml.passes.schema import Schema

_LOST = 1e-3  # of the square of the spread, which the rounding of the square of the offset may be
_ROWS = 1_000


class FarFromZero(DbmlWarning):
    """Columns lie too far from 0 for a model whose intercept is penalised or missing."""


def warn_of_far_columns(owner: str, schema: Schema, sample: Block) -> None:
    """Warn where the square of a column's offset, rounded, hides its spread in some rows.

    Blocks are centred; only models whose intercept is in the units of the columns, because it is penalised or missing,
    square the offset.
    """
    d = sample.X.shape[1]
    centre: Floats = np.abs(np.array(schema.encoding.centre()[:d]))
    if sample.n_rows < 2 or not centre.any():
        return
    spread = sample.X[:: -(-sample.n_rows // _ROWS)].std(axis=0)
    lost = np.divide(np.finfo(float).eps * centre**2, spread**2, out=np.zeros(d), where=spread > 1e-12 * centre)
    far = int(lost.argmax())
    if lost[far] > _LOST:
        warnings.warn(
            f"{owner}: columns lie so far from 0 that an intercept that is penalised or missing costs digits of their "
            f"coefficients ({schema.encoding.terms[far]!r}: about {centre[far]:.3g}, standard deviation "
            f"{spread[far]:.3g}); subtract a constant from them, or take a model with a free intercept",
            FarFromZero,
            stacklevel=6,
        )
