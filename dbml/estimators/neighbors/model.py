"""What the neighbours of all models share: hyperparameters, the index, asking for neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from dbml_kernels.vector_distance import INNER_PRODUCT
from numpy.typing import NDArray

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.base import Estimator, ModelState
from dbml.estimators.neighbors.building import Placing, count_rows, find_centres, place_rows, stored_type
from dbml.estimators.neighbors.metric import METRICS, Metric, block_vectors
from dbml.estimators.neighbors.search import Found, Index
from dbml.estimators.random_state import RANDOM_STATE_RULE, seed_of
from dbml.params import Either, Integer, Options, Real, Rule
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data
from dbml.passes.plan import ExpectedPasses
from dbml.passes.vectors import Vectors

_FEW_ROWS = 20_000  # that are compared sooner than cells are made
_MOST_TERMS = 16_384
_RECALL_QUERIES = 256
_PASSES = ExpectedPasses("1", "every row is copied to its place")

RULES: Mapping[str, Rule] = {
    "n_neighbors": Integer(ge=1),
    "algorithm": Options(("auto", "brute", "index")),
    "metric": Options(tuple(METRICS)),
    "n_cells": Either((Options((None,)), Integer(ge=1))),
    "nprobe": Either((Options((None,)), Integer(ge=1))),
    "random_state": RANDOM_STATE_RULE,
}
WEIGHTS = Options(("uniform", "distance"))
RADIUS = Real()


class NeighborsModel(Estimator):
    """A model that keeps its rows, and finds those near a query.

    Attributes
    ----------
    n_samples_fit_ : int
        Rows it was trained on.
    effective_metric_ : str
        ``euclidean``, ``cosine``, ``inner_product`` or ``manhattan``.
    stored_type_ : str
        Type of the kept vectors: ``float32`` where the columns hold no more, else ``float64``.
    cell_centers_ : ndarray of shape (n_cells, n_terms)
        Centres of the cells of an index, of vectors of length 1 for the cosine; no rows where all rows are compared.
    recall_ : float
        Share of the `n_neighbors` nearest rows that `nprobe` cells hold, estimated with rows of the training as
        queries; 1.0 where the search is exact.
    id_column_ : str or None
        Column of the ids of the rows, where a model statement names one (``id_col``).
    """

    keeps_vectors: ClassVar[bool] = True

    n_neighbors: int
    algorithm: str
    metric: str
    n_cells: int | None
    nprobe: int | None
    random_state: Any

    sql_options: ClassVar[Mapping[str, Any]] = {
        "num_neighbors": lambda value: {"n_neighbors": value},
        "distance_type": lambda value: {"metric": str(value).lower()},
    }

    n_samples_fit_: int
    effective_metric_: str
    stored_type_: str
    cell_centers_: Floats
    recall_: float
    id_column_: str | None
    _vectors: Vectors

    def fit(  # type: ignore[override]  # no weights: a row is a neighbour or is not
        self, X: Any, y: Any = None, *, con: Any = None, options: dict[str, Any] | None = None
    ) -> Self:
        """Keep the rows of X.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            The rows.
        y : array of shape (n_rows,) or column name
            The target, where the model has one; None means the column ``label`` where X has columns.
        con : connection, optional
            Where a table name or SQL is looked up.
        options : dict, optional
            Encoding options, see `dbml.passes.dispatch.as_data`.

        Returns
        -------
        self
        """
        return super().fit(X, y, con=con, options=options)

    def _check_params(self) -> None:
        if self.nprobe is not None and self.algorithm == "brute":
            raise InvalidParameter(
                f"{type(self).__name__}: nprobe is a number of cells, and algorithm='brute' has none; "
                "use algorithm='index'"
            )
        if getattr(self, "weights", "uniform") == "distance" and METRICS[self.metric] == INNER_PRODUCT:
            raise InvalidParameter(
                f"{type(self).__name__}: weights='distance' must go with a metric that is a distance; "
                "got metric='inner_product'"
            )

    # training --------------------------------------------------------------------------------------------------

    def _fit(self, data: Data) -> None:
        encoding, name = data.schema.encoding, type(self).__name__
        if encoding.n_terms > _MOST_TERMS:
            raise InvalidData(
                f"{name}: rows of {data.plan.source} are vectors of {encoding.n_terms:,} numbers; at most "
                f"{_MOST_TERMS:,} are kept a row. Leave columns out (exclude), or lower max_levels"
            )
        self.effective_metric_, self.stored_type_ = Metric(METRICS[self.metric]).name, stored_type(encoding)
        n_rows = data.n_rows
        if n_rows >= 0 or self.algorithm != "auto":
            self._decide(data, n_rows)
        n_rows = count_rows(data)
        if not n_rows:
            raise InvalidData(f"{name}: {data.plan.source} has no rows to learn from; at least 1 is needed")
        by_cells = self._decide(data, n_rows)
        metric, centre = self._metric, np.array(encoding.centre())
        centres = None
        if by_cells:
            wanted = min(n_rows, self.n_cells or max(1, round(2.0 * n_rows**0.5)))
            seed = seed_of(self.random_state)
            centres = find_centres(data, metric, centre, self.stored_type_, wanted, seed)
        self.cell_centers_ = np.zeros((0, encoding.n_terms)) if centres is None else centres
        self._vectors = place_rows(data, n_rows, Placing(metric, centre, self.stored_type_, centres))
        self.n_samples_fit_, self.id_column_ = n_rows, None
        self.recall_ = 1.0
        if self.nprobe is not None and centres is not None:
            self.recall_ = self._estimated_recall(data, centre)
            reason = f"{self.nprobe:,} of {len(centres):,} cells are searched; estimated with rows of the training"
            data.plan = data.plan.decide("recall", f"about {self.recall_:.3f}", reason)

    def _decide(self, data: Data, n_rows: int) -> bool:
        """Decide between comparing all rows and an index of cells."""
        by_cells = self.algorithm == "index" or self.nprobe is not None or self.n_cells is not None
        if self.algorithm == "brute":
            choice, reason = "all rows are compared, in tiles", "algorithm='brute'"
        elif by_cells or (self.algorithm == "auto" and n_rows > _FEW_ROWS):
            choice = "an index of cells"
            reason = "a query reads only the cells that can hold an answer" if self.nprobe is None else "nprobe cells"
            by_cells = True
        else:
            choice, reason = "all rows are compared, in tiles", f"{n_rows:,} rows are few"
        data.decide_solver(choice, reason, _PASSES)
        return by_cells

    def _estimated_recall(self, data: Data, centre: Floats) -> float:
        queries = block_vectors(data.sample(_RECALL_QUERIES, seed_of(self.random_state) + 1), centre, self.stored_type_)
        # One more neighbour than is asked for: the nearest one of a row of the training is itself.
        queries, k = queries[:_RECALL_QUERIES], min(self.n_neighbors + 1, self.n_samples_fit_)
        index = self._index(data.schema.encoding.centre())
        exact = index.nearest(queries, k).distance[:, -1:]
        held = index.nearest(queries, k, self.nprobe).distance <= exact
        return float(held[:, min(1, k - 1) :].mean())

    # asking ----------------------------------------------------------------------------------------------------

    @property
    def _metric(self) -> Metric:
        return Metric.of(self.effective_metric_)

    def _index(self, centre: Any = None) -> Index:
        centre = self.schema_.encoding.centre() if centre is None else centre
        centres = self.cell_centers_ if len(self.cell_centers_) else None
        return Index(self._metric, centres, np.array(centre), self._vectors)

    def _queries(self, block: Block) -> Floats:
        return block_vectors(block, np.array(self.schema_.encoding.centre()), self.stored_type_)

    def _nearest(self, queries: Floats, k: int, nprobe: int | None = None) -> Found:
        """Return the k nearest rows of each query, by the model's own `nprobe` where None is given."""
        index = self._index()
        if nprobe is None:
            nprobe = self.nprobe
        probes = nprobe if index.centres is not None else None
        return index.nearest(queries, k, probes, lambda n_rows: self._check_k(k, n_rows))

    def neighbors_block(self, block: Block, k: int | None, nprobe: int | None) -> Found:
        """Return the neighbours of the rows of a block; None: as many, of as many cells, as the model says."""
        return self._nearest(self._queries(block), self._asked(k), nprobe)

    def _n_kept(self, index: Index) -> int:
        with index.vectors.reading() as reading:
            return int(reading.sizes.counts.sum())

    def _check_k(self, k: int, n_rows: int) -> None:
        if k > n_rows:
            raise InvalidData(
                f"{type(self).__name__}: n_neighbors must be at most the number of rows; got {k:,} neighbors of "
                f"{n_rows:,} rows (n_neighbors <= n_samples_fit)"
            )

    def _all_queries(self, X: Any, con: Any) -> Floats:
        """Return the rows of X as queries."""
        self._check_fitted()
        options = {"owner": type(self).__name__, "vectors": "whole"}
        with as_data(X, schema=self.schema_, con=con, options=options) as data:
            parts = list(data.map(self._queries, purpose="queries"))
        return np.concatenate(parts) if parts else np.zeros((0, self.schema_.encoding.n_terms))

    def _own_rows(self) -> Floats:
        """Return the kept rows in the order of their positions."""
        with self._vectors.reading() as reading:
            rows = np.empty((int(reading.sizes.counts.sum()), self.schema_.encoding.n_terms))
            for piece in reading.pieces():
                rows[piece.position] = piece.vectors
        return rows

    def _asked(self, k: Any) -> int:
        rule = RULES["n_neighbors"]
        k = self.n_neighbors if k is None else k
        if not rule.allows(k):
            raise InvalidParameter(f"{type(self).__name__}: n_neighbors must be {rule.describe()}; got {k!r}")
        return int(k)

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True, *, con: Any = None
    ) -> Any:
        """Return the nearest rows of each row of X, nearest first; of equally near ones the earlier row first.

        Parameters
        ----------
        X : relation, table name or SQL (with `con`), Arrow table or reader, DataFrame, ndarray or sparse matrix
            Queries; None: the rows of the training, each without itself. A column of vectors must hold one of the
            length of the training in every row: another length, and NULL, are errors.
        n_neighbors : int, optional
            Number of neighbours; None: `n_neighbors` of the model.
        return_distance : bool, default=True
            Whether to return the distances too.
        con : connection, optional
            Where a table name or SQL is looked up.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Infinite where `nprobe` left fewer rows. With the inner product, its opposite.
        indices : ndarray of int64, shape (n_queries, n_neighbors)
            Numbers of the rows in the order of the training; -1 where there are fewer.
        """
        self._check_fitted()
        k = self._asked(n_neighbors)
        if X is not None:
            found = self._nearest(self._all_queries(X, con), k)
            distance, position = found.distance, found.position
        else:
            self._check_k(k + 1, self._n_kept(self._index()))
            distance, position = _without_self(self._nearest(self._own_rows(), k + 1))
        return (self._metric.told(distance), position) if return_distance else position

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity", *, con: Any = None
    ) -> Any:
        """Return the graph of nearest rows as a CSR matrix, shape (n_queries, n_rows).

        Parameters are those of `kneighbors`; `mode` is ``"connectivity"`` (entries are 1) or ``"distance"``.
        """
        distance, position = self.kneighbors(X, n_neighbors, con=con)
        there = position >= 0
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        return self._graph(mode, distance[there], position[there], starts)

    def _graph(self, mode: str, distance: Floats, position: NDArray[np.int64], starts: NDArray[np.int64]) -> Any:
        from scipy.sparse import csr_matrix

        if mode not in ("connectivity", "distance"):
            raise InvalidParameter(
                f"{type(self).__name__}: mode must be one of 'connectivity', 'distance'; got {mode!r}"
            )
        values = np.ones(len(position)) if mode == "connectivity" else distance
        return csr_matrix((values, position, starts), shape=(len(starts) - 1, self._n_kept(self._index())))

    # state -----------------------------------------------------------------------------------------------------

    def placed(self, data: Data, n_rows: int) -> Vectors:
        """Return the rows of data in the cells of this model, numbered from 0."""
        centres = self.cell_centers_ if len(self.cell_centers_) else None
        centre = np.array(self.schema_.encoding.centre())
        return place_rows(data, n_rows, Placing(self._metric, centre, self.stored_type_, centres))

    def get_state(self) -> ModelState:
        """Return the fitted model as plain data, with its rows."""
        from dataclasses import replace

        return replace(super().get_state(), vectors=self._vectors)

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        """Rebuild a fitted model from `get_state`."""
        model = super().from_state(state)
        assert state.vectors is not None, "the rows of a model of neighbours come with its state"
        model._vectors = state.vectors
        return model


def _without_self(found: Found) -> tuple[Floats, NDArray[np.int64]]:
    """Return the neighbours of each row without itself; without the last one where it is not among them."""
    m, k = found.position.shape
    own = found.position == np.arange(m)[:, None]
    own[~own.any(axis=1), -1] = True
    return found.distance[~own].reshape(m, k - 1), found.position[~own].reshape(m, k - 1)
