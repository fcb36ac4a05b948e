"""The peers that find clusters: fetch to NumPy, fit in memory.

`params`: ``library`` ("sklearn" or "sklearnex"), ``estimator`` of its ``module`` ("cluster" or "mixture"), ``order`` of
the array, ``fetch`` (see `benchmarks.fetching`), ``seeds`` (how many) and ``settings``.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch, stream
from benchmarks.jobs import Job, Outcome


def fit(job: Job) -> Outcome:
    """Fetch the table, fit the estimator, for each seed; the seconds are their mean."""
    module = importlib.import_module(f"{job.params['library']}.{job.params['module']}")
    kind = getattr(module, job.params["estimator"])
    models, started = [], time.perf_counter()
    for seed in range(job.params["seeds"]):
        X, _ = fetch(job, job.params["order"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models.append(kind(random_state=seed, **job.params["settings"]).fit(X))
        del X
    return of_seeds(models, time.perf_counter() - started, lambda table: densities(models[0], job, table))


def of_seeds(models: list[Any], seconds: float, predict: Callable[[str], NDArray[np.float64]]) -> Outcome:
    """Return the outcome of models of several seeds: mean seconds, centroids of all, densities of the first."""
    notes = {"n_iter_": [float(model.n_iter_) for model in models]}
    each = seconds / len(models)
    if hasattr(models[0], "cluster_centers_"):
        return Outcome(np.array([model.cluster_centers_ for model in models], float), seconds=each, notes=notes)
    return Outcome(predict=predict, seconds=each, notes=notes)


def densities(model: Any, job: Job, table: str) -> NDArray[np.float64]:
    """Return the log density of the rows of a table by a fitted mixture of scikit-learn."""
    X, _ = stream(replace(job, table=table), "C")
    return np.concatenate([model.score_samples(X[start : start + 50_000]) for start in range(0, len(X), 50_000)])
