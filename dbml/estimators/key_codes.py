"""From blocks of plain values to numbers of keys: users and items, whatever their type in the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dbml_sql.features import EXACT, Feature
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

_AT_ONCE = 64  # blocks whose keys are merged together


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a column that training saw.

    Attributes
    ----------
    feature : Feature
        The column: a category, whose codes number its levels, or a number.
    values : ndarray of shape (n_keys,), float64
        Of a number, the keys in ascending order; empty for a category.
    """

    feature: Feature
    values: Floats

    @property
    def size(self) -> int:
        """Number of keys."""
        return len(self.feature.levels) if self.feature.kind == "category" else self.values.size

    def codes(self, column: Floats) -> NDArray[np.int32]:
        """Return the number of the key of each row of a column of a block, -1 where it is missing or unknown."""
        if self.feature.kind == "category":
            return np.where(np.isnan(column), -1, np.nan_to_num(column)).astype(np.int32)
        if not self.values.size:
            return np.full(column.size, -1, np.int32)
        place = np.minimum(np.searchsorted(self.values, column), self.values.size - 1)
        return np.where(self.values[place] == column, place, -1).astype(np.int32)

    def named(self) -> NDArray:
        """Return the keys in the order of their numbers: integers, floats or texts."""
        if self.feature.kind == "category":
            return np.array(self.feature.levels, dtype=object)
        return self.values.astype(np.int64) if (self.values == np.rint(self.values)).all() else self.values

    def codes_of(self, keys: Any) -> NDArray[np.int64]:
        """Return the numbers of keys that a person gave, -1 for unknown ones."""
        given = np.atleast_1d(np.asarray(keys))
        if self.feature.kind == "category":
            known = {level: code for code, level in enumerate(self.feature.levels)}
            return np.array([known.get(str(key), -1) for key in given.tolist()], np.int64)
        return self.codes(np.array([_number(key) for key in given.tolist()], np.float64)).astype(np.int64)


def _number(key: Any) -> float:
    """Return a key as a number; NaN, which is no key, for a text that spells none."""
    try:
        return float(key)
    except (TypeError, ValueError):
        return float("nan")


def learn_keys(data: Data) -> tuple[Keys, ...]:
    """Return the keys of every column of the data; one pass where a column holds numbers.

    Raises
    ------
    InvalidData
        Numbers too large to be told apart.
    """
    features = data.schema.encoding.features
    numbers = [place for place, feature in enumerate(features) if feature.kind == "number"]
    found: dict[int, Floats] = {place: np.empty(0) for place in numbers}
    if numbers:
        parts: list[list[Floats]] = []

        def distinct(block: Block) -> list[Floats]:
            return [np.unique(block.X[:, place]) for place in numbers]

        for part in data.map(distinct, purpose="keys"):
            parts.append(part)
            if len(parts) == _AT_ONCE:
                _merge(found, numbers, parts)
        _merge(found, numbers, parts)
    for place, values in found.items():
        if values.size and max(-values[0], values[-1]) >= EXACT:
            raise InvalidData(
                f"{data.plan.source}: keys of {features[place].column!r} must be less than 2^53 where they are numbers "
                f"of an array; got {max(-values[0], values[-1]):.0f}. Pass them as text, or as BIGINT in a table"
            )
    return tuple(Keys(feature, found.get(place, np.empty(0))) for place, feature in enumerate(features))


def _merge(found: dict[int, Floats], numbers: list[int], parts: list[list[Floats]]) -> None:
    for number, place in enumerate(numbers):
        merged = np.unique(np.concatenate([found[place], *(part[number] for part in parts)]))
        found[place] = merged[np.isfinite(merged)]
    parts.clear()
