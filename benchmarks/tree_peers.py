"""The peers that grow trees: fetch, make their own data set, train; the clock counts all of it.

`params`: ``fetch`` ("arrow", or see `benchmarks.fetching`), ``settings`` of the library, ``rounds`` of boosting.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch, stream
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome
from benchmarks.quality import log_odds

Decide = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _fetched(job: Job) -> tuple[Any, Any]:
    if job.params["fetch"] != "arrow":
        return fetch(job, "C")
    table = connection(job).sql(job.select_sql).to_arrow_table()
    return table.select(list(job.features)), table.column(job.target)


def _judged_by(job: Job, decide: Decide) -> Outcome:
    return Outcome(predict=lambda table: decide(stream(replace(job, table=table), "C")[0]))


def lightgbm(job: Job) -> Outcome:
    """Train LightGBM."""
    import lightgbm as lgb

    X, y = _fetched(job)
    booster = lgb.train(job.params["settings"], lgb.Dataset(X, y), job.params["rounds"])
    return _judged_by(job, lambda rows: booster.predict(rows, raw_score=True))


def xgboost(job: Job) -> Outcome:
    """Train XGBoost on its quantile matrix."""
    import xgboost as xgb

    X, y = _fetched(job)
    settings = job.params["settings"]
    data = xgb.QuantileDMatrix(X, y, max_bin=settings["max_bin"], nthread=settings["nthread"])
    booster = xgb.train(settings, data, job.params["rounds"])

    def decide(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        found = booster.predict(xgb.DMatrix(rows), output_margin=True, validate_features=False)
        return found.astype(np.float64)

    return _judged_by(job, decide)


def ensemble(job: Job) -> Outcome:
    """Train a classifier of ``<library>.ensemble``."""
    X, y = fetch(job, job.params["order"])
    kind = getattr(importlib.import_module(f"{job.params['library']}.ensemble"), job.params["estimator"])
    model = kind(**job.params["settings"]).fit(X, y)
    return _judged_by(job, lambda rows: log_odds(model.predict_proba(rows)[:, 1]))
