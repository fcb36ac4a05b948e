"""Loaded models, kept by version; what a name means is looked up again when a registry may have changed."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import duckdb

from dbml.errors import UnknownName
from dbml.estimators.base import Estimator
from dbml.registry.freshness import change_number
from dbml.registry.reading import first_row
from dbml.registry.store import load_version
from dbml.registry.versions import Version, dropped, find_version

T = TypeVar("T")

# Changes made through dbml in this process are seen at once. Those that plain SQL made to the tables of schema ml are
# seen after this time: asking at every call of 2,048 rows would cost as much as scoring them.
_RECHECK_SECONDS = 0.05
_MOST_MODELS = 64


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    kept: T
    change: int
    looked_up: float


class ModelCache(Generic[T]):
    """What `prepare` makes of a loaded model, by reference. Any thread may ask.

    Parameters
    ----------
    prepare : callable
        From a version and its fitted estimator to what is kept.
    """

    def __init__(self, prepare: Callable[[Version, Estimator], T]) -> None:
        self._prepare = prepare
        self._known: dict[str, _Known[T]] = {}
        self._kept: OrderedDict[tuple[Version, str], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, reference: str, connect: Callable[[], duckdb.DuckDBPyConnection]) -> T:
        """Return what is kept for the version that `reference` means now; `connect` is called only to look it up.

        Raises
        ------
        UnknownName
            No such model, version or alias.
        RegistryError
            The model is damaged or newer than this dbml.
        """
        known = self._known.get(reference)
        if known is None or known.change != change_number() or time.monotonic() - known.looked_up > _RECHECK_SECONDS:
            with self._lock:
                known = self._known[reference] = self._look_up(reference, connect())
        return known.kept

    def _look_up(self, reference: str, con: duckdb.DuckDBPyConnection) -> _Known[T]:
        change, now = change_number(), time.monotonic()
        found = _committed(con, reference)
        query = f"SELECT checksum FROM {found.place.schema}.model_versions WHERE model_id = ? AND version = ?"
        row = first_row(con.execute(query, [found.model_id, found.version]))
        if row is None:
            raise dropped(found)
        key = (found, row[0])
        if key not in self._kept:
            # On a cursor of its own: a model that keeps rows reads them through it, on any thread, while this thread
            # looks up names on the other.
            self._kept[key] = self._prepare(found, load_version(con.cursor(), found))
            if len(self._kept) > _MOST_MODELS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return _Known(self._kept[key], change, now)


def _committed(con: duckdb.DuckDBPyConnection, reference: str) -> Version:
    try:
        return find_version(con, reference)
    except UnknownName as error:
        # Statements name the version that they found, in a transaction that functions take no part in.
        if not reference.rpartition("@")[2].isdecimal():
            raise
        raise UnknownName(f"{error}; one made in an open transaction can be called after COMMIT") from error
