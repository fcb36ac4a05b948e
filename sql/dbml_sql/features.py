"""What the columns of a table become: features, and the terms (columns of the design) each one makes.

Plain data, JSON in and out. Learned once in training (`dbml.data`), stored with the model, and read by the
three ways of scoring: SQL expressions (`dbml_sql`), the Arrow encoder and the streaming encoder (`dbml.data`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["number", "category", "vector", "lists", "map"]
Part = Literal["epoch", "year", "month", "weekday", "hour"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One encoded input: a column, or a calendar part of one, and what it becomes.

    Attributes
    ----------
    column : str
        Column name as the table spells it.
    type : str
        DuckDB type of the column when the model was trained.
    kind : {"number", "category", "vector", "lists", "map"}
        ``number``: one dense term. ``category``: one sparse 0/1 term per level. ``vector``: `width` dense terms.
        ``lists``: sparse indices in `column`, values in `values`, `width` terms. ``map``: sparse, keys in `levels`.
    part : str or None
        For DATE and TIMESTAMP columns, which calendar part: ``epoch`` (days since 1970 as a number), the others
        are categories. All in UTC.
    fill : tuple of float
        Number, vector: the mean of the training rows. A missing value (NULL, NaN, infinity, failed cast) takes it,
        and blocks hold ``value - fill``, so that a missing value is exactly 0 and large offsets cancel.
    flag : bool
        Number, vector: training saw missing values, so a dense 0/1 term marks them.
    levels : tuple of str
        Category, map: the text of each level that has a term of its own.
    null_level : bool
        Category: training saw NULL, so NULL has a term. Otherwise NULL contributes nothing.
    other_level : bool
        Category: rare levels were pooled, so rare and unseen levels share a term. Otherwise an unseen level
        contributes nothing.
    width : int
        Vector, lists: number of terms.
    values : str or None
        Lists: the column that holds the values.
    first_index : int
        Lists: the index of the first term, 0 or 1.
    """

    column: str
    type: str
    kind: Kind
    part: Part | None = None
    fill: tuple[float, ...] = (0.0,)
    flag: bool = False
    levels: tuple[str, ...] = ()
    null_level: bool = False
    other_level: bool = False
    width: int = 1
    values: str | None = None
    first_index: int = 0

    @property
    def name(self) -> str:
        """Column name, with the calendar part after a dot."""
        return f"{self.column}.{self.part}" if self.part else self.column

    @property
    def dense_terms(self) -> tuple[str, ...]:
        """Names of the dense terms, in order: values, then the missing flag."""
        names: tuple[str, ...]
        if self.kind == "number":
            names = (self.name,)
        elif self.kind == "vector":
            names = tuple(f"{self.name}[{i + 1}]" for i in range(self.width))
        else:
            return ()
        return (*names, f"{self.name} IS NULL") if self.flag else names

    @property
    def sparse_terms(self) -> tuple[str, ...]:
        """Names of the sparse terms, in order: levels, NULL, other."""
        if self.kind == "category":
            names = [f"{self.name} = {level}" for level in self.levels]
            names += [f"{self.name} IS NULL"] * self.null_level
            return tuple(names + [f"{self.name} = other"] * self.other_level)
        if self.kind == "lists":
            return tuple(f"{self.name}[{i + self.first_index}]" for i in range(self.width))
        if self.kind == "map":
            return tuple(f"{self.name}[{level}]" for level in self.levels)
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the feature as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Feature:
        """Rebuild a feature from `to_json`."""
        return cls(**{**stored, "fill": tuple(stored["fill"]), "levels": tuple(stored["levels"])})


@dataclass(frozen=True)
class Encoding:
    """The features of a model in order, and where each one's terms stand in the design.

    The design has the dense terms of all features first (in feature order), then the sparse terms of all features.
    """

    features: tuple[Feature, ...]
    n_dense: int = field(init=False)
    n_terms: int = field(init=False)

    def __post_init__(self) -> None:
        n_dense = sum(len(f.dense_terms) for f in self.features)
        n_sparse = sum(len(f.sparse_terms) for f in self.features)
        object.__setattr__(self, "n_dense", n_dense)
        object.__setattr__(self, "n_terms", n_dense + n_sparse)

    @property
    def columns(self) -> tuple[str, ...]:
        """Input columns in order, each once: the argument order of the scoring functions."""
        names: dict[str, None] = {}
        for feature in self.features:
            names.setdefault(feature.column)
            if feature.values is not None:
                names.setdefault(feature.values)
        return tuple(names)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of all terms: dense, then sparse."""
        dense = [t for f in self.features for t in f.dense_terms]
        return tuple(dense + [t for f in self.features for t in f.sparse_terms])

    def offsets(self) -> list[tuple[int, int]]:
        """Return for each feature the index of its first dense and its first sparse term."""
        dense, sparse, found = 0, self.n_dense, []
        for feature in self.features:
            found.append((dense, sparse))
            dense += len(feature.dense_terms)
            sparse += len(feature.sparse_terms)
        return found

    def centre(self) -> list[float]:
        """Return what was subtracted from each term: the fill of dense values, 0 for flags and sparse terms."""
        dense = [c for f in self.features if f.kind in ("number", "vector") for c in (*f.fill, *(0.0,) * f.flag)]
        return dense + [0.0] * (self.n_terms - self.n_dense)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the encoding as plain JSON values."""
        return [feature.to_json() for feature in self.features]

    @classmethod
    def from_json(cls, stored: list[dict[str, Any]]) -> Encoding:
        """Rebuild an encoding from `to_json`."""
        return cls(tuple(Feature.from_json(item) for item in stored))
