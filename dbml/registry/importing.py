"""From a model file of another library to a saved version."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
from dbml_sql.statements import IMPORTED_TYPES, ModelReference

from dbml.errors import ALIKE, InvalidData, InvalidParameter, UnknownName, listing, nearest
from dbml.imports import Wishes, imported_model, read_dump
from dbml.registry.store import Provenance, check_free, save_model
from dbml.registry.versions import Version, check_name

_TARGET = "input_label_cols"
_WISHES = ("classes", "features", "categories", "iterations")
OPTIONS = ("model_type", "model_path", _TARGET, *_WISHES)


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What a statement or a call asks for.

    Attributes
    ----------
    model : ModelReference
        Name of the model, and the database that takes it.
    options : dict
        Options by name in lower case, see `OPTIONS`.
    replace : bool
        False: a model of this name is an error.
    """

    model: ModelReference
    options: Mapping[str, Any] = field(default_factory=dict)
    replace: bool = True


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    saved: Version
    seconds: float


def import_model(con: duckdb.DuckDBPyConnection, order: ImportOrder) -> Imported:
    """Read a model file and save the model as a new version; nothing is saved if it fails.

    The file is read by DuckDB, so that what it may not read (``enable_external_access``) is not read here either, and
    paths of its extensions (``s3://…``) work.

    Raises
    ------
    UnknownName
        No such file, option or feature.
    InvalidParameter
        A value that an option does not allow.
    InvalidData
        No model file, damaged, or a model that cannot be imported.
    RegistryError
        The name is taken and `order.replace` is False.
    """
    began = time.perf_counter()
    name, options = order.model.name, order.options
    check_name(name)
    if not order.replace:
        check_free(con, order.model)
    who = f"model {name!r}"
    for option in options:
        if option not in OPTIONS:
            exist = f"(options of an import: {', '.join(OPTIONS)})"
            raise UnknownName(f"{who}: no option {option!r}{nearest(option, OPTIONS, ALIKE)} {exist}")
    path = options.get("model_path")
    if not isinstance(path, str) or not path:
        raise InvalidParameter(f"{who}: model_path must be the path of a model file; got {path!r}")
    source = repr(os.path.basename(path))
    dump = read_dump(_content(con, who, path), source)
    library = options.get("model_type")
    if library is not None and str(library).lower() != dump.library.lower():
        raise InvalidParameter(
            f"{who}: model_type must be the library that wrote {source}, which is {dump.library.lower()!r}; "
            f"got {library!r} (importable: {', '.join(IMPORTED_TYPES)})"
        )
    wishes = {wish: options[wish] for wish in _WISHES if options.get(wish) is not None}
    model = imported_model(dump, source, Wishes(_target(who, options.get(_TARGET)), **wishes))
    stated = {"model_type": dump.library.lower(), **options}
    saved = save_model(con, order.model, model, replace=order.replace, provenance=Provenance(options=stated))
    return Imported(saved, time.perf_counter() - began)


def _content(con: duckdb.DuckDBPyConnection, who: str, path: str) -> bytes:
    # A cursor of its own: an error must not end the transaction of the person.
    with con.cursor() as cursor:
        try:
            found = cursor.execute("SELECT content FROM read_blob(?)", [path]).fetchall()
        except (duckdb.IOException, duckdb.HTTPException) as error:
            raise UnknownName(f"{who}: the model file {path!r} cannot be read: {error}") from error
    if not found:
        raise UnknownName(f"{who}: there is no model file {path!r}")
    if len(found) > 1:
        raise InvalidParameter(f"{who}: model_path must name one file; {path!r} names {len(found):,}")
    content = found[0][0]
    if not content:
        raise InvalidData(f"{who}: the model file {path!r} is empty")
    return content


def _target(who: str, given: Any) -> str:
    names = ["label"] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        raise InvalidParameter(f"{who}: {_TARGET} must name one column; got {listing(map(repr, names))}")
    return names[0]
