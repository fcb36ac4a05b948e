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


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    import dbml

    path = tmp_path_factory.mktemp("import") / "m.duckdb"
    with dbml.connect(path) as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(20) r(i)")
        con.execute("CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t")
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "DB", "-c", "SELECT 1"],
        ["sql", "DB", "--csv", "-c", "SELECT predict('m', t), predicted_y FROM t, ML.PREDICT(MODEL m, TABLE t)"],
        ["predict", "m", "t", "--db", "DB"],
        ["models", "--db", "DB", "--json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_scoring_in_sql_loads_no_kernels(arguments, scored):
    arguments = [scored if argument == "DB" else argument for argument in arguments]
    code = (
        "import sys, dbml.cli\n"
        f"sys.argv = ['dbml', *{arguments!r}]\n"
        "try: dbml.cli.main()\n"
        "except SystemExit as stopped: assert stopped.code == 0"
    )
    # NumPy is loaded by DuckDB itself, when functions are registered.
    assert loaded_after(code) & (HEAVY - {"click", "duckdb", "numpy", "rich"}) == set()
