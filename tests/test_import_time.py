"""What a person pays before asking for anything."""

import json
import subprocess
import sys

import pytest

HEAVY = {"numba", "pyarrow", "numpy", "sqlglot", "scipy", "pandas", "polars", "sklearn", "click", "rich", "duckdb"}


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python holds after running `code`."""
    report = (
        "\nimport json as _j, sys as _s; print('\\n' + _j.dumps(sorted({n.partition('.')[0] for n in _s.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_dbml_loads_nothing_heavy():
    assert loaded_after("import dbml") & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["sql", "--help"]])
def test_help_of_the_command_line_loads_only_click(arguments):
    code = (
        "import sys, dbml.cli\n"
        f"sys.argv = ['dbml', *{arguments!r}]\n"
        "try: dbml.cli.main()\n"
        "except SystemExit as stopped: assert stopped.code == 0"
    )
    assert loaded_after(code) & HEAVY == {"click"}
