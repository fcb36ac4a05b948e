"""The SQL functions of a connection: `predict`, `predict_label`, `predict_proba`, `train_model`.

A function of DuckDB's has one return type. ``predict`` is DOUBLE: numbers of regressors, and labels that are numbers
or booleans (1 for true). Text labels come from ``predict_label``, VARCHAR for any model: asking ``predict`` for them is
an error, never a silent cast. ``predict_proba`` is MAP(VARCHAR, DOUBLE), from the text of each label.
"""

from __future__ import annotations

import atexit
import itertools
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import duckdb

from dbml.errors import DbmlWarning, RegistryError
from dbml.registry.database import current_place
from dbml.registry.reading import first_row

# The functions of one database are shared by all connections to it in this process. The one that registered them
# must stay open, and DuckDB does not hold the Python functions: they are kept here for the life of the process.
_registered: list[Functions] = []
_lock = threading.RLock()

TYPES = {
    "predict": "DOUBLE",
    "predict_label": "VARCHAR",
    "predict_proba": "MAP(VARCHAR, DOUBLE)",
    "train_model": "STRUCT(model VARCHAR, version INTEGER, rows BIGINT, seconds DOUBLE, metrics MAP(VARCHAR, DOUBLE))",
}


class Functions:
    """The functions of one connection, and the cursors they read the registry through.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The connection; functions are seen from every connection to the same database.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = weakref.ref(con)
        self._database = current_place(con).database
        # Functions belong to the cursor that makes them: not to the user's open transaction.
        self._owner: duckdb.DuckDBPyConnection | None = con.cursor()
        self._names: list[str] = []
        self._kept: list[Callable[..., Any]] = []
        self._cursors = threading.local()

    def belongs_to(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Whether these are the functions of a connection."""
        return self._con() is con

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return this thread's own cursor, in the database that was current when the functions were registered.

        Raises
        ------
        RegistryError
            The connection that registered the functions was closed.
        """
        found = getattr(self._cursors, "cursor", None)
        if found is None:
            con = self._con()
            if con is None or self._owner is None:
                raise RegistryError(
                    "the connection that registered dbml's functions was closed: call dbml.register(connection) again"
                )
            found = con.cursor()
            found.execute(f'USE "{self._database.replace(chr(34), chr(34) * 2)}"')
            found.execute("SET enable_progress_bar = false")
            self._cursors.cursor = found
        return found

    def add(self, name: str, function: Callable[..., Any], type: str, side_effects: bool = False) -> bool:
        """Make a function unless there is one of this name already; return whether it was made."""
        assert self._owner is not None
        try:
            self._owner.create_function(
                name, function, None, type, type="arrow", null_handling="special", side_effects=side_effects
            )
        except (duckdb.CatalogException, duckdb.NotImplementedException) as error:
            if "already" not in str(error):
                raise
            return False
        self._names.append(name)
        self._kept.append(function)
        return True

    def remove(self) -> None:
        """Take the functions away; where the connection was closed before, there is nothing left to take away."""
        owner, self._owner = self._owner, None
        for name in self._names if owner is not None else ():
            try:
                owner.remove_function(name)
            except (duckdb.InvalidInputException, duckdb.ConnectionException) as error:
                if "No function by the name" not in str(error) and "closed" not in str(error):
                    raise
        self._names.clear()
        self._cursors = threading.local()
        if owner is not None:
            owner.close()


def register(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Make `predict`, `predict_label`, `predict_proba` and `train_model` known to a plain DuckDB connection.

    All connections to the same database in this process see them. `dbml.connect` and `dbml.attach` do this by
    themselves. Functions of the same names that the person has made stay as they are, with a warning.

    Returns
    -------
    con
    """
    from dbml.registry.sql_functions import make_functions

    with _lock:
        if any(functions.belongs_to(con) for functions in _registered):
            return con
        functions = Functions(con)
        _registered.append(functions)
        taken = [
            name
            for name, function, side_effects in make_functions(functions)
            if not functions.add(name, function, TYPES[name], side_effects)
        ]
    if taken and not _ours(con):
        warnings.warn(
            f"the connection has functions named {', '.join(taken)} already: dbml's are not registered; "
            "FROM ML.PREDICT(…) and ml.predict_<model>(…) work without them",
            DbmlWarning,
            stacklevel=2,
        )
    return con


def _ours(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the function `predict` of a database was made by dbml, through another connection."""
    query = "SELECT return_type, varargs FROM duckdb_functions() WHERE function_name = 'predict_label'"
    return first_row(con.execute(query)) is not None


def unregister(con: duckdb.DuckDBPyConnection) -> None:
    """Take dbml's functions away from a connection."""
    with _lock:
        for functions in _registered:
            if functions.belongs_to(con):
                functions.remove()


_numbers = itertools.count(1)


def typed_function(con: duckdb.DuckDBPyConnection, function: Callable[..., Any], type: str) -> str:
    """Make a function with a name of its own and return the name; for models that native SQL cannot hold."""
    register(con)
    with _lock:
        functions = next(found for found in _registered if found.belongs_to(con))
        name = f"dbml_function_{next(_numbers)}"
        functions.add(name, function, type)
    return name


@atexit.register
def _remove_all() -> None:
    # A connection that is open with functions when Python ends makes DuckDB print "leaked" lines.
    with _lock:
        for functions in _registered:
            functions.remove()
