"""JupySQL in this process: what a cell runs twice trains once, and a DataFrame holds all rows of a statement."""

import pytest

import dbml


@pytest.fixture
def cell(monkeypatch):
    # Here, so that collecting tests does not load a notebook's libraries: that takes seconds.
    pytest.importorskip("sql", reason="JupySQL is in the test extra")
    testing = pytest.importorskip("IPython.testing.globalipapp", reason="IPython is in the test extra")
    monkeypatch.setenv("PLOOMBER_STATS_ENABLED", "false")
    shell = testing.start_ipython() or testing.get_ipython()
    with dbml.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(100) r(i)")
        shell.user_ns["con"] = con
        shell.run_line_magic("load_ext", "sql")
        shell.run_line_magic("config", "SqlMagic.autopandas = True")
        shell.run_line_magic("sql", "con --alias cells")
        yield lambda text: shell.run_cell_magic("sql", "", text)
        shell.run_line_magic("sql", "--close cells")


OPTIONS = "{'model_type': 'linear_reg', 'input_label_cols': ['y']}"


def test_train_model_trains_once_a_cell(cell):
    for version in (1, 2):
        frame = cell(f"SELECT train_model('m', 'SELECT x, y FROM t', {OPTIONS}) AS made;")
        assert [made["version"] for made in frame["made"]] == [version]
    assert list(cell("SELECT version FROM ml.model_versions ORDER BY 1")["version"]) == [1, 2]


def test_a_model_statement_is_a_whole_data_frame(cell):
    made = cell("CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT x, y FROM t")
    assert list(made["model"]) == ["m"] and list(made["rows"]) == [100]
    assert list(cell("SHOW MODELS")["version"]) == [1]
    assert cell("SELECT predict('m', t) AS p FROM t")["p"].sum() == pytest.approx(9900.0)
