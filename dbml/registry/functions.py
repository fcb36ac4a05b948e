"""Functions that a connection has in SQL: made by one connection, seen by all to its database, gone with the last."""

from __future__ import annotations

import atexit
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import duckdb
from dbml_sql.expressions import identifier

from dbml.errors import RegistryError
from dbml.passes.memory import memory_limited
from dbml.registry.database import current_place

# The functions of one database are seen by all connections to it in this process, and belong to the one that made
# them first; when that one closes, another one makes them again.
_registered: list[Functions] = []
LOCK = threading.RLock()

# DuckDB does not hold the Python functions that it calls, and a connection can be closed behind our back: what it calls
# is kept for the life of the process, and is next to nothing once it is released.
_kept: list[_Called] = []

# DuckDB takes longer to read the text of a type than to make the function.
_types: dict[str, Any] = {}

_CLOSED = "the connection that registered dbml's functions was closed: register them on an open one"


class _Called:
    """A function as DuckDB calls it: within a memory limit, since it is called on threads where none was chosen."""

    # DuckDB asks for it, and to find it takes Python as long as DuckDB takes to make the function.
    __signature__ = inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)])

    def __init__(self, function: Callable[..., Any], memory_limit: int | None) -> None:
        self._function: Callable[..., Any] | None = function
        self._memory_limit = memory_limit

    def __call__(self, *arguments: Any) -> Any:
        function = self._function
        if function is None:
            raise RegistryError(_CLOSED)
        with nullcontext() if self._memory_limit is None else memory_limited(self._memory_limit):
            return function(*arguments)

    def release(self) -> None:
        """Let go of the function, and with it of the models that it scores with."""
        self._function = None


class Functions:
    """The functions of one connection, and the cursors they read the registry through.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The connection; functions are seen from every connection to the same database.
    memory_limit : int or None
        Bytes that its functions compute within; None: the limit of the process.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, memory_limit: int | None = None) -> None:
        self._con = weakref.ref(con, lambda _: self.remove())
        self.memory_limit = memory_limit
        self._database = current_place(con).database
        # Functions belong to the cursor that makes them: not to the user's open transaction.
        self._owner: duckdb.DuckDBPyConnection | None = con.cursor()
        self._wanted: dict[str, tuple[_Called, str, bool]] = {}
        self._wanted_if_free: set[str] = set()
        self._made: set[str] = set()
        self._by_model: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()
        self._cursors = threading.local()

    def belongs_to(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Whether these are the functions of a connection."""
        return self._con() is con

    @property
    def is_orphaned(self) -> bool:
        """Whether the connection is no more."""
        return self._con() is None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return this thread's own cursor, in the database that was current when the functions were registered.

        Raises
        ------
        RegistryError
            The connection that registered the functions was closed.
        """
        found = getattr(self._cursors, "cursor", None)
        if found is None:
            try:
                found = self._owner.cursor() if self._owner is not None else None
            except duckdb.ConnectionException:
                found = None
            if found is None:
                raise RegistryError(_CLOSED)
            _settle(found, self._database)
            self._cursors.cursor = found
        return found

    @contextmanager
    def cursor_at(self, *place: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor of its own in a database and schema, where a statement was asked; without them, as `cursor`.

        Queries on it may call functions of ours, which read the registry through the cursor of the thread.
        """
        with self.cursor().cursor() as found:
            _settle(found, *(place or (self._database,)))
            yield found

    def wants(self, name: str) -> bool:
        """Whether a function of this name was added."""
        return name in self._wanted

    def add(
        self, name: str, function: Callable[..., Any], type: str, side_effects: bool = False, if_free: bool = False
    ) -> None:
        """Want a function, see `make`; `if_free` where the person may have one of this name, which is to stay."""
        called = _Called(function, self.memory_limit)
        self._wanted[name] = called, type, side_effects
        if if_free:
            self._wanted_if_free.add(name)
        _kept.append(called)

    def has_made(self, name: str) -> bool:
        """Whether a function of this name is one of these."""
        return name in self._made

    def made_for(self, model: Any) -> dict[str, str]:
        """Return the names of the functions that were made for a model alone, by the method that they compute."""
        return self._by_model.setdefault(model, {})

    def make(self) -> list[str]:
        """Make the functions that are wanted and not made; return the names that are taken already."""
        if self._owner is None:
            return []
        taken = _taken(self._owner, [name for name in self._wanted_if_free if name not in self._made])
        for name, (function, type, side_effects) in self._wanted.items():
            if self._owner is None or name in self._made or name in taken:
                continue
            try:
                returns = _types[type] = _types.get(type) or self._owner.type(type)
                self._owner.create_function(  # type: ignore[call-overload]
                    name, function, None, returns, type="arrow", null_handling="special", side_effects=side_effects
                )
            except (duckdb.CatalogException, duckdb.NotImplementedException) as error:
                if not any(words in str(error) for words in ("already", "is not an scalar function")):
                    raise
                taken.append(name)
            except duckdb.ConnectionException:  # closed behind our back
                self._owner = None
            else:
                self._made.add(name)
        return taken

    def remove(self) -> None:
        """Take the functions away; where the connection was closed before, there is nothing left to take away."""
        owner, self._owner = self._owner, None
        for called, _, _ in self._wanted.values():
            called.release()
        if owner is None:
            return
        for name in self._made:
            try:
                owner.remove_function(name)
            except (duckdb.InvalidInputException, duckdb.ConnectionException) as error:
                if "No function by the name" not in str(error) and "closed" not in str(error):
                    raise
        self._made.clear()
        self._cursors = threading.local()
        owner.close()  # and with it the cursors that were handed out


def _taken(cursor: duckdb.DuckDBPyConnection, names: list[str]) -> list[str]:
    """Return which names are those of functions that somebody has made: ours would become an overload of theirs.

    DuckDB takes 40 ms to list its functions, and 2 ms to say of one that it is not there. It says so faster where one
    is to be dropped: it refuses that for a function of Python, and the transaction is rolled back in any case.
    """
    if not names:
        return []
    try:
        drops = "; ".join(f"DROP FUNCTION IF EXISTS system.main.{identifier(name)}" for name in names)
        cursor.execute(f"BEGIN; {drops}; ROLLBACK")
        return []
    except duckdb.ConnectionException:  # closed behind our back
        return []
    except duckdb.Error:
        cursor.execute("ROLLBACK")
        return names if len(names) == 1 else [name for name in names if _taken(cursor, [name])]


def _settle(cursor: duckdb.DuckDBPyConnection, *place: str) -> None:
    """Bring a new cursor to a database, or a schema in it."""
    cursor.execute(f"USE {'.'.join(map(identifier, place))}")
    cursor.execute("SET enable_progress_bar = false")


def functions_of(con: duckdb.DuckDBPyConnection, memory_limit: int | None = None) -> Functions:
    """Return the functions of a connection; the first call makes a place for them, with its limit."""
    with LOCK:
        _registered[:] = [functions for functions in _registered if not functions.is_orphaned]
        for functions in _registered:
            if functions.belongs_to(con):
                return functions
        _registered.append(Functions(con, memory_limit))
        return _registered[-1]


def is_made(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether a function of this name is one that dbml made for a connection."""
    with LOCK:
        return any(functions.belongs_to(con) and functions.has_made(name.lower()) for functions in _registered)


def unregister(con: duckdb.DuckDBPyConnection) -> None:
    """Take dbml's functions away from a connection; other connections to its database keep them."""
    with LOCK:
        for functions in [found for found in _registered if found.belongs_to(con)]:
            functions.remove()
            _registered.remove(functions)
        for functions in _registered:
            functions.make()


_numbers = itertools.count(1)


def typed_function(con: duckdb.DuckDBPyConnection, function: Callable[..., Any], type: str) -> str:
    """Make a function with a name of its own and return the name; for models that native SQL cannot hold."""
    functions = functions_of(con)
    with LOCK:
        name = f"dbml_function_{next(_numbers)}"
        functions.add(name, function, type)
        functions.make()
    return name


@atexit.register
def _remove_all() -> None:
    # A connection that is open with functions when Python ends makes DuckDB print "leaked" lines.
    with LOCK:
        for functions in _registered:
            functions.remove()
