"""dbml's naive Bayes, from the table.

`params`: ``estimator``, ``settings``, and ``options`` of the encoding where a row needs some.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.our_trees import probability
from benchmarks.ours import open_dbml, plan_notes
from benchmarks.quality import log_odds


def fit(job: Job) -> Outcome:
    """Fit a classifier to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"])
    model.fit(con.table(job.table), y=job.target, options=job.params.get("options"))

    def predict(table: str) -> NDArray[np.float64]:
        return log_odds(probability(model, con.sql(f"SELECT {job.columns_sql} FROM {quoted(table)}"), job.target))

    return Outcome(predict=predict, notes=plan_notes(model))
