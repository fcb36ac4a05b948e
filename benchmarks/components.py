"""Principal components: dbml's from the table, scikit-learn's from an array that is fetched first.

`params`: ``settings`` of the estimator; of the peers also ``order`` of the array and ``fetch``: "fetchnumpy", as people
write it, or "stream", batches into an array of its final size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.floors import BATCH_ROWS, connection
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.ours import open_dbml, plan_notes


def dbml_pca(job: Job) -> Outcome:
    """Fit our `PCA` to the table."""
    import dbml

    con = open_dbml(job.database, job.memory_limit)
    model = dbml.PCA(**job.params["settings"])
    model.fit(con.sql(f"SELECT {job.columns_sql} FROM {quoted(job.table)}"))
    explained = float(model.explained_variance_ratio_.sum())
    return Outcome(model.components_, notes={**plan_notes(model), "explained": explained})


def sklearn_pca(job: Job) -> Outcome:
    """Fetch the columns, fit scikit-learn's `PCA`."""
    from sklearn.decomposition import PCA

    settings: dict[str, Any] = job.params["settings"]
    model = PCA(**settings, copy=False).fit(matrix(job, job.params["order"]))
    return Outcome(model.components_, notes={"explained": float(model.explained_variance_ratio_.sum())})


def sklearn_incremental(job: Job) -> Outcome:
    """Loop over DuckDB batches with scikit-learn's `IncrementalPCA`: its way out of memory."""
    from sklearn.decomposition import IncrementalPCA

    model = IncrementalPCA(job.params["settings"]["n_components"])
    for batch in connection(job).sql(_query(job)).to_arrow_reader(BATCH_ROWS):
        model.partial_fit(np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns]))
    return Outcome(model.components_, notes={"explained": float(model.explained_variance_ratio_.sum())})


def matrix(job: Job, order: str) -> NDArray[np.float64]:
    """Return the feature columns as one array, fetched in the way that the job names."""
    con = connection(job)
    if job.params["fetch"] == "fetchnumpy":
        columns = con.sql(_query(job)).fetchnumpy()
        return np.asarray(np.column_stack([columns[name] for name in job.features]), dtype=np.float64, order=order)
    n = con.execute(f"SELECT count(*) FROM {quoted(job.table)}").fetchall()[0][0]
    X, end = np.empty((n, len(job.features)), order=order), 0
    for batch in con.sql(_query(job)).to_arrow_reader(BATCH_ROWS):
        start, end = end, end + batch.num_rows
        for j, column in enumerate(batch.columns):
            X[start:end, j] = column.to_numpy(zero_copy_only=False)
    return X


def _query(job: Job) -> str:
    return f"SELECT {job.columns_sql} FROM {quoted(job.table)}"
