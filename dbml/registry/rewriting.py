"""Queries as text, with their calls about models replaced by what DuckDB understands."""

from __future__ import annotations

from typing import Any

import duckdb
from dbml_sql.calls import rewrite_calls
from dbml_sql.errors import SqlError
from dbml_sql.expressions import string
from dbml_sql.signature import ModelSignature

from dbml.data.duck import error_class, what_is_no_query
from dbml.errors import InvalidParameter, RegistryError, StatementError
from dbml.registry.database import Place
from dbml.registry.reading import first_row
from dbml.registry.resolver import RegistryResolver
from dbml.registry.transaction import in_transaction

# What changes models inside the transaction of the person.
_IN_TRANSACTION = {"train_model": "CREATE MODEL", "add_rows": "con.extend_model(name, rows) in Python"}


def rewrite(con: duckdb.DuckDBPyConnection, text: str, lazy: bool = False) -> str:
    """Return a query with its calls about models replaced; the very text where it has none.

    Parameters
    ----------
    lazy : bool, default False
        Whether it runs later, when models may have other versions.

    Raises
    ------
    StatementError
        A call is not well formed.
    UnknownName
        A call names a model that does not exist.
    RegistryError
        A call of a Python function names a model that is not committed.
    InvalidParameter
        A function that changes models is called in an open transaction.
    """
    try:
        found = rewrite_calls(text, RegistryResolver(con), lazy=lazy)
    except SqlError as error:
        raise StatementError(str(error)) from error
    if found.changes and in_transaction(con):
        raise InvalidParameter(
            f"{found.changes[0]} trains and saves on a connection of its own, which would take no part in the open "
            f"transaction: COMMIT first, or use {_IN_TRANSACTION[found.changes[0]]}"
        )
    _check_committed(con, [model for model in found.models if string(model.exact) in found.sql])
    return found.sql


def _check_committed(con: duckdb.DuckDBPyConnection, models: list[ModelSignature]) -> None:
    """Raise `RegistryError` for a model of the open transaction that a function would look up, which takes no part in
    it: an error inside the statement would abort the transaction, and the model would be lost.
    """
    if not models or not in_transaction(con):
        return
    with con.cursor() as others:
        for model in models:
            if _stored(others, model) != _stored(con, model):
                raise RegistryError(
                    f"model '{model.name}@{model.version}' was made in the open transaction, and this call of it is a "
                    "Python function, which sees what is committed: COMMIT, then call it"
                )


def _stored(con: duckdb.DuckDBPyConnection, model: ModelSignature) -> Any:
    assert model.database is not None
    table = f"{Place(model.database).schema}.model_versions"
    query = f"SELECT checksum, created_at FROM {table} WHERE model_id = ? AND version = ?"
    try:
        return first_row(con.execute(query, [model.model_id, model.version]))
    except error_class("CatalogException"):
        return None  # the registry itself was made in the transaction


def training_query(con: duckdb.DuckDBPyConnection, name: str, query: Any) -> str:
    """Return a query of rows for model `name` as DuckDB understands it; anything but one query would run, and change
    the database.

    Raises
    ------
    InvalidParameter
        No text, several statements, a statement that is no query, or a query with a part that writes.
    StatementError, UnknownName
        See `rewrite`.
    """
    rewritten = rewrite(con, query) if isinstance(query, str) else query
    came = what_is_no_query(con, rewritten) if isinstance(rewritten, str) else repr(query)
    if came:
        raise InvalidParameter(f"model {name!r}: the rows must come from one query (SELECT, FROM, WITH, …); got {came}")
    return str(rewritten)
