"""The SQL functions on a plain DuckDB connection: one return type each, and never a silent cast."""

import gc
import weakref

import duckdb
import pytest

import dbml
from dbml.registry.store import load_model

ERROR = duckdb.InvalidInputException


@pytest.fixture
def registered(raw):
    """A plain connection with a table and the functions, without a model."""
    raw.execute(
        """CREATE TABLE t AS SELECT i::DOUBLE AS x, ['a', 'b', NULL][1 + i % 3] AS g, 2.0 * i AS y, i > 30 AS flag,
        CASE WHEN i > 30 THEN 'yes' ELSE 'no' END AS word, (i > 30)::INTEGER AS one FROM range(60) r(i)"""
    )
    assert dbml.register(raw) is raw
    return raw


@pytest.fixture
def con(registered):
    with dbml.attach(registered) as attached:
        for label, type in (
            ("y", "linear_reg"),
            ("flag", "logistic_reg"),
            ("word", "logistic_reg"),
            ("one", "LinearSVC"),
        ):
            attached.execute(
                f"CREATE MODEL {label}_model OPTIONS (model_type = '{type}', input_label_cols = ['{label}']) AS "
                f"SELECT x, g, {label} FROM t"
            )
        yield registered


def one(con, query):
    return con.execute(query).fetchall()[0][0]


def test_types_are_fixed(con):
    calls = ("predict('y_model', t)", "predict_label('word_model', t)", "predict_proba('flag_model', t)")
    types = ", ".join(f"typeof({call})" for call in calls)
    assert con.execute(f"SELECT {types} FROM t LIMIT 1").fetchall() == [("DOUBLE", "VARCHAR", "MAP(VARCHAR, DOUBLE)")]


def test_numbers_of_every_kind_of_label_that_is_one(con):
    assert one(con, "SELECT max(abs(predict('y_model', t) - y)) < 1e-6 FROM t")
    assert one(con, "SELECT count(*) FROM t WHERE predict('flag_model', t)") == 29
    assert one(con, "SELECT list_sort(list(DISTINCT predict('one_model', t))) FROM t") == [0.0, 1.0]


def test_text_labels_are_never_cast_silently(con):
    assert one(con, "SELECT count(*) FROM t WHERE predict_label('word_model', t) = word") >= 58
    with pytest.raises(
        ERROR, match=r"labels of model 'word_model' are text \('no', 'yes'\): use predict_label\('word_model'"
    ):
        con.execute("SELECT avg(predict('word_model', t)) FROM t")
    with pytest.raises(ERROR, match="model 'y_model' predicts numbers and has no labels: use predict"):
        con.execute("SELECT predict_label('y_model', t) FROM t")


def test_labels_of_any_type_as_text(con):
    assert one(con, "SELECT list_sort(list(DISTINCT predict_label('flag_model', t))) FROM t") == ["false", "true"]
    assert one(con, "SELECT list_sort(list(DISTINCT predict_label('one_model', t))) FROM t") == ["0", "1"]


def test_probabilities_by_label(con):
    assert one(con, "SELECT avg(predict_proba('flag_model', t)['true']) FROM t") == pytest.approx(29 / 60, abs=0.02)
    assert one(con, "SELECT max(abs(list_sum(map_values(predict_proba('word_model', t))) - 1)) < 1e-12 FROM t")
    assert one(con, "SELECT predict_proba('flag_model', t)['no such label'] FROM t LIMIT 1") is None
    with pytest.raises(ERROR, match="model 'one_model' is a LinearSVC, which has no probabilities: use predict"):
        con.execute("SELECT predict_proba('one_model', t) FROM t")


def test_rows_match_by_name_and_columns_by_order(con):
    by_row = "SELECT predict('y_model', s) FROM (SELECT 'extra' AS e, g, X FROM t) s ORDER BY x"
    by_column = "SELECT predict('y_model', x, g) FROM t ORDER BY x"
    assert con.execute(by_row).fetchall() == con.execute(by_column).fetchall()
    packed = "SELECT predict('y_model', {'g': g, 'x': x}) FROM t ORDER BY x"
    assert con.execute(packed).fetchall() == con.execute(by_column).fetchall()


def test_null_rows_and_values_are_scored(con):
    missing = one(con, "SELECT predict('y_model', NULL, NULL)")
    assert missing is not None
    assert one(con, "SELECT predict('y_model', {'x': NULL::DOUBLE, 'g': NULL::VARCHAR})") == missing
    outer = "SELECT predict('y_model', s) FROM range(1) r(i) LEFT JOIN (SELECT x, g FROM t WHERE x < 0) s ON true"
    assert one(con, outer) == missing


def test_functions_of_a_model_go_with_their_connection(raw):
    raw.execute("CREATE TABLE points AS SELECT i::DOUBLE AS x, i % 3 AS y FROM range(30) r(i)")
    model = dbml.KNeighborsRegressor().fit(raw.table("points"), "y")  # no form: scored by a function
    for _ in range(2):
        with dbml.attach(raw) as con:
            assert len(model.predict(con.table("points")).fetchall()) == 30
    with dbml.attach(raw) as con, con.cursor() as cursor:
        assert len(model.predict(cursor.table("points")).fetchall()) == 30
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_no_rows(con):
    assert (
        con.execute("SELECT predict('y_model', t), predict_proba('flag_model', t) FROM t WHERE x < 0").fetchall() == []
    )


def test_the_model_may_differ_from_row_to_row(con):
    query = "SELECT predict(['y_model', 'flag_model'][1 + x::INTEGER % 2], x, g) FROM t ORDER BY x"
    mixed = [value for (value,) in con.execute(query).fetchall()]
    numbers = [v for (v,) in con.execute("SELECT predict('y_model', x, g) FROM t ORDER BY x").fetchall()]
    flags = [v for (v,) in con.execute("SELECT predict('flag_model', x, g) FROM t ORDER BY x").fetchall()]
    assert mixed == [flags[i] if i % 2 else numbers[i] for i in range(60)]


def test_threshold(con):
    expected = one(con, "SELECT count(*) FROM t WHERE predict_proba('flag_model', t)['true'] > 0.9")
    assert one(con, "SELECT sum(predict('flag_model', t, {'threshold': 0.9})) FROM t") == expected
    assert one(con, "SELECT sum(predict('flag_model', x, g, {'threshold': 0.9})) FROM t") == expected
    assert one(con, "SELECT count(*) FROM t WHERE predict_label('word_model', t, {'threshold': 0.9}) = 'yes'") < 30
    with pytest.raises(ERROR, match=r"threshold must be a number between 0 and 1; got 7\.0"):
        con.execute("SELECT predict('flag_model', t, {'threshold': 7}) FROM t")
    with pytest.raises(ERROR, match="model 'y_model' takes no threshold"):
        con.execute("SELECT predict('y_model', t, {'threshold': 0.5}) FROM t")


def test_a_new_version_is_seen_at_once(con):
    assert one(con, "SELECT predict('y_model', 10.0, 'a')") == pytest.approx(20.0, abs=0.1)
    with dbml.attach(con.cursor()) as other:
        other.execute(
            "CREATE OR REPLACE MODEL y_model OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS "
            "SELECT x, g, 5 * x AS y FROM t"
        )
    assert one(con, "SELECT predict('y_model', 10.0, 'a')") == pytest.approx(50.0, abs=0.1)
    assert one(con, "SELECT predict('y_model@1', 10.0, 'a')") == pytest.approx(20.0, abs=0.1)


def test_errors_say_what_to_do(con):
    for query, message in {
        "predict('y_modle', t)": r"no model 'y_modle'; did you mean 'y_model'\?",
        "predict('y_model@7', t)": r"model 'y_model' has no version 7 \(versions: 1\)",
        "predict('y_model', {'g': 'a'})": r"model 'y_model' needs a column 'x', which the rows do not have",
        "predict('y_model', x)": "takes a row by its alias, or its 2 columns in the order x, g; got 1 values",
        "predict(3, t)": r"expected predict\('model', row\)",
        "predict('y_model')": r"expected predict\('model', row\)",
        "predict(NULL, t)": r"expected predict\('model', row\)|name of the model must not be NULL",
    }.items():
        with pytest.raises(ERROR, match=message):
            con.execute(f"SELECT {query} FROM t")


@pytest.mark.parametrize(
    ("options", "attribute", "expected"),
    [
        ("'model_type': 'Lasso', 'input_label_cols': ['y'], 'alpha': 0.5", "alpha", 0.5),
        ("'model_type': 'ridge', 'input_label_cols': ['y'], 'l2_reg': 0.25", "alpha", 0.25),
        ("'model_type': 'Lasso', 'input_label_cols': ['y'], 'alpha': 2, 'max_iter': 50.", "max_iter", 50),
        (
            "'model_type': 'logistic_reg', 'input_label_cols': ['b'], 'class_weights': {'true': 2.5, 'false': 1}",
            "class_weight",
            {"true": 2.5, "false": 1.0},
        ),
        (
            "'model_type': 'logistic_reg', 'input_label_cols': ['b'], 'class_weights': [('true', 2.5), ('false', 1)]",
            "class_weight",
            {"true": 2.5, "false": 1.0},
        ),
    ],
)
def test_options_of_train_model_in_the_types_of_duckdb(registered, options, attribute, expected):
    label = "y" if "'y'" in options else "y > 50 AS b"
    registered.execute(f"SELECT train_model('plain', 'SELECT x, {label} FROM t', {{{options}}})")
    assert load_model(registered, "plain").get_params()[attribute] == expected


def test_options_of_train_model_as_a_map(registered):
    options = "MAP {'model_type': 'linear_reg', 'input_label_cols': 'y'}"
    assert one(registered, f"SELECT train_model('plain', 'SELECT x, y FROM t', {options})")["version"] == 1


def test_train_model_from_a_plain_connection(registered):
    options = "{'model_type': 'linear_reg', 'input_label_cols': ['y']}"
    made = one(registered, f"SELECT train_model('plain', 'SELECT x, y FROM t', {options})")
    assert (made["model"], made["version"], made["rows"]) == ("plain", 1, 60)
    assert one(registered, "SELECT predict('plain', 10.0)") == pytest.approx(20.0)
    assert one(registered, "SELECT ml.predict_plain(10.0)") == pytest.approx(20.0)
    assert one(registered, f"SELECT train_model('plain', 'SELECT x, y FROM t', {options})")["version"] == 2
    for call, message in {
        f"train_model('plain', 'SELECT x FROM nowhere', {options})": "Table with name nowhere does not exist",
        "train_model('plain', 'SELECT x, y FROM t', {'model_type': 'linear_re'})": r"did you mean 'linear_reg'\?",
        "train_model('plain', 'SELECT x, y FROM t')": r"expected train_model\('name', 'SELECT",
        "train_model('plain', 'SELECT x, y FROM t', 'linear_reg')": "options must be a STRUCT",
    }.items():
        with pytest.raises(ERROR, match=message):
            registered.execute(f"SELECT {call}")
    assert one(registered, "SELECT version FROM ml.models WHERE name = 'plain'") == 2


def test_a_model_without_a_form_is_scored_by_functions(con, monkeypatch):
    from dbml.estimators.logistic_regression import LogisticRegression

    monkeypatch.setattr(LogisticRegression, "form", lambda self: None)
    attached = dbml.attach(con)
    attached.execute(
        "CREATE MODEL formless OPTIONS (model_type = 'logistic_reg', input_label_cols = ['word']) AS "
        "SELECT x, g, word FROM t"
    )
    assert one(con, "SELECT count(*) FROM duckdb_functions() WHERE function_name = 'predict_formless'") == 0
    right = "count(*) FILTER (predicted_word = word) >= 58"
    model = attached.load_model("formless")
    assert model.predict(attached.table("t")).aggregate(right).fetchall() == [(True,)]
    total = "abs(predicted_word_probs[1].prob + predicted_word_probs[2].prob - 1)"
    probs = model.predict_proba(attached.table("t")).aggregate(f"max({total}) < 1e-12")
    assert probs.fetchall() == [(True,)]
    assert model.decision_function(attached.table("t")).columns[-1] == "decision_function"
    assert attached.sql(f"SELECT {right} FROM ML.PREDICT(MODEL formless, TABLE t)").fetchall() == [(True,)]
    assert attached.sql("SELECT count(*) >= 58 FROM t WHERE predict('formless', t) = word").fetchall() == [(True,)]


OPTIONS = "{'model_type': 'linear_reg', 'input_label_cols': ['z']}"


def test_the_text_of_a_training_calls_models(con):
    text = "SELECT x, predict(''y_model'', t) * 2 AS z FROM t"
    made = one(con, f"SELECT train_model('on_top', '{text}', {OPTIONS})")
    assert made["rows"] == 60
    assert one(con, "SELECT predict('on_top', 10.0)") == pytest.approx(40.0, abs=0.1)
    whole = "SELECT x, predicted_y AS z FROM ML.PREDICT(MODEL y_model, TABLE t)"
    one(con, f"SELECT train_model('whole', '{whole}', {OPTIONS})")
    assert one(con, "SELECT predict('whole', 10.0)") == pytest.approx(20.0, abs=0.1)
    with pytest.raises(ERROR, match="no model 'y_modle'; did you mean 'y_model'"):
        con.execute(f"SELECT train_model('whole', 'SELECT x, predict(''y_modle'', t) AS z FROM t', {OPTIONS})")
    with pytest.raises(ERROR, match=r"StatementError: no function ML\.PREDCIT"):
        con.execute(f"SELECT train_model('whole', 'FROM ML.PREDCIT(MODEL y_model, TABLE t)', {OPTIONS})")


def test_the_text_of_a_training_calls_models_without_macros(con):
    options = "{'model_type': 'knn_regressor', 'input_label_cols': ['y'], 'n_neighbors': 1}"
    one(con, f"SELECT train_model('near', 'SELECT x, y FROM t', {options})")
    text = "SELECT x, predict(''near'', x) AS z FROM t"
    one(con, f"SELECT train_model('over_near', '{text}', {OPTIONS})")
    assert one(con, "SELECT predict('over_near', 10.0)") == pytest.approx(20.0)
    assert one(con, "SELECT add_rows('near', 'SELECT 100 + x AS x, predict(''near'', x) AS y FROM t LIMIT 3')") == 3
    assert one(con, "SELECT predict('near', 101)") == pytest.approx(2.0)


# Functions and macros of the person's with names of ours -----------------------------------------------------------

NAMES = ("predict", "predict_label", "predict_proba", "transform", "add_rows", "train_model")


def with_models(raw):
    raw.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(30) r(i)")
    con = dbml.attach(raw)
    for name, type in (("line", "linear_reg"), ("near", "knn_regressor")):
        con.execute(f"CREATE MODEL {name} OPTIONS (model_type = '{type}', input_label_cols = ['y']) AS FROM t")
    return con


def check_models(con):
    for call in ("predict('line', t)", "predict('near', t)"):
        assert con.sql(f"SELECT max(abs({call} - y)) < 5 FROM t").fetchall() == [(True,)]
    for name in ("line", "near"):
        query = f"SELECT max(abs(predicted_y - y)) < 5 FROM ML.PREDICT(MODEL {name}, TABLE t)"
        assert con.sql(query).fetchall() == [(True,)]


def test_a_function_of_the_persons_stays_theirs(raw):
    raw.create_function("predict", lambda x: x + 1000, ["DOUBLE"], "DOUBLE")
    with pytest.warns(dbml.errors.DbmlWarning, match="has functions named predict already: they stay"):
        con = with_models(raw)
    with con:
        assert con.sql("SELECT predict(1), predict('2')").fetchall() == [(1001.0, 1002.0)]
        check_models(con)
        with con.cursor() as cursor:
            assert cursor.sql("SELECT predict(1)").fetchall() == [(1001.0,)]
            check_models(cursor)
    assert raw.sql("SELECT predict(1)").fetchall() == [(1001.0,)]
    raw.remove_function("predict")
    with dbml.attach(raw):
        assert abs(raw.sql("SELECT predict('near', 10)").fetchall()[0][0] - 20) < 5


def test_macros_of_the_persons_stay_theirs(raw):
    for name in NAMES:
        arguments = "(a, b, c)" if name == "train_model" else "(a, b)"
        raw.execute(f"CREATE MACRO {name}{arguments} AS a || '-' || b")
    with pytest.warns(dbml.errors.DbmlWarning, match=f"functions named {', '.join(NAMES)} already"):
        con = with_models(raw)
    with con:
        for name in NAMES:
            more = ", 2" if name == "train_model" else ""
            assert con.sql(f"SELECT {name}('z', 1{more})").fetchall() == [("z-1",)]
        assert con.sql("SELECT main.predict('line', 1)").fetchall() == [("line-1",)]
        assert con.sql("SELECT add_rows('near', 'FROM t LIMIT 2')").fetchall() == [(2,)]
        check_models(con)
        assert con.sql("SELECT count(*) FROM ML.NEIGHBORS(MODEL near, TABLE t, k => 2)").fetchall() == [(60,)]
    assert raw.sql("SELECT predict('line', 1)").fetchall() == [("line-1",)]


def test_macros_that_the_person_makes_later(raw):
    with with_models(raw) as con:
        con.execute("CREATE MACRO predict(a, b) AS a || '-' || b")
        con.execute("CREATE TEMP MACRO transform(a) AS a + 1")
        assert con.sql("SELECT predict('z', 1), transform(1)").fetchall() == [("z-1", 2)]
        check_models(con)


def test_a_function_under_a_name_of_ours_is_refused(raw):
    with with_models(raw) as con:
        with pytest.raises(dbml.errors.InvalidParameter, match="create_function: 'predict' is one of dbml's functions"):
            con.create_function("predict", lambda x: x, ["DOUBLE"], "DOUBLE")
        con.create_function("plus_one", lambda x: x + 1, ["DOUBLE"], "DOUBLE")
        assert con.sql("SELECT plus_one(1)").fetchall() == [(2.0,)]
        check_models(con)
