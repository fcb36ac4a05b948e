"""What an estimator knows of its data before the first pass: encoding, target, statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from dbml_sql.features import Encoding

from dbml.passes.block import Floats

LARGEST = 1e150  # the squares of larger numbers, summed over many rows, overflow

Task = Literal["regression", "classification", "none"]


@dataclass(frozen=True, slots=True)
class Target:
    """The label column.

    Attributes
    ----------
    name : str
        Column name; ``"y"`` for arrays.
    type : str
        DuckDB type of the column, or of the array's dtype.
    classes : tuple or None
        Class labels in ascending order, as Python values of the label's own type (bool, int, float, str); None in
        regression. `Block.y` holds the index into it.
    counts : tuple of int or None
        Rows (not weighted) of each class, None in regression.
    """

    name: str
    type: str
    classes: tuple[Any, ...] | None = None
    counts: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the target as plain JSON values (the counts are left out: they describe one training)."""
        return {"name": self.name, "type": self.type, "classes": list(self.classes) if self.classes else None}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Target:
        """Rebuild a target from `to_json`."""
        classes = stored["classes"]
        return cls(stored["name"], stored["type"], tuple(classes) if classes is not None else None)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a model stores of the data it was trained on, and needs to score: encoding, target, kind of input.

    `named` is False when the features came from an array without names (they are then called ``x0``, ``x1``, …).
    """

    encoding: Encoding
    target: Target | None
    named: bool = True

    @property
    def n_features(self) -> int:
        """Number of input columns; of a sparse matrix, its width."""
        if not self.named and any(feature.kind == "lists" for feature in self.encoding.features):
            return sum(feature.width for feature in self.encoding.features)
        return len(self.encoding.columns)

    @property
    def classes(self) -> tuple[Any, ...]:
        """Class labels of a classifier's target."""
        assert self.target is not None and self.target.classes is not None, "the schema of a classifier has classes"
        return self.target.classes

    def of_other_rows(self) -> Schema:
        """Return the schema for a training on other rows: without what it says of these, the counts of the classes."""
        return replace(self, target=replace(self.target, counts=None) if self.target else None)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain JSON values."""
        target = self.target.to_json() if self.target else None
        return {"features": self.encoding.to_json(), "target": target, "named": self.named}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Schema:
        """Rebuild a schema from `to_json`."""
        target = Target.from_json(stored["target"]) if stored["target"] else None
        return cls(Encoding.from_json(stored["features"]), target, stored["named"])


@dataclass(frozen=True, slots=True)
class Statistics:
    """Cheap statistics of the terms, from zone maps, a sample, and one SQL pass for what they lack.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_terms,)
        Mean and standard deviation of the (centred) terms, estimated from a sample, of what is not missing; scale is
        1 for a constant term.
    density : float
        Share of entries of the whole design that are not zero (dense terms count as non-zero).
    n_rows : int
        Rows a full pass will see, exact when `exact_rows`, else an estimate.
    exact_rows : bool
        Whether `n_rows` is exact.
    """

    mean: Floats
    scale: Floats
    density: float
    n_rows: int
    exact_rows: bool = True

    @property
    def n_terms(self) -> int:
        """Number of terms of the design."""
        return int(np.size(self.mean))
