"""The connection a person holds: what is DuckDB's stays DuckDB's, what is ours runs once."""

import re
import sys
import types
import warnings

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import dbml
from dbml.errors import DbmlWarning, InvalidParameter, RegistryError, StatementError, UnknownName

OPTIONS = "OPTIONS (model_type = 'linear_reg', input_label_cols = ['y'])"
ROWS = "SELECT i::DOUBLE AS x, (i % 3)::VARCHAR AS g, 2.0 * i + i % 3 AS y FROM range(60) r(i)"


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute(f"CREATE TABLE t AS {ROWS}")
        yield con


def test_create_model_returns_what_it_did(con):
    made = con.sql(f"CREATE MODEL m {OPTIONS} AS FROM t")
    assert made.columns == ["model", "version", "rows", "passes", "seconds", "metrics"]
    ((model, version, rows, _, seconds, metrics),) = made.fetchall()
    assert (model, version, rows, metrics) == ("m", 1, 60, None)
    assert seconds > 0.0
    made.fetchall()
    made.df()
    assert con.sql("SELECT version FROM ml.models").fetchall() == [(1,)]


def test_the_rows_of_a_training_are_those_of_one_pass(con):
    boosted = "OPTIONS (model_type = 'boosted_tree_regressor', max_iterations = 3, input_label_cols = ['y'])"
    assert con.execute(f"CREATE MODEL m {boosted} AS FROM t").fetchone()[2] == 60
    assert con.execute("SELECT n_rows FROM ml.models").fetchone() == (60,)


def test_execute_keeps_the_result_for_fetching(con):
    assert con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t").fetchone()[:2] == ("m", 1)
    assert con.execute("SELECT 1 AS a, 2 AS b").df().to_dict("list") == {"a": [1], "b": [2]}


def test_if_not_exists_does_not_train(con):
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    con.execute(f"CREATE MODEL IF NOT EXISTS m {OPTIONS} AS FROM no_such_table")
    assert con.execute("SELECT version FROM ml.models").fetchall() == [(1,)]
    assert con.execute("SELECT count(*) FROM ml.training_runs").fetchall() == [(1,)]


def test_create_model_of_a_taken_name(con):
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    with pytest.raises(
        RegistryError, match="there is a model 'm' already: CREATE OR REPLACE MODEL makes a new version"
    ):
        con.execute(f"CREATE MODEL M {OPTIONS} AS FROM t")
    con.execute(f"CREATE OR REPLACE MODEL M {OPTIONS} AS FROM t")
    assert con.execute("SELECT name, version, versions FROM ml.models").fetchall() == [("m", 2, 2)]


def test_a_script_sees_the_models_it_made(con):
    rows = con.execute(
        f"""CREATE TEMP TABLE s AS FROM t WHERE x > 5; -- a comment; with a semicolon
        CREATE MODEL m {OPTIONS} AS FROM s;
        SELECT round(predict('m', s), 6) = y FROM s LIMIT 1;"""
    ).fetchall()
    assert rows == [(True,)]


def test_temp_tables_registered_frames_and_local_variables(con):
    con.execute("CREATE TEMP TABLE temporary AS FROM t")
    con.register("registered", con.sql("FROM t").df())
    local = con.sql("FROM t").to_arrow_table()
    frame = local.to_pandas()
    for source in ("temporary", "registered", "local", "frame"):
        con.execute(f"CREATE MODEL {source} {OPTIONS} AS FROM {source}")
        assert con.sql(f"SELECT count(*) FROM {source}").fetchall() == [(60,)]
        assert con.sql(f"SELECT max(abs(predict('{source}', s) - y)) < 1e-6 FROM {source} s").fetchall() == [(True,)]
    assert len(local) == len(frame)


def test_the_setting_for_local_variables_is_left_alone(con):
    query = "SELECT current_setting('python_scan_all_frames')"
    assert con.sql(query).fetchall() == duckdb.sql(query).fetchall()


def test_parameters_reach_duckdb_and_training(con):
    assert con.execute("SELECT ? + 1", [41]).fetchall() == [(42,)]
    assert con.sql("SELECT $a + 1", params={"a": 41}).fetchall() == [(42,)]
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t WHERE x < ?", [30])
    assert con.execute("SELECT n_rows FROM ml.models").fetchall() == [(30,)]
    assert con.execute("SELECT predict('m', t) > ? FROM t LIMIT 1", [-100]).fetchall() == [(True,)]


class Spy:
    """A DuckDB connection that notes the text of what it runs."""

    def __init__(self, con):
        self.con, self.texts = con, []

    def __getattr__(self, name):
        return getattr(self.con, name)

    def execute(self, text, *arguments):
        self.texts.append(text)
        return self.con.execute(text, *arguments)


FOREIGN = [
    "SELECT 1 /* predict( */ ; -- CREATE MODEL\n",
    "SELECT 'CREATE MODEL m' AS predict,\n\t$$ ml.predict $$ AS model",
    "\n  SELECT 'a;b' ; SELECT 2 AS models  ;\n",
    "CREATE TABLE model (predict INTEGER)",
    "FROM range(3) AS ml",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_statements_that_are_not_ours_stay_byte_for_byte(con, text):
    spy = Spy(con.duckdb)
    con.duckdb = spy
    con.execute(text)
    con.duckdb = spy.con
    ran = "".join(part for part in spy.texts if part in text)
    assert ran == text


def test_everything_else_is_duckdbs(con):
    assert con.table("t").columns == ["x", "g", "y"]
    assert con.from_arrow(pa.table({"a": [1]})).fetchall() == [(1,)]
    con.executemany("INSERT INTO t VALUES (?, ?, ?)", [[1.0, "a", 2.0], [2.0, "b", 3.0]])
    assert con.execute("SELECT count(*) FROM t").fetchone() == (62,)
    assert con.description[0][0] == "count_star()"
    with pytest.raises(AttributeError):
        con.no_such_method()
    with pytest.raises(duckdb.ParserException):
        con.execute("SELEC 1")


def test_attach_sees_what_the_users_connection_sees(raw):
    raw.execute(f"CREATE TEMP TABLE t AS {ROWS}; BEGIN; INSERT INTO t VALUES (1000, 'z', 0)")
    with dbml.attach(raw) as con:
        assert con.duckdb is raw
        con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
        assert con.execute("SELECT n_rows FROM ml.models").fetchall() == [(61,)]
    raw.execute("ROLLBACK")
    assert raw.execute("SELECT count(*) FROM t").fetchone() == (60,)
    with pytest.raises(duckdb.CatalogException):
        raw.execute("SELECT predict('m', 1)")
    assert dbml.attach(dbml.attach(raw)).duckdb is raw


def test_save_and_load_from_python(con):
    model = dbml.LinearRegression().fit(con.table("t"), y="y")
    assert con.save_model("m", model) == 1
    assert con.save_model("m", model) == 2
    loaded = con.load_model("m", version=1)
    assert loaded.coef_.tobytes() == model.coef_.tobytes()
    scored = loaded.predict(con.table("t"))
    assert scored.columns == ["x", "g", "y", "predicted_y"]
    assert scored.filter("abs(predicted_y - y) > 1e-6").fetchall() == []
    assert con.models().project("name, version, type, target, features").fetchall() == [
        ("m", 2, "LinearRegression", "y", ["x", "g"])
    ]


def test_models_of_a_new_database_are_none(con):
    assert con.models().fetchall() == []
    assert con.execute("SHOW MODELS").fetchall() == []
    for ask in (con.sql, con.execute):
        with pytest.raises(duckdb.CatalogException, match="this database has no models yet: CREATE MODEL makes"):
            ask("FROM ml.models")
    assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'ml'").fetchone() == (0,)


def test_a_query_given_as_text_may_call_models(con):
    con.execute("CREATE MODEL scaled OPTIONS (model_type = 'standard_scaler') AS SELECT x FROM t")
    query = "SELECT x, y FROM ML.TRANSFORM(MODEL scaled, TABLE t)"
    assert dbml.LinearRegression().fit(query, "y", con=con).coef_[0] == pytest.approx(34.6, rel=0.01)
    near = OPTIONS.replace("linear_reg", "KNeighborsRegressor")
    con.execute(f"CREATE MODEL near {near} AS {query}")
    assert con.extend_model("near", query) == 60


def test_sparse_columns_are_named_in_sql(con):
    lists = "SELECT [i % 3] AS idx, [1] AS val, i % 3 AS y FROM range(60) r(i)"
    con.execute(f"CREATE MODEL m {OPTIONS[:-1]}, sparse = ['idx', 'val']) AS {lists}")
    assert con.sql(f"SELECT mean_absolute_error < 0.01 FROM ML.EVALUATE(MODEL m, ({lists}))").fetchall() == [(True,)]


def test_parameters_of_a_training_are_not_those_of_a_later_question(con):
    con.execute(f"CREATE MODEL m {OPTIONS} AS SELECT x, y FROM t WHERE x > $1", [30])
    with pytest.raises(StatementError, match="not trained on a query that could be read again: name rows"):
        con.execute("SELECT feature FROM ML.GLOBAL_EXPLAIN(MODEL m) WHERE attribution > $1", [50])


NATIVE_OR_NOT = {"native": OPTIONS, "function": OPTIONS.replace("linear_reg", "KNeighborsRegressor")}


@pytest.mark.parametrize("options", NATIVE_OR_NOT.values(), ids=NATIVE_OR_NOT)
def test_rows_that_were_scored_before_hold_the_new_predictions_alone(con, options):
    con.execute(f"CREATE MODEL m {options} AS FROM t")
    con.execute("CREATE TABLE scored AS SELECT x, g, -1e6 AS Predicted_Y, y FROM t")
    model = con.load_model("m")
    twice = model.predict(model.predict(con.table("scored")))
    assert twice.columns == ["x", "g", "y", "predicted_y"]
    sources = ["ML.PREDICT(MODEL m, TABLE scored)"] + ["ml.predict_m(scored)"] * (options == OPTIONS)
    for source in sources:
        again = con.sql(f"FROM {source}")
        assert again.columns == ["x", "g", "y", "predicted_y"]
        assert sorted(again.fetchall()) == sorted(twice.fetchall())
    for asked in ("EVALUATE(MODEL m, TABLE {})", "PARTIAL_DEPENDENCE(MODEL m, TABLE {}, STRUCT('x' AS feature))"):
        new, old = (con.sql(f"FROM ML.{asked.format(table)}").fetchall() for table in ("t", "scored"))
        assert new == old


@pytest.mark.parametrize("options", NATIVE_OR_NOT.values(), ids=NATIVE_OR_NOT)
def test_an_input_of_the_name_of_the_prediction_is_read(con, options):
    con.execute(f"CREATE MODEL m {options} AS SELECT x AS predicted_y, y FROM t")
    con.execute("CREATE TABLE old AS SELECT x AS predicted_y, y FROM t")
    expected = con.sql("SELECT predict('m', old) AS p, y FROM old ORDER BY y").fetchall()
    assert len(set(expected)) > 30
    assert con.sql("SELECT * FROM ML.PREDICT(MODEL m, TABLE old) ORDER BY y").fetchall() == expected
    assert con.load_model("m").predict(con.table("old")).order("y").project("predicted_y, y").fetchall() == expected
    assert con.sql("SELECT r2_score > 0.9 FROM ML.EVALUATE(MODEL m, TABLE old)").fetchall() == [(True,)]
    asked = "STRUCT('predicted_y' AS feature, 60 AS grid)"
    dependence = con.sql(f"FROM ML.PARTIAL_DEPENDENCE(MODEL m, TABLE old, {asked})").fetchall()
    assert [value for value, _ in dependence] == [float(i) for i in range(60)]
    if options == OPTIONS:
        errors = con.sql("SELECT max(approximation_error) FROM ML.EXPLAIN_PREDICT(MODEL m, TABLE old)").fetchall()
        assert errors[0][0] < 1e-9
        added = con.sql("SELECT top_feature_attributions[1].attribution FROM ML.EXPLAIN_PREDICT(MODEL m, TABLE old)")
        by_gain = con.sql("SELECT p - avg(p) OVER () FROM (SELECT predict('m', old) AS p FROM old)")
        assert sum(sorted(added.fetchall()), ()) == pytest.approx(sum(sorted(by_gain.fetchall()), ()))


LABELS = {
    "VARCHAR": "CASE WHEN i > 30 THEN 'it''s' ELSE 'no' END",
    "BOOLEAN": "i > 30",
    "INTEGER": "CASE WHEN i > 30 THEN 7 ELSE -3 END",
    "TINYINT": "(i > 30)::TINYINT",
    "DOUBLE": "CASE WHEN i > 30 THEN 0.5 ELSE 0.25 END::DOUBLE",
}


@pytest.mark.parametrize("type", LABELS)
def test_labels_come_back_in_their_own_type(con, type):
    con.execute(f"CREATE TABLE c AS SELECT i::DOUBLE AS x, ({LABELS[type]})::{type} AS y FROM range(60) r(i)")
    con.execute("CREATE MODEL m OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM c")
    wrong = "SELECT count(*) FROM {} WHERE predicted_y IS DISTINCT FROM y AND x NOT BETWEEN 25 AND 35"
    for source in ("ML.PREDICT(MODEL m, TABLE c)", "ml.predict_m(c)"):
        assert con.sql(f"SELECT DISTINCT typeof(predicted_y) FROM {source}").fetchall() == [(type,)]
        assert con.sql(wrong.format(source)).fetchall() == [(0,)]
    assert con.sql("SELECT DISTINCT typeof(predict('m', c)) FROM c").fetchall() == [(type,)]
    assert str(con.load_model("m").predict(con.table("c")).types[-1]) == type


def test_threshold(con):
    con.execute("CREATE TABLE c AS SELECT i::DOUBLE AS x, (i + 7919 * i % 11) > 30 AS y FROM range(60) r(i)")
    con.execute("CREATE MODEL m OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM c")
    for threshold in (0.1, 0.5, 0.9):
        expected = con.sql(f"SELECT count(*) FROM c WHERE predict_proba('m', c)['true'] > {threshold}").fetchall()
        counts = [
            f"SELECT count(*) FROM c WHERE predict('m', c, {{'threshold': {threshold}}})",
            f"SELECT count(*) FROM ML.PREDICT(MODEL m, TABLE c, STRUCT({threshold} AS threshold)) WHERE predicted_y",
            f"SELECT count(*) FROM ml.predict_m(c, threshold := {threshold}) WHERE predicted_y",
            f"SELECT count(*) FROM c WHERE ml.predict_m(x, threshold := {threshold})",
        ]
        assert [con.sql(query).fetchall() for query in counts] == [expected] * 4


def test_split_methods(con):
    con.execute("CREATE OR REPLACE TABLE t AS SELECT *, x >= 45 AS held FROM t")
    options = "model_type = 'linear_reg', input_label_cols = ['y']"
    cases = {
        "data_split_method = 'CUSTOM', data_split_col = 'held'": 45,
        "data_split_method = 'SEQ', data_split_col = 'x', data_split_eval_fraction = 0.25": 45,
        "data_split_method = 'AUTO_SPLIT'": 60,
        "data_split_method = 'NO_SPLIT'": 60,
    }
    for split, rows in cases.items():
        made = con.execute(f"CREATE OR REPLACE MODEL m OPTIONS ({options}, {split}) AS FROM t").fetchone()
        assert made[2] == rows, split
        assert ("r2_score" in (made[5] or {})) == (rows < 60), split
        assert con.load_model("m").feature_names_in_.tolist() == {
            "CUSTOM": ["x", "g"],
            "SEQ": ["g", "held"],
        }.get(split.split("'")[1], ["x", "g", "held"])
    # Rows of the largest value go together, even where they are more than were asked for.
    seq = f"CREATE OR REPLACE MODEL m OPTIONS ({options}, data_split_method = 'SEQ', data_split_col = 'day') AS"
    assert con.execute(f"{seq} SELECT x, y, x >= 40 AS day FROM t").fetchall()[0][2] == 40
    assert con.execute(f"{seq} SELECT x, y, if(x < 40, NULL, 1) AS day FROM t").fetchall()[0][2] == 40
    with pytest.raises(InvalidParameter, match=r"data_split_col 'day' has the same value in every row \(1\), which"):
        con.execute(f"{seq} SELECT x, y, 1 AS day FROM t")
    con.execute("INSERT INTO t SELECT i, 'a', i, false FROM range(4000) r(i)")
    for _ in range(2):
        made = con.execute(
            f"CREATE OR REPLACE MODEL m OPTIONS ({options}, data_split_method = 'RANDOM', "
            "data_split_eval_fraction = 0.25) AS FROM t"
        ).fetchone()
        assert 2900 < made[2] < 3200
        assert set(made[5]) >= {"mean_squared_error", "r2_score"}
    rows = con.execute("SELECT n_rows FROM ml.model_versions ORDER BY version DESC LIMIT 2").fetchall()
    assert rows[0] == rows[1]


def test_explain_create_model_does_not_train(con):
    rows = con.execute(f"EXPLAIN CREATE MODEL m {OPTIONS} AS FROM t").fetchall()
    assert rows[0] == ("model", "LinearRegression()")
    assert ("columns", "2: x, g") in rows
    assert not any("\n" in text for _, text in rows)  # a box shows the end of a line as two characters
    assert con.models().fetchall() == []
    analyzed = con.execute(f"EXPLAIN ANALYZE CREATE MODEL m {OPTIONS} AS FROM t").fetchall()
    passes = [text for key, text in analyzed if key == "pass"]
    assert passes and all(re.search(r": \d+ x sequential, 2 columns, 60 rows, .*B, 0\.\d+ s$", text) for text in passes)
    assert con.models().fetchall() == []


def test_explain_create_model_tells_what_a_training_would_do(con):
    con.execute("CREATE TABLE n AS SELECT random() AS a, random() AS b, random() < 0.3 AS y FROM range(140000)")
    plans = {}
    for model_type in ("logistic_reg", "linear_reg", "RidgeCV", "LassoCV", "SGDClassifier", "PoissonRegressor"):
        create = f"CREATE MODEL m OPTIONS (model_type = '{model_type}', input_label_cols = ['y']) AS"
        select = (
            "SELECT a, b, y FROM n" if "log" in model_type or "Cl" in model_type else "SELECT a, b, y::DOUBLE y FROM n"
        )
        plans[model_type] = dict(con.execute(f"EXPLAIN {create} {select} WHERE a > 0.01").fetchall()[1:])
    for model_type, said in plans.items():
        assert [key for key in said if key != "cross-validation"] == [
            *("source", "columns", "filters", "rows", "blocks", "memory", "solver", "order", "passes", "bytes")
        ], model_type
        assert "because" in said["solver"] and "because" in said["order"], model_type
        assert said["columns"] == "2: a, b" and said["filters"] == "a > 0.01", model_type
    assert plans["logistic_reg"]["solver"].startswith("newton, because 3 parameters")
    assert plans["logistic_reg"]["passes"].startswith("1 to 3, because")
    options = (
        "model_type = 'logistic_reg', input_label_cols = ['y'], auto_class_weights = true, sample_weight_col = 'a'"
    )
    weighted = dict(con.execute(f"EXPLAIN CREATE MODEL m OPTIONS ({options}) AS FROM n").fetchall())
    assert weighted["solver"] == "not known yet, because a pass comes first, for class weights"
    assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'ml'").fetchall() == [(0,)]


def test_a_model_knows_the_plan_of_its_training(con):
    con.execute("CREATE TABLE c AS SELECT i::DOUBLE AS x, (i * 7919 % 11) > 5 AS y FROM range(200) r(i)")
    create = "CREATE MODEL c OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM c WHERE x < 150"
    assert con.execute(create).fetchall()[0][2:4] == (150, 1)
    plan = con.load_model("c").explain()
    assert (plan.source, plan.columns, plan.filters) == ("c", ("x",), ("x < 150",))
    assert [(done.purpose, done.rows) for done in plan.passes] == [("all rows into memory", 150)]
    assert [decision.subject for decision in plan.decisions] == ["solver"]
    assert type(plan).from_json(plan.to_json()) == plan
    con.execute("UPDATE ml.model_versions SET plan = '{}'")
    with pytest.raises(RegistryError, match="model 'c@1' is damaged: its plan"):
        con.load_model("c")


def test_text_labels_of_a_model_without_macros(tmp_path):
    with dbml.connect(tmp_path / "a.db") as con:
        con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, if(i > 30, 'yes', 'no') AS y FROM range(60) r(i)")
    with dbml.connect(tmp_path / "a.db", read_only=True) as con:
        with pytest.warns(DbmlWarning, match="models are kept in memory"):
            con.execute("CREATE MODEL m OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM t")
        rows = con.sql("SELECT predict('m', f) AS p, predict('m', f) = y AS same FROM t f ORDER BY x")
        assert [str(type) for type in rows.types] == ["VARCHAR", "BOOLEAN"]
        assert rows.fetchall()[0] == ("no", True) and rows.fetchall()[-1] == ("yes", True)


def test_unknown_options_and_model_types_name_the_nearest(con):
    cases = {
        "model_type = 'logistic_reg', l3_reg = 1": "no option 'l3_reg'; did you mean 'l2_reg'",
        "model_type = 'linear_reg', l3_reg = 1": "no option 'l3_reg'; did you mean 'l2_reg'",
        "model_type = 'linear'": "did you mean 'linear_reg'\\? .model types: boosted_tree_classifier, .*, ElasticNet, ",
        "model_type = 'logistic_regresion'": "no model type 'logistic_regresion'; did you mean 'LogisticRegression'",
    }
    for options, message in cases.items():
        with pytest.raises(UnknownName, match=message):
            con.execute(f"CREATE MODEL m OPTIONS ({options}, input_label_cols = ['y']) AS FROM t")


def test_drop_and_alter_if_exists(con):
    assert con.execute("DROP MODEL IF EXISTS m").fetchall() == []
    assert con.execute("ALTER MODEL IF EXISTS m RENAME TO n").fetchall() == []
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    assert con.execute("DROP MODEL m").fetchall() == [("m", None, "dropped")]
    with pytest.raises(UnknownName, match=r"no model 'm' \(there are no models yet\)"):
        con.execute("DROP MODEL m")


def test_training_runs_are_readable_from_another_connection_while_training(con):
    from dbml.passes.progress import Listener, listening

    seen = []

    class Look(Listener):
        def started(self, what):
            with con.cursor() as other:
                seen.extend(other.execute("SELECT model, type, status FROM ml.training_runs").fetchall())

    with listening(Look()):
        con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    assert seen == [("m", "LinearRegression", "running")]
    assert con.execute("SELECT status, version, n_rows FROM ml.training_runs").fetchall() == [("succeeded", 1, 60)]


def test_iterations_are_kept(con):
    con.execute("CREATE TABLE c AS SELECT i::DOUBLE AS x, (i * 7919 % 11) > 5 AS y FROM range(200) r(i)")
    con.execute("CREATE MODEL c OPTIONS (model_type = 'logistic_reg', input_label_cols = ['y']) AS FROM c")
    rows = con.execute("FROM ML.TRAINING_INFO(MODEL c)").fetchall()
    assert len(rows) >= 1
    assert all(row[2] is not None for row in rows)


def test_memory_limit_is_one_for_duckdb_and_dbml():
    from dbml.passes.memory import memory_budget, set_memory_limit

    try:
        with dbml.connect(memory_limit="1GB", threads=1) as con:
            assert con.sql("SELECT current_setting('memory_limit'), current_setting('threads')").fetchall() == [
                ("476.8 MiB", 1)
            ]
            assert memory_budget().total == 10**9
    finally:
        set_memory_limit(None)
    with pytest.raises(InvalidParameter, match="memory_limit must be bytes, a size such as '1GB'"):
        dbml.connect(memory_limit="much")


def test_functions_compute_within_the_limit_of_their_connection():
    from dbml.passes.memory import memory_budget, set_memory_limit
    from dbml.registry.functions import typed_function

    def budget(values):
        return pa.array([memory_budget().total] * len(values))

    try:
        with dbml.connect(memory_limit="1GB") as first, dbml.connect(memory_limit="2GB") as second:
            for con, total in ((first, 10**9), (second, 2 * 10**9)):
                name = typed_function(con.duckdb, budget, "BIGINT")
                for asked in (con, con.cursor(), con.duckdb):
                    found = asked.execute(f"SELECT DISTINCT {name}(i) FROM range(400_000) t(i)").fetchall()
                    assert found == [(total,)]
        with dbml.connect() as con:
            name = typed_function(con.duckdb, budget, "BIGINT")
            assert con.execute(f"SELECT {name}(1)").fetchall() == [(2 * 10**9,)]  # the limit of the process
    finally:
        set_memory_limit(None)
    with duckdb.connect() as raw, pytest.raises(InvalidParameter, match="memory_limit must be at least 64MiB"):
        dbml.register(raw, memory_limit=1)


def test_a_cursor_of_jupysql_is_the_connection_itself(con):
    cell = types.ModuleType("sql.connection.connection")
    exec("def cursor(con): return con.cursor()", vars(cell))
    con.execute("CREATE TEMP TABLE earlier_cell AS SELECT 1 AS a")
    assert cell.cursor(con).execute("FROM earlier_cell").fetchall() == [(1,)]
    with pytest.raises(duckdb.CatalogException):
        con.cursor().execute("FROM earlier_cell")


def test_a_read_only_database(database):
    with dbml.connect(database) as con:
        con.execute(f"CREATE TABLE t AS {ROWS}")
        con.execute(f"CREATE MODEL old {OPTIONS} AS FROM t")
    with dbml.connect(database, read_only=True) as con:
        assert con.sql("SELECT max(abs(predict('old', t) - y)) < 1e-6 FROM t").fetchall() == [(True,)]
        with pytest.warns(UserWarning, match="is open read-only: models are kept in memory"):
            con.execute(f"CREATE MODEL new {OPTIONS} AS FROM t")
        assert con.sql("SELECT max(abs(predict('new', t) - y)) < 1e-6 FROM t").fetchall() == [(True,)]
        assert con.models().project("name").order("name").fetchall() == [("new",), ("old",)]
        with pytest.raises(RegistryError, match=r"model 'old' was not dropped: the database is open read-only"):
            con.execute("DROP MODEL old")
        con.execute("DROP MODEL new")
    with dbml.connect(database) as con:
        assert con.models().project("name").fetchall() == [("old",)]


def test_statement_errors_show_the_place(con):
    with pytest.raises(StatementError, match=r"line 1, column \d+"):
        con.execute("CREATE MODEL m OPTIONS (model_type 'linear_reg') AS FROM t")


def test_connecting_warns_of_functions_of_the_same_name(raw):
    raw.create_function("predict", lambda *values: values[0], None, "VARCHAR")
    with pytest.warns(UserWarning, match="the connection has functions named predict already: they stay"):
        dbml.attach(raw).close()
    raw.remove_function("predict")


def test_two_connections_to_one_file(database):
    with dbml.connect(database) as one, warnings.catch_warnings():
        warnings.simplefilter("error")
        two, three = dbml.connect(database), dbml.connect(database)
        one.execute(f"CREATE TABLE t AS {ROWS}")
        one.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
        for closed, used in ((two, three), (one, three)):
            closed.close()
            assert used.duckdb.sql("SELECT count(predict('m', t)) FROM t").fetchall() == [(60,)]
        three.close()


def test_pandas_frames_of_the_caller_in_queries(con):
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert con.sql("SELECT sum(a) FROM frame").fetchall() == [(6,)]
    assert con.execute("SELECT sum(a) FROM frame").fetchall() == [(6,)]
    assert sys.getrefcount(frame) < 20


def test_a_result_that_is_not_read_to_its_end_is_not_lost(con):
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    con.execute("CREATE TABLE many AS FROM range(100_000)")
    con.execute("FROM many").fetchone()
    with pytest.raises(duckdb.Error, match="connection has an unfinished result"):
        con.sql("SELECT predict('m', t) FROM t")
    assert len(con.fetchall()) == 99_999


def test_errors_of_functions_are_errors_of_ours(con):
    con.execute(f"CREATE MODEL m {OPTIONS} AS FROM t")
    with pytest.raises(UnknownName, match=r"^no model 'k'"):
        con.execute("SELECT predict(['m', 'k'][1 + (x > 3)::INTEGER], x, g) FROM t")


def test_settings_of_duckdb_as_a_mapping_and_as_keywords():
    asked = "SELECT current_setting('threads'), current_setting('default_order')"
    for given in ({"config": {"threads": 1, "default_order": "desc"}}, {"threads": 1, "default_order": "desc"}):
        with dbml.connect(**given) as con:
            threads, order = con.execute(asked).fetchone()
            assert (threads, order.lower()) == (1, "desc")
