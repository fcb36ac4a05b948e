"""Which labels can be compared with the classes of a model: one rule for arrays and for columns of tables.

Text is compared with text, and numbers and booleans with each other. A label that training never saw is an error of the
model; a label of another kind, a missing one, or a fraction where classes are whole numbers is one of the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dbml_sql.features import EXACT
from numpy.typing import NDArray

from dbml.errors import InvalidData, listing

TEXT, NUMBERS = "text", "numbers"
_KINDS = {**dict.fromkeys("UT", TEXT), **dict.fromkeys("biuf", NUMBERS)}  # of the kinds of dtypes


def label_array(labels: Any) -> NDArray:
    """Return labels as an array that holds each exactly: NumPy makes floats of integers on both sides of 2^63."""
    found = np.asarray(labels)
    if found.dtype.kind != "f" or not isinstance(labels, (list, tuple)) or not any(map(_is_large, labels)):
        return found
    whole = all(isinstance(label, int) and 0 <= label < 2**64 for label in labels)
    return np.array(labels, np.uint64 if whole else object)


def equal_labels(predicted: NDArray, labels: NDArray) -> NDArray[np.bool_]:
    """Return where two arrays hold the same label, exactly: integers are not rounded to compare them with floats."""
    if labels.dtype.kind == "f" and predicted.dtype.kind in "iu" and predicted.size and _is_large(int(predicted.max())):
        return predicted.astype(object) == labels.astype(object)
    return predicted == labels


def kind_of_classes(classes: Sequence[Any]) -> str:
    """Return what the classes of a model are: text or numbers."""
    return TEXT if isinstance(classes[0], str) else NUMBERS


def check_kind(described: str, kind: str, classes: Sequence[Any]) -> None:
    """Raise `InvalidData` for labels of a kind that cannot be compared with classes; `described` names the labels."""
    if kind != kind_of_classes(classes):
        raise InvalidData(
            f"{described} must hold labels of the same kind as the classes of the model, {kind_of_classes(classes)} "
            f"({listing(map(repr, classes), 4)}); got {kind}"
        )


def refuse_unclear(described: str, n_missing: int, fraction: float | None, classes: Sequence[Any]) -> None:
    """Raise `InvalidData` for labels that are missing, or fractions (one of them is passed) that can be no class."""
    if n_missing:
        raise InvalidData(
            f"{described} contains NaN, infinity or None: {n_missing:,} labels are missing. Leave those rows out"
        )
    if fraction is not None and not _has_fractions(classes):
        raise InvalidData(
            f"{described} must hold classes, but holds fractions such as {fraction!r}; the classes of the model are "
            f"{listing(map(repr, classes), 4)}. Use a regressor for a continuous target"
        )


def check_labels(labels: NDArray, classes: Sequence[Any], described: str) -> None:
    """Raise `InvalidData` for an array of labels of another kind, missing ones, or fractions that can be no class."""
    if labels.dtype.kind == "O":
        found = [_kind(label) for label in labels]
        floats = np.array([label for label in labels if isinstance(label, (float, np.floating))], np.float64)
    else:
        found = [_KINDS.get(labels.dtype.kind, str(labels.dtype))]
        floats = labels if labels.dtype.kind == "f" else np.zeros(0)
    n_missing = found.count(None) if labels.dtype.kind == "O" else int((~np.isfinite(floats)).sum())
    refuse_unclear(described, n_missing, None, classes)
    for kind in sorted({kind for kind in found if kind is not None}):
        check_kind(described, kind, classes)
    fractions = floats[floats != np.rint(floats)]
    refuse_unclear(described, 0, float(fractions[0]) if fractions.size else None, classes)


def _kind(label: Any) -> str | None:
    """Return the kind of one label, None of a missing one."""
    if isinstance(label, (str, np.str_)):
        return TEXT
    if isinstance(label, (bool, int, np.bool_, np.integer)):
        return NUMBERS
    if isinstance(label, (float, np.floating)):
        return NUMBERS if np.isfinite(label) else None
    # pandas and polars have objects of their own for what is missing.
    return None if label is None or type(label).__name__ in ("NAType", "NaTType") else type(label).__name__


def _is_large(label: Any) -> bool:
    return isinstance(label, (int, np.integer)) and abs(int(label)) > EXACT


def _has_fractions(classes: Sequence[Any]) -> bool:
    return any(isinstance(label, float) and not label.is_integer() for label in classes)
