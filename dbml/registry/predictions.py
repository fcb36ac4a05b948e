"""What models give for rows, as Arrow: predictions, probabilities, transformed rows; some with a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from dbml_sql.score import fit_double, label_text

from dbml.errors import InvalidData, InvalidParameter, listing
from dbml.registry.scorer import Scorer


def _classes(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None) -> np.ndarray:
    """Return the class number of each row; with a threshold, of two classes the second where it is more probable."""
    block = scorer.block(columns)
    if threshold is None:
        return scorer.method("class")(block)
    if scorer.classes is None or len(scorer.classes) != 2 or not scorer.has("predict_proba"):
        raise _no_threshold(scorer)
    return (scorer.method("predict_proba")(block)[:, 1] > threshold).astype(np.intp)


def _no_threshold(scorer: Scorer) -> InvalidParameter:
    return InvalidParameter(
        f"model {scorer.name!r} takes no threshold: that is for predictions of two classes with probabilities"
    )


def _refuse_threshold(scorer: Scorer, threshold: np.ndarray | None) -> None:
    if threshold is not None:
        raise _no_threshold(scorer)


def _require(scorer: Scorer, method: str, lacks: str) -> None:
    """Raise an error that says what a model does instead, if it lacks a method."""
    if scorer.has(method):
        return
    use = next((f"{other}('{scorer.name}', …)" for other in ("predict", "transform") if scorer.has(other)), None)
    if use is None and scorer.has("kneighbors"):
        use = "ML.NEIGHBORS on a connection of dbml"
    hint = "" if use is None else f": use {use}"
    raise InvalidData(f"model {scorer.name!r} is a {type(scorer.model).__name__}, which {lacks}{hint}")


def predict_number(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return predictions as DOUBLE: numbers, or labels that are numbers within 2^53 or booleans."""
    if scorer.classes is None:
        _refuse_threshold(scorer, threshold)
        _require(scorer, "predict", "predicts nothing")
        return pa.array(scorer.method("predict")(scorer.block(columns)))
    if not fit_double(scorer.classes):
        shown = listing([repr(label) for label in scorer.classes], 4)
        text = any(isinstance(label, str) for label in scorer.classes)
        raise InvalidData(
            f"predict gives {'numbers' if text else 'DOUBLE'}, and the labels of model {scorer.name!r} are "
            f"{'text' if text else 'beyond what DOUBLE tells apart'} ({shown}): "
            f"use predict_label('{scorer.name}', …), or ml.\"predict_{scorer.name}\"(…)"
        )
    labels = np.array([float(label) for label in scorer.classes])
    return pa.array(labels[_classes(scorer, columns, threshold)])


def predict_label(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return predicted labels as text."""
    if scorer.classes is None:
        raise InvalidData(f"model {scorer.name!r} predicts numbers and has no labels: use predict('{scorer.name}', …)")
    texts = pa.array([label_text(label) for label in scorer.classes])
    return texts.take(pa.array(_classes(scorer, columns, threshold).astype(np.int64, copy=False)))


def predict_proba(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return the probability of each label as a MAP from its text."""
    _refuse_threshold(scorer, threshold)
    labels, offsets, places, probabilities = _flat_probabilities(scorer, columns)
    texts = pa.array([label_text(label) for label in labels])
    return pa.MapArray.from_arrays(offsets, texts.take(places), probabilities)


def probabilities_of(scorer: Scorer, columns: list[pa.Array]) -> pa.Array:
    """Return the probability of each label as a list of ``{label, prob}`` in the order of the classes.

    Labels that `fit_double` refuses are text: Arrow has no whole number for some.
    """
    labels, offsets, places, probabilities = _flat_probabilities(scorer, columns)
    named = pa.array(list(labels) if fit_double(labels) else [label_text(label) for label in labels]).take(places)
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([named, probabilities], ["label", "prob"]))


def _flat_probabilities(scorer: Scorer, columns: list[pa.Array]) -> tuple[Sequence[Any], pa.Array, pa.Array, pa.Array]:
    """Return the labels, and the probabilities of all rows row by row: offsets of the rows, numbers of labels, values.

    Where there is no label, the numbers of the groups stand for it.
    """
    _require(scorer, "predict_proba", "has no probabilities")
    values = scorer.method("predict_proba")(scorer.block(columns))
    n_rows, n_classes = values.shape
    offsets = pa.array(np.arange(0, n_rows * n_classes + 1, n_classes, dtype=np.int32))
    places = pa.array(np.tile(np.arange(n_classes), n_rows))
    labels = range(n_classes) if scorer.classes is None else scorer.classes
    return labels, offsets, places, pa.array(np.ascontiguousarray(values).ravel())


def transform(scorer: Scorer, columns: list[pa.Array], threshold: np.ndarray | None = None) -> pa.Array:
    """Return what a model makes of each row as a list; what is missing there is NULL."""
    _refuse_threshold(scorer, threshold)
    _require(scorer, "transform", "transforms nothing")
    values = scorer.method("transform")(scorer.block(columns))
    n_rows, width = values.shape
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    offsets = np.arange(0, n_rows * width + 1, max(width, 1), dtype=np.int32)[: n_rows + 1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, mask=np.isnan(flat)))
