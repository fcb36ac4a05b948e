"""dbml's side: the same table, read where it lies.

`params`: ``estimator``, ``settings``, and ``options`` of the encoding where a row needs some.
"""

from __future__ import annotations

import functools
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.floors import open_database, share
from benchmarks.jobs import Job, Outcome, quoted


@functools.cache
def open_dbml(database: str, memory_limit: str) -> Any:
    """Return the open dbml connection of a process, read-only."""
    import dbml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the note that a read-only file keeps its models in memory
        con = dbml.connect(database, memory_limit=memory_limit, read_only=True)
    share(database, con.duckdb.cursor())
    return con


def fit(job: Job) -> Outcome:
    """Fit an estimator to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"])
    model.fit(con.table(job.table), y=job.target)
    return _outcome(job, model, con)


def _outcome(job: Job, model: Any, con: Any) -> Outcome:
    coef = np.ravel(model.coef_).astype(np.float64)
    notes = plan_notes(model)
    for name in ("n_iter_", "alpha_"):
        if getattr(model, name, None) is not None:
            notes[name] = float(np.max(getattr(model, name)))
    predict = None
    if len(coef) != len(job.features):

        def predict(table: str) -> np.ndarray:
            columns = con.sql(f"SELECT {job.columns_sql} FROM {quoted(table)}")
            scored = model.predict(columns)
            return scored.fetchnumpy()[f"predicted_{job.target}"]

    return Outcome(coef, float(np.ravel(model.intercept_)[0]), predict=predict, notes=notes)


def plan_notes(model: Any) -> dict[str, Any]:
    """Return what the plan says of the passes: number, columns, rows, seconds, and the seconds of each."""
    passes = model.explain().passes
    return {
        "passes": len(passes),
        "columns_scanned": max((p.columns for p in passes), default=0),
        "cells_scanned": sum(p.columns * max(p.rows, 0) for p in passes),
        "pass_list": [f"{p.purpose} [{p.order}] {p.rows} rows {p.columns} columns {p.seconds:.3f} s" for p in passes],
        "decisions": [f"{d.subject}: {d.choice} ({d.reason})" for d in model.explain().decisions],
    }


def sgd(job: Job) -> Outcome:
    """Fit SGD for a fixed number of epochs and report the seconds of one."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    started = time.perf_counter()
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"])
    model.fit(con.table(job.table), y=job.target)
    seconds = time.perf_counter() - started
    outcome = _outcome(job, model, con)
    epochs = job.params["settings"]["max_iter"]
    longest = sorted((p.seconds for p in model.explain().passes), reverse=True)[:epochs]
    outcome.notes["epoch_seconds"] = float(np.median(longest)) if len(longest) == epochs else seconds / epochs
    return outcome


def first_fit(job: Job) -> Outcome:
    """Fit in a process whose numba cache is empty; imports count."""
    started = time.perf_counter()
    outcome = fit(job)
    outcome.seconds = time.perf_counter() - started
    return outcome


def models_file(job: Job) -> Path:
    return Path(job.database).with_name(f"models_{Path(job.database).name}")


def train_for_scoring(job: Job) -> Outcome:
    """Fit least squares to the small table and save it as `m` in a database of its own."""
    import dbml

    path = models_file(job)
    path.unlink(missing_ok=True)
    con = dbml.connect(str(path))
    con.execute(f"ATTACH '{job.database}' AS bench (READ_ONLY)")
    columns = f"SELECT {job.columns_sql}, {quoted(job.target)} FROM bench.warm"
    con.save_model("m", dbml.LinearRegression().fit(con.sql(columns), y=job.target))
    con.close()
    return Outcome()


@functools.cache
def _plain_scoring_connection(models: str, database: str, memory_limit: str) -> Any:
    con = open_database(models, memory_limit).cursor()
    con.execute(f"ATTACH '{database}' AS bench (READ_ONLY)")
    return con


def native_sql(job: Job) -> Outcome:
    """Sum the scores of the persisted macro of a ``model`` ("m") on a DuckDB connection that knows no dbml."""
    con = _plain_scoring_connection(str(models_file(job)), job.database, job.memory_limit)
    started = time.perf_counter()
    macro = f"ml.predict_{job.params.get('model', 'm')}"
    con.execute(f"SELECT sum({macro}({job.columns_sql})) FROM bench.{quoted(job.table)}").fetchall()
    return Outcome(seconds=time.perf_counter() - started)


@functools.cache
def attached_scoring_connection(models: str, database: str, memory_limit: str) -> Any:
    import dbml

    plain = _plain_scoring_connection(models, database, memory_limit)
    dbml.attach(plain)
    return plain


def udf(job: Job) -> Outcome:
    """Sum `predict` for a ``model`` ("m"), called as a vectorised UDF, on the plain connection under dbml's."""
    con = attached_scoring_connection(str(models_file(job)), job.database, job.memory_limit)
    started = time.perf_counter()
    call = f"predict('{job.params.get('model', 'm')}', {job.columns_sql})"
    con.execute(f"SELECT sum({call}) FROM bench.{quoted(job.table)}").fetchall()
    return Outcome(seconds=time.perf_counter() - started)
