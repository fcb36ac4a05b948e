"""What models of centroids share: prediction, distances, anomalies, state of the registry, the SQL form."""

from __future__ import annotations

from typing import Any

import numpy as np
from dbml_sql.forms import QuadraticForm

from dbml.errors import InvalidParameter, NotFitted
from dbml.estimators.clusterer import Clusterer
from dbml.estimators.clusters.centres import Centres, CentreStep
from dbml.estimators.clusters.lloyd import CentresSeen
from dbml.estimators.clusters.rows import Rows
from dbml.estimators.clusters.training import warn_of_duplicates
from dbml.estimators.transformer import Transformer
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.dispatch import as_data, find_scorer

_SHARES = 1001  # of the training rows, whose anomaly scores are kept


class CentroidModel(Clusterer, Transformer):
    """A clusterer whose groups are centroids: each row belongs to the nearest.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_terms)
    centred_centers_ : ndarray of shape (n_clusters, n_terms)
        The same about the centre of the encoding: what arithmetic uses.
    scale_ : ndarray of shape (n_dense,)
        What dense terms are divided by before distances are taken.
    inertia_ : float
    cluster_weights_, mean_distances_ : ndarray of shape (n_clusters,)
    """

    n_clusters: int

    cluster_centers_: Floats
    centred_centers_: Floats
    scale_: Floats
    inertia_: float
    n_iter_: int
    cluster_weights_: Floats
    mean_distances_: Floats
    score_quantiles_: list[float]
    _keep_labels = False
    _labels: np.ndarray | None = None

    # fitting ---------------------------------------------------------------------------------------------------

    def _look_at(self, X: Any) -> None:
        """Note whether the rows come as arrays: then their labels are kept."""
        self._labels, self._keep_labels = None, not isinstance(X, str) and find_scorer(X) is None

    def _take(self, descent: CentresSeen) -> dict[str, Any]:
        """Return the fitted attributes of centres and of a look at all rows from there."""
        centres, (weight, squares, distances) = descent.centres, descent.state["totals"]
        inverse = centres.inverse
        return {
            "centred_centers_": centres.unscaled(),
            "scale_": np.ones(centres.n_dense) if inverse is None else 1.0 / inverse,
            "inertia_": float(squares.sum()),
            "n_iter_": descent.n_iter,
            "cluster_weights_": weight.copy(),
            "mean_distances_": np.divide(distances, weight, out=np.zeros(len(weight)), where=weight > 0.0),
        }

    def _finish(self, data: Data, attributes: dict[str, Any], rows: Rows) -> None:
        """Set the fitted attributes, anomaly scores of rows in memory, and labels where they are kept."""
        warn_of_duplicates(type(self).__name__, data.plan.source, attributes["cluster_weights_"])
        vars(self).update(attributes)
        self.cluster_centers_ = self.centred_centers_ + np.array(data.schema.encoding.centre())
        scores = np.concatenate([self._anomaly_of(*self._centres().nearest(part)) for part in rows.parts])
        self.score_quantiles_ = np.quantile(scores, np.linspace(0.0, 1.0, _SHARES)).tolist()
        if self._keep_labels:
            parts = data.map(self._cluster_block, purpose="labels")
            self._labels = np.concatenate([np.empty(0, np.int32), *parts])
            size = f"{self._labels.nbytes:,} bytes"
            data.plan = data.plan.decide("labels_", size, "the rows came as arrays; those of a table are not kept")

    @property
    def labels_(self) -> np.ndarray:
        """Number of the centroid of each training row, shape (n_rows,), int32; of rows that were passed as arrays."""
        if "schema_" not in vars(self) or self._labels is None:
            raise NotFitted(
                f"{type(self).__name__}: labels_ are there after fit on arrays, DataFrames or Arrow only, and are not "
                "stored; use predict(rows) for those of a table"
            )
        return self._labels

    # prediction ------------------------------------------------------------------------------------------------

    def _centres(self) -> Centres:
        """Return the centres for rows that are not scaled."""
        n_dense, points = len(self.scale_), self.centred_centers_
        if (self.scale_ == 1.0).all():
            return Centres(points, n_dense)
        inverse = 1.0 / self.scale_
        scaled = points.copy()
        scaled[:, :n_dense] *= inverse
        return Centres(scaled, n_dense, inverse)

    def _cluster_block(self, block: Block) -> np.ndarray:
        centres = self._centres()
        return centres.nearest(centres.scaled(block))[0]

    def _transform_block(self, block: Block) -> Floats:
        centres = self._centres()
        return np.sqrt(centres.squares_to(centres.scaled(block)).T)

    def _anomaly_block(self, block: Block) -> Floats:
        """Return the distance of each row to its centroid, over the mean distance of the training rows there."""
        centres = self._centres()
        return self._anomaly_of(*centres.nearest(centres.scaled(block)))

    def _anomaly_of(self, label: np.ndarray, squares: Floats) -> Floats:
        mean = self.mean_distances_[label]
        distance = np.sqrt(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(mean > 0.0, distance / mean, np.where(distance > 0.0, np.inf, 0.0))

    def _names_out(self) -> list[str]:
        name = type(self).__name__.lower()
        return [f"{name}{number}" for number in range(len(self.centred_centers_))]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, con: Any = None) -> float:
        """Return the opposite of the sum of the squared distances of the rows of X to their centroids.

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
        self._check_fitted()
        how = {"sample_weight": sample_weight, "con": con, "options": {"owner": type(self).__name__}}
        with as_data(X, schema=self.schema_, **how) as data:
            (state,) = data.fold(CentreStep(self._centres()), purpose="score")
        return -float(state["totals"][1].sum())

    def form(self) -> QuadraticForm | None:
        """Return squared distances to the centroids; None where the encoding has sparse features."""
        encoding = self.schema_.encoding
        if encoding.has_entries:
            return None
        d, points = encoding.n_dense, self.centred_centers_
        levels = points[:, d:]
        # a level is 0 or 1, its square is itself: (t - c)^2 = c^2 + (1 - 2 c) t
        coef = np.hstack([np.zeros((len(points), d)), 1.0 - 2.0 * levels])
        square = np.tile(1.0 / self.scale_**2, (len(points), 1))
        return QuadraticForm(
            coef=_tuples(coef),
            intercept=tuple((levels**2).sum(axis=1).tolist()),
            square=_tuples(square),
            origin=_tuples(points[:, :d]),
            link="nearest",
        )


def _tuples(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def given_centres(owner: str, init: Any, data: Data, k: int, name: str = "init", count: str = "n_clusters") -> Any:
    """Return a word as it is, and centres in the units of the terms as centres about the centre of the encoding.

    Raises
    ------
    InvalidParameter
        An array of another shape, or with values that are not finite.
    """
    if isinstance(init, str):
        return init
    encoding = data.schema.encoding
    try:
        points = np.array(init, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(f"{owner}: {name} must be an array of numbers: {error}") from error
    if points.shape != (k, encoding.n_terms):
        raise InvalidParameter(
            f"{owner}: {name} must have the shape ({count}, terms) = ({k}, {encoding.n_terms}); got {points.shape}"
        )
    if not np.isfinite(points).all():
        raise InvalidParameter(f"{owner}: {name} must hold finite numbers; got NaN or infinity")
    return points - np.array(encoding.centre())
