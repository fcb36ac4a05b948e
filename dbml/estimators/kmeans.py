"""k-means: each row belongs to the nearest of k centroids, which are the means of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.bigquery_options import early_stop
from dbml.estimators.clusters.centres import Centres
from dbml.estimators.clusters.centroids import CentroidModel, given_centres
from dbml.estimators.clusters.lloyd import CentresSeen
from dbml.estimators.clusters.rows import rows_in_memory, told
from dbml.estimators.clusters.training import Search, check_memory, coordinates, find_centres, sample_size
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.params import Boolean, Either, Instance, Integer, Options, Real, Rule
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses
from dbml.passes.step import State


def euclidean(value: Any) -> dict[str, Any]:
    """Return no hyperparameters for BigQuery's ``distance_type``.

    Raises
    ------
    InvalidParameter
        Another distance than 'EUCLIDEAN'.
    """
    if str(value).lower() != "euclidean":
        raise InvalidParameter(f"distance_type must be 'EUCLIDEAN'; got {value!r}")
    return {}


def init_method(value: Any) -> dict[str, Any]:
    """Return the hyperparameter of BigQuery's ``kmeans_init_method``.

    Raises
    ------
    InvalidParameter
        Neither 'KMEANS++' nor 'RANDOM'.
    """
    known = {"kmeans++": "k-means++", "k-means++": "k-means++", "random": "random", "k-means||": "k-means||"}
    found = known.get(str(value).lower())
    if found is None:
        raise InvalidParameter(f"kmeans_init_method must be 'KMEANS++' or 'RANDOM'; got {value!r}")
    return {"init": found}


_PASSES = ExpectedPasses("some 4 to 12", "a sample tells how sums change as centroids move, all rows what is left")
INIT_RULE = Either(
    (Options(("k-means++", "k-means||", "random")), Instance((np.ndarray, list, tuple), "an array of centroids"))
)


class KMeans(CentroidModel):
    """k-means: centroids that make the sum of the squared distances of the rows to the nearest one small.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of centroids.
    init : {"k-means++", "k-means||", "random"} or array of shape (n_clusters, n_terms), default="k-means++"
        Where they start: rows chosen far from each other in a sample; in all rows, by seven passes; any rows; or
        centroids in the units of the terms (`terms_`).
    n_init : "auto" or int, default="auto"
        Starts, of which the best is kept; "auto" is 10 for "random", else 1. They compete on a sample, and those within
        1 % of the best share the passes over all rows.
    max_iter : int, default=300
        Most iterations over rows in memory, and most passes over all rows.
    tol : float, default=1e-4
        Ends where an iteration moves the centroids by less: the sum of their squared shifts, relative to the mean
        variance of the terms. Passes over all rows end also where one lowered `inertia_` by less than this share of it,
        or the sample tells that the next would; 0 goes on until no centroid moves.
    random_state : int, RandomState or None, default=None
        Seed of samples and starts; None means 0, so that a fit can be repeated.
    standardize_features : bool, default=False
        Whether distances are taken after numbers were divided by their standard deviation (estimated from a sample of
        50,000 rows). BigQuery does so unless told otherwise; here, as in scikit-learn, numbers count as they are.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_terms)
        Centroids in the units of the terms (`terms_`): numbers, flags of missing values, shares of levels.
    labels_ : ndarray of shape (n_rows,), int32
        Number of the centroid of each training row; only after a fit on arrays, DataFrames or Arrow, not stored with
        the model. For a table: `predict`.
    inertia_ : float
        Sum of the squared distances of the training rows to their centroids.
    n_iter_ : int
        Iterations over all rows; those on samples are not counted.
    cluster_weights_ : ndarray of shape (n_clusters,)
        Rows (sum of weights) of each centroid.
    mean_distances_ : ndarray of shape (n_clusters,)
        Mean distance of the rows of each centroid to it.
    centred_centers_ : ndarray of shape (n_clusters, n_terms)
        `cluster_centers_` less the centre of the encoding.
    scale_ : ndarray of shape (n_dense,)
        What dense terms are divided by; ones unless `standardize_features`.
    score_quantiles_ : list of float
        Anomaly scores (distance to the centroid over the mean distance there) at 1,001 even shares of the training
        rows, or of a sample.

    Notes
    -----
    Rows that fit in 48 MiB (and 262,144 of them at most) are read once and iterated on in memory, by Lloyd's algorithm.
    Else a sample of 65,536 rows is (2,048 for each centroid, where these are more): centroids start on 16,384 rows and
    go on over samples four times as large. Then each pass over all rows finds the exact sums from some centroids, and
    the sample how these sums change as centroids move on (see `dbml.estimators.clusters.lloyd`), until `tol` ends it,
    mostly after 1 to 4 passes; none makes `inertia_` larger. A pass costs n k p operations; memory does not grow with
    the rows. A centroid that lost all rows starts anew at a row drawn in proportion to its squared distance.

    A missing value takes the mean of its column, and a flag term marks it. A level of a category is a term of 0 or 1.

    References
    ----------
    Lloyd 1982; Arthur & Vassilvitskii 2007, k-means++; Bahmani et al. 2012, k-means||.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import KMeans
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]])
    >>> model = KMeans(n_clusters=2).fit(X)
    >>> model.cluster_centers_[model.predict([[0.0, 0.0], [12.0, 3.0]])].round(6)
    array([[ 1.,  2.],
           [10.,  2.]])
    """

    model_types: ClassVar[tuple[str, ...]] = ("kmeans",)
    rules: ClassVar[Mapping[str, Rule]] = {
        "n_clusters": Integer(ge=1),
        "init": INIT_RULE,
        "n_init": Either((Options(("auto",)), Integer(ge=1))),
        "max_iter": Integer(ge=1),
        "tol": Real(ge=0),
        "random_state": RANDOM_STATE_RULE,
        "standardize_features": Boolean(),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
        "num_clusters": lambda value: {"n_clusters": value},
        "kmeans_init_method": init_method,
        "max_iterations": lambda value: {"max_iter": value},
        "min_rel_progress": lambda value: {"tol": value},
        "early_stop": early_stop,
        "distance_type": euclidean,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: str | int = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        standardize_features: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.standardize_features = standardize_features

    def _fit(self, data: Data) -> None:
        owner, seed = type(self).__name__, seed_of(self.random_state)
        check_memory(owner, data, self.n_clusters)
        init = given_centres(owner, self.init, data, self.n_clusters)
        like = coordinates(data, self.standardize_features)
        rows = rows_in_memory(data, like, seed, sample=sample_size(self.n_clusters))
        choice = "lloyd" if rows.whole else "lloyd on nested samples, corrected by passes over all rows"
        data.decide_solver(choice, told(rows, data.n_rows), _PASSES)
        if not rows.whole:
            why = f"passes over all rows end where one lowers the sum of squares by less than tol={self.tol:g} of it"
            data.plan = data.plan.decide("passes", "few", why)
        starts = self._starts(init)
        search = Search(owner, self.n_clusters, init, starts, self.max_iter, self.tol, seed)

        def report(number: int, centres: Centres, state: State, shift: float) -> None:
            found = CentresSeen(centres, state, number, shift)
            self._iteration(number, loss=found.inertia, shift=shift)
            attributes = self._take(found)
            centre = np.array(data.schema.encoding.centre())
            self._keep(**attributes, cluster_centers_=attributes["centred_centers_"] + centre)

        try:
            found = find_centres(data, rows, like, search, report)
        finally:
            rows.close()
        self._finish(data, self._take(found), rows)

    def _starts(self, init: Any) -> int:
        if not isinstance(init, str):
            return 1
        if self.n_init == "auto":
            return 10 if init == "random" else 1
        return int(self.n_init)
