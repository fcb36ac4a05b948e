"""Probabilistic principal components: how likely a row is, and how far it lies from the components.

Tipping & Bishop 1999: terms are components times independent normal scores, plus noise alike in all directions.
"""

from __future__ import annotations

import numpy as np
from dbml_kernels.linear_predictor import predictor_add_sparse

from dbml.estimators.components.projection import Projection
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import as_data


class ProbabilisticProjection(Projection):
    """A projection that is a normal distribution of the terms, with what it says of rows.

    Attributes
    ----------
    explained_variance_ : ndarray of shape (n_components_,)
        Variance along each component.
    noise_variance_ : float
        Variance along every other direction.
    mean_, centred_mean_ : ndarray of shape (n_terms,)
        Mean of the terms, in the units of the columns and as blocks hold them.
    """

    whiten: bool
    explained_variance_: Floats
    noise_variance_: float
    mean_: Floats
    centred_mean_: Floats

    def _scale(self) -> Floats:
        """Return what terms are divided by, shape (n_terms,)."""
        return np.ones(self.components_.shape[1])

    def _spread(self) -> Floats:
        """Return what outputs are divided by, shape (n_components_,): 1 without whitening, or without variance."""
        if not self.whiten:
            return np.ones(len(self.components_))
        variance = self.explained_variance_
        constant = variance <= np.finfo(float).eps * float(variance.max(initial=0.0))
        return np.sqrt(np.where(constant, 1.0, variance))

    def _weights(self) -> Floats:
        return self.components_ / self._scale() / self._spread()[:, None]

    def _origin(self) -> Floats:
        return self.centred_mean_

    def _back(self) -> tuple[Floats, Floats]:
        return self.components_ * self._scale() * self._spread()[:, None], self.mean_

    def _lengths(self, block: Block) -> tuple[Floats, Floats]:
        """Return the squared length of each row about the mean, in scaled terms, and its scores before whitening."""
        d, inverse, mean = block.X.shape[1], 1.0 / self._scale() ** 2, self.centred_mean_
        squared = np.square(block.X - mean[:d]) @ inverse[:d]
        if block.sparse is not None:
            indptr, indices, values = block.sparse
            squared += mean[d:] ** 2 @ inverse[d:]
            predictor_add_sparse(indptr, indices, values * values, inverse, squared)
            predictor_add_sparse(indptr, indices, values, -2.0 * mean * inverse, squared)
        return squared, self._transform_block(block) * self._spread()

    def _anomaly_block(self, block: Block) -> Floats:
        """Return the mean squared error of each row's terms, led back from its projection, in scaled terms."""
        squared, scores = self._lengths(block)
        rest = squared - np.einsum("ij,ij->i", scores, scores)
        return np.maximum(rest, 0.0) / self.components_.shape[1]

    def _samples_block(self, block: Block) -> Floats:
        """Return the log density of each row, in scaled terms."""
        squared, scores = self._lengths(block)
        k, p = self.components_.shape
        inverse, outside = self._inverse_variances()
        counted = inverse[inverse > 0.0]
        distance = np.square(scores) @ inverse
        size = len(counted) * np.log(2.0 * np.pi) - np.log(counted).sum()
        if k < p and outside > 0.0:
            distance += np.maximum(squared - np.einsum("ij,ij->i", scores, scores), 0.0) * outside
            size += (p - k) * (np.log(2.0 * np.pi) - np.log(outside))
        return -0.5 * (distance + size)

    def _inverse_variances(self) -> tuple[Floats, float]:
        """Return the inverse variance along each component and along all other directions, 0 where there is none."""
        variance, noise = np.maximum(self.explained_variance_, self.noise_variance_), self.noise_variance_
        smallest = np.finfo(float).eps * float(variance.max(initial=0.0))
        inverse = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > smallest)
        return inverse, 1.0 / noise if noise > smallest else 0.0

    def score_samples(self, X: object, *, con: object = None) -> object:
        """Return the log density of each row under the model, shape (n_rows,).

        Directions without variance, such as those of constant columns, do not count (as in the pseudoinverse that
        `get_precision` returns): the density is that of the others.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        con : connection, optional
            Where a table name or SQL is looked up.
        """
        return self._score(X, "score_samples", self._samples_block, con)

    def score(self, X: object, y: object = None, *, con: object = None) -> float:
        """Return the mean of `score_samples` over the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : ignored
            There for scikit-learn's pipelines.
        con : connection, optional
            Where a table name or SQL is looked up.
        """
        self._check_fitted()
        with as_data(X, schema=self.schema_, con=con, options={"owner": type(self).__name__}) as data:
            parts = list(data.map(lambda block: (self._samples_block(block).sum(), block.n_rows), purpose="score"))
        rows = sum(n for _, n in parts)
        return float(sum(total for total, _ in parts) / rows) if rows else float("nan")

    def get_covariance(self) -> Floats:
        """Return the covariance of the terms under the model, shape (n_terms, n_terms), in the units of the columns."""
        self._check_fitted()
        above = np.maximum(self.explained_variance_ - self.noise_variance_, 0.0)
        covariance = (self.components_.T * above) @ self.components_
        covariance[np.diag_indices_from(covariance)] += self.noise_variance_
        return covariance * self._scale() * self._scale()[:, None]

    def get_precision(self) -> Floats:
        """Return the inverse of `get_covariance`; the pseudoinverse where some direction has no variance."""
        self._check_fitted()
        inverse, outside = self._inverse_variances()
        precision = (self.components_.T * (inverse - outside)) @ self.components_
        precision[np.diag_indices_from(precision)] += outside
        return precision / self._scale() / self._scale()[:, None]
