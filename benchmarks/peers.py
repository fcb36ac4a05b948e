"""The peers: fetch to NumPy and fit in memory, each with the solver and layout that were fastest for it.

`params`: ``library`` ("sklearn" or "sklearnex"), ``estimator``, ``order`` of the array ("F" or "C"), ``fetch`` (see
`benchmarks.fetching`) and ``settings`` of the estimator.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from benchmarks.fetching import batches, fetch, sparse
from benchmarks.jobs import Job, Outcome


def estimator_class(job: Job) -> type[Any]:
    """Return the class: scikit-learn's, or its replacement from scikit-learn-intelex."""
    return getattr(importlib.import_module(f"{job.params['library']}.linear_model"), job.params["estimator"])


def fitted(model: Any) -> Outcome:
    """Return the linear model of a fitted estimator."""
    notes = {name: float(np.max(getattr(model, name))) for name in ("n_iter_", "alpha_") if _has(model, name)}
    return Outcome(np.ravel(model.coef_).astype(np.float64), float(np.ravel(model.intercept_)[0]), notes=notes)


def _has(model: Any, name: str) -> bool:
    return getattr(model, name, None) is not None


def in_memory(job: Job) -> Outcome:
    """Fetch the table, fit the estimator."""
    X, y = fetch(job, job.params["order"])
    return fitted(estimator_class(job)(**job.params["settings"]).fit(X, y))


def linear_svc(job: Job) -> Outcome:
    """Fetch the table, fit `LinearSVC` in the primal."""
    from sklearn.svm import LinearSVC

    X, y = fetch(job, job.params["order"])
    return fitted(LinearSVC(**job.params["settings"]).fit(X, y))


def sparse_lasso(job: Job) -> Outcome:
    """Fetch the lists as a sparse matrix, fit `Lasso`."""
    X, y = sparse(job)
    return fitted(estimator_class(job)(**job.params["settings"]).fit(X, y))


def ridge_grid(job: Job) -> Outcome:
    """Fetch the table, cross-validate `Ridge` over the alphas on both cores, refit with the best."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    X, y = fetch(job, job.params["order"])
    search = GridSearchCV(Ridge(solver="cholesky"), {"alpha": job.params["alphas"]}, cv=5, n_jobs=2)
    best = search.fit(X, y).best_estimator_
    return Outcome(np.ravel(best.coef_), float(best.intercept_), notes={"alpha": best.alpha})


def partial_fit(job: Job) -> Outcome:
    """Loop over DuckDB batches with `partial_fit`: one pass to learn the scales, then `epochs` passes of SGD."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for columns, _ in batches(job, 65_536):
        scaler.partial_fit(np.column_stack(columns))
    model = estimator_class(job)(**job.params["settings"])
    extra = {"classes": np.array([0, 1])} if job.params["estimator"] == "SGDClassifier" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(job.params["epochs"]):
            for columns, y in batches(job, 65_536):
                model.partial_fit(scaler.transform(np.column_stack(columns)), y, **extra)
    coef = np.ravel(model.coef_) / scaler.scale_
    return Outcome(coef, float(model.intercept_[0] - coef @ scaler.mean_))
