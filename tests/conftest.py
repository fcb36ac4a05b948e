"""The database as a fixture."""

import signal

import duckdb
import pytest
from hypothesis import settings

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
