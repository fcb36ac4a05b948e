"""Leading eigenvectors of second moments that are too wide to be formed: a block Krylov space, one pass a block.

Halko, Martinsson & Tropp 2011 (randomized ranges), Musco & Musco 2015 (all powers are kept, not only the last), and the
approximation of Nystrom by which Tropp, Yurtsever, Udell & Cevher 2017 read eigenvalues off a single pass.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from dbml.passes.block import Floats

_NEGLIGIBLE = 1e-10


class Krylov:
    """An orthonormal basis W of growing width and ``A W`` for a symmetric positive semidefinite A."""

    def __init__(self, n_terms: int) -> None:
        self.basis = np.empty((n_terms, 0))
        self.images = np.empty((n_terms, 0))

    def add(self, block: Floats, image: Floats) -> None:
        """Add columns orthonormal to the basis, and what A makes of them."""
        self.basis = np.hstack([self.basis, block])
        self.images = np.hstack([self.images, image])

    def following(self, image: Floats) -> Floats:
        """Return directions of `image` that are not in the basis, orthonormal; none where the space is closed."""
        return orthonormal(image, self.basis)

    def leading(self, n: int) -> tuple[Floats, Floats, float]:
        """Return the first n eigenvectors as rows, their eigenvalues, and the share that one more step would add.

        Eigenvalues of the approximation ``A W (W' A W)^+ W' A``: never above those of A.
        """
        inner = self.basis.T @ self.images
        inner = (inner + inner.T) / 2
        values, vectors = linalg.eigh(inner)
        largest = max(float(values[-1]), 0.0)
        kept = values > max(np.finfo(float).eps * len(values) * largest, np.finfo(float).tiny)
        if not kept.any():
            return np.ascontiguousarray(self.basis[:, :n].T), np.zeros(min(n, self.basis.shape[1])), 0.0
        within = float(values[::-1][:n].clip(0.0).sum())
        root = self.images @ (vectors[:, kept] / np.sqrt(values[kept]))
        left, singular, _ = np.linalg.svd(root, full_matrices=False)
        found, rows = (singular**2)[:n], left[:, :n].T
        if len(found) < n:  # the space holds fewer directions of any variance
            rest = orthonormal(self.basis, rows.T)[:, : n - len(found)]
            rows, found = np.vstack([rows, rest.T]), np.append(found, np.zeros(rest.shape[1]))
        return np.ascontiguousarray(rows), found, float(found.sum()) / within - 1.0


def orthonormal(columns: Floats, against: Floats | None = None) -> Floats:
    """Return an orthonormal basis of what `columns` add to the orthonormal columns of `against`, if there are any."""
    against = columns[:, :0] if against is None else against
    size = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    columns = columns[:, size > 0.0] / size[size > 0.0]
    for _ in range(2):  # twice is enough (Kahan, after Parlett 1980)
        columns = columns - against @ (against.T @ columns)
    if not columns.size:
        return columns
    made, triangle, _ = linalg.qr(columns, mode="economic", pivoting=True)
    kept = np.abs(triangle.diagonal()) > _NEGLIGIBLE
    made = made[:, : int(kept.sum())]
    return made - against @ (against.T @ made)
