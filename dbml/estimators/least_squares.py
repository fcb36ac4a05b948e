"""Least squares from second moments: minimum norm, ridge, and with coefficients that are not negative."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from dbml.passes.block import Floats

# A direction whose variance is below this share of the largest one (after scaling terms to unit variance) is rounding.
RANK_TOLERANCE = 4e-14


def _unit_scale(gram: Floats) -> tuple[Floats, Floats]:
    """Return the terms' scale and the Gram matrix of the scaled terms; a constant term keeps scale 1 and is all 0."""
    scale = np.sqrt(gram.diagonal())
    scale[scale <= RANK_TOLERANCE * max(float(scale.max(initial=0.0)), np.finfo(float).tiny)] = 0.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    return inverse, gram * inverse[:, None] * inverse


def condition(gram: Floats) -> float:
    """Return the ratio of the largest to the smallest variance that counts, after scaling terms to unit variance."""
    values = linalg.eigvalsh(_unit_scale(gram)[1]) if len(gram) else np.ones(1)
    kept = values[values > RANK_TOLERANCE * max(values[-1], 0.0)]
    return float(kept[-1] / kept[0]) if len(kept) else 1.0


def minimum_norm(gram: Floats, xy: Floats) -> tuple[Floats, int]:
    """Return the least squares coefficients of smallest norm, and the rank of the design.

    Terms are scaled to unit variance to decide the rank; where it is not full, the solution is projected so that its
    norm in the terms' own units is the smallest, as a singular value decomposition of the centred design gives.
    """
    p = len(gram)
    if p == 0:
        return np.zeros(0), 0
    inverse, scaled = _unit_scale(gram)
    values, vectors = linalg.eigh(scaled)
    kept = values > RANK_TOLERANCE * max(values[-1], 1.0) * max(p, 8) / 8
    rank = int(kept.sum())
    basis = vectors[:, kept]
    coef = inverse * (basis @ ((basis.T @ (inverse * xy)) / values[kept]))
    used = inverse > 0.0
    loose = (inverse[:, None] * vectors)[used][:, ~kept]
    if rank < int(used.sum()) and loose.size:
        span, triangle, _ = linalg.qr(loose, mode="economic", pivoting=True)
        size = np.abs(triangle.diagonal())
        span = span[:, : int((size > 1e-12 * size.max(initial=0.0)).sum())]
        coef[used] -= span @ (span.T @ coef[used])
    return coef, rank


def ridge(gram: Floats, xy: Floats, alpha: float) -> Floats:
    """Return the minimiser of ``w' G w / 2 - xy . w + alpha |w|^2 / 2``: Cholesky, minimum norm where that fails."""
    if alpha == 0.0:
        return minimum_norm(gram, xy)[0]
    shifted = gram + alpha * np.eye(len(gram))
    try:
        factor = linalg.cho_factor(shifted, lower=True)
    except linalg.LinAlgError:  # alpha is below the rounding of the largest variance
        return minimum_norm(shifted, xy)[0]
    coef = linalg.cho_solve(factor, xy)
    return coef + linalg.cho_solve(factor, xy - shifted @ coef)


def not_negative(gram: Floats, xy: Floats, alpha: float = 0.0) -> Floats:
    """Return the coefficients of `ridge` that are not negative, by an active set (Lawson & Hanson 1974)."""
    from scipy.optimize import nnls

    if len(gram) == 0:
        return np.zeros(0)
    inverse = _unit_scale(gram + alpha * np.eye(len(gram)))[0]
    scaled = (gram + alpha * np.eye(len(gram))) * inverse[:, None] * inverse
    values, vectors = linalg.eigh(scaled)
    kept = values > RANK_TOLERANCE * max(values[-1], 1.0)
    root = np.sqrt(values[kept])
    design = root[:, None] * vectors[:, kept].T
    coef, _ = nnls(design, (vectors[:, kept].T @ (inverse * xy)) / root)
    return inverse * coef
