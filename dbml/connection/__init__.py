"""A DuckDB connection that also understands models: `connect`, `attach`, `register`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import duckdb

from dbml.connection.wrapper import Connection
from dbml.errors import RegistryError
from dbml.passes.memory import Budget, parse_memory, set_memory_limit
from dbml.registry.registering import register

__all__ = ["Connection", "attach", "connect", "register"]


def connect(
    path: str | os.PathLike[str] = ":memory:",
    read_only: bool = False,
    memory_limit: int | float | str | None = None,
    threads: int | None = None,
    config: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Connection:
    """Open a database and return a connection that understands models; everything else is DuckDB's.

    Parameters
    ----------
    path : path or str, default ":memory:"
        Database file; made if it does not exist.
    read_only : bool, default False
        New models are then kept in memory, with a warning.
    memory_limit : int (bytes) or str, optional
        One limit for DuckDB and dbml together, such as ``"1GB"`` or ``"50%"``. DuckDB gets its share as its own
        ``memory_limit``; dbml's share holds for all training in this process. None: the limits of DuckDB and dbml
        are what they were (80 % of the machine's memory each, as in DuckDB).
    threads : int, optional
        Threads of DuckDB.
    config : mapping, optional
        DuckDB's settings, as `duckdb.connect` takes them.
    **settings
        The same, as keywords.

    Raises
    ------
    InvalidParameter
        `memory_limit` is no size.
    RegistryError
        Another process has the database open.
    duckdb.IOException
        The file is no database.
    """
    given = {**(config or {}), **settings}
    if memory_limit is not None:
        given["memory_limit"] = f"{Budget(parse_memory(memory_limit)).database}B"
        set_memory_limit(memory_limit)
    if threads is not None:
        given["threads"] = threads
    try:
        opened = duckdb.connect(os.fspath(path), read_only=read_only, config=given)
    except duckdb.IOException as error:
        if "lock on file" not in str(error):
            raise
        raise RegistryError(
            f"database {os.fspath(path)!r} is open in another process, which may write to it: close it there, or "
            f"open it with read_only=True in both ({error})"
        ) from error
    return Connection(opened, True, memory_limit)


def attach(connection: duckdb.DuckDBPyConnection) -> Connection:
    """Return a connection that understands models over one that the user has: its temp tables and transaction are seen.

    Closing it (or leaving its ``with`` block) takes dbml's functions away again and leaves `connection` open.
    """
    if isinstance(connection, Connection):
        return connection
    return Connection(connection, False)
