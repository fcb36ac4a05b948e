"""One process, one contender: import, measure, warm up, run, judge. ``python -m benchmarks.worker JOB RESULT``.

What a library imports only when it is used are imports, too: a forked process warms up first and tells which modules it
ended with. They are imported before memory is measured, whoever's they are.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.jobs import Job, Outcome


def memory_mib(field: str) -> float:
    """Return ``VmRSS`` (held now) or ``VmHWM`` (peak) of this process in MiB; NaN where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Set the peak back to what is held now, so that it does not count imports (Linux; else the peak includes them)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"peak memory includes the imports: {error}", file=sys.stderr)


def timed(function: Callable[[Job], Outcome], job: Job) -> tuple[Outcome, float]:
    """Run once from the table to the outcome."""
    started = time.perf_counter()
    outcome = function(job)
    elapsed = time.perf_counter() - started
    return outcome, elapsed if outcome.seconds is None else outcome.seconds


def modules_after(function: Callable[[Job], Outcome], job: Job) -> list[str]:
    """Return the modules that a process holds after the job, told by a forked one; none where there is no fork."""
    if not hasattr(os, "fork"):
        return []
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            function(job)
            with os.fdopen(writing, "w") as told:
                json.dump([name for name, module in sys.modules.items() if module is not None], told)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as heard:
        text = heard.read()
    os.waitpid(child, 0)
    return json.loads(text or "[]")


def import_all(names: Iterable[str]) -> None:
    """Import modules by name; what is none by itself came with another."""
    for name in names:
        if name not in sys.modules and name != "__mp_main__":
            with suppress(ImportError):
                importlib.import_module(name)


def measure(job: Job) -> dict[str, Any]:
    """Run the job; return seconds of every run, peak memory above the imports (MiB), quality and notes."""
    for name in job.imports:
        importlib.import_module(name)
    module, name = job.contender.split(":")
    function = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    judge = getattr(importlib.import_module("benchmarks.quality"), job.quality) if job.quality else None
    if job.warm:
        import_all(modules_after(function, replace(job, table=job.warm)))
    gc.collect()
    imported = memory_mib("VmRSS")
    if job.warm:
        function(replace(job, table=job.warm))
        gc.collect()
    warmed = memory_mib("VmRSS")
    forget_peak()
    seconds: list[float] = []
    peaks: list[float] = []
    while not seconds or (len(seconds) <= job.again and sum(seconds) < job.patience):
        outcome = None  # the model of the run before is garbage, as it would be for a person who fits again
        gc.collect()
        outcome, elapsed = timed(function, job)
        seconds.append(elapsed)
        peaks.append(memory_mib("VmHWM") - imported)
        forget_peak()
    return {
        "seconds": seconds,
        "peak_mib": peaks,
        "imported_mib": imported,
        "warmed_mib": warmed,
        "quality": judge(job, outcome) if judge else {},
        "notes": outcome.notes,
    }


def main() -> None:
    """Read a job from the first argument, write its result to the file named by the second."""
    job = Job.from_json(json.loads(sys.argv[1]))
    result = measure(job)
    Path(sys.argv[2]).write_text(json.dumps(result, default=float))


if __name__ == "__main__":
    main()
