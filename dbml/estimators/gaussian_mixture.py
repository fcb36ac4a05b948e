"""Mixtures of normal distributions: soft clusters with shapes of their own, and a density."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import ConvergenceWarning
from dbml.estimators.bigquery_options import early_stop
from dbml.estimators.clusters.centroids import given_centres
from dbml.estimators.clusters.rows import rows_in_memory, told
from dbml.estimators.clusters.training import coordinates
from dbml.estimators.mixtures.components import Kind
from dbml.estimators.mixtures.density import MixtureModel
from dbml.estimators.mixtures.training import Mixture, Search, check_memory, find_mixture
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.params import Either, Instance, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses

_PASSES = ExpectedPasses("2 or more", "samples lead close to the maximum")
_KINDS: tuple[Kind, ...] = ("full", "tied", "diag", "spherical")
_SHARES = 1001  # of the training rows, whose anomaly scores are kept


class GaussianMixture(MixtureModel):
    """Mixture of normal distributions, by expectation and maximisation.

    Parameters
    ----------
    n_components : int, default=1
        Number of normal distributions.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        Covariances: any, one for all components, diagonal, or a multiple of the identity.
    tol : float, default=1e-3
        Ends where the mean log likelihood of a row rises by less; with 0 after `max_iter` iterations.
    reg_covar : float, default=1e-6
        Added to the diagonals of the covariances, so that they are positive definite.
    max_iter : int, default=100
        Most iterations, on each sample and over all rows.
    n_init : int, default=1
        Starts, of which the most likely on rows in memory goes on.
    init_params : {"kmeans", "k-means++", "random_from_data"}, default="kmeans"
        Where components start: from rows that belong to the nearest centroid of k-means, or to the nearest of rows
        chosen far from each other, or of any rows.
    means_init : array of shape (n_components, n_terms) or None, default=None
        Means to start from, in the units of the terms (`terms_`).
    random_state : int, RandomState or None, default=None
        Seed of samples and starts; None means 0, so that a fit can be repeated.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Shares of the components.
    means_ : ndarray of shape (n_components, n_terms)
        Means in the units of the terms.
    centred_means_ : ndarray of shape (n_components, n_terms)
        `means_` less the centre of the encoding: what arithmetic uses.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangular roots of these; shapes (n_components, n_terms, n_terms) for
        "full", (n_terms, n_terms) for "tied", (n_components, n_terms) for "diag", (n_components,) for "spherical".
    converged_ : bool
        Whether the likelihood rose by less than `tol` in the end.
    n_iter_ : int
        Iterations over all rows; those on samples are not counted.
    lower_bound_ : float
        Mean log likelihood of a training row, one step before the end.
    score_quantiles_ : list of float
        Anomaly scores (log likelihoods, negative) at 1,001 even shares of the training rows, or of a sample.

    Notes
    -----
    Rows that fit in 48 MiB are read once and iterated on in memory. Else a sample of this size is, in nested parts
    that grow four times each; then each iteration is a pass over all rows, mostly two or three. An iteration costs
    n k p^2 operations with "full" and "tied" covariances, n k p with the others; memory k p^2 or k p for each block in
    flight. Moments are taken about the present means, so that no digits cancel.

    A missing value takes the mean of its column, and a flag term marks it; a level of a category is a term of 0 or 1,
    and counts like a number. Sample weights count rows.

    References
    ----------
    Dempster, Laird & Rubin 1977.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import GaussianMixture
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]])
    >>> model = GaussianMixture(n_components=2).fit(X)
    >>> sorted(model.means_.round(3).tolist())
    [[1.0, 2.0], [10.0, 2.0]]
    """

    model_types: ClassVar[tuple[str, ...]] = ("gaussian_mixture",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_components": Integer(ge=1),
        "covariance_type": Options(_KINDS),
        "tol": Real(ge=0),
        "reg_covar": Real(ge=0),
        "max_iter": Integer(ge=1),
        "n_init": Integer(ge=1),
        "init_params": Options(("kmeans", "k-means++", "random_from_data")),
        "means_init": Either((Options((None,)), Instance((np.ndarray, list, tuple), "an array of means"))),
        "random_state": RANDOM_STATE_RULE,
    }
    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_clusters": lambda value: {"n_components": value},
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
        "early_stop": early_stop,
    }

    converged_: bool
    n_iter_: int
    lower_bound_: float
    score_quantiles_: list[float]

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: Kind = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        means_init: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.means_init = means_init
        self.random_state = random_state

    def _fit(self, data: Data) -> None:
        owner, seed = type(self).__name__, seed_of(self.random_state)
        check_memory(owner, data, self.n_components, self.covariance_type)
        means = None if self.means_init is None else self._given_means(owner, data)
        rows = rows_in_memory(data, coordinates(data, standardised=False), seed)
        choice = "expectation and maximisation" + ("" if rows.whole else ", on nested samples, then over all rows")
        data.decide_solver(choice, told(rows, data.n_rows), _PASSES)
        search = Search(
            owner, self.n_components, self.covariance_type, self.init_params, means, self.n_init, self.max_iter, seed,
            self.tol, self.reg_covar,
        )  # fmt: skip

        def report(number: int, mixture: Mixture) -> None:
            self._iteration(number, likelihood=mixture.likelihood)
            self._keep(**self._fitted(data, mixture))

        try:
            found = find_mixture(data, rows, search, report)
            vars(self).update(self._fitted(data, found))
            scores = -np.concatenate([self._components().shares(part)[1] for part in rows.parts])
        finally:
            rows.close()
        self.score_quantiles_ = np.quantile(scores, np.linspace(0.0, 1.0, _SHARES)).tolist()
        if not found.converged and self.tol > 0.0:
            message = f"{owner}: not converged after {found.n_iter} iterations; raise max_iter or tol"
            warnings.warn(message, ConvergenceWarning, stacklevel=5)

    def _given_means(self, owner: str, data: Data) -> Floats:
        return given_centres(owner, self.means_init, data, self.n_components, "means_init", "n_components")

    def _fitted(self, data: Data, mixture: Mixture) -> dict[str, Any]:
        """Return the fitted attributes, in the shapes of scikit-learn."""
        components, kind = mixture.components, self.covariance_type
        covariances, roots = mixture.covariances, components.roots
        if kind == "diag":
            roots = roots[:, 0]
        elif kind == "spherical":
            covariances, roots = covariances[:, 0], roots[:, 0, 0]
        elif kind == "tied":
            covariances, roots = covariances[0], roots[0]
        return {
            "weights_": components.weights.copy(),
            "centred_means_": components.means.copy(),
            "means_": components.means + np.array(data.schema.encoding.centre()),
            "covariances_": covariances.copy(),
            "precisions_cholesky_": roots.copy(),
            "converged_": mixture.converged,
            "n_iter_": mixture.n_iter,
            "lower_bound_": mixture.likelihood,
        }
