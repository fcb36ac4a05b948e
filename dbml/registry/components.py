"""The principal components of a model, for ``ML.PRINCIPAL_COMPONENTS`` and ``ML.PRINCIPAL_COMPONENT_INFO``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dbml.errors import InvalidData
from dbml.registry.by_feature import by_feature
from dbml.registry.centroids import BY_FEATURE, Find, about_models
from dbml.registry.scorer import Scorer

_COMPONENTS = pa.list_(pa.struct([("principal_component_id", pa.int32()), *BY_FEATURE]))
_INFO = pa.list_(
    pa.struct(
        [
            ("principal_component_id", pa.int32()),
            ("eigenvalue", pa.float64()),
            ("explained_variance_ratio", pa.float64()),
            ("cumulative_explained_variance_ratio", pa.float64()),
        ]
    )
)


def component_functions(find: Find) -> dict[str, Callable[..., pa.Array]]:
    """Return ``principal_components(name)`` and ``principal_component_info(name)``."""
    return {
        "principal_components": about_models("principal_components", find, _rows, _COMPONENTS),
        "principal_component_info": about_models("principal_component_info", find, _info, _INFO),
    }


def _model(scorer: Scorer) -> Any:
    model: Any = scorer.model
    if not hasattr(model, "components_") or not hasattr(model, "explained_variance_ratio_"):
        raise InvalidData(f"model {scorer.name!r} is a {type(model).__name__}, which has no principal components")
    return model


def _rows(scorer: Scorer) -> list[dict[str, Any]]:
    model = _model(scorer)
    encoding = model.schema_.encoding
    return [
        {"principal_component_id": k, **row}
        for k, component in enumerate(model.components_)
        for row in by_feature(encoding, component)
    ]


def _info(scorer: Scorer) -> list[dict[str, Any]]:
    model = _model(scorer)
    shares = np.asarray(model.explained_variance_ratio_)
    columns = (range(len(shares)), model.explained_variance_, shares, np.cumsum(shares))
    names = ("principal_component_id", "eigenvalue", "explained_variance_ratio", "cumulative_explained_variance_ratio")
    return [
        dict(zip(names, map(float, row), strict=True)) | {names[0]: k}
        for k, row in enumerate(zip(*columns, strict=True))
    ]
