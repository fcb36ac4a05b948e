"""Least squares from second moments: minimum norm, ridge, and with coefficients that are not negative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import linalg

from dbml.passes.block import Floats

# A direction whose variance is below this share of the largest one (after scaling terms to unit variance) is rounding.
RANK_TOLERANCE = 4e-14

# Moments whose reciprocal condition number is above this have full rank, and solve to eight digits by Cholesky.
_SAFE = 1e-7


def _unit_scale(gram: Floats) -> tuple[Floats, Floats]:
    """Return the terms' scale and the Gram matrix of the scaled terms; a constant term has scale 0 and is all 0."""
    scale = np.sqrt(gram.diagonal())
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    return inverse, gram * inverse[:, None] * inverse


class LeastSquares:
    """Least squares coefficients from second moments, factored once for any right side.

    Terms are scaled to unit variance. A factor of Cholesky's serves where the moments are far from singular; otherwise
    eigenvalues decide the rank, and the solution is projected so that its norm in the terms' own units is the
    smallest, as a singular value decomposition of the centred design gives.

    Attributes
    ----------
    rank : int
        Rank of the design.
    condition : float
        Ratio of the largest to the smallest variance that counts, of the scaled terms; an estimate from above where a
        factor of Cholesky's serves.
    """

    def __init__(self, gram: Floats) -> None:
        self._inverse, scaled = _unit_scale(gram)
        self._solve: Callable[[Floats], Floats]
        p = len(gram)
        norm = float(np.abs(scaled).sum(axis=0).max(initial=0.0))
        factor, broken = linalg.lapack.dpotrf(scaled, lower=1) if p else (scaled, 0)
        share = float(linalg.lapack.dpocon(factor, norm, uplo="L")[0]) if p and not broken else 0.0
        if share > _SAFE:
            self.rank, self.condition = p, 1.0 / share
            self._solve = lambda v: self._inverse * linalg.cho_solve((factor, True), self._inverse * v)
        else:
            self._decompose(scaled)

    def _decompose(self, scaled: Floats) -> None:
        p, inverse = len(scaled), self._inverse
        values, vectors = linalg.eigh(scaled, driver="evd") if p else (np.ones(1), np.zeros((0, 1)))
        counted = values[values > RANK_TOLERANCE * max(values[-1], 0.0)]
        self.condition = float(counted[-1] / counted[0]) if len(counted) else 1.0
        kept = values > RANK_TOLERANCE * max(values[-1], 1.0) * max(p, 8) / 8
        self.rank = int(kept.sum()) if p else 0
        used = inverse > 0.0
        basis, span = vectors[:, kept], np.zeros((int(used.sum()), 0))
        loose = (inverse[:, None] * vectors)[used][:, ~kept]
        if self.rank < len(span) and loose.size:
            span, triangle, _ = linalg.qr(loose, mode="economic", pivoting=True)
            size = np.abs(triangle.diagonal())
            span = span[:, : int((size > 1e-12 * size.max(initial=0.0)).sum())]

        def solve(v: Floats) -> Floats:
            coef = inverse * (basis @ ((basis.T @ (inverse * v)) / values[kept]))
            coef[used] -= span @ (span.T @ coef[used])
            return coef

        self._solve = solve

    def solve(self, xy: Floats) -> Floats:
        """Return the coefficients of smallest norm for products of terms and target, shape (n_terms,)."""
        return self._solve(xy)


def ridge(gram: Floats, xy: Floats, alpha: float) -> Floats:
    """Return the minimiser of ``w' G w / 2 - xy . w + alpha |w|^2 / 2``: Cholesky, minimum norm where that fails."""
    if alpha == 0.0:
        return LeastSquares(gram).solve(xy)
    shifted = gram + alpha * np.eye(len(gram))
    try:
        factor = linalg.cho_factor(shifted, lower=True)
    except linalg.LinAlgError:  # alpha is below the rounding of the largest variance
        return LeastSquares(shifted).solve(xy)
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
