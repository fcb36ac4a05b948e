"""What a fitted mixture tells of rows: components, densities, criteria, draws, and the form for SQL."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from dbml_sql.forms import QuadraticForm

from dbml.errors import InvalidData
from dbml.estimators.clusterer import Clusterer
from dbml.estimators.mixtures.components import Components, Kind, MixtureStep, is_diagonal
from dbml.estimators.random_state import seed_of
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import as_data


class MixtureModel(Clusterer):
    """A fitted mixture of normal distributions.

    Attributes
    ----------
    weights_, centred_means_, means_, covariances_, precisions_cholesky_ : ndarray
        See `dbml.estimators.gaussian_mixture.GaussianMixture`.
    """

    covariance_type: Kind
    random_state: Any

    weights_: Floats
    means_: Floats
    centred_means_: Floats
    covariances_: Floats
    precisions_cholesky_: Floats

    @property
    def precisions_(self) -> Floats:
        """Inverses of the covariances, in their shape."""
        self._check_fitted()
        roots = self.precisions_cholesky_
        if is_diagonal(self.covariance_type):
            return roots**2
        return roots @ np.swapaxes(roots, -1, -2)

    def _components(self) -> Components:
        k, n_terms = self.centred_means_.shape
        roots = self.precisions_cholesky_
        if self.covariance_type == "spherical":
            roots = np.repeat(roots[:, None, None], n_terms, axis=2)
        elif self.covariance_type == "diag":
            roots = roots[:, None, :]
        elif self.covariance_type == "tied":
            roots = np.repeat(roots[None], k, axis=0)
        roots, means = np.ascontiguousarray(roots), np.ascontiguousarray(self.centred_means_)
        return Components(self.covariance_type, self.weights_, means, roots)

    def _look_at(self, X: Any) -> None:
        """Refuse a sparse matrix: means and covariances are dense."""
        if hasattr(X, "tocsr"):
            raise InvalidData(
                f"{type(self).__name__}: X must be dense, as means and covariances are; got a sparse matrix of shape "
                f"{X.shape}. Pass X.toarray()"
            )

    # prediction ------------------------------------------------------------------------------------------------

    def _cluster_block(self, block: Block) -> np.ndarray:
        return np.argmax(self._components().shares(block)[0], axis=0)

    def _proba_block(self, block: Block) -> Floats:
        return np.ascontiguousarray(self._components().shares(block)[0].T)

    def _samples_block(self, block: Block) -> Floats:
        return self._components().shares(block)[1]

    def _anomaly_block(self, block: Block) -> Floats:
        """Return the log likelihood of each row, negative."""
        return -self._samples_block(block)

    def predict_proba(self, X: Any, *, con: Any = None) -> Any:
        """Return the probability of each component for each row of X, shape (n_rows, n_components)."""
        return self._score(X, "predict_proba", self._proba_block, con)

    def score_samples(self, X: Any, *, con: Any = None) -> Any:
        """Return the log likelihood of each row of X, shape (n_rows,)."""
        return self._score(X, "score_samples", self._samples_block, con)

    # criteria --------------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> float:
        """Return the mean log likelihood of the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : ignored
        sample_weight : array of shape (n_rows,) or column name, optional
            Weights, not negative.
        con : connection, optional
            Where a table name or SQL is looked up.
        """
        weight, total = self._likelihood(X, sample_weight, con)
        return total / weight

    def _likelihood(self, X: Any, sample_weight: Any, con: Any) -> tuple[float, float]:
        """Return the sum of the weights of rows, and their log likelihood."""
        self._check_fitted()
        how = {"sample_weight": sample_weight, "con": con, "options": {"owner": type(self).__name__}}
        with as_data(X, schema=self.schema_, **how) as data:
            (state,) = data.fold(MixtureStep(self._components()), purpose="score")
        weight, total = state["likelihood"].tolist()
        return weight, total

    def _n_parameters(self) -> int:
        k, n_terms = self.means_.shape
        of_covariances = {
            "full": k * n_terms * (n_terms + 1) // 2,
            "tied": n_terms * (n_terms + 1) // 2,
            "diag": k * n_terms,
            "spherical": k,
        }
        return of_covariances[self.covariance_type] + n_terms * k + k - 1

    def bic(self, X: Any, *, con: Any = None) -> float:
        """Return the Bayesian information criterion on the rows of X: the lower the better."""
        weight, total = self._likelihood(X, None, con)
        return -2.0 * total + self._n_parameters() * math.log(weight)

    def aic(self, X: Any, *, con: Any = None) -> float:
        """Return the Akaike information criterion on the rows of X: the lower the better."""
        return -2.0 * self._likelihood(X, None, con)[1] + 2 * self._n_parameters()

    def sample(self, n_samples: int = 1) -> tuple[Floats, np.ndarray]:
        """Return rows drawn from the mixture, in the units of the terms, and the component of each.

        Parameters
        ----------
        n_samples : int, default=1
            Rows to draw: others in each call where `random_state` is None.
        """
        self._check_fitted()
        generator = np.random.default_rng(None if self.random_state is None else seed_of(self.random_state))
        counts = generator.multinomial(n_samples, self.weights_)
        n_terms = self.means_.shape[1]
        parts = []
        for number, count in enumerate(counts):
            covariance = self.covariances_ if self.covariance_type == "tied" else self.covariances_[number]
            if is_diagonal(self.covariance_type):
                drawn = generator.standard_normal((count, n_terms)) * np.sqrt(covariance)
            else:
                drawn = generator.multivariate_normal(np.zeros(n_terms), covariance, count)
            parts.append(drawn + self.means_[number])
        return np.concatenate(parts), np.repeat(np.arange(len(counts)), counts)

    # state -----------------------------------------------------------------------------------------------------

    def form(self) -> QuadraticForm | None:
        """Return log densities as squares; None where covariances are not diagonal, or there are sparse features."""
        encoding = self.schema_.encoding
        if encoding.has_entries or not is_diagonal(self.covariance_type):
            return None
        components, d = self._components(), encoding.n_dense
        half = -0.5 * components.roots[:, 0] ** 2
        levels = components.means[:, d:]
        # a level is 0 or 1, its square is itself: (t - m)^2 = m^2 + (1 - 2 m) t
        coef = np.hstack([np.zeros((len(half), d)), half[:, d:] * (1.0 - 2.0 * levels)])
        intercept = components.levels + (half[:, d:] * levels**2).sum(axis=1)
        rows = (tuple(tuple(row) for row in matrix.tolist()) for matrix in (coef, half[:, :d], components.means[:, :d]))
        coef_rows, square, origin = rows
        return QuadraticForm(coef_rows, tuple(intercept.tolist()), square, origin, "softmax")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a density."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        tags.input_tags.sparse = False
        return tags
