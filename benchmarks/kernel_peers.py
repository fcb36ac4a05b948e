"""Kernel machines: dbml's from the table, scikit-learn's over rows fetched to NumPy.

`params`: ``settings`` of SVC; ``fetch`` of the peer (see `benchmarks.fetching`); ``rows`` to train on, 0 for all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch, stream
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes


def _rows(job: Job) -> str:
    limit = f" LIMIT {job.params['rows']}" if job.params.get("rows") else ""
    return f"SELECT * FROM {quoted(job.table)}{limit}"


def ours(job: Job) -> Outcome:
    """Fit dbml's SVC to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = dbml.SVC(**job.params["settings"]).fit(con.sql(_rows(job)), y=job.target)

    def predict(table: str) -> NDArray[np.float64]:
        return model.decision_function(stream(replace(job, table=table), "F")[0])

    return Outcome(predict=predict, notes=plan_notes(model))


def sklearn(job: Job) -> Outcome:
    """Fetch, and fit scikit-learn's SVC."""
    from sklearn.svm import SVC

    X, y = fetch(job, "C")
    if job.params.get("rows"):
        X, y = X[: job.params["rows"]], y[: job.params["rows"]]
    model = SVC(**job.params["settings"]).fit(X, y)
    return Outcome(predict=lambda table: model.decision_function(stream(replace(job, table=table), "C")[0]))
