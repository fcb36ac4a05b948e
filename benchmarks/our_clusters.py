"""dbml's clusters, from the table.

`params`: ``estimator`` and ``settings``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes


def fit(job: Job) -> Outcome:
    """Fit a model without a target to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"])
    model.fit(con.sql(f"SELECT {job.columns_sql} FROM {quoted(job.table)}"))
    notes = {**plan_notes(model), "n_iter_": float(model.n_iter_)}
    if hasattr(model, "cluster_centers_"):
        return Outcome(model.cluster_centers_, notes=notes)

    def predict(table: str) -> NDArray[np.float64]:
        reader = con.sql(f"SELECT {job.columns_sql} FROM {quoted(table)}").to_arrow_table()
        return model.score_samples(reader)

    return Outcome(predict=predict, notes=notes)
