"""The floors: what DuckDB alone needs to hand the same columns over."""

from __future__ import annotations

import time

import duckdb

from benchmarks.jobs import Job, Outcome, quoted

BATCH_ROWS = 16_384


_opened: dict[str, duckdb.DuckDBPyConnection] = {}


def open_database(database: str, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Return the open connection of a process: read-only, without the progress bar (it prints to stdout)."""
    if database not in _opened:
        share(database, duckdb.connect(database, read_only=True, config={"memory_limit": memory_limit}))
    return _opened[database]


def share(database: str, con: duckdb.DuckDBPyConnection) -> None:
    """Let the rest of a process use a connection that is open already (DuckDB opens a file once, in one way)."""
    con.execute("SET enable_progress_bar = false").fetchall()
    _opened[database] = con


def connection(job: Job) -> duckdb.DuckDBPyConnection:
    """Return the connection to the job's database; it stays open between the runs of a process."""
    return open_database(job.database, job.memory_limit)


def arrow_scan(job: Job) -> Outcome:
    """Read features and target as Arrow batches and do nothing with them."""
    reader = connection(job).sql(job.select_sql).to_arrow_reader(BATCH_ROWS)
    return Outcome(notes={"rows": sum(batch.num_rows for batch in reader)})


def sum_scan(job: Job) -> Outcome:
    """Sum every feature column in SQL: a scan that uses all values, without a model."""
    sums = ", ".join(f"sum({quoted(name)})" for name in job.features)
    connection(job).execute(f"SELECT {sums} FROM {quoted(job.table)}").fetchall()
    return Outcome()


def bare_udf(job: Job) -> Outcome:
    """Sum a vectorised UDF over all feature columns that hands its first column back: the price of the call."""
    con = connection(job)
    con.create_function("bare", lambda *columns: columns[0], None, "DOUBLE", type="arrow")
    started = time.perf_counter()
    query = f"SELECT sum(bare({job.columns_sql})), count(*) FROM {quoted(job.table)}"
    rows = con.execute(query).fetchall()[0][1]
    seconds = time.perf_counter() - started
    con.remove_function("bare")
    return Outcome(seconds=seconds, notes={"rows": rows})
