"""How the peers get their arrays: the whole table as float64, and the target apart.

`fetchnumpy` is what people write. `stream` is the fastest and leanest way that we know, and no more than that. A peer
is timed with both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.floors import BATCH_ROWS, connection
from benchmarks.jobs import Job, quoted

Arrays = tuple[NDArray[np.float64], NDArray[np.float64]]


def fetchnumpy(job: Job, order: str) -> Arrays:
    """Fetch all columns, stack them to a matrix."""
    columns = connection(job).sql(job.select_sql).fetchnumpy()
    y = columns.pop(job.target).astype(np.float64)
    X = np.column_stack([columns[name] for name in job.features])
    return np.asarray(X, dtype=np.float64, order=order), y


def stream(job: Job, order: str) -> Arrays:
    """Count the rows, then copy Arrow batches into arrays of their final size: the least memory."""
    con = connection(job)
    n = con.execute(f"SELECT count(*) FROM {quoted(job.table)}").fetchall()[0][0]
    X, y = np.empty((n, len(job.features)), order=order), np.empty(n)
    end = 0
    for batch_x, batch_y in batches(job, BATCH_ROWS):
        start, end = end, end + len(batch_y)
        y[start:end] = batch_y
        for j, column in enumerate(batch_x):
            X[start:end, j] = column
    return X, y


def fetch(job: Job, order: str) -> Arrays:
    """Fetch in the way that the job's parameters name."""
    return {"fetchnumpy": fetchnumpy, "stream": stream}[job.params["fetch"]](job, order)


def batches(job: Job, rows: int) -> Iterator[tuple[list[Any], Any]]:
    """Yield the columns of the features and the target, batch by batch, without copies."""
    for batch in connection(job).sql(job.select_sql).to_arrow_reader(rows):
        *features, target = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        yield features, target


def sparse(job: Job) -> tuple[Any, NDArray[np.float64]]:
    """Fetch `idx` (1-based) and `val` lists as a SciPy CSC matrix, and the target."""
    from scipy.sparse import csr_array

    table = connection(job).sql(job.select_sql).to_arrow_table().combine_chunks()
    lists, values = (table.column(name).chunk(0) for name in job.features)
    indices = lists.flatten().to_numpy() - 1
    offsets = lists.offsets.to_numpy() - lists.offsets[0].as_py()
    matrix = csr_array((values.flatten().to_numpy().astype(np.float64), indices, offsets))
    return matrix.tocsc(), table.column(job.target).to_numpy()
