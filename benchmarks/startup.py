"""What a fresh interpreter pays for `import duckdb` and for `import duckdb, dbml`."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.jobs import Job, Outcome


def import_seconds(job: Job) -> Outcome:
    """Time the import of the modules in ``params["modules"]`` in an interpreter of its own."""
    modules = ", ".join(job.params["modules"])
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Outcome(seconds=float(done.stdout))
