"""The blocks of every page in docs/ run in order, each page in a folder of its own; so do the examples."""

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from doc_runner import Reader

from dbml.demo.tables import make_flights

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(page, tmp_path):
    database = "houses.duckdb" if page == "getting-started.md" else "flights.duckdb"
    if database == "flights.duckdb":
        with duckdb.connect(str(tmp_path / database)) as con:
            make_flights(con, 20_000)
    shutil.copy(ROOT / "tests/data/imports/late.txt", tmp_path)
    Reader(tmp_path, database).follow(ROOT / "docs" / page)


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("quickstart.py", [], "of the flights are predicted right"),
        ("out_of_core.py", ["200000"], "coefficients of x0, x1, x2: [0.0, 1.0, 2.0]"),
        ("sklearn_pipeline.py", [], "best alpha"),
        ("spam.py", [], "f1 of spam on held-out messages: 1.000"),
    ],
)
def test_the_example_runs(script, arguments, words, tmp_path):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "nanobind" not in done.stderr


def test_every_example_is_run():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        "quickstart.py",
        "out_of_core.py",
        "sklearn_pipeline.py",
        "spam.py",
    }
