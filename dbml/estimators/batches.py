"""Learning from batches, the prologue of every `partial_fit`: the first call settles labels and encoding for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from dbml_sql.features import Reading

from dbml.errors import InvalidParameter
from dbml.estimators.base import Estimator
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Schema


def labels_of(classes: Any) -> tuple[Any, ...]:
    """Return class labels, ascending and each once, as Python values."""
    return tuple(np.unique(np.asarray(classes)).tolist())


def check_batches(model: Estimator) -> None:
    """Raise `InvalidParameter` for hyperparameters with which there is no learning from batches."""
    model._check_hyperparameters()
    name, params = type(model).__name__, model.get_params()
    if params.get("early_stopping"):
        raise InvalidParameter(f"{name}: partial_fit needs early_stopping=False; got True")
    if params.get("class_weight") == "balanced":
        raise InvalidParameter(f"{name}: class_weight 'balanced' is not supported for partial_fit; give a dict")


def schema_of_batches(
    model: Estimator, X: Any, y: Any, classes: Any, sample_weight: Any, con: Any, options: dict[str, Any] | None
) -> Schema:
    """Return the schema by which a classifier reads a batch: that of the first one, which this may be.

    Raises
    ------
    InvalidParameter
        A later call names other labels than the first.
    """
    schema = vars(model).get("schema_")
    if schema is None:
        return _first_schema(X, y, classes, con, options or {}, sample_weight, model.encoding_style)
    if classes is not None and labels_of(classes) != schema.classes:
        raise InvalidParameter(
            f"{type(model).__name__}: classes must be those of the first call to partial_fit, "
            f"{list(schema.classes)}; got {list(labels_of(classes))}"
        )
    return schema


def _first_schema(
    X: Any, y: Any, classes: Any, con: Any, options: dict[str, Any], sample_weight: Any, encode: Reading
) -> Schema:
    """Return the schema that a first batch teaches: with all `classes`, which its own rows need not have."""
    how: dict[str, Any] = {"con": con, "encode": encode}
    if classes is None:
        weighted = {"sample_weight": sample_weight, "options": options}
        with as_data(X, y, task="classification", **weighted, **how) as data:
            return data.schema
    labels = np.asarray(labels_of(classes))
    with as_data(np.zeros((len(labels), 1)), labels, task="classification") as data:
        target = data.schema.target
    assert target is not None, "labels were given"
    label = "label" if y is None else y
    named = [name for name in (label, sample_weight) if isinstance(name, str)]
    without = {**options, "exclude": [*options.get("exclude", ()), *named]} if named else options
    with as_data(X, task="none", options=without, **how) as data:
        in_X = isinstance(label, str) and data.schema.named
        return replace(data.schema, target=replace(target, name=label if in_X else target.name))
