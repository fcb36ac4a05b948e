"""Who finds neighbours: scikit-learn's brute force, and models of dbml that were saved before."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome
from benchmarks.ours import models_file

K, WIDTH, CENTRES, QUERIES = 10, 32, 1_000, 1_000
RECALL = 0.95


def build(con: Any, rows: int) -> None:
    """Make a mixture of Gaussians as FLOAT vectors: `t`, and the queries `q` from the same mixture."""
    import pyarrow as pa

    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CENTRES, WIDTH)) * 2.0
    for table, n in (("t", rows), ("q", QUERIES)):
        con.execute(f"CREATE TABLE {table} (v FLOAT[{WIDTH}])")
        for start in range(0, n, 100_000):
            size = min(100_000, n - start)
            drawn = centres[generator.integers(0, CENTRES, size)] + generator.normal(size=(size, WIDTH))
            flat = pa.array(drawn.astype(np.float32).ravel())
            con.register("drawn", pa.table({"v": pa.FixedSizeListArray.from_arrays(flat, WIDTH)}))
            con.execute(f"INSERT INTO {table} FROM drawn")
            con.unregister("drawn")


def _truth(job: Job) -> Path:
    return models_file(job).with_name(f"{Path(job.database).stem}_neighbors.npy")


def train(job: Job) -> Outcome:
    """Save `brute` and `indexed` beside the table, and who the neighbours are."""
    import dbml

    path = models_file(job)
    path.unlink(missing_ok=True)
    con = dbml.connect(str(path))
    con.execute(f"ATTACH '{job.database}' AS bench (READ_ONLY)")
    seconds = {}
    for name, algorithm in (("brute", "brute"), ("indexed", "index")):
        started = time.perf_counter()
        con.execute(
            f"CREATE MODEL {name} OPTIONS (model_type = 'nearest_neighbors', algorithm = '{algorithm}', "
            f"n_neighbors = {K}) AS SELECT v FROM bench.t"
        )
        seconds[name] = time.perf_counter() - started
    con.execute("CHECKPOINT")
    np.save(_truth(job), con.load_model("brute").kneighbors(con.sql("SELECT v FROM bench.q"), return_distance=False))
    con.close()
    return Outcome(notes=seconds)


@functools.cache
def _connected(models: str, database: str, memory_limit: str) -> Any:
    import dbml

    con = dbml.connect(models, read_only=True, memory_limit=memory_limit)
    con.execute(f"ATTACH '{database}' AS bench (READ_ONLY)")
    return con


def ours(job: Job) -> Outcome:
    """Ask a saved model for the neighbours of all queries, with ML.NEIGHBORS."""
    con = _connected(str(models_file(job)), job.database, job.memory_limit)
    probes = "" if job.params["nprobe"] is None else f", {job.params['nprobe']} AS nprobe"
    started = time.perf_counter()
    found = con.sql(
        f"FROM ML.NEIGHBORS(MODEL {job.params['model']}, (SELECT v, row_number() OVER () - 1 AS n FROM bench.q), "
        f"STRUCT({K} AS k{probes}))"
    ).fetchnumpy()
    seconds = time.perf_counter() - started
    index = np.full((QUERIES, K), -1, np.int64)
    index[found["n"], found["rank"] - 1] = found["neighbor_id"]
    return Outcome(seconds=seconds, notes={"recall": _recall(job, index)})


def _recall(job: Job, index: NDArray[np.int64]) -> float:
    truth = np.load(_truth(job))
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(index.tolist(), truth.tolist(), strict=True)]))


def sklearn_brute(job: Job) -> Outcome:
    """Fetch the vectors, without a copy or as people write it, and let scikit-learn compare all of them."""
    from sklearn.neighbors import NearestNeighbors

    con = connection(job)

    def fetch(table: str) -> NDArray[np.float32]:
        if job.params["fetch"] == "arrow":
            column = con.sql(f"SELECT v FROM {table}").to_arrow_table()["v"].combine_chunks()
            return column.flatten().to_numpy().reshape(-1, WIDTH)
        return np.stack(con.sql(f"SELECT v FROM {table}").fetchnumpy()["v"])

    started = time.perf_counter()
    rows, queries = fetch("t"), fetch("q")
    index = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(rows).kneighbors(queries, return_distance=False)
    return Outcome(seconds=time.perf_counter() - started, notes={"recall": _recall(job, index)})


def scan(job: Job) -> Outcome:
    """Read the vectors as Arrow batches and do nothing with them."""
    reader = connection(job).sql("SELECT v FROM t").to_arrow_reader(16_384)
    return Outcome(notes={"rows": sum(batch.num_rows for batch in reader)})
