"""Models of other attached databases: made, scored, changed and dropped by their qualified names."""

import duckdb
import numpy as np
import pytest

import dbml
from dbml.errors import RegistryError, UnknownName

LINE = "OPTIONS (model_type = 'linear_reg', input_label_cols = ['y'])"


@pytest.fixture
def con(tmp_path):
    with dbml.connect(tmp_path / "home.duckdb") as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i % 3 AS g, 2.0 * i + 1 AS y FROM range(100) r(i)")
        con.execute(f"ATTACH '{tmp_path / 'far.duckdb'}' AS \"far off\"")
        yield con


SCORES = (
    "SELECT predict('far off.line', 200.0)",
    "SELECT predict('FAR OFF.line@1', r) FROM (SELECT 200.0 AS x) r",
    'SELECT predicted_y FROM ML.PREDICT(MODEL "far off".line, (SELECT 200.0 AS x))',
    'SELECT predicted_y FROM ML.PREDICT(MODEL "far off".ml.line@1, (SELECT 200.0 AS x))',
    'SELECT "far off".ml.predict_line(200.0)',
)


@pytest.mark.parametrize("query", SCORES)
def test_a_model_of_another_database_scores_by_its_qualified_name(con, query):
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    assert con.sql(query).fetchall() == [(pytest.approx(401.0),)]


def test_the_model_lies_in_the_other_database_and_needs_no_python_there(con, tmp_path):
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    assert con.sql("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'ml'").fetchall() == [(1,)]
    assert con.sql("SHOW MODELS").fetchall() == []
    con.close()
    with duckdb.connect(str(tmp_path / "far.duckdb"), read_only=True) as plain:
        assert plain.sql("SELECT ml.predict_line(200.0)").fetchall() == [(pytest.approx(401.0),)]
        assert plain.sql("SELECT name, target FROM ml.models").fetchall() == [("line", "y")]


def test_other_functions_read_that_database(con):
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, g, y FROM t')
    con.execute(f"CREATE MODEL other {LINE} AS SELECT g, y FROM t")
    assert con.sql('SELECT input FROM ML.FEATURE_INFO(MODEL "far off".line)').fetchall() == [("x",), ("g",)]
    weights = con.sql('SELECT processed_input, weight FROM ML.WEIGHTS(MODEL "far off".line)').fetchall()
    assert weights[0] == ("x", pytest.approx(2.0))
    assert con.sql('SELECT r2_score FROM ML.EVALUATE(MODEL "far off".line, TABLE t)').fetchall() == [
        (pytest.approx(1.0),)
    ]
    assert con.sql('FROM ML.TRAINING_INFO(MODEL "far off".line)').columns[0] == "training_run"


def test_after_use_the_models_are_those_of_the_current_database(con):
    con.execute(f"CREATE MODEL line {LINE} AS SELECT x, y FROM t")
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, -y AS y FROM t')
    assert con.sql("SELECT predict('line', 200.0)").fetchall() == [(pytest.approx(401.0),)]
    con.execute('USE "far off"')
    assert con.sql("SELECT predict('line', 200.0), predict('home.line', 200.0)").fetchall() == [
        (pytest.approx(-401.0), pytest.approx(401.0))
    ]
    assert con.sql("SELECT name FROM ml.models").fetchall() == [("line",)]
    con.execute("USE home")
    assert con.sql("SELECT predict('line', 200.0)").fetchall() == [(pytest.approx(401.0),)]


def test_models_without_a_form_follow_the_current_database_too(con, monkeypatch):
    monkeypatch.setattr("dbml.registry.macros.too_large", lambda form, encoding: "too large")
    con.execute(f"CREATE MODEL line {LINE} AS SELECT x, y FROM t")
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, -y AS y FROM t')
    near, far = pytest.approx(401.0), pytest.approx(-401.0)
    query = "SELECT predict('line', 200.0), predict('far off.line', 200.0)"
    assert con.sql(query).fetchall() == [(near, far)]
    con.execute('USE "far off"')
    assert con.sql(query).fetchall() == [(far, far)]
    assert con.sql("SELECT predicted_y FROM ML.PREDICT(MODEL line, (SELECT 200.0 AS x))").fetchall() == [(far,)]


def test_changes_of_a_model_of_another_database(con):
    for sign in ("", "-"):
        con.execute(f'CREATE OR REPLACE MODEL "far off".line {LINE} AS SELECT x, {sign}y AS y FROM t')
    con.execute('ALTER MODEL "far off".line SET ALIAS champion TO VERSION 1')
    assert con.sql("SELECT predict('far off.line@champion', 200.0)").fetchall() == [(pytest.approx(401.0),)]
    con.execute('ALTER MODEL "far off".line ROLLBACK')
    con.execute('ALTER MODEL "far off".line RENAME TO kept')
    assert con.sql("SELECT predict('far off.kept', 200.0)").fetchall() == [(pytest.approx(401.0),)]
    con.execute('DROP MODEL "far off".kept')
    con.execute('DROP MODEL IF EXISTS "far off".kept')
    assert con.sql("SELECT count(*) FROM duckdb_functions() WHERE schema_name = 'ml' AND NOT internal").fetchall() == [
        (0,)
    ]


def test_python_names_a_model_of_another_database(con):
    model = dbml.LinearRegression().fit(con.sql("SELECT x, y FROM t"), y="y")
    assert con.save_model("far off.line", model) == 1
    assert con.load_model("far off.line@1").coef_ == pytest.approx(model.coef_)
    assert con.save_model("a.b", model) == 1  # no database a: just a name
    assert [name for (name,) in con.models().select("name").fetchall()] == ["a.b"]
    score = con.duckdb.execute("SELECT predict('far off.line', 200.0), predict('a.b', 200.0)").fetchall()
    assert np.allclose(score, 401.0)


def test_what_does_not_exist_is_named_with_what_other_databases_have(con):
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    with pytest.raises(
        UnknownName, match=r"no model 'line'; did you mean 'far off.line'\? \(.*in other databases: far"
    ):
        con.sql("SELECT predict('line', 200.0)")
    with pytest.raises(UnknownName, match=r"no model 'lime' in database 'far off'; did you mean 'line'"):
        con.sql('FROM ML.PREDICT(MODEL "far off".lime, TABLE t)')
    with pytest.raises(UnknownName, match=r"no database 'main' is attached .*\(databases: far off, home\)"):
        con.sql(f"CREATE MODEL main.line {LINE} AS FROM t")


def test_the_first_model_of_another_database_inside_a_transaction(con):
    con.execute("BEGIN")
    with pytest.raises(RegistryError, match="cannot be made inside a transaction"):
        con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    con.execute("ROLLBACK")
    con.execute(f'CREATE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    con.execute("BEGIN")
    con.execute(f'CREATE OR REPLACE MODEL "far off".line {LINE} AS SELECT x, y FROM t')
    con.execute("ROLLBACK")
    assert con.load_model("far off.line").coef_ == pytest.approx([2.0])
    assert con.sql('SELECT version FROM "far off".ml.models').fetchall() == [(1,)]


def test_a_read_only_database_takes_no_models(con, tmp_path):
    duckdb.connect(str(tmp_path / "fixed.duckdb")).close()
    con.execute(f"ATTACH '{tmp_path / 'fixed.duckdb'}' AS fixed (READ_ONLY)")
    with pytest.raises(RegistryError, match="database 'fixed' is open read-only"):
        con.execute(f"CREATE MODEL fixed.line {LINE} AS SELECT x, y FROM t")


@pytest.mark.parametrize("how", ["", " (FORMAT parquet)"])
def test_models_come_through_export_and_import(tmp_path, how):
    """EXPORT DATABASE leaves out comments, and DuckDB's own client may do the import."""
    score = "SELECT predict('line', t), predict('near', t), predict('other', t) FROM t ORDER BY x"
    with dbml.connect(tmp_path / "a.duckdb") as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, (i % 7)::DOUBLE AS z, i * 2.0 AS y FROM range(50) r(i)")
        for name, type_ in (("line", "linear_reg"), ("near", "knn_regressor"), ("other", "knn_regressor")):
            con.execute(f"CREATE MODEL {name} OPTIONS (model_type = '{type_}', input_label_cols = ['y']) AS FROM t")
        expected = con.execute(score).fetchall()
        con.execute(f"EXPORT DATABASE '{tmp_path / 'exported'}'{how}")
    with duckdb.connect(tmp_path / "b.duckdb") as raw:
        raw.execute(f"IMPORT DATABASE '{tmp_path / 'exported'}'")
        assert raw.sql("SELECT ml.predict_line(x, z) FROM t ORDER BY x").fetchall() == [row[:1] for row in expected]
    with dbml.connect(tmp_path / "b.duckdb") as con:
        assert con.execute(score).fetchall() == expected
        con.execute(
            "CREATE OR REPLACE MODEL line OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t"
        )
        assert con.execute("SELECT name, version FROM ml.models ORDER BY name").fetchall() == [
            ("line", 2),
            ("near", 1),
            ("other", 1),
        ]


def test_a_table_of_migrations_that_is_not_ours(tmp_path):
    columns = "number INTEGER, name VARCHAR, dbml_version VARCHAR, applied_at TIMESTAMP"
    for given, row in (("a INTEGER", "1"), (columns, "NULL, NULL, NULL, NULL"), (columns, "1, 'mine', 'a', now()")):
        with dbml.connect() as con:
            con.execute(
                f"CREATE SCHEMA ml; CREATE TABLE ml.migrations ({given}); INSERT INTO ml.migrations VALUES ({row})"
            )
            assert con.execute("SHOW MODELS").fetchall() == []
            with pytest.raises(RegistryError, match=r"tables of yours have the names it needs .*migrations"):
                con.execute(
                    "CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS "
                    "SELECT 1.0 * i AS x, i AS y FROM range(9) r(i)"
                )


def test_a_database_with_the_name_of_the_schema_is_refused_before_training(tmp_path):
    create = "CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM t"
    table = "CREATE TABLE t AS SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(9) r(i)"
    with dbml.connect(tmp_path / "ml.duckdb") as con:
        con.execute(table)
        with pytest.raises(RegistryError, match=r"cannot tell it from the database 'ml': rename its file, or attach"):
            con.execute(create)
        assert con.execute("SELECT sum(y) FROM t").fetchall() == [(72.0,)]
        assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'ml'").fetchall() == [(0,)]
    with dbml.connect() as con:
        con.execute(f"ATTACH '{tmp_path / 'ml.duckdb'}' AS ML")
        con.execute(table)
        with pytest.raises(RegistryError, match="cannot tell it from the database 'ML'"):
            con.execute(create)
        con.execute(f"DETACH ml; ATTACH '{tmp_path / 'ml.duckdb'}' AS mine; USE mine; {create}")
        assert con.execute("SELECT predict('m', 3.0)").fetchall() == [(pytest.approx(6.0),)]
