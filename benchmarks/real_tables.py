"""Boosting on real tables, over seeds: the same rows, trees and bins for dbml and LightGBM.

`params`: ``seeds``, how many. A seed splits the rows by a hash, in SQL: four of five train, the others judge. The table
"" stands for all tables. Notes: ``seeds``, for each table the metric and its figure for each seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import REAL_TABLES
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.our_trees import probability
from benchmarks.ours import open_dbml
from benchmarks.quality import area

ROUNDS, LEAVES, RATE, THREADS = 100, 31, 0.1, 2
METRICS = {name: "rmse" if name in ("diamonds", "bike_hour") else "auc" for name in REAL_TABLES}

Predicted = NDArray[np.float64]
Fit = Callable[[Job, str, int], Callable[[], Predicted]]


def held_out(seed: int) -> str:
    """Return the condition that chooses one row of five."""
    return f"hash(rowid * 1024 + {seed}) % 5 = 0"


def figure(metric: str, predicted: Predicted, y: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve, or the root of the mean squared error."""
    return area(predicted, y > 0.5) if metric == "auc" else float(np.sqrt(np.mean((predicted - y) ** 2)))


def _over_seeds(job: Job, fit: Fit) -> Outcome:
    con = connection(job)
    seconds, found = 0.0, {}
    for table in [job.table] if job.table else METRICS:
        figures = []
        for seed in range(job.params["seeds"]):
            started = time.perf_counter()
            predict = fit(job, table, seed)
            seconds += time.perf_counter() - started
            truth = con.sql(f"SELECT target FROM {table} WHERE {held_out(seed)}").fetchnumpy()["target"]
            figures.append(figure(METRICS[table], predict(), truth))
        found[table] = (METRICS[table], figures)
    return Outcome(seconds=seconds, notes={"seeds": found})


def dbml(job: Job) -> Outcome:
    """Train dbml on the rows of a query."""
    open_dbml(job.database, job.memory_limit)
    return _over_seeds(job, _dbml_fit)


def _dbml_fit(job: Job, table: str, seed: int) -> Callable[[], Predicted]:
    import dbml as ml

    con = open_dbml(job.database, job.memory_limit)
    classes = METRICS[table] == "auc"
    kind = ml.HistGradientBoostingClassifier if classes else ml.HistGradientBoostingRegressor
    model = kind(
        max_iter=ROUNDS, max_leaf_nodes=LEAVES, learning_rate=RATE, early_stopping=False, random_state=seed
    ).fit(con.sql(f"SELECT * FROM {table} WHERE NOT ({held_out(seed)})"), y=job.target)

    def predict() -> Predicted:
        rows = con.sql(f"SELECT * FROM {table} WHERE {held_out(seed)}")
        return probability(model, rows, job.target) if classes else _numbers(model, rows, job.target)

    return predict


def _numbers(model: Any, rows: Any, target: str) -> Predicted:
    name = f"predicted_{target}"
    return model.predict(rows).project(quoted(name)).fetchnumpy()[name]


def lightgbm(job: Job) -> Outcome:
    """Train LightGBM on a DataFrame whose texts are categoricals, levels of the held-out rows included."""
    return _over_seeds(job, _lightgbm_fit)


def _lightgbm_fit(job: Job, table: str, seed: int) -> Callable[[], Predicted]:
    import lightgbm as lgb
    from pandas.api.types import is_numeric_dtype

    frame = connection(job).sql(f"SELECT *, {held_out(seed)} AS held_out FROM {table}").df()
    held, y = frame.pop("held_out").to_numpy(), frame.pop(job.target).to_numpy()
    for name, kind in frame.dtypes.items():
        # Whole numbers with NULL arrive as Int64: numbers too.
        frame[name] = frame[name].astype("float64" if is_numeric_dtype(kind) else "category")
    settings = {
        "objective": "binary" if METRICS[table] == "auc" else "regression",
        "num_leaves": LEAVES,
        "learning_rate": RATE,
        "seed": seed,
        "num_threads": THREADS,
        "verbose": -1,
    }
    booster = lgb.train(settings, lgb.Dataset(frame[~held], y[~held]), ROUNDS)
    return lambda: booster.predict(frame[held])
