"""dbml's factorizations, from the table.

`params`: ``estimator`` and ``settings``; of ratings the columns are ``userId``, ``movieId``, ``rating``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes

KEYS = {"user_col": "userId", "item_col": "movieId"}


def atoms(job: Job) -> Outcome:
    """Learn atoms from the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    rows = con.sql(f"SELECT {job.columns_sql} FROM {quoted(job.table)}")
    model = getattr(dbml, job.params["estimator"])(**job.params["settings"]).fit(rows)
    return Outcome(model.components_, notes={**plan_notes(model), "n_iter": model.n_iter_})


def ratings(job: Job) -> Outcome:
    """Factorize the ratings of the table."""
    con = open_dbml(job.database, job.memory_limit)
    model = _fitted(con, job)

    def predict(table: str) -> NDArray[np.float64]:
        rows = model.predict(con.table(table))
        return rows.project("predicted_rating").fetchnumpy()["predicted_rating"]

    return Outcome(predict=predict, notes={**plan_notes(model), "n_iter": model.n_iter_})


def recommendations(job: Job) -> Outcome:
    """Factorize what users have seen in the table; predict ten items for each user of another, unseen ones only."""
    con = open_dbml(job.database, job.memory_limit)
    model = _fitted(con, job)

    def predict(table: str) -> NDArray[np.int64]:
        users = con.sql(f"SELECT DISTINCT userId FROM {quoted(table)} ORDER BY userId").fetchnumpy()["userId"]
        seen = con.sql(f"SELECT userId, movieId FROM {quoted(job.table)}").fetchnumpy()
        return model.recommend(users, 10, exclude=(seen["userId"], seen["movieId"]))[0]

    return Outcome(predict=predict, notes={**plan_notes(model), "n_iter": model.n_iter_})


def _fitted(con: Any, job: Job) -> Any:
    import dbml

    model = dbml.MatrixFactorization(**KEYS, **job.params["settings"])
    return model.fit(con.sql(f"SELECT userId, movieId, rating FROM {quoted(job.table)}"), y="rating")
