"""The SQL functions of a connection: those that predict, explain and train.

A function of DuckDB's has one return type. ``predict`` is DOUBLE: numbers of regressors, and labels that are numbers
or booleans (1 for true). Text labels come from ``predict_label``, VARCHAR for any model: asking ``predict`` for them is
an error, never a silent cast. ``predict_proba`` is MAP(VARCHAR, DOUBLE), from the text of each label. ``transform`` is
DOUBLE[].

``ML.EXPLAIN_PREDICT`` and others are queries over ``predict_attributions``, ``feature_importance`` and
``partial_dependence``, ``ML.DETECT_ANOMALIES`` over ``detect_anomalies``, ``ML.CENTROIDS`` over ``centroids``,
``ML.PRINCIPAL_COMPONENTS`` over ``principal_components``, ``ML.NEIGHBORS`` over ``neighbors``. ``add_rows`` adds
rows to a model that keeps some.
"""

from __future__ import annotations

import atexit
import itertools
import threading
import warnings
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import duckdb

from dbml.errors import DbmlWarning, RegistryError
from dbml.passes.memory import memory_limited, parse_memory
from dbml.registry.database import current_place

# The functions of one database are seen by all connections to it in this process, and belong to the one that made
# them first; when that one closes, another one makes them again.
_registered: list[Functions] = []
_lock = threading.RLock()

# DuckDB does not hold the Python functions that it calls, and a connection can be closed behind our back: they are kept
# for the life of the process.
_kept: list[Callable[..., Any]] = []

_BY_FEATURE = 'feature VARCHAR, numerical_value DOUBLE, categorical_value STRUCT(category VARCHAR, "value" DOUBLE)[]'

TYPES = {
    "predict": "DOUBLE",
    "predict_label": "VARCHAR",
    "predict_proba": "MAP(VARCHAR, DOUBLE)",
    "transform": "DOUBLE[]",
    "predict_attributions": "STRUCT(baseline DOUBLE, prediction DOUBLE, attributions DOUBLE[])[]",
    "feature_importance": (
        "STRUCT(feature VARCHAR, importance_weight BIGINT, importance_gain DOUBLE, importance_cover DOUBLE)[]"
    ),
    "partial_dependence": "STRUCT(number DOUBLE, category VARCHAR, predictions DOUBLE[])[]",
    "tree_nodes": (
        "STRUCT(tree INTEGER, class_label VARCHAR, node INTEGER, parent INTEGER, depth INTEGER, is_leaf BOOLEAN, "
        "feature VARCHAR, operator VARCHAR, threshold DOUBLE, categories VARCHAR[], missing VARCHAR, gain DOUBLE, "
        "rows DOUBLE, value DOUBLE, class_values DOUBLE[])[]"
    ),
    "factor_keys": "VARCHAR[]",
    "factor_weights": (
        "STRUCT(processed_input VARCHAR, feature VARCHAR, factor_weights STRUCT(factor INTEGER, weight DOUBLE)[], "
        "intercept DOUBLE)[]"
    ),
    "item_rank": "DOUBLE",
    "detect_anomalies": "STRUCT(is_anomaly BOOLEAN, anomaly_score DOUBLE)",
    "centroids": f"STRUCT(centroid_id INTEGER, {_BY_FEATURE})[]",
    "centroid_distances": "DOUBLE[][]",
    "principal_components": f"STRUCT(principal_component_id INTEGER, {_BY_FEATURE})[]",
    "principal_component_info": (
        "STRUCT(principal_component_id INTEGER, eigenvalue DOUBLE, explained_variance_ratio DOUBLE, "
        "cumulative_explained_variance_ratio DOUBLE)[]"
    ),
    "neighbors": "STRUCT(position BIGINT, distance DOUBLE)[]",
    "add_rows": "BIGINT",
    "train_model": "STRUCT(model VARCHAR, version INTEGER, rows BIGINT, seconds DOUBLE, metrics MAP(VARCHAR, DOUBLE))",
}

_CHANGING = ("train_model", "add_rows")


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
        self._wanted: dict[str, tuple[Callable[..., Any], str, bool]] = {}
        self._made: set[str] = set()
        self._cursors = threading.local()
        self._computed: dict[str, Callable[..., Any]] = {}

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
            try:
                found = self._owner.cursor() if self._owner is not None else None
            except duckdb.ConnectionException:
                found = None
            if found is None:
                raise RegistryError(
                    "the connection that registered dbml's functions was closed: register them on an open one"
                )
            found.execute(f'USE "{self._database.replace(chr(34), chr(34) * 2)}"')
            found.execute("SET enable_progress_bar = false")
            self._cursors.cursor = found
        return found

    def computed(self, name: str) -> Callable[..., Any]:
        """Return what computes a function of ours; loaded when one is first called, as most connections call none."""
        if name not in self._computed:
            from dbml.registry.sql_functions import make_functions

            with _lock:
                if name not in self._computed:
                    self._computed.update(make_functions(self))
        return self._computed[name]

    def add(self, name: str, function: Callable[..., Any], type: str, side_effects: bool = False) -> None:
        """Want a function, see `make`."""
        limited = self._limited(function)
        self._wanted[name] = limited, type, side_effects
        _kept.append(limited)

    def _limited(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that computes within the limit: DuckDB calls it on threads where none was chosen."""

        def within_limit(*arguments: Any) -> Any:
            with nullcontext() if self.memory_limit is None else memory_limited(self.memory_limit):
                return function(*arguments)

        return within_limit

    def make(self) -> list[str]:
        """Make the functions that are wanted and not made; return the names that are taken already."""
        taken = []
        for name, (function, type, side_effects) in self._wanted.items():
            if self._owner is None or name in self._made:
                continue
            try:
                self._owner.create_function(  # type: ignore[call-overload]
                    name, function, None, type, type="arrow", null_handling="special", side_effects=side_effects
                )
            except (duckdb.CatalogException, duckdb.NotImplementedException) as error:
                if "already" not in str(error):
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
        owner.close()


def register(
    con: duckdb.DuckDBPyConnection, memory_limit: int | float | str | None = None
) -> duckdb.DuckDBPyConnection:
    """Make the functions of `TYPES` (`predict`, `train_model`, …) known to a plain DuckDB connection.

    All connections to the same database in this process see them. `dbml.connect` and `dbml.attach` do this by
    themselves. Functions of the same names that the person has made stay as they are, with a warning.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The connection.
    memory_limit : int (bytes) or str, optional
        What the functions compute within, as in `dbml.connect`; None: the limit of the process. That of the connection
        that made the functions holds for all connections to its database.

    Returns
    -------
    con

    Raises
    ------
    InvalidParameter
        `memory_limit` is no size.
    """
    limit = None if memory_limit is None else parse_memory(memory_limit)
    with _lock:
        if any(functions.belongs_to(con) for functions in _registered):
            return con
        functions = Functions(con, limit)
        for name, type in TYPES.items():
            functions.add(name, _when_called(functions, name), type, side_effects=name in _CHANGING)
        taken = functions.make()
        _registered.append(functions)
    if 0 < len(taken) < len(TYPES):  # all of them: another connection to the same database made them
        warnings.warn(
            f"the connection has functions named {', '.join(taken)} already: dbml's are not registered; "
            "FROM ML.PREDICT(…) and ml.predict_<model>(…) work without them",
            DbmlWarning,
            stacklevel=2,
        )
    return con


def _when_called(functions: Functions, name: str) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        return functions.computed(name)(*arguments)

    return function


def unregister(con: duckdb.DuckDBPyConnection) -> None:
    """Take dbml's functions away from a connection; other connections to its database keep them."""
    with _lock:
        for functions in [found for found in _registered if found.belongs_to(con)]:
            functions.remove()
            _registered.remove(functions)
        for functions in _registered:
            functions.make()


_numbers = itertools.count(1)


def typed_function(con: duckdb.DuckDBPyConnection, function: Callable[..., Any], type: str) -> str:
    """Make a function with a name of its own and return the name; for models that native SQL cannot hold."""
    register(con)
    with _lock:
        functions = next(found for found in _registered if found.belongs_to(con))
        name = f"dbml_function_{next(_numbers)}"
        functions.add(name, function, type)
        functions.make()
    return name


@atexit.register
def _remove_all() -> None:
    # A connection that is open with functions when Python ends makes DuckDB print "leaked" lines.
    with _lock:
        for functions in _registered:
            functions.remove()
