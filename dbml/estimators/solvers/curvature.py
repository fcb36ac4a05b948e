"""The inverse Hessian of a sample, output by output: what L-BFGS is preconditioned with where Newton is too dear.

Between outputs (classes) the Hessian is left out, which makes K small inverses of a large one. Within an output, the
levels of one column never meet in a row: their part of the Hessian is diagonal, and is eliminated (the Schur complement
of the rest is what is inverted), so that a column of a thousand levels costs little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.estimators.solvers.held_rows import HeldRows, spread_rows
from dbml.estimators.solvers.lbfgs import Inverse
from dbml.estimators.solvers.objective import Objective
from dbml.passes.block import Block, Floats

_ROWS = 16_384
_PASSES = 10  # what the curvature may cost: m rows of z entries that are not 0 take m z^2, a pass of n rows 2 n z
_ROWS_PER_PARAMETER = 8  # that are inverted; with fewer the sample knows its own curvature only
_WIDEST = 2_500  # terms: the Hessian of an output is made whole before levels are eliminated
_WIDEST_REST = 1_000  # parameters of an output that are inverted
_MOST_BYTES = 128 << 20


def widest_category(encoding: Encoding) -> slice:
    """Return the terms of the column with the most levels, an empty slice where there is none."""
    places = [
        slice(first, first + len(feature.sparse_terms))
        for feature, (_, first) in zip(encoding.features, encoding.offsets(), strict=True)
        if feature.kind == "category"
    ]
    return max(places, key=lambda place: place.stop - place.start, default=slice(0, 0))


def sample_curvature(
    objective: Objective, rows: Block, total_weight: float, levels: slice, share: Floats, n_objectives: int = 1
) -> Callable[[Floats], Inverse] | None:
    """Return the function from parameters to an inverse Hessian there; None where it would cost too much.

    Parameters
    ----------
    objective : Objective
    rows : Block
        Rows to take the sample from.
    total_weight : float
        Weight of all rows, which says how strong a penalty of the sum is.
    levels : slice
        Terms of which a row has at most one.
    share : ndarray of shape (n_levels,)
        What part of all rows has each of them.
    n_objectives : int
        How many share the memory.
    """
    m = objective.n_terms + objective.fit_intercept
    group = np.arange(levels.start, levels.stop)
    rest = np.delete(np.arange(m), group)
    stored = 8 * objective.n_outputs * len(rest) * (len(rest) + len(group))
    wide = m > _WIDEST or len(rest) > _WIDEST_REST or stored * n_objectives > _MOST_BYTES
    n_rows = min(_ROWS, _PASSES * 2 * rows.n_rows // max(1, _entries_per_row(rows)))
    if objective.has_scale or wide or n_rows < _ROWS_PER_PARAMETER * len(rest):
        return None
    chosen = spread_rows(rows, n_rows)
    if not objective.reading.weight(chosen).any():
        return None
    held, scaled = HeldRows(chosen), replace(objective, total_weight=total_weight)

    seen = np.zeros(len(group))
    if len(group) and chosen.sparse is not None:
        seen = np.bincount(chosen.sparse.indices, minlength=levels.stop)[levels].astype(np.float64)
    l2 = scaled.l2(total_weight)[group]

    def at(theta: Floats) -> Inverse:
        inverses = []
        for hessian in scaled.output_hessians(theta, held):
            corrected = _corrected(hessian, group, seen, share, l2, chosen.n_rows)
            inverses.append(_arrow_inverse(corrected, group, rest))

        def inverse(q: Floats) -> Floats:
            parts = q.reshape(objective.n_outputs, m)
            return np.concatenate([times(part) for times, part in zip(inverses, parts, strict=True)])

        return inverse

    return at


def _entries_per_row(rows: Block) -> int:
    return rows.X.shape[1] + (0 if rows.sparse is None else len(rows.sparse.values) // max(1, rows.n_rows))


def _corrected(
    hessian: Floats, group: NDArray[np.intp], seen: Floats, share: Floats, l2: Floats, n_rows: int
) -> Floats:
    """Return the Hessian with levels as frequent as among all rows, those of few rows as curved as others are."""
    if not len(group):
        return hessian
    diagonal = hessian[group, group] - l2
    usual = max(diagonal.sum(), 0.0) * n_rows / max(1.0, seen.sum())
    wanted = share * (np.maximum(diagonal, 0.0) * n_rows + usual) / (seen + 1.0)
    ratio = np.sqrt(wanted / np.where(diagonal > 0.0, diagonal, np.inf))
    hessian[group, :] *= ratio[:, None]
    hessian[:, group] *= ratio
    hessian[group, group] = wanted + l2
    return hessian


def _arrow_inverse(hessian: Floats, group: NDArray[np.intp], rest: NDArray[np.intp]) -> Inverse:
    """Return the inverse of ``[[D, B'], [B, A]]``, D diagonal, by ``(A - B D^-1 B')^-1``."""
    # A term that the sample lacks has no curvature but the penalty's: the mean of the others keeps its step in reach.
    diagonal = hessian.diagonal()
    floor = 1e-9 * diagonal + 1e-6 * diagonal.mean() + 1e-300
    levels = (diagonal + floor)[group]
    border = hessian[np.ix_(rest, group)] / levels
    inner = hessian[np.ix_(rest, rest)] - border @ hessian[np.ix_(group, rest)]
    inner[np.diag_indices_from(inner)] += floor[rest]
    inverted = np.linalg.inv(inner)

    def inverse(q: Floats) -> Floats:
        out = np.empty_like(q)
        out[rest] = inverted @ (q[rest] - border @ q[group])
        out[group] = q[group] / levels - out[rest] @ border
        return out

    return inverse
