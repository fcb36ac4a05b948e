"""What the first call of `partial_fit` settles for all later ones: labels and encoding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dbml.errors import InvalidParameter
from dbml.passes.dispatch import as_data
from dbml.passes.schema import Schema


def labels_of(classes: Any) -> tuple[Any, ...]:
    """Return class labels, ascending and each once, as Python values."""
    return tuple(np.unique(np.asarray(classes)).tolist())


def first_schema(X: Any, y: Any, classes: Any, con: Any, options: dict[str, Any], sample_weight: Any) -> Schema:
    """Return the schema that a first batch teaches: with all `classes`, which its own rows need not have."""
    if classes is None:
        with as_data(X, y, sample_weight=sample_weight, task="classification", con=con, options=options) as data:
            return data.schema
    labels = np.asarray(labels_of(classes))
    with as_data(np.zeros((len(labels), 1)), labels, task="classification") as data:
        target = data.schema.target
    assert target is not None, "labels were given"
    named = [name for name in (y, sample_weight) if isinstance(name, str)]
    without = {**options, "exclude": [*options.get("exclude", ()), *named]} if named else options
    with as_data(X, task="none", con=con, options=without) as data:
        return replace(data.schema, target=replace(target, name=y if isinstance(y, str) else target.name))


def check_labels(owner: str, classes: Any, schema: Schema) -> None:
    """Raise `InvalidParameter` where a later call names other labels than the first."""
    if classes is not None and labels_of(classes) != schema.classes:
        raise InvalidParameter(
            f"{owner}: classes must be those of the first call to partial_fit, "
            f"{list(schema.classes)}; got {list(labels_of(classes))}"
        )
