"""The errors of ridge regression with each row left out once, for several penalties, without fitting again."""

from __future__ import annotations

import numpy as np

from dbml.estimators.gram_step import Moments
from dbml.passes.block import Block, Floats
from dbml.passes.step import State


class LeaveOneOutStep:
    """Sums of ``w (r / (1 - h))^2``, h the influence of a row on its own prediction (Golub, Heath & Wahba 1979).

    ``h = w (1 / sum w + x' (G + alpha)^-1 x)``, without the first part where there is no intercept.
    State: ``errors`` (n_alphas,).

    Parameters
    ----------
    vectors : ndarray of shape (p, p)
        Eigenvectors of the Gram matrix.
    shrunk : ndarray of shape (p, n_alphas)
        ``1 / (eigenvalue + alpha)``.
    coefs : ndarray of shape (p, n_alphas)
        Coefficients for each penalty.
    about : ndarray of shape (p,)
        What is taken from the terms of a block: their means, or minus the centre without an intercept.
    whole : Moments
        Of all rows.
    fit_intercept : bool
    """

    # Sums are added in another order.
    tolerance = 1e-9
    chained = False

    def __init__(
        self, vectors: Floats, shrunk: Floats, coefs: Floats, about: Floats, whole: Moments, fit_intercept: bool
    ) -> None:
        self.vectors, self.shrunk, self.coefs, self.about = vectors, shrunk, coefs, about
        self.y_mean = whole.y_mean if fit_intercept else 0.0
        self.share = 1.0 / whole.weight if fit_intercept else 0.0

    def start(self) -> State:
        """Return the state of no rows."""
        return {"errors": np.zeros(self.shrunk.shape[1])}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        assert block.y is not None
        weight = block.weights
        residual = (block.y - self.y_mean)[:, None] - self._times(block, self.coefs)
        influence = self._times(block, self.vectors) ** 2 @ self.shrunk + self.share
        left = np.maximum(1.0 - weight[:, None] * influence, np.finfo(float).eps)
        state["errors"] += weight @ (residual / left) ** 2

    def _times(self, block: Block, matrix: Floats) -> Floats:
        """Return ``(terms - about) matrix`` for the rows of a block."""
        d = block.X.shape[1]
        product = block.X @ matrix[:d] - self.about @ matrix
        if block.sparse is not None:
            from scipy.sparse import csr_array

            indptr, indices, values = block.sparse
            product += csr_array((values, indices, indptr), shape=(block.n_rows, len(matrix))) @ matrix
        return product

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["errors"] += other["errors"]
        return into
