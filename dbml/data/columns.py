"""The rule for each column type: what it becomes, and which columns are refused, with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbml_sql.features import Kind, Part, Reading, Style, Weighting, style_of

from dbml.data.source import Source, find_column
from dbml.errors import InvalidParameter, UnsupportedColumn, listing, nearest

MAX_LEVELS = 1_000
MOST_CODES = 254  # of a category that is one dense term: they fit in a byte, with one to spare for missing
MOST_LEVELS = 65_536
MOST_WORDS = 65_536
BUCKETS = 8_192
MOST_BUCKETS = 16_777_216
TEXT_OPTIONS = ("text", "text_features", "text_weights", "text_max_terms", "text_min_rows")
MIN_LEVEL_ROWS = 10  # below that a level's weight is mostly noise: its standard error is sigma / sqrt(rows)

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
INTEGERS = (*_SIGNED, *(f"U{name}" for name in _SIGNED))
FLOATS = ("FLOAT", "DOUBLE")
_DAYS = ("DATE",)
_TIMES = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
_VECTOR = re.compile(r"(?P<element>.*)\[(?P<width>\d+)\]")

_REFUSALS = {
    "BLOB": "bytes have no meaning as a number or a category",
    "UUID": "a UUID is an identifier",
    "BIT": "bits have no meaning as a number: select bit_count or get_bit of it",
    "TIME": "select a part of it: hour(…) or epoch(…)",
    "TIME_NS": "select a part of it: hour(…)",
    "TIME WITH TIME ZONE": "select a part of it: hour(…)",
    "TIMESTAMPTZ_NS": "cast it: ::TIMESTAMPTZ",
    "INTERVAL": "select its length in seconds: epoch(…)",
    '"NULL"': "it is NULL in every row",
    "JSON": "select its fields: …->>'field'",
    "VARIANT": "select its fields, cast to their types",
    "BIGNUM": "cast it: ::DOUBLE",
    "GEOMETRY": "select its coordinates or its measures",
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a column is going to be, before anything was learned from its rows; see `Feature`."""

    column: str
    type: str
    kind: Kind
    part: Part | None = None
    width: int = 1
    values: str | None = None


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """Options of the encoding.

    Attributes
    ----------
    max_levels : int or None
        Most levels of a category that have a term of their own, the most frequent; the others share one. Most keys of
        a MAP, the others are left out. None: 1,000 levels (254 with style ``values``), 65,536 keys.
    min_level_rows : int or None
        Fewest rows of such a level; None: 10, or a hundredth of the rows where that is less.
    sparse : (str, str) or None
        Columns that hold the lists of indices and values of sparse rows.
    exclude : tuple of str
        Columns that are no features.
    text : tuple of str
        Columns of text, each of whose words is a term.
    text_features : {"counted", "hashed"}
        ``counted``: the words in the most rows have a term each. ``hashed``: every word has that of its bucket, so that
        no word is unknown; words share buckets.
    text_weights : {"count", "binary", "tfidf"}
        See `Feature.weighting`.
    text_max_terms : int or None
        Most words, the number of buckets; None: 65,536 words, 8,192 buckets.
    text_min_rows : int or None
        Fewest rows of a word; None: 2, or 1 of fewer than 200 rows.
    keys : tuple of str
        The columns that are read, all of their values kept apart, by an estimator that reads keys; it names them.
    reading : {"terms", "values", "counts", "categories", "keys"}
        What the estimator reads (see `dbml.passes.dispatch.as_data`); no option of a person.
    every_level : bool
        With style ``values``: every level has a code, however rare, also of a constant and of what looks like an
        identifier, and all unseen ones share one more. What the estimator asks for; no option of a person.
    """

    max_levels: int | None = None
    min_level_rows: int | None = None
    sparse: tuple[str, str] | None = None
    exclude: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    text_features: str = "counted"
    text_weights: Weighting = "count"
    text_max_terms: int | None = None
    text_min_rows: int | None = None
    keys: tuple[str, ...] = ()
    reading: Reading = "terms"
    every_level: bool = False

    @property
    def style(self) -> Style:
        """Style of the features."""
        return style_of(self.reading)

    def most(self, kind: Kind) -> int:
        """Return the most levels of a category, or keys of a map."""
        if self.max_levels is not None:
            return self.max_levels
        if kind == "map" or self.every_level:
            return MOST_LEVELS
        return MOST_CODES if self.style == "values" else MAX_LEVELS

    @classmethod
    def of(cls, options: Mapping[str, Any], reading: Reading = "terms") -> EncodingOptions:
        """Return the checked options; ``owner`` (the estimator's name, for messages) is not one of them."""
        known = tuple(name for name in cls.__slots__ if name not in ("reading", "every_level", "keys"))
        known = ("keys",) if reading == "keys" else known
        for name in options:
            if name not in known and name not in ("owner", "every_level", "vectors", "unseen_labels"):
                exist = "there are none for columns of keys" if reading == "keys" else f"options: {', '.join(known)}"
                raise InvalidParameter(f"no encoding option {name!r}{nearest(name, known)} ({exist})")
        given = {name: value for name, value in options.items() if name in known}
        for name, low, high in _BOUNDS:
            value = given.get(name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < low or (high and value > high)
            ):
                limit = f"between {low} and {high}" if high else f">= {low}"
                raise InvalidParameter(f"encoding option {name} must be an integer {limit}; got {value!r}")
        for name, words in _WORDS.items():
            value = given.get(name, words[0])
            if value not in words:
                listed = ", ".join(map(repr, words))
                raise InvalidParameter(f"encoding option {name} must be one of {listed}; got {value!r}")
        without = next(
            (name for name in TEXT_OPTIONS[1:] if given.get(name) is not None and not given.get("text")), None
        )
        if without is not None:
            raise InvalidParameter(f"encoding option {without} needs text: the columns whose words are terms")
        most = given.get("text_max_terms")
        if most is not None and most > MOST_WORDS and given.get("text_features") != "hashed":
            raise InvalidParameter(
                f"encoding option text_max_terms must be at most {MOST_WORDS:,} for counted words; got {most:,}. "
                "text_features='hashed' takes more"
            )
        return cls(**_names(given), reading=reading, every_level=bool(options.get("every_level")))


_BOUNDS = (
    ("max_levels", 1, MOST_LEVELS),
    ("min_level_rows", 1, None),
    ("text_max_terms", 1, MOST_BUCKETS),
    ("text_min_rows", 1, None),
)
_WORDS = {"text_features": ("counted", "hashed"), "text_weights": ("count", "binary", "tfidf")}


def _names(given: dict[str, Any]) -> dict[str, Any]:
    for name in ("exclude", "text"):
        if isinstance(given.get(name), str):
            given[name] = [given[name]]
    for name in ("exclude", "sparse", "text"):
        if given.get(name) is None:
            given.pop(name, None)
            continue
        if not isinstance(given[name], (list, tuple)):
            raise InvalidParameter(f"encoding option {name} must be a list of column names; got {given[name]!r}")
        given[name] = tuple(given[name])
        if not all(isinstance(column, str) for column in given[name]):
            raise InvalidParameter(f"encoding option {name} must hold column names; got {given[name]!r}")
    if len(given.get("sparse", ("", ""))) != 2:
        raise InvalidParameter("encoding option sparse must be two columns: of indices, of values")
    return given


def assign_roles(source: Source, taken: tuple[str, ...], options: EncodingOptions) -> list[Role]:
    """Return the roles of all columns but the `taken` ones (target, weights) and the excluded ones.

    Raises
    ------
    UnsupportedColumn
        Columns that cannot be features; all of them are named.
    """
    excluded = {source.find(name, "excluded column") for name in options.exclude}
    columns = {name: t for name, t in source.columns.items() if name not in taken and name not in excluded}
    lists = _find_lists(columns, options)
    texts = {find_column(name, columns, f"text column {name!r}") for name in options.text}
    roles, refused = [], []
    for name, column_type in columns.items():
        if lists is not None and name in lists:
            if name == lists[0]:
                roles.append(Role(name, column_type, "lists", values=lists[1]))
            continue
        if name in texts:
            if column_type != "VARCHAR":
                raise UnsupportedColumn(f"{source.name}: text column {name!r} must be VARCHAR; it is {column_type}")
            roles.append(Role(name, column_type, "text"))
            continue
        found = _roles_of(name, column_type, options.reading)
        if isinstance(found, str):
            refused.append(f"{name} {column_type} ({found})")
        else:
            roles.extend(found)
    coded = options.style == "values" and not options.every_level and any(role.kind == "category" for role in roles)
    if coded and options.max_levels is not None and options.max_levels > MOST_CODES:
        raise InvalidParameter(
            f"encoding option max_levels must be an integer between 1 and {MOST_CODES} for an estimator that reads a "
            f"category as one number; got {options.max_levels}"
        )
    if refused:
        raise UnsupportedColumn(
            f"{source.name}: not usable as a feature: {listing(refused)}. Leave columns out with "
            "options={'exclude': [...]} or SELECT * EXCLUDE (...)"
        )
    return roles


def _roles_of(name: str, column_type: str, reading: Reading) -> list[Role] | str:
    """Return the roles of a column, or why it is refused."""
    if (
        column_type in INTEGERS
        or column_type in FLOATS
        or column_type == "BOOLEAN"
        or column_type.startswith("DECIMAL")
    ):
        coded = reading == "categories" and (column_type in INTEGERS or column_type == "BOOLEAN")
        return [Role(name, column_type, "category" if coded else "number")]
    if column_type == "VARCHAR" or column_type.startswith("ENUM("):
        return [Role(name, column_type, "category")]
    if column_type in _DAYS or column_type in _TIMES:
        parts: tuple[Part, ...] = ("month", "weekday") if column_type in _DAYS else ("month", "weekday", "hour")
        epoch = Role(name, column_type, "number", "epoch")
        kind: Kind = "number" if reading == "values" else "category"
        found = [] if reading == "categories" else [epoch]
        return [*found, *(Role(name, column_type, kind, part) for part in parts)]
    vector = _VECTOR.fullmatch(column_type)
    if vector is not None and is_number(vector["element"]):
        return [Role(name, column_type, "vector", width=int(vector["width"]))]
    if column_type.startswith("MAP(") and _is_amount(column_type):
        return [Role(name, column_type, "map")]
    return refusal(column_type)


def is_number(column_type: str) -> bool:
    """Return whether a type is a number."""
    return column_type in INTEGERS or column_type in FLOATS or column_type.startswith("DECIMAL")


def _is_amount(map_type: str) -> bool:
    """Return whether the values of a MAP are numbers; of text, nothing would be left."""
    value = map_type.removesuffix(")").rpartition(", ")[2]
    return is_number(value) or value == "BOOLEAN"


def refusal(column_type: str) -> str:
    """Return why a type cannot be a feature and what to do."""
    if column_type in _REFUSALS:
        return _REFUSALS[column_type]
    if column_type.endswith("[]"):
        return (
            "cast lists of one length to an array, ::FLOAT[d], or name the two columns of sparse rows: "
            "options={'sparse': ('idx', 'val')}, in SQL OPTIONS (sparse = ['idx', 'val'])"
        )
    if _VECTOR.fullmatch(column_type):
        return "only arrays of numbers are features: cast it to FLOAT[d], flattened if it is nested"
    if column_type.startswith("STRUCT"):
        return "select its fields: column.*"
    if column_type.startswith("MAP("):
        return "the values of a MAP must be numbers; select the keys that matter: column['key']"
    if column_type.startswith("UNION"):
        return "select its members: column.member"
    return "no rule for this type: cast it in SQL"


def _find_lists(columns: dict[str, str], options: EncodingOptions) -> tuple[str, str] | None:
    """Return the columns of sparse indices and values: as the options say, or the only pair of lists that fits."""
    if options.sparse is not None:
        pair = tuple(find_column(name, columns, f"sparse column {name!r}") for name in options.sparse)
        for name in pair:
            element = columns[name].removesuffix("[]")
            if element == columns[name] or not is_number(element):
                raise UnsupportedColumn(f"sparse column {name} must be a list of numbers; it is {columns[name]}")
        return pair[0], pair[1]
    lists = [name for name, t in columns.items() if t.endswith("[]") and is_number(t.removesuffix("[]"))]
    indices = [name for name in lists if columns[name].removesuffix("[]") in INTEGERS]
    if len(lists) == 2 and len(indices) == 1:
        values = next(name for name in lists if name not in indices)
        return indices[0], values
    return None
