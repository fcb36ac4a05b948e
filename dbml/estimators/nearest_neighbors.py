"""Nearest neighbours without a target: the rows near a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dbml.errors import InvalidParameter
from dbml.estimators.jobs import JOBS_RULE
from dbml.estimators.neighbors.model import RADIUS, RULES, NeighborsModel
from dbml.params import Rule


class NearestNeighbors(NeighborsModel):
    """The rows nearest to a query: exact, or approximate where speed matters more.

    Parameters
    ----------
    n_neighbors : int, default=5
        Neighbours that are asked for where no other number is.
    radius : float, default=1.0
        Distance of `radius_neighbors` where no other is given.
    algorithm : {"auto", "brute", "index"}, default="auto"
        ``brute`` compares a query with all rows, ``index`` only with the cells that can hold an answer: the result is
        the same. ``auto``: an index for more than 20,000 rows.
    metric : {"euclidean", "cosine", "inner_product", "manhattan"}, default="euclidean"
        Also ``l2``, and ``l1`` and ``cityblock`` for Manhattan. Cosine: 1 less the cosine of the angle. Inner product:
        the row of the largest product is nearest, and its distance is the opposite of the product.
    n_cells : int or None, default=None
        Cells of the index; None: twice the square root of the number of rows.
    nprobe : int or None, default=None
        Search this many cells only, the nearest ones: faster, and approximate; `recall_` says how much is found.
        None: exact.
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
        Share of the `n_neighbors` nearest rows that `nprobe` cells hold, estimated with 256 rows of the training; 1.0
        where the search is exact.

    Notes
    -----
    A sample, for the centres of the cells, and one pass over the data. A model in memory holds its rows: 4 or 8 bytes a
    number; beyond a quarter of `memory_limit` they are spilled. A saved model reads them from a table of the database,
    the cells that it needs. A search compares rows in single precision, with a bound of what is lost, and computes anew
    in double precision what might be a neighbour: distances and order are those of double precision. Of equally near
    rows the earlier one comes first.

    A missing number takes the mean, and a term marks it where training saw missing values: such rows are 1 further
    from others. A category is a term for each level. Columns are not scaled: those of a large spread decide.

    Examples
    --------
    >>> from dbml import NearestNeighbors
    >>> near = NearestNeighbors(n_neighbors=2).fit([[0.0], [1.0], [5.0]])
    >>> near.kneighbors([[0.9]])
    (array([[0.1, 0.9]]), array([[1, 0]]))

    References
    ----------
    Jégou, Douze & Schmid 2011, product quantization for nearest neighbor search (cells of k-means, `nprobe`).
    """

    model_types: ClassVar[tuple[str, ...]] = ("nearest_neighbors",)
    rules: ClassVar[Mapping[str, Rule]] = {**RULES, "radius": RADIUS, "n_jobs": JOBS_RULE}

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        radius: float = 1.0,
        algorithm: str = "auto",
        metric: str = "euclidean",
        n_cells: int | None = None,
        nprobe: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.algorithm = algorithm
        self.metric = metric
        self.n_cells = n_cells
        self.nprobe = nprobe
        self.random_state = random_state
        self.n_jobs = n_jobs

    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        con: Any = None,
    ) -> Any:
        """Return all rows within a distance of each row of X; exact, whatever `nprobe` is.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            Queries; None: the rows of the training, each without itself.
        radius : float, optional
            The distance; None: `radius` of the model.
        return_distance : bool, default=True
            Whether to return the distances too.
        sort_results : bool, default=False
            Nearest first; else in the order of the rows.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        distances, indices : ndarray of shape (n_queries,) of arrays
            One array for each query.
        """
        distance, position, starts = self._within(X, radius, sort_results, con)
        indices = _ragged(position, starts)
        return (_ragged(distance, starts), indices) if return_distance else indices

    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
        *,
        con: Any = None,
    ) -> Any:
        """Return the graph of rows within a distance as a CSR matrix; parameters as `radius_neighbors`."""
        return self._graph(mode, *self._within(X, radius, sort_results, con))

    def _within(self, X: Any, radius: float | None, sort_results: bool, con: Any) -> tuple[Any, Any, Any]:
        self._check_fitted()
        radius = self.radius if radius is None else radius
        if not RADIUS.allows(radius):
            raise InvalidParameter(f"{type(self).__name__}: radius must be {RADIUS.describe()}; got {radius!r}")
        queries = self._own_rows() if X is None else self._all_queries(X, con)
        query, position, distance = self._index().within(queries, float(radius))
        if X is None:
            other = query != position
            query, position, distance = query[other], position[other], distance[other]
        if not sort_results:
            order = np.lexsort((position, query))
            query, position, distance = query[order], position[order], distance[order]
        starts = np.searchsorted(query, np.arange(len(queries) + 1))
        return self._metric.told(distance), position, starts


def _ragged(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    out = np.empty(len(starts) - 1, dtype=object)
    for i in range(len(out)):
        out[i] = values[starts[i] : starts[i + 1]]
    return out
