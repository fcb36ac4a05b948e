"""Memory that DuckDB lends to rows that are kept: its cached pages of the table go before any of them is spilled.

Only of a limit that `dbml.connect` shared out and nobody changed since: what people set themselves is theirs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from dbml.data.duck import error_class
from dbml.passes.memory import memory_budget, parse_memory

if TYPE_CHECKING:
    import duckdb

_LEAST = 64 << 20  # that DuckDB keeps
_OF_A_COLUMN = 1 << 20  # that a scan holds for each of DuckDB's threads: the pages that are read, and the next ones
_ROUNDED = 0.01  # DuckDB tells its limit in three or four digits


class Loan:
    """Bytes taken off DuckDB's ``memory_limit`` until they are given back.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A cursor of its own: a result that is being read elsewhere stays.
    own : int
        DuckDB's share of the limit.
    left : int
        What it has in the meantime.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, own: int, left: int) -> None:
        self.nbytes = own - left
        _set_limit(connection, left)
        # Borrowers that nobody closes give back when they are collected.
        self._return = weakref.finalize(self, _give_back, connection, own, left)
        self._return.atexit = False

    def give_back(self) -> None:
        """Give DuckDB its share back, unless somebody has set another limit, or closed the database."""
        self._return()


class LendingRoom:
    """Bytes that kept rows may take: their share, and what the database lends the first time that more are needed.

    Parameters
    ----------
    share : int
        Of the memory limit.
    borrow : callable
        Returns a loan, or None.

    Attributes
    ----------
    nbytes : int
        The share and the loan.
    """

    def __init__(self, share: int, borrow: Callable[[], Loan | None]) -> None:
        self.nbytes, self._borrow = share, borrow
        self._asked = False
        self._loan: Loan | None = None

    def has(self, needed: int) -> bool:
        """Return whether so many bytes fit, after asking for a loan if they do not."""
        if needed > self.nbytes and not self._asked:
            self._asked, self._loan = True, self._borrow()
            self.nbytes += self._loan.nbytes if self._loan is not None else 0
        return needed <= self.nbytes

    def give_back(self) -> None:
        """Give the loan back, if there is one."""
        if self._loan is not None:
            self._loan.give_back()


def _give_back(connection: duckdb.DuckDBPyConnection, own: int, left: int) -> None:
    with suppress(error_class()):
        if _is_near(_limit_of(connection), left):
            _set_limit(connection, own)
        connection.close()


def borrow(relation: duckdb.DuckDBPyRelation, n_columns: int) -> Loan | None:
    """Borrow what the database of a relation can spare while `n_columns` of it are read; None where that is nothing."""
    own = memory_budget().database
    connection = getattr(relation, "_con", None)
    if connection is None:
        return None
    try:
        cursor = connection.cursor()
        ((threads,),) = cursor.execute("SELECT current_setting('threads')").fetchall()
        left = max(_LEAST, _OF_A_COLUMN * int(threads) * n_columns)
        if left >= own or not _is_near(_limit_of(cursor), own):
            cursor.close()
            return None
        return Loan(cursor, own, left)
    except error_class():  # what it holds for other queries cannot be let go
        return None


def _limit_of(connection: duckdb.DuckDBPyConnection) -> int:
    ((text,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    return parse_memory(text, least=0)


def _set_limit(connection: duckdb.DuckDBPyConnection, nbytes: int) -> None:
    connection.execute(f"SET GLOBAL memory_limit = '{nbytes}B'")


def _is_near(nbytes: int, other: int) -> bool:
    return abs(nbytes - other) <= _ROUNDED * other
