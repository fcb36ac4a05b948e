"""Runs the contenders of a row in processes of their own, one after the other, round by round."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.contenders import IMPORTS, Contender, Measured, Result, Row, Sample
from benchmarks.datasets import Dataset, Unavailable, database, ensure
from benchmarks.jobs import Job, quoted

CLEARLY_SLOWER = 1.5


class Failed(Exception):
    """A process ended without a result; the message is its last words."""


@dataclass(frozen=True)
class Settings:
    """What the command line says of all rows.

    Attributes
    ----------
    limit : int or None
        At most so many rows of every dataset.
    rounds : int or None
        How often every contender is started, instead of what the row says.
    deadline : float
        `time.monotonic` after which no row starts a further round, and rows not yet begun are left out.
    tell : callable
        Receives a line of progress.
    """

    limit: int | None
    rounds: int | None
    deadline: float
    tell: Callable[[str], None]


def feature_names(dataset: Dataset, path: Path, table: str, target: str, first: int | None) -> tuple[str, ...]:
    """Return the feature columns of a table ("" stands for all tables of the dataset, which share none)."""
    if dataset.features or not table:
        return tuple(f"x{k}" for k in range(first or dataset.features))
    con = duckdb.connect(str(path), read_only=True)
    try:
        return tuple(name for name, *_ in con.execute(f"DESCRIBE {quoted(table)}").fetchall() if name != target)
    finally:
        con.close()


def make_job(row: Row, contender: Contender, limit: int | None) -> Job:
    """Return the job of a contender."""
    dataset = contender.dataset or row.dataset
    path = database(dataset, limit)
    return Job(
        contender=contender.run,
        imports=(*IMPORTS[contender.kind], *contender.imports),
        database=str(path),
        table=contender.table,
        target=row.target,
        features=feature_names(dataset, path, contender.table, row.target, row.features),
        params=contender.params,
        quality=row.quality if contender.quality else "",
        memory_limit=contender.memory_limit or row.memory_limit,
        warm=contender.warm,
        again=contender.again,
        patience=contender.patience,
    )


def last_words(errors: str) -> str:
    """Return the error that a traceback ends with: what follows its last frame; without frames, the last line."""
    lines = [line for line in errors.splitlines() if line.strip()]
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    starts = [n for n, line in enumerate(lines) if not line.startswith(" ") and (not frames or n > frames[-1])]
    if not starts:
        return ""
    return " ".join(line.strip() for line in lines[starts[0] if frames else starts[-1] :])


def run_process(job: Job, timeout: float, cold_cache: bool) -> Sample:
    """Run a job in a process of its own; kill the process and its children when the time is over."""
    with tempfile.TemporaryDirectory(prefix="dbml-bench-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(job.to_json()), str(result)]
        environment = {**os.environ, **({"NUMBA_CACHE_DIR": folder} if cold_cache else {})}
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"no result after {timeout:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0 or not result.exists():
            raise Failed(last_words(errors) or f"exit code {process.returncode}")
        stored = json.loads(result.read_text())
    return Sample(**{**stored, "seconds": tuple(stored["seconds"]), "peak_mib": tuple(stored["peak_mib"])})


def warm_page_cache(path: Path) -> None:
    """Read a file once, so that no contender pays for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def in_the_running(result: Result) -> list[Measured]:
    """Return who is worth another round: not who failed, nor peers clearly slower than the best of their kind."""
    alive = [m for m in result.measured.values() if m.samples and not m.error]
    comparable = result.comparable()
    kept = {id(m) for m in alive if m.contender.kind != "peer"}
    for usual in (True, False):
        group = [m for m in comparable if (m.contender.params.get("fetch") == "fetchnumpy") == usual and not m.error]
        limit = CLEARLY_SLOWER * min((m.seconds for m in group), default=0.0)
        kept |= {id(m) for m in group if m.seconds <= limit}
    return [m for m in alive if id(m) in kept]


def make_tables(rows: list[Row], limit: int | None, tell: Callable[[str], None]) -> None:
    """Make the tables of some rows, so that the clock of the whole run does not count it."""
    for dataset in {dataset: None for row in rows for dataset in row.datasets}:
        if database(dataset, limit).exists():
            continue
        tell(f"making {database(dataset, limit).name}")
        try:
            ensure(dataset, limit)
        except (Unavailable, duckdb.Error, OSError) as error:
            tell(f"{dataset.name}: {error}")  # its rows will say so again


def run_row(row: Row, settings: Settings) -> Result:
    """Measure a row; what fails is recorded and the rest goes on."""
    result = Result(row, {c.label: Measured(c) for c in row.contenders})
    try:
        for dataset in row.datasets:
            warm_page_cache(ensure(dataset, settings.limit))
        if row.prepare:
            run_process(make_job(row, row.prepare, settings.limit), row.timeout, cold_cache=False)
    except (Unavailable, Failed, duckdb.Error, OSError) as error:
        result.error = str(error)
        return result
    for number in range(settings.rounds or row.rounds):
        if number and time.monotonic() > settings.deadline:
            break
        for measured in in_the_running(result) if number else list(result.measured.values()):
            _run_once(row, measured, settings)
    return result


def _run_once(row: Row, measured: Measured, settings: Settings) -> None:
    contender = measured.contender
    try:
        sample = run_process(make_job(row, contender, settings.limit), row.timeout, contender.cold_cache)
    except Failed as error:
        measured.error = str(error)
        settings.tell(f"{row.name}: {contender.label}: {error}")
        return
    measured.samples.append(sample)
    times = " ".join(f"{seconds:.3f}" for seconds in sample.seconds)
    settings.tell(f"{row.name}: {contender.label}: {times} s, {max(sample.peak_mib):.0f} MiB")
