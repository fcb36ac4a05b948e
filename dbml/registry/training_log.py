"""Training runs and their iterations in schema ``ml``, readable while they are written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import duckdb
from dbml_sql.statements import ModelReference

from dbml.estimators.base import Estimator
from dbml.passes.progress import Listener
from dbml.registry.database import Place, prepare_place, writable_place
from dbml.registry.transaction import commit, in_transaction

_FLUSH_SECONDS = 0.25
_COLUMNS = ("loss", "eval_loss", "learning_rate")

# Runs that this process is in the middle of, by database: a run "running" that is not here has died.
_alive: dict[str, set[int]] = {}
_lock = threading.Lock()


class TrainingLog(Listener):
    """Writes the iterations of one run on a connection of its own, so that others read them while it trains.

    Attributes
    ----------
    run_id : int
        Its row in ``ml.training_runs``.
    was_interrupted : bool
        Whether the training was interrupted and kept its best model.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, place: Place, run_id: int) -> None:
        self.run_id, self.was_interrupted = run_id, False
        self._con, self._place = con, place
        self._pending: list[tuple[Any, ...]] = []
        self._last = self._flushed = time.monotonic()

    def iteration(self, number: int, **values: float) -> None:
        """Take a step of the solver; steps are written a few times a second."""
        now = time.monotonic()
        known = [values.get(name) for name in _COLUMNS]
        self._pending.append((self.run_id, number, *known, round((now - self._last) * 1000)))
        self._last = now
        if now - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def interrupted(self) -> None:
        """Remember it for the status of the run."""
        self.was_interrupted = True

    def flush(self) -> None:
        """Write the iterations that wait."""
        rows, self._pending = self._pending, []
        self._flushed = time.monotonic()
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            types = ("INTEGER", "INTEGER", "DOUBLE", "DOUBLE", "DOUBLE", "BIGINT")
            values = ", ".join(f"unnest(?::{type}[])" for type in types)
            self._con.execute(f"INSERT INTO {self._place.schema}.training_iterations SELECT {values}", columns)

    def finish(
        self, status: str, version: int | None = None, n_rows: int | None = None, error: str | None = None
    ) -> None:
        """Write the end of the run: succeeded, interrupted or failed."""
        self.flush()
        self._con.execute(
            f"UPDATE {self._place.schema}.training_runs "
            "SET status = ?, version = ?, n_rows = ?, error = ?, ended_at = ? WHERE run_id = ?",
            [status, version, n_rows, error, _now(), self.run_id],
        )


@contextmanager
def training_log(
    con: duckdb.DuckDBPyConnection, model: ModelReference, estimator: Estimator, query: str | None
) -> Iterator[TrainingLog | None]:
    """Open the log of a training on a cursor of its own, in autocommit; an exception ends the run as failed.

    Inside the user's own open transaction there is no log (None): the registry may not be visible to others yet, and
    what is written aside would stay when the user rolls back.
    """
    prepare_place(con, model.database)
    if in_transaction(con):
        yield None
        return
    cannot = f"training of '{model}' cannot start"
    place = commit(con, cannot, lambda: writable_place(con, model.database))
    with con.cursor() as own:
        own.execute("SET enable_progress_bar = false")
        run_id = commit(own, cannot, lambda: _begin(own, place, model.name, estimator, query))
        log = TrainingLog(own, place, run_id)
        try:
            yield log
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            log.finish(status, error=f"{type(error).__name__}: {error}")
            raise
        finally:
            with _lock:
                _alive[place.database].discard(run_id)


def _begin(own: duckdb.DuckDBPyConnection, place: Place, name: str, estimator: Estimator, query: str | None) -> int:
    """Insert the row of a run; runs that a killed process left behind are marked."""
    table = f"{place.schema}.training_runs"
    with _lock:
        alive = _alive.setdefault(place.database, set())
        own.execute(
            f"UPDATE {table} SET status = 'interrupted', error = 'the process ended while it trained', ended_at = ? "
            "WHERE status = 'running' AND NOT list_contains(?::INTEGER[], run_id)",
            [_now(), sorted(alive)],
        )
        values = [name, type(estimator).__name__, json.dumps(estimator.get_params(), default=str), query, _now()]
        inserted = own.execute(
            f"INSERT INTO {table} (run_id, model, type, params, query, status, started_at) "
            f"SELECT coalesce(max(run_id), 0) + 1, ?, ?, ?, ?, 'running', ? FROM {table} RETURNING run_id",
            values,
        )
        run_id = int(inserted.fetchall()[0][0])
        alive.add(run_id)
    return run_id


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
