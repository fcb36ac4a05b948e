"""Scoring with 100 trees: dbml in SQL, LightGBM from the database and on arrays that are in memory already.

`train` makes all models from the small table; every contender scores the whole one.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fetching import stream
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import attached_scoring_connection, models_file

TREES, LEAVES, DEPTH = 100, 31, 6
SETTINGS = {"objective": "binary", "learning_rate": 0.1, "num_threads": 2, "verbose": -1}


def booster_file(job: Job, leaves: int) -> Path:
    """Return where LightGBM's model of so many leaves a tree lies."""
    return models_file(job).with_name(f"{Path(job.database).stem}_{leaves}_leaves.txt")


def train(job: Job) -> Outcome:
    """Train `trees` (leaf-wise) and `symmetric` with dbml, and boosters of as many leaves with LightGBM."""
    import lightgbm as lgb

    import dbml

    path = models_file(job)
    path.unlink(missing_ok=True)
    con = dbml.connect(str(path))
    con.execute(f"ATTACH '{job.database}' AS bench (READ_ONLY)")
    rows = con.sql(f"SELECT {job.columns_sql}, {quoted(job.target)} FROM bench.warm")
    shapes = {
        "trees": {"max_leaf_nodes": LEAVES},
        "symmetric": {"max_leaf_nodes": 2**DEPTH, "max_depth": DEPTH, "grow_policy": "symmetric"},
    }
    for name, shape in shapes.items():
        model = dbml.HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, **shape)
        con.save_model(name, model.fit(rows, y=job.target))
    columns = rows.fetchnumpy()
    con.close()
    y = columns.pop(job.target)
    X = np.column_stack([columns[name] for name in job.features])
    for leaves in (LEAVES, 2**DEPTH):
        booster = lgb.train({**SETTINGS, "num_leaves": leaves}, lgb.Dataset(X, y), TREES)
        booster.save_model(str(booster_file(job, leaves)))
    return Outcome()


def _rows_sql(job: Job) -> str:
    return f"SELECT {job.columns_sql} FROM bench.{quoted(job.table)}"


def relation(job: Job) -> Outcome:
    """Sum the probabilities of the model in Python, applied to a relation."""
    con = attached_scoring_connection(str(models_file(job)), job.database, job.memory_limit)
    model = loaded(str(models_file(job)), job.database, job.memory_limit)
    started = time.perf_counter()
    scored = model.predict_proba(con.sql(_rows_sql(job)))
    scored.aggregate(f"sum({quoted(f'predicted_{job.target}_probs')}[2].prob)").fetchall()
    return Outcome(seconds=time.perf_counter() - started)


@functools.cache
def loaded(models: str, database: str, memory_limit: str) -> Any:
    """Return the model `trees`, loaded once a process; on the connection with dbml attached."""
    import dbml

    return dbml.attach(attached_scoring_connection(models, database, memory_limit)).load_model("trees")


def ml_predict(job: Job) -> Outcome:
    """Sum the probabilities of ``ML.PREDICT``."""
    import dbml

    con = dbml.attach(attached_scoring_connection(str(models_file(job)), job.database, job.memory_limit))
    value = f"{quoted(f'predicted_{job.target}_probs')}[2].prob"
    started = time.perf_counter()
    con.execute(f"SELECT sum({value}) FROM ML.PREDICT(MODEL trees, ({_rows_sql(job)}))").fetchall()
    return Outcome(seconds=time.perf_counter() - started)


@functools.cache
def booster(path: str) -> Any:
    """Return LightGBM's model, loaded once a process."""
    import lightgbm as lgb

    return lgb.Booster(model_file=path)


def lightgbm_from_database(job: Job) -> Outcome:
    """Fetch a DataFrame, let LightGBM predict, sum."""
    model = booster(str(booster_file(job, job.params["leaves"])))
    started = time.perf_counter()
    frame = connection(job).sql(f"SELECT {job.columns_sql} FROM {quoted(job.table)}").df()
    model.predict(frame, num_threads=2).sum()
    return Outcome(seconds=time.perf_counter() - started)


_arrays: dict[str, np.ndarray] = {}


def _in_memory(job: Job) -> np.ndarray:
    if job.table not in _arrays:
        _arrays[job.table] = stream(job, "C")[0]
    return _arrays[job.table]


def lightgbm_on_arrays(job: Job) -> Outcome:
    """Let LightGBM predict from an array that lies in memory; fetching it is not timed."""
    model, X = booster(str(booster_file(job, job.params["leaves"]))), _in_memory(job)
    started = time.perf_counter()
    model.predict(X, num_threads=2).sum()
    return Outcome(seconds=time.perf_counter() - started)
