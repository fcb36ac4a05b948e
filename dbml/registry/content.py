"""A fitted model as rows, and back: the storage format, its number and its checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from dbml_sql.features import Encoding, Feature

from dbml.errors import RegistryError
from dbml.estimators.base import ModelState
from dbml.passes.schema import Schema, Target
from dbml.registry.arrays import StoredArray, restore_array, store_array
from dbml.registry.plain_json import dump, labels_of, load

FORMAT = 1

_FEATURE_COLUMNS = (
    ("column_name", "VARCHAR", "column"),
    ("type", "VARCHAR", "type"),
    ("kind", "VARCHAR", "kind"),
    ("part", "VARCHAR", "part"),
    ("fill", "DOUBLE[]", "fill"),
    ("flag", "BOOLEAN", "flag"),
    ("levels", "VARCHAR[]", "levels"),
    ("null_level", "BOOLEAN", "null_level"),
    ("other_level", "BOOLEAN", "other_level"),
    ("width", "INTEGER", "width"),
    ("values_column", "VARCHAR", "values"),
    ("first_index", "INTEGER", "first_index"),
)
# Of texts, in a table of their own; the rows of other features end before.
_TEXT_COLUMNS = (("weighting", "VARCHAR", "weighting"), ("scale", "DOUBLE[]", "scale"))
N_FEATURE_COLUMNS = len(_FEATURE_COLUMNS)
TEXT_COLUMNS = tuple((name, type) for name, type, _ in _TEXT_COLUMNS)
FEATURE_COLUMNS = tuple((name, type) for name, type, _ in _FEATURE_COLUMNS)
CONTENT_COLUMNS = ("type", "task", "target", "target_type", "classes", "named", "params", "attributes", "link")


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of one version: `values` of `CONTENT_COLUMNS`, features in order, arrays by name."""

    values: tuple[Any, ...]
    features: list[tuple[Any, ...]]
    arrays: list[StoredArray]

    @property
    def checksum(self) -> str:
        """SHA-256 over everything that scoring reads (the bytes of arrays through their own checksums)."""
        arrays = [[array.name, array.dtype, array.shape, array.sha256] for array in self.arrays]
        text = json.dumps([FORMAT, self.values, self.features, arrays], ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def to_content(owner: str, state: ModelState, task: str, link: str | None) -> Content:
    """Return the rows of a fitted model.

    Raises
    ------
    RegistryError
        A hyperparameter or fitted attribute is not plain data; it is named.
    """
    schema, target = state.schema, state.schema.target
    classes = None if target is None or target.classes is None else dump(list(target.classes), f"{owner}: classes")
    values = (
        state.kind,
        task,
        target.name if target else None,
        target.type if target else None,
        classes,
        schema.named,
        _members(owner, "hyperparameter", state.params),
        _members(owner, "attribute", state.attributes),
        link,
    )
    features = [_to_row(feature) for feature in schema.encoding.features]
    arrays = [store_array(owner, name, array) for name, array in sorted(state.arrays.items())]
    return Content(values, features, arrays)


def from_content(owner: str, content: Content) -> ModelState:
    """Return the fitted model of rows whose checksum was verified."""
    kind, _, name, type, classes, named, params, attributes, _ = content.values
    target = None
    if name is not None:
        target = Target(name, type, labels_of(owner, classes))
    encoding = Encoding(tuple(_to_feature(row) for row in content.features))
    return ModelState(
        kind,
        load(params, f"{owner}: hyperparameters"),
        Schema(encoding, target, named),
        load(attributes, f"{owner}: attributes"),
        {array.name: restore_array(owner, array) for array in content.arrays},
    )


def check_content(owner: str, content: Content, checksum: str) -> None:
    """Raise `RegistryError` unless every array and the whole are what was saved."""
    for array in content.arrays:
        restore_array(owner, array)
    if content.checksum != checksum:
        raise RegistryError(
            f"{owner} is damaged: its rows in schema ml have the checksum {content.checksum[:12]}…, {checksum[:12]}… "
            "was saved; restore the database from a backup, or train again"
        )


def _members(owner: str, what: str, values: dict[str, Any]) -> str:
    texts = [f"{json.dumps(name)}: {dump(value, f'{owner}: {what} {name}')}" for name, value in sorted(values.items())]
    return "{" + ", ".join(texts) + "}"


def _to_row(feature: Feature) -> tuple[Any, ...]:
    columns = (*_FEATURE_COLUMNS, *(_TEXT_COLUMNS if feature.kind == "text" else ()))
    values = (getattr(feature, attribute) for _, _, attribute in columns)
    return tuple(list(value) if isinstance(value, tuple) else value for value in values)


def _to_feature(row: tuple[Any, ...]) -> Feature:
    attributes = [attribute for _, _, attribute in (*_FEATURE_COLUMNS, *_TEXT_COLUMNS)]
    stored = dict(zip(attributes, row, strict=False))
    # Only features that are read as plain values have no fill at all.
    return Feature.from_json({**stored, "style": "terms" if stored["fill"] else "values"})
