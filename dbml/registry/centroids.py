"""The centroids of a model of groups, for ``ML.CENTROIDS`` and ``ML.EVALUATE``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dbml.errors import InvalidData, InvalidParameter
from dbml.registry.by_feature import by_feature
from dbml.registry.scorer import Scorer

BY_FEATURE = [
    ("feature", pa.string()),
    ("numerical_value", pa.float64()),
    ("categorical_value", pa.list_(pa.struct([("category", pa.string()), ("value", pa.float64())]))),
]
_CENTROIDS = pa.list_(pa.struct([("centroid_id", pa.int32()), *BY_FEATURE]))
_DISTANCES = pa.list_(pa.list_(pa.float64()))

Find = Callable[[str], Scorer]


def centroid_functions(find: Find) -> dict[str, Callable[..., pa.Array]]:
    """Return ``centroids(name)`` and ``centroid_distances(name)``, which the query of a model's functions calls."""
    return {
        "centroids": about_models("centroids", find, _rows, _CENTROIDS),
        "centroid_distances": about_models("centroid_distances", find, _distances, _DISTANCES),
    }


def about_models(name: str, find: Find, tell: Callable[[Scorer], Any], type: pa.DataType) -> Callable[..., pa.Array]:
    """Return a function of the names of models alone."""

    def function(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) != 1:
            raise InvalidParameter(f"expected {name}('model')")
        return pa.array([tell(find(model)) for model in arguments[0].to_pylist()], type=type)

    return function


def centres_of(model: Any) -> np.ndarray | None:
    """Return the centres of the groups of a model on the scale of the data, shape (n_groups, n_terms), or None."""
    found = getattr(model, "cluster_centers_", None)
    return getattr(model, "means_", None) if found is None else found


def distances_between(model: Any, centres: np.ndarray) -> np.ndarray:
    """Return how far centres of a model lie from each other, as it measures distances: by its scale, if it has one."""
    scale = getattr(model, "scale_", None)
    if scale is not None:
        centres = centres / np.concatenate([scale, np.ones(centres.shape[1] - len(scale))])
    return np.array([np.sqrt(((centres - centre) ** 2).sum(axis=1)) for centre in centres])


def _centres(scorer: Scorer) -> np.ndarray:
    found = centres_of(scorer.model)
    if found is None:
        raise InvalidData(f"model {scorer.name!r} is a {type(scorer.model).__name__}, which has no centroids")
    return found


def _rows(scorer: Scorer) -> list[dict[str, Any]]:
    encoding = scorer.model.schema_.encoding
    return [
        {"centroid_id": k, **row} for k, centre in enumerate(_centres(scorer)) for row in by_feature(encoding, centre)
    ]


def _distances(scorer: Scorer) -> list[list[float]]:
    return distances_between(scorer.model, _centres(scorer)).tolist()
