"""Transactions of the registry: all or nothing, inside the user's own open transaction where there is one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import duckdb

from dbml.data.duck import in_transaction
from dbml.errors import DbmlError, RegistryError, listing

T = TypeVar("T")

_ATTEMPTS = 6
_HOLDER = re.compile(r'^(?:table|index) ".*"(?= depends on )', re.MULTILINE)
_CONFLICTS = ("conflict on", "write-write conflict", "primary key or unique constraint", "duplicate key")


def transact(con: duckdb.DuckDBPyConnection, what: str, work: Callable[[], T]) -> T:
    """Run `work` in one transaction and return what it returns.

    In a transaction that the user opened, `work` takes part in it, and becomes durable when the user commits; where it
    fails, that transaction is aborted, as by an error of DuckDB's. Otherwise see `commit`.

    Raises
    ------
    RegistryError
        The database is read-only, or another connection keeps changing the same rows; the message says `what`.
    """
    if not in_transaction(con):
        return commit(con, what, work)
    try:
        return work()
    except duckdb.Error as error:
        _abort(con)
        raise _explained(what, error, "the open transaction must be rolled back, then do it again") from error
    except BaseException as error:
        _abort(con)
        if isinstance(error, DbmlError):
            error.args = (f"{error}; the open transaction is aborted: roll it back (ROLLBACK)",)
        raise


def commit(con: duckdb.DuckDBPyConnection, what: str, work: Callable[[], T]) -> T:
    """Run `work` and commit it, on a connection without an open transaction; return what it returns.

    When another connection changed the same rows meanwhile, `work` runs again.

    Raises
    ------
    RegistryError
        See `transact`.
    """
    for attempt in range(_ATTEMPTS):
        con.execute("BEGIN TRANSACTION")
        try:
            result = work()
            con.execute("COMMIT")
        except duckdb.Error as error:
            _roll_back(con)
            if not _is_conflict(error) or attempt == _ATTEMPTS - 1:
                raise _explained(what, error, f"tried {attempt + 1} times") from error
            time.sleep(0.01 * 2**attempt)
        except BaseException:
            _roll_back(con)
            raise
        else:
            return result
    raise AssertionError("unreachable")


def _abort(con: duckdb.DuckDBPyConnection) -> None:
    """Let nothing of the open transaction be committed: what was written of a change that failed is half a model."""
    with suppress(duckdb.Error):
        con.execute("SELECT error('a change of a model failed in this transaction')")


def _roll_back(con: duckdb.DuckDBPyConnection) -> None:
    # A COMMIT that failed has already closed the transaction.
    try:
        con.execute("ROLLBACK")
    except duckdb.TransactionException as error:
        if "no transaction is active" not in str(error):
            raise


def _is_conflict(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return any(mark in text for mark in _CONFLICTS)


def _explained(what: str, error: duckdb.Error, hint: str) -> Exception:
    """Return the error with words, or the error itself where DuckDB's own words are the best ones."""
    text = str(error)
    if _is_conflict(error):
        return RegistryError(f"{what}: another connection changed the registry at the same time ({text}); {hint}")
    if "read-only" in text.lower():
        return RegistryError(f"{what}: the database is open read-only; open it with read_only=False")
    holders = sorted(_HOLDER.findall(text)) if isinstance(error, duckdb.DependencyException) else []
    if holders:
        several = len(holders) > 1
        return RegistryError(
            f"{what}: {listing(holders)} {'hold' if several else 'holds'} macros of it (in a generated column, "
            "a CHECK, a DEFAULT or an index), and DuckDB changes no macro that something holds: drop "
            f"{'these' if several else 'it'} first and make {'them' if several else 'it'} again; one "
            "that calls predict('name@version', …) holds that version only, beside which new ones are made"
        )
    if "current transaction is aborted" in text.lower():
        return RegistryError(f"{what}: the open transaction has failed before; roll it back first (ROLLBACK)")
    return error
