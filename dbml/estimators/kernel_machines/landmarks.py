"""Nystroem's features: values of the kernel at landmarks, turned so that their products are values of the kernel.

``phi(x) = K(x, L) K(L, L)^(-1/2)``. Reference: Williams & Seeger 2001, using the Nystroem method to speed up kernel
machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbml.estimators.kernel_machines.kernel_function import Vectors
from dbml.passes.block import Block, Floats

_LEAST_EIGENVALUE = 1e-12
_LEAST_SHARE = 1e-7  # of the largest eigenvalue: what lies below is noise in sums over many rows


def rows_as_block(rows: Floats) -> Block:
    """Return rows of all terms as a block of dense terms."""
    return Block(np.asfortranarray(rows), None, None, None, 0)


def normalization(landmarks: Vectors) -> Floats:
    """Return ``K(L, L)^(-1/2)``, shape (m, m), symmetric; `landmarks.rows` as the kernel sees them."""
    U, S, V = np.linalg.svd(_matrix(landmarks), hermitian=True)
    return (U / np.sqrt(np.maximum(S, _LEAST_EIGENVALUE))) @ V


def principal_normalization(landmarks: Vectors) -> Floats:
    """Return ``S^(-1/2) U'`` of the eigenvectors U of ``K(L, L)`` that tell something, shape (r, m), r at most m.

    Features turned so have the same products as those of `normalization`.
    """
    S, U = np.linalg.eigh(_matrix(landmarks))
    kept = max(S.max(initial=0.0) * _LEAST_SHARE, _LEAST_EIGENVALUE) < S
    return np.ascontiguousarray((U[:, kept] / np.sqrt(S[kept])).T[::-1])


def _matrix(landmarks: Vectors) -> Floats:
    at_origin = Vectors(landmarks.rows, np.zeros_like(landmarks.origin), landmarks.kernel)
    K = at_origin.values(rows_as_block(landmarks.rows))
    return 0.5 * (K + K.T)


@dataclass(frozen=True)
class NystroemFeatures:
    """The features of landmarks.

    Attributes
    ----------
    landmarks : Vectors
    normalization : ndarray of shape (n_out, m)
        What turns values of the kernel at the landmarks into features.
    """

    landmarks: Vectors
    normalization: Floats

    @property
    def n_out(self) -> int:
        """Number of features."""
        return len(self.normalization)

    def features(self, block: Block) -> Floats:
        """Return the features of the rows of a block, shape (n, n_out), column-major."""
        return self.landmarks.expand(block, self.normalization)
