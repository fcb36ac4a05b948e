"""dbml's trees, from the table.

`params`: ``estimator`` and ``settings``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes
from benchmarks.quality import log_odds


def fit(job: Job) -> Outcome:
    """Fit a classifier of trees to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"])
    model.fit(con.table(job.table), y=job.target)
    notes = plan_notes(model)
    rows = con.execute(f"SELECT count(*) FROM {quoted(job.table)}").fetchall()[0][0]
    notes |= {"rows": rows, "columns": len(job.features)}
    notes["spilled"] = int(any("derived blocks" in d and "spilled" in d for d in notes["decisions"]))

    def predict(table: str) -> NDArray[np.float64]:
        return log_odds(probability(model, con.sql(f"SELECT {job.columns_sql} FROM {quoted(table)}"), job.target))

    return Outcome(predict=predict, notes=notes)


def probability(model: Any, rows: Any, target: str) -> NDArray[np.float64]:
    """Return the probability of the second class of the rows of a relation."""
    scored = model.predict_proba(rows).project(f"{quoted(f'predicted_{target}_probs')}[2].prob AS p")
    return scored.fetchnumpy()["p"]
