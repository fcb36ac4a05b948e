"""Anomalies that a model finds, for ``ML.DETECT_ANOMALIES``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dbml.errors import InvalidData, InvalidParameter
from dbml.registry.scorer import Scorer

# From the arguments of a function, and what scores columns with a model, to one value a row.
ByModel = Callable[[tuple[pa.ChunkedArray, ...], Callable[[Scorer, list[pa.Array], Any], pa.Array]], pa.Array]


def anomalies_function(find: Callable[[str], Scorer], by_model: ByModel) -> Callable[..., pa.Array]:
    """Return ``detect_anomalies(name, columns …, contamination)``: whether a row is an anomaly, and its score.

    The contamination is text, or a number; NULL is that of the training.
    """

    def detect_anomalies(*arguments: pa.ChunkedArray) -> pa.Array:
        if len(arguments) < 3:
            raise InvalidParameter("expected detect_anomalies('model', columns …, contamination)")
        *scored, shares = arguments
        scores = by_model(tuple(scored), _scores)
        pairs = list(zip(arguments[0].to_pylist(), shares.to_pylist(), strict=True))
        known = {pair: threshold(find(pair[0]), share_of(pair[1])) for pair in set(pairs)}
        above = scores.to_numpy() > np.array([known[pair] for pair in pairs])
        return pa.StructArray.from_arrays([pa.array(above), scores], ["is_anomaly", "anomaly_score"])

    return detect_anomalies


def share_of(given: str | float | None) -> float | None:
    """Return the share that an option of a statement gives, None where it gives none."""
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        raise _no_share(given) from None


def _no_share(given: str | float) -> InvalidParameter:
    return InvalidParameter(f"contamination must be a number > 0 and <= 0.5; got {given}")


def _scores(scorer: Scorer, columns: list[pa.Array], threshold: Any = None) -> pa.Array:
    _check(scorer)
    return pa.array(scorer.method("anomaly_score")(scorer.block(columns)))


def _check(scorer: Scorer) -> None:
    if not hasattr(scorer.model, "score_quantiles_"):
        raise InvalidData(
            f"model {scorer.name!r} is a {type(scorer.model).__name__}, which finds no anomalies. "
            "Hint: CREATE MODEL … OPTIONS (model_type = 'isolation_forest'), 'kmeans' or 'pca'"
        )


def threshold(scorer: Scorer, share: float | None) -> float:
    """Return the score above which a row is an anomaly, for a share of the training rows that were.

    Raises
    ------
    InvalidData
        The model finds no anomalies.
    InvalidParameter
        A share outside (0, 0.5].
    """
    _check(scorer)
    model: Any = scorer.model
    if share is None and not hasattr(model, "offset_"):
        raise InvalidParameter(
            f"model {scorer.name!r}: which share of the rows are anomalies must be given: STRUCT(0.01 AS contamination)"
        )
    if share is None:
        return -float(model.offset_)
    if not 0.0 < share <= 0.5:
        raise _no_share(share)
    quantiles: Sequence[float] = model.score_quantiles_
    return float(np.interp(1.0 - float(share), np.linspace(0.0, 1.0, len(quantiles)), quantiles))
