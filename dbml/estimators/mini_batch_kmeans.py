"""k-means by mini-batches: centroids that move with each batch of rows, in one pass or a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.clusters.centres import Centres, CentreStep
from dbml.estimators.clusters.centroids import CentroidModel, given_centres
from dbml.estimators.clusters.lloyd import CentresSeen, descend, mean_variance
from dbml.estimators.clusters.mini_batch import STEPS, STOPPED, Batches, MiniBatchStep
from dbml.estimators.clusters.rows import Rows, rows_in_memory
from dbml.estimators.clusters.training import Search, check_memory, check_rows, coordinates, starting_centres
from dbml.estimators.kmeans import INIT_RULE, KMeans
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.estimators.row_counts import pass_rows
from dbml.params import Boolean, Either, Integer, Options, Real, Rule
from dbml.passes.block import Floats
from dbml.passes.data import Data
from dbml.passes.plan import ExpectedPasses
from dbml.passes.step import Shuffled, State

_PASSES = ExpectedPasses("2 or more", "each epoch is one, the last one is for distances")
_START_ROWS, _LLOYD = 65_536, 100  # of the sample that centroids start from, and most iterations there


class MiniBatchKMeans(CentroidModel):
    """k-means by mini-batches: each batch moves the centroids, less and less; a pass or a few suffice.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of centroids.
    init : {"k-means++", "k-means||", "random"} or array of shape (n_clusters, n_terms), default="k-means++"
        As in `KMeans`.
    max_iter : int, default=100
        Most passes over all rows.
    batch_size : int, default=1024
        Rows of a batch.
    random_state : int, RandomState or None, default=None
        Seed of samples, starts and the order of the rows; None means 0, so that a fit can be repeated.
    tol : float, default=0.0
        Ends where a batch moves the centroids by less: the sum of their squared shifts, relative to the mean variance
        of the terms; 0 asks only for `max_no_improvement`.
    max_no_improvement : int or None, default=10
        Ends after so many batches in a row that did not lower the running average of the loss.
    n_init : "auto" or int, default="auto"
        Starts, of which the best on a sample of 65,536 rows is taken; "auto" is 3 for "random", else 1.
    reassignment_ratio : float, default=0.01
        A centroid that has seen fewer rows than this share of the largest starts anew at a row of the batch.
    standardize_features : bool, default=False
        As in `KMeans`.

    Attributes
    ----------
    cluster_centers_, labels_, inertia_, cluster_weights_, mean_distances_, centred_centers_, scale_, \
score_quantiles_
        As in `KMeans`; after `partial_fit` those of the rows of the last call.
    n_iter_ : int
        Passes over all rows.
    n_steps_ : int
        Batches.
    counts_ : ndarray of shape (n_clusters,)
        Rows (sum of weights) that each centroid is the mean of.

    Notes
    -----
    A pass in random order for each epoch (in the order of the table where its rows are not clustered), and one more for
    `inertia_`. Where rows are more than a sample of 65,536, centroids start where Lloyd's algorithm leads on that, as
    the means of its rows; centroids that are given start as they are. Batches move the centroids one after the other,
    so that a pass uses one core for that; memory does not grow with the rows. `KMeans` is slower by a few passes, and
    finds a smaller sum of squares. NULL and categories are read as in `KMeans`.

    References
    ----------
    Sculley 2010, web-scale k-means clustering.

    Examples
    --------
    >>> import numpy as np
    >>> from dbml import MiniBatchKMeans
    >>> X = np.repeat([[0.0, 0.0], [5.0, 5.0]], 500, axis=0)
    >>> MiniBatchKMeans(n_clusters=2).fit(X).inertia_
    0.0
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "n_clusters": Integer(ge=1),
        "init": INIT_RULE,
        "max_iter": Integer(ge=1),
        "batch_size": Integer(ge=1),
        "random_state": RANDOM_STATE_RULE,
        "tol": Real(ge=0),
        "max_no_improvement": Either((Options((None,)), Integer(ge=1))),
        "n_init": Either((Options(("auto",)), Integer(ge=1))),
        "reassignment_ratio": Real(ge=0),
        "standardize_features": Boolean(),
    }
    sql_options: ClassVar[Mapping[str, Callable[[Any], dict[str, Any]]]] = KMeans.sql_options

    n_steps_: int
    counts_: Floats

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        n_init: str | int = "auto",
        reassignment_ratio: float = 0.01,
        standardize_features: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.standardize_features = standardize_features

    def _fit(self, data: Data) -> None:
        like = coordinates(data, self.standardize_features)
        rows = self._rows(data, like)
        data.decide_solver("mini-batches", f"batches of {self.batch_size:,} rows, in random order", _PASSES)
        try:
            start = self._start(data, rows, like, lloyd=not rows.whole and isinstance(self.init, str))
            batches = self._batches(data, rows)
            if rows.whole:
                with data.materialise() as kept:
                    state, self.n_iter_ = self._epochs(kept, *start, batches)
                    data.plan = kept.plan
            else:
                state, self.n_iter_ = self._epochs(data, *start, batches)
            self._end(data, rows, like.at(state["points"]), state)
        finally:
            rows.close()

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        con: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Go through the rows of X once, in their order and in batches, and move the centroids.

        Parameters
        ----------
        X, y, sample_weight, con, options
            As in `fit`. Encoding and scales are those of the first call, whose rows the centroids start from.
        """
        self._check_hyperparameters()
        return self._train_on(X, None, sample_weight, con, options, vars(self).get("schema_"), self._partial)

    def _partial(self, data: Data) -> None:
        known = "counts_" in vars(self) and len(self.counts_) == self.n_clusters
        like = self._centres() if known else coordinates(data, self.standardize_features)
        rows = self._rows(data, like)
        try:
            centres = like if known else self._start(data, rows, like, lloyd=False)[0]
            progress = np.zeros(6)
            progress[STEPS] = self.n_steps_ if known else 0
            batches = Batches(self.batch_size, 0, 0.0, None, self.reassignment_ratio, seed_of(self.random_state))
            weight = self.counts_ if known else np.zeros(self.n_clusters)
            (state,) = data.fold(MiniBatchStep(centres, weight, progress, batches), purpose="mini-batches")
            self.n_iter_ = 1
            self._end(data, rows, centres.at(state["points"]), state)
        finally:
            rows.close()

    def _rows(self, data: Data, like: Centres) -> Rows:
        check_memory(type(self).__name__, data, self.n_clusters)
        return rows_in_memory(data, like, seed_of(self.random_state), max(_START_ROWS, 64 * self.n_clusters))

    def _start(self, data: Data, rows: Rows, like: Centres, lloyd: bool) -> tuple[Centres, Floats]:
        """Return the best of the starts on rows in memory, and what its centroids are the mean of already."""
        owner = type(self).__name__
        check_rows(rows, owner, self.n_clusters, data.plan.source)
        init = given_centres(owner, self.init, data, self.n_clusters)
        starts = int(self.n_init) if self.n_init != "auto" else 3 if isinstance(init, str) and init == "random" else 1
        search = Search(owner, self.n_clusters, init, starts, self.max_iter, self.tol, seed_of(self.random_state))
        ends: list[CentresSeen] = []
        for number in range(starts if isinstance(init, str) else 1):
            centres = starting_centres(data, rows, like, search, number)
            ends.append(descend(rows, centres, 0.0, _LLOYD if lloyd else 0, search.seed, exact=False))
        best = min(ends, key=lambda end: end.inertia)
        weight = best.state["totals"][0] if lloyd else np.zeros(self.n_clusters)
        return like.at(best.centres.points), weight

    def _batches(self, data: Data, rows: Rows) -> Batches:
        n_rows, _ = pass_rows(data)
        tol = self.tol * mean_variance(rows) if self.tol > 0.0 else 0.0
        seed = seed_of(self.random_state)
        return Batches(self.batch_size, n_rows, tol, self.max_no_improvement, self.reassignment_ratio, seed)

    def _epochs(self, data: Data, centres: Centres, weight: Floats, batches: Batches) -> tuple[State, int]:
        """Run passes until it stops."""
        progress = np.zeros(6)
        for epoch in range(self.max_iter):
            step = MiniBatchStep(centres, weight, progress, batches)
            (state,) = data.fold(step, order=Shuffled(batches.seed, epoch), purpose=f"epoch {epoch + 1}")
            centres, weight, progress = centres.at(state["points"]), state["weight"], state["progress"]
            self._iteration(epoch + 1, batches=float(progress[STEPS]), loss=float(progress[2]))
            if progress[STOPPED]:
                break
        return state, epoch + 1

    def _end(self, data: Data, rows: Rows, centres: Centres, state: State) -> None:
        """Look at all rows from where the centroids are now, and set the fitted attributes."""
        self.counts_, self.n_steps_ = state["weight"].copy(), int(state["progress"][STEPS])
        (look,) = data.fold(CentreStep(centres), purpose="distances")
        if not look["totals"][0].any():
            raise InvalidData(f"{type(self).__name__}: {data.plan.source} has no rows of positive weight to learn from")
        self._finish(data, self._take(CentresSeen(centres, look, self.n_iter_)), rows)
