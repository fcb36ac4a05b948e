"""The database as a fixture; workers that run side by side share the cores."""

import os
import signal

import duckdb
import pytest
from hypothesis import settings

# The threads of BLAS and OpenMP wait by spinning: beside those of other workers on the same cores they spend several
# times what the work costs. NumPy reads this when it is loaded, later than here; so do the processes that tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# The first example of a property may wait for a kernel to be compiled.
settings.register_profile("dbml", deadline=None)
settings.load_profile("dbml")

# A shell starts background jobs with Ctrl-C ignored, and tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def database(tmp_path):
    """Path of a database file that does not exist yet."""
    return str(tmp_path / "test.duckdb")


@pytest.fixture
def raw():
    """A plain DuckDB connection in memory, that dbml has not touched."""
    with duckdb.connect(":memory:") as con:
        yield con
