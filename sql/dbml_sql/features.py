"""What the columns of a table become: features, and the terms (columns of the design) each one makes.

Plain data, JSON in and out. Learned once in training (`dbml.data`), stored with the model, and read by the
three ways of scoring: SQL expressions (`dbml_sql`), the Arrow encoder and the streaming encoder (`dbml.data`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["number", "category", "vector", "lists", "map", "text"]
Weighting = Literal["count", "binary", "tfidf"]
Style = Literal["terms", "values"]
Reading = Literal["terms", "values", "counts", "categories", "keys"]  # keys: columns of them, plain values
Part = Literal["epoch", "year", "month", "weekday", "hour"]

EXACT = 2**53  # from here on a double does not hold every whole number

# What numbers are centred at where that is not their mean. A missing value is 0 in a block; the centre of codes is so
# far from them that no other value is.
CENTRES = {"counts": 0.0, "categories": -(2.0**32)}


def style_of(reading: Reading) -> Style:
    """Return the style of the features that a reading makes."""
    return "values" if reading in ("values", "keys") else "terms"


@dataclass(frozen=True, slots=True)
class Feature:
    """One encoded input: a column, or a calendar part of one, and what it becomes.

    Attributes
    ----------
    column : str
        Column name as the table spells it.
    type : str
        DuckDB type of the column when the model was trained.
    kind : {"number", "category", "vector", "lists", "map", "text"}
        ``number``: one dense term. ``category``: one sparse 0/1 term per level (one dense term with style
        ``values``). ``vector``: `width` dense terms. ``lists``: sparse indices in `column`, values in `values`, `width`
        terms. ``map``: sparse, keys in `levels`. ``text``: sparse, words in `levels`, or `width` buckets where there
        are no levels: a word belongs to the bucket of its hash.
    part : str or None
        For DATE and TIMESTAMP columns, which calendar part: ``epoch`` (days since 1970 as a number), the others
        are categories (numbers with style ``values``). All in UTC.
    fill : tuple of float
        Number, vector: the mean of the training rows. A missing value (NULL, NaN, infinity, failed cast) takes it,
        and blocks hold ``value - fill``, so that a missing value is exactly 0 and large offsets cancel. Empty with
        style ``values``, whatever the kind.
    flag : bool
        Number, vector: training saw missing values, so a dense 0/1 term marks them. Never with style ``values``.
    levels : tuple of str
        Category, map, text: the text of each level that has a term of its own.
    null_level : bool
        Category: training saw NULL, so NULL has a term. Otherwise NULL contributes nothing.
    other_level : bool
        Category: rare levels were pooled, so rare and unseen levels share a term. Otherwise an unseen level
        contributes nothing.
    width : int
        Vector, lists, text: number of terms.
    values : str or None
        Lists: the column that holds the values.
    first_index : int
        Lists: the index of the first term, 0 or 1.
    weighting : {"count", "binary", "tfidf"}
        Text: a term is the number of times that its word (or the words of its bucket) stand in the text, or 1 if they
        do, or that number times `scale`, divided by the Euclidean norm of all terms of the text.
    scale : tuple of float
        Text with ``tfidf``: inverse document frequency of each term.
    style : {"terms", "values"}
        What models of this encoding read; all features of an encoding have the same style.

        ``terms``: centred numbers with flags, and one-hot levels: for sums of weights.

        ``values``: numbers as they are, not centred; a category is one dense term, the number of its level, and
        ``len(levels)`` for the shared level. What is missing (for a category NULL, and an unseen level where none is
        shared) is NaN. For comparisons, as in trees. Lists and maps are the same in both styles.
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
    style: Style = "terms"
    weighting: Weighting = "count"
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.style == "values":
            object.__setattr__(self, "fill", ())

    @property
    def name(self) -> str:
        """Column name, with the calendar part after a dot."""
        return f"{self.column}.{self.part}" if self.part else self.column

    @property
    def dense_terms(self) -> tuple[str, ...]:
        """Names of the dense terms, in order: values, then the missing flag."""
        names: tuple[str, ...]
        if self.kind == "number" or (self.kind == "category" and self.style == "values"):
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
            if self.style == "values":
                return ()
            names = [f"{self.name} = {level}" for level in self.levels]
            names += [f"{self.name} IS NULL"] * self.null_level
            return tuple(names + [f"{self.name} = other"] * self.other_level)
        if self.kind == "lists":
            return tuple(f"{self.name}[{i + self.first_index}]" for i in range(self.width))
        if self.kind == "text" and not self.levels:
            return tuple(f"{self.name}[{i}]" for i in range(self.width))
        if self.kind in ("map", "text"):
            return tuple(f"{self.name}[{level}]" for level in self.levels)
        return ()

    @property
    def centre(self) -> tuple[float, ...]:
        """What is subtracted from each dense term: the fill of values, 0 for the flag; 0 for all with ``values``."""
        if self.style == "values":
            return (0.0,) * len(self.dense_terms)
        return (*self.fill, *(0.0,) * self.flag) if self.kind in ("number", "vector") else ()

    @property
    def n_codes(self) -> int:
        """Codes of a category that is a dense term: its levels and the shared one. 0 for all that is no category."""
        return len(self.levels) + self.other_level if self.kind == "category" and self.style == "values" else 0

    def to_json(self) -> dict[str, Any]:
        """Return the feature as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Feature:
        """Rebuild a feature from `to_json`."""
        listed = {name: tuple(stored.get(name, ())) for name in ("fill", "levels", "scale")}
        return cls(**{**stored, **listed})


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
    def style(self) -> Style:
        """What models of this encoding read; see `Feature`."""
        return self.features[0].style if self.features else "terms"

    @property
    def n_codes(self) -> tuple[int, ...]:
        """Codes of each dense term that is a category (numbers 0, 1, … and NaN), 0 for the others."""
        return tuple(f.n_codes for f in self.features for _ in f.dense_terms)

    @property
    def has_entries(self) -> bool:
        """Whether rows have lists of entries, of any length: of lists, maps or texts."""
        return any(feature.kind in ("lists", "map", "text") for feature in self.features)

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
        dense = [centre for f in self.features for centre in f.centre]
        return dense + [0.0] * (self.n_terms - self.n_dense)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the encoding as plain JSON values."""
        return [feature.to_json() for feature in self.features]

    @classmethod
    def from_json(cls, stored: list[dict[str, Any]]) -> Encoding:
        """Rebuild an encoding from `to_json`."""
        return cls(tuple(Feature.from_json(item) for item in stored))
