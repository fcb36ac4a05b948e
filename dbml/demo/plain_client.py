"""The proof that a model needs no dbml: another Python process with DuckDB alone scores the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dbml.errors import DbmlError

_CLIENT = """
import sys, time, json
sys.modules["dbml"] = sys.modules["numba"] = None  # importing either would fail
import duckdb
con = duckdb.connect(sys.argv[1], read_only=True)
started = time.perf_counter()
result = con.sql(sys.argv[2])
rows = result.fetchall()
print(json.dumps({"columns": result.columns, "rows": rows, "seconds": time.perf_counter() - started}, default=str))
"""


def score_with_plain_duckdb(database: Path, query: str) -> dict[str, Any]:
    """Run a query in a fresh Python in which dbml cannot be imported; return columns, rows and seconds.

    The database must not be open for writing in this process.
    """
    command = [sys.executable, "-c", _CLIENT, str(database), query]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DbmlError(f"plain DuckDB could not score {database}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)
