"""Statements about models: what they say, as plain data.

CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name [OPTIONS (…)] AS query
CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name OPTIONS (…, model_path = '…')
EXPLAIN [ANALYZE] CREATE MODEL …
DROP MODEL [IF EXISTS] name[@version]
ALTER MODEL [IF EXISTS] name RENAME TO name
ALTER MODEL [IF EXISTS] name SET ALIAS alias [TO VERSION n]
ALTER MODEL [IF EXISTS] name DROP ALIAS alias
ALTER MODEL [IF EXISTS] name ROLLBACK [TO VERSION n]
SHOW MODELS

A name may say its database: ``other.late``, or ``other.ml.late`` as its macros have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dbml_sql.literals import read_options
from dbml_sql.tokens import Cursor, Token

# ml.predict_proba_late gives the probabilities of late: it cannot be the predictions of proba_late.
RESERVED_PREFIX = "proba_"

# Libraries whose model files are imported.
IMPORTED_TYPES = ("lightgbm", "xgboost")

_OURS = re.compile(r"\bmodels?\b", re.IGNORECASE)
_PLACES = "models live in schema ml of a database: name them model, or database.model"


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model, or one version of it: ``late``, ``late@3`` (version), ``late@champion`` (alias).

    `database` None means the current one.
    """

    name: str
    version: int | None = None
    alias: str | None = None
    database: str | None = None

    def __str__(self) -> str:
        which = self.version if self.version is not None else self.alias
        name = self.name if self.database is None else f"{self.database}.{self.name}"
        return name if which is None else f"{name}@{which}"


@dataclass(frozen=True, slots=True)
class CreateModel:
    """``CREATE MODEL``. `options` has lower-case names; `query` is a slice of the text, byte for byte."""

    name: str
    query: str
    options: dict[str, Any] = field(default_factory=dict)
    or_replace: bool = False
    if_not_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class ImportModel:
    """``CREATE MODEL`` of a model file, without a query. `options` has lower-case names, ``model_path`` among them."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    or_replace: bool = False
    if_not_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainModel:
    """``EXPLAIN [ANALYZE] CREATE MODEL``: the plan only, or the plan with what a training measured."""

    create: CreateModel
    analyze: bool = False


@dataclass(frozen=True, slots=True)
class DropModel:
    """``DROP MODEL``: all versions, or the one that the reference names."""

    model: ModelReference
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class RenameModel:
    """``ALTER MODEL … RENAME TO``."""

    name: str
    new_name: str
    if_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class SetAlias:
    """``ALTER MODEL … SET ALIAS``; `version` None means the current one."""

    name: str
    alias: str
    version: int | None = None
    if_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class DropAlias:
    """``ALTER MODEL … DROP ALIAS``."""

    name: str
    alias: str
    if_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class RollbackModel:
    """``ALTER MODEL … ROLLBACK``; `version` None means the one before the current one."""

    name: str
    version: int | None = None
    if_exists: bool = False
    database: str | None = None


@dataclass(frozen=True, slots=True)
class ShowModels:
    """``SHOW MODELS``."""


Statement = (
    CreateModel
    | ImportModel
    | ExplainModel
    | DropModel
    | RenameModel
    | SetAlias
    | DropAlias
    | RollbackModel
    | ShowModels
)


def parse_statement(text: str) -> Statement | None:
    """Return what a statement about models says, or None for a statement that is not ours.

    Raises
    ------
    SqlError
        The statement starts like one of ours and is not well formed; the error points at the place.
    """
    if _OURS.search(text) is None:
        return None
    cursor = Cursor(text)
    read = _READERS.get(cursor.peek().text.upper())
    return None if read is None else read(cursor)


def parse_reference(text: str) -> ModelReference:
    """Return the model that a string names: ``late``, ``late@3``, ``late@champion``.

    Names of models may hold any character but @.
    """
    name, _, which = text.partition("@")
    if not name or ("@" in text and not which):
        Cursor(text).fail("expected the name of a model: 'late', 'late@3' or 'late@champion'")
    return _reference(name, which or None)


def _reference(name: str, which: str | None, database: str | None = None) -> ModelReference:
    if which is None:
        return ModelReference(name, database=database)
    if which.isdigit():
        return ModelReference(name, version=int(which), database=database)
    return ModelReference(name, alias=which, database=database)


def _read_create(cursor: Cursor) -> CreateModel | ImportModel | None:
    if not cursor.accept("CREATE"):
        return None
    or_replace = cursor.accept("OR", "REPLACE")
    temporary = cursor.peek()
    if temporary.is_word("TEMP", "TEMPORARY") and cursor.peek(1).is_word("MODEL"):
        cursor.fail("models are stored in the database: there are no temporary ones", temporary)
    if not cursor.accept("MODEL"):
        return None
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    if or_replace and if_not_exists:
        cursor.fail("OR REPLACE and IF NOT EXISTS exclude each other")
    database = _read_database(cursor)
    name = _read_new_name(cursor)
    options: dict[str, Any] = {}
    if cursor.peek().is_word("TRANSFORM"):
        cursor.fail("TRANSFORM (…) is not supported yet: write its expressions into the SELECT after AS")
    if cursor.accept("OPTIONS"):
        options = read_options(cursor)
    if "model_path" in options:
        if cursor.peek().is_word("AS"):
            cursor.fail("a model of a file (model_path) is imported, not trained: it takes no query")
        cursor.expect_end()
        return ImportModel(name, options, or_replace, if_not_exists, database)
    if str(options.get("model_type")).lower() in IMPORTED_TYPES:
        cursor.fail(f"{options['model_type']} models are imported: expected model_path = '…' in OPTIONS, and no query")
    if not cursor.peek().is_word("AS"):
        cursor.fail("expected AS and a query" if options else "expected OPTIONS (…) or AS and a query")
    cursor.take()
    return CreateModel(name, _read_query(cursor), options, or_replace, if_not_exists, database)


def _read_query(cursor: Cursor) -> str:
    """Return the rest of the statement, from its first token to its last: no blanks, comments or ``;`` around it."""
    rest = cursor.found[cursor.index :]
    while rest and rest[-1].is_operator(";"):
        rest.pop()
    if not rest:
        cursor.fail("expected a query after AS")
    semicolon = next((token for token in rest if token.is_operator(";")), None)
    if semicolon is not None:
        cursor.fail("expected one statement", semicolon)
    if rest[-1].kind == "unfinished":
        cursor.fail("expected a query after AS", rest[-1])
    return cursor.text[rest[0].start : rest[-1].end]


def _read_explain(cursor: Cursor) -> ExplainModel | None:
    cursor.take()
    analyze = cursor.accept("ANALYZE")
    create = _read_create(cursor)
    if isinstance(create, ImportModel):
        cursor.fail("an import trains nothing: it has no plan to explain")
    return None if create is None else ExplainModel(create, analyze)


def _read_drop(cursor: Cursor) -> DropModel | None:
    if not cursor.accept("DROP", "MODEL"):
        return None
    if_exists = cursor.accept("IF", "EXISTS")
    model = read_reference(cursor)
    cursor.expect_end()
    return DropModel(model, if_exists)


def _read_show(cursor: Cursor) -> ShowModels | None:
    if not cursor.accept("SHOW", "MODELS"):
        return None
    cursor.expect_end()
    return ShowModels()


def _read_alter(cursor: Cursor) -> Statement | None:
    if not cursor.accept("ALTER", "MODEL"):
        return None
    if_exists = cursor.accept("IF", "EXISTS")
    database = _read_database(cursor)
    name = read_name(cursor)
    statement: Statement
    if cursor.accept("RENAME", "TO"):
        statement = RenameModel(name, _read_new_name(cursor), if_exists, database)
    elif cursor.accept("SET", "ALIAS"):
        alias = _read_alias(cursor)
        statement = SetAlias(name, alias, _read_version(cursor), if_exists, database)
    elif cursor.accept("DROP", "ALIAS"):
        statement = DropAlias(name, _read_alias(cursor), if_exists, database)
    elif cursor.accept("ROLLBACK"):
        statement = RollbackModel(name, _read_version(cursor), if_exists, database)
    else:
        cursor.fail(
            "expected RENAME TO name, SET ALIAS alias [TO VERSION n], DROP ALIAS alias or ROLLBACK [TO VERSION n]"
        )
    cursor.expect_end()
    return statement


def _read_version(cursor: Cursor) -> int | None:
    if not cursor.accept("TO"):
        return None
    cursor.expect("VERSION")
    token = cursor.take()
    if not token.text.isdigit():
        cursor.fail("expected the number of a version", token)
    return int(token.text)


def _read_alias(cursor: Cursor) -> str:
    token = cursor.take()
    if token.kind not in ("word", "quoted") or not token.name or "@" in token.name or token.name.isdigit():
        cursor.fail("expected an alias: a name without @ that is not a number", token)
    return token.name


def _is_name(token: Token) -> bool:
    return token.kind in ("word", "quoted")


def read_name(cursor: Cursor) -> str:
    """Read the bare name of a model."""
    token = cursor.take()
    if token.is_operator("`"):
        cursor.fail('quote names with "double quotes"', token)
    if not _is_name(token) or not token.name:
        cursor.fail("expected the name of a model", token)
    if cursor.peek().is_operator("."):
        cursor.fail(_PLACES, token)
    if "@" in token.name or (cursor.peek().is_operator("@") and cursor.peek().start == token.end):
        cursor.fail("expected a name without @version or @alias", token)
    return token.name


def _read_new_name(cursor: Cursor) -> str:
    token = cursor.peek()
    name = read_name(cursor)
    if name.casefold().startswith(RESERVED_PREFIX):
        cursor.fail(f"a model's name must not start with {RESERVED_PREFIX}: its macro would be another model's", token)
    return name


def _read_database(cursor: Cursor) -> str | None:
    """Read ``other.`` or ``other.ml.``; None where a name has no database, or only the schema ml, before it."""
    parts: list[str] = []
    while len(parts) < 2 and _is_name(cursor.peek()) and cursor.peek(1).is_operator("."):
        if parts and cursor.peek().name.casefold() != "ml":
            cursor.fail(_PLACES)
        parts.append(cursor.take().name)
        cursor.take()
    return None if not parts or (len(parts) == 1 and parts[0].casefold() == "ml") else parts[0]


def read_reference(cursor: Cursor) -> ModelReference:
    """Read ``late``, ``late@3`` or ``late@champion``; a quoted name may hold the whole reference."""
    database = _read_database(cursor)
    token = cursor.take()
    if not _is_name(token) or not token.name:
        cursor.fail("expected the name of a model", token)
    if cursor.peek().is_operator("."):
        cursor.fail(_PLACES, token)
    if not cursor.accept_operator("@"):
        name, _, which = token.name.partition("@")
        return _reference(name, which or None, database)
    which_token = cursor.take()
    if not _is_name(which_token) and not which_token.text.isdigit():
        cursor.fail("expected a version number or an alias after @", which_token)
    return _reference(token.name, which_token.name, database)


_READERS: dict[str, Callable[[Cursor], Statement | None]] = {
    "CREATE": _read_create,
    "EXPLAIN": _read_explain,
    "DROP": _read_drop,
    "ALTER": _read_alter,
    "SHOW": _read_show,
}
