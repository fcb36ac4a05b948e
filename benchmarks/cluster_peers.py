"""The peers that find clusters: fetch to NumPy, fit in memory.

`params`: ``library`` ("sklearn" or "sklearnex"), ``estimator`` of its ``module`` ("cluster" or "mixture"), ``order`` of
the array, ``fetch`` (see `benchmarks.fetching`) and ``settings``.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch, stream
from benchmarks.jobs import Job, Outcome


def fit(job: Job) -> Outcome:
    """Fetch the table, fit the estimator."""
    X, _ = fetch(job, job.params["order"])
    module = importlib.import_module(f"{job.params['library']}.{job.params['module']}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(module, job.params["estimator"])(**job.params["settings"]).fit(X)
    notes = {"n_iter_": float(model.n_iter_)}
    if job.params["module"] == "cluster":
        return Outcome(np.asarray(model.cluster_centers_, dtype=np.float64), notes=notes)
    return Outcome(predict=lambda table: densities(model, job, table), notes=notes)


def densities(model: Any, job: Job, table: str) -> NDArray[np.float64]:
    """Return the log density of the rows of a table by a fitted mixture of scikit-learn."""
    X, _ = stream(replace(job, table=table), "C")
    return np.concatenate([model.score_samples(X[start : start + 50_000]) for start in range(0, len(X), 50_000)])
