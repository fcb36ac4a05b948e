"""dbml's clusters, from the table.

`params`: ``estimator``, ``seeds`` (how many) and ``settings``.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.cluster_peers import of_seeds
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes


def fit(job: Job) -> Outcome:
    """Fit a model without a target to the table, for each seed; the seconds are their mean."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    kind = getattr(dbml, job.params["estimator"])
    models, started = [], time.perf_counter()
    for seed in range(job.params["seeds"]):
        rows = con.sql(f"SELECT {job.columns_sql} FROM {quoted(job.table)}")
        models.append(kind(random_state=seed, **job.params["settings"]).fit(rows))
    seconds = time.perf_counter() - started

    def predict(table: str) -> NDArray[np.float64]:
        return models[0].score_samples(con.sql(f"SELECT {job.columns_sql} FROM {quoted(table)}").to_arrow_table())

    outcome = of_seeds(models, seconds, predict)
    outcome.notes |= plan_notes(models[0])
    return outcome
