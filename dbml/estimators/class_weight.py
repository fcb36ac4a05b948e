"""Weights of classes: ``class_weight`` as scikit-learn means it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dbml_sql.score import label_text

from dbml.errors import InvalidData, InvalidParameter, listing, nearest
from dbml.params import Either, Instance, Options, Real
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.step import State

_WEIGHT = Real(ge=0)
CLASS_WEIGHT_RULE = Either((Options((None, "balanced")), Instance((dict,), "a dict of class to weight")))


def _auto_class_weights(value: Any) -> dict[str, Any]:
    """Return the hyperparameters of BigQuery's option ``auto_class_weights``, TRUE or FALSE."""
    if not isinstance(value, bool):
        raise InvalidParameter(f"auto_class_weights must be TRUE or FALSE; got {value!r}")
    return {"class_weight": "balanced" if value else None}


def _listed_class_weights(value: Any) -> dict[str, Any]:
    """Return the hyperparameters of BigQuery's option ``class_weights``, a list of pairs of label and weight."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if isinstance(pairs, list):  # a pair of SQL's, ('late', 2.0), is a STRUCT
        pairs = [tuple(pair.values()) if isinstance(pair, dict) else pair for pair in pairs]
    if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise InvalidParameter(f"class_weights must be a list of pairs such as ('late', 2.0); got {value!r}")
    return {"class_weight": dict(pairs)}


# BigQuery's, of every classifier whose classes have weights.
CLASS_WEIGHT_OPTIONS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "auto_class_weights": _auto_class_weights,
    "class_weights": _listed_class_weights,
}


class ClassTotals:
    """Total weight of the rows of each class; state: ``totals`` (n_classes,)."""

    # Sums are added in another order.
    tolerance = 1e-12
    chained = False

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def start(self) -> State:
        """Return the state of no rows."""
        return {"totals": np.zeros(self.n_classes)}

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        assert block.y is not None
        state["totals"] += np.bincount(block.y.astype(np.intp), block.weight, self.n_classes)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        into["totals"] += other["totals"]
        return into


def class_weights(owner: str, class_weight: Any, data: Data, weighted: bool) -> Floats | None:
    """Return the weight of each class, shape (n_classes,), or None where all weigh 1.

    ``"balanced"`` gives a class ``total / (n_classes * its total)``; one more pass where rows are `weighted`.

    Raises
    ------
    InvalidParameter
        A class that the data do not have, while one of theirs has no weight; or a weight that is not a finite number
        >= 0.
    InvalidData
        A balanced class whose rows all weigh 0.
    """
    if class_weight is None:
        return None
    target = data.schema.target
    assert target is not None and target.classes is not None
    if class_weight == "balanced":
        totals = np.array(target.counts, float) if target.counts and not weighted else None
        if totals is None:
            (state,) = data.fold(ClassTotals(len(target.classes)), purpose="class weights")
            totals = state["totals"]
        if not totals.all():
            empty = target.classes[int(np.argmin(totals))]
            raise InvalidData(f"{owner}: class_weight='balanced' needs rows of every class; {empty!r} has weight 0")
        return totals.sum() / (len(totals) * totals)
    return _by_class(owner, class_weight, target.classes)


def weights_against_the_rest(weights: Floats | None, positive: int) -> Floats | None:
    """Return the weights of the classes where one is against all others, which weigh 1."""
    if weights is None:
        return None
    return np.where(np.arange(len(weights)) == positive, weights, 1.0)


def _by_class(owner: str, given: Mapping[Any, Any], classes: tuple[Any, ...]) -> Floats:
    """Return the weights given by label, 1 for the others.

    A label that the rows do not have is refused where, besides, a class of theirs has no weight: then it is likely a
    mistake for that one. Where all have theirs, the rows of that label just happen to be missing, as in a fold.
    """
    weights = np.ones(len(classes))
    complete = all(any(_same(c, label) for label in given) for c in classes)
    for label, weight in given.items():
        number = next((i for i, c in enumerate(classes) if _same(c, label)), None)
        if not _WEIGHT.allows(weight):
            raise InvalidParameter(f"{owner}: class_weight[{label!r}] must be {_WEIGHT.describe()}; got {weight!r}")
        if number is None and complete:
            continue
        if number is None:
            known = [label_text(c) for c in classes]
            raise InvalidParameter(
                f"{owner}: The classes, [{label!r}], are not in the data{nearest(str(label), known)} "
                f"(class_weight; classes: {listing(known)})"
            )
        weights[number] = float(weight)
    return weights


def _same(label: Any, given: Any) -> bool:
    """Return whether a label is meant by what was given: itself, or its text as SQL or as Python writes it."""
    return bool(label == given or {label_text(label), str(label)} & {label_text(given), str(given)})
