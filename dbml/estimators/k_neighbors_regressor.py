"""Regression by the nearest rows of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.neighbors.model import RULES, WEIGHTS, NeighborsModel
from dbml.estimators.neighbors.votes import mean_values, weights_of
from dbml.estimators.regressor import Regressor
from dbml.params import Rule
from dbml.passes.block import Block, Floats


class KNeighborsRegressor(NeighborsModel, Regressor):
    """The mean of the target over the nearest rows.

    Parameters
    ----------
    n_neighbors : int, default=5
        Neighbours that decide.
    weights : {"uniform", "distance"}, default="uniform"
        Whether neighbours count alike, or by 1 / distance (where some are at distance 0, only those count).
    algorithm : {"auto", "brute", "index"}, default="auto"
        ``brute`` compares a row with all rows of the training, ``index`` only with the cells that can hold an answer:
        the result is the same. ``auto``: an index for more than 20,000 rows.
    metric : {"euclidean", "cosine", "inner_product", "manhattan"}, default="euclidean"
        Also ``l2``, and ``l1`` and ``cityblock`` for Manhattan; see `NearestNeighbors`.
    n_cells : int or None, default=None
        Cells of the index; None: twice the square root of the number of rows.
    nprobe : int or None, default=None
        Search this many cells only: faster, and approximate. None: exact.
    random_state : int, RandomState or None, default=None
        Seed of the sample that cells are made from; None means 0, so that a fit can be repeated.
    n_jobs : int, optional
        Most threads of the training; None or -1 for all. The model is the same for any.

    Attributes
    ----------
    n_samples_fit_ : int
        Rows it was trained on.
    effective_metric_ : str
        ``euclidean``, ``cosine``, ``inner_product`` or ``manhattan``.
    stored_type_ : str
        Type of the kept vectors: ``float32`` where the columns hold no more, else ``float64``.
    cell_centers_ : ndarray of shape (n_cells, n_terms)
        Centres of the cells; no rows where all rows are compared.
    recall_ : float
        Share of the `n_neighbors` nearest rows that `nprobe` cells hold, estimated with rows of the training; 1.0 where
        the search is exact.

    Notes
    -----
    Passes, memory, missing values and the order of neighbours are those of `NearestNeighbors`. Columns are not scaled:
    those of a large spread decide.

    Examples
    --------
    >>> from dbml import KNeighborsRegressor
    >>> knn = KNeighborsRegressor(n_neighbors=2).fit([[0.0], [1.0], [2.0], [8.0]], [0.0, 1.0, 2.0, 8.0])
    >>> knn.predict([[1.1]])
    array([1.5])

    References
    ----------
    Cover & Hart 1967, nearest neighbor pattern classification.
    """

    model_types: ClassVar[tuple[str, ...]] = ("knn_regressor",)
    rules: ClassVar[Mapping[str, Rule]] = {**RULES, "weights": WEIGHTS, "n_jobs": JOBS_RULE}

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: str = "uniform",
        algorithm: str = "auto",
        metric: str = "euclidean",
        n_cells: int | None = None,
        nprobe: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.algorithm = algorithm
        self.metric = metric
        self.n_cells = n_cells
        self.nprobe = nprobe
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _predict_block(self, block: Block) -> Floats:
        if not block.n_rows:
            return np.zeros(0)
        found = self._nearest(self._queries(block), self.n_neighbors)
        weights = weights_of(found, self._metric.told(found.distance), self.weights == "distance")
        return mean_values(found, weights)
