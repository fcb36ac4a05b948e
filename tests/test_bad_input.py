"""Bad input: a clear error that names it, and nothing lost."""

from contextlib import contextmanager

import duckdb
import numpy as np
import pytest
import scipy.sparse

import dbml
from dbml.errors import (
    DbmlError,
    ExhaustedMemory,
    InvalidData,
    InvalidParameter,
    NotFitted,
    RegistryError,
    StatementError,
    UnknownName,
    UnsupportedColumn,
)

LINEAR = "model_type = 'linear_reg', input_label_cols = ['y']"
LOGISTIC = "model_type = 'logistic_reg', input_label_cols = ['y']"


@contextmanager
def connected():
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE t AS SELECT i::DOUBLE AS x, (i % 3)::VARCHAR AS g, 2.0 * i AS y, i > 30 AS flag
            FROM range(60) r(i)"""
        )
        con.execute(f"CREATE MODEL good OPTIONS ({LINEAR}) AS SELECT x, g, y FROM t")
        yield con


def assert_nothing_is_lost(con):
    """The model that was there still is, and scores."""
    assert con.execute("SELECT name, version FROM ml.models").fetchall().count(("good", 1)) == 1
    assert con.execute("SELECT predict('good', 1.0, '1')").fetchall()[0][0] == pytest.approx(2.0, abs=1e-3)


@pytest.fixture
def con():
    with connected() as con:
        yield con
        assert_nothing_is_lost(con)


@pytest.fixture(scope="module")
def shared():
    with connected() as con:
        yield con


@pytest.fixture
def untouched(shared):
    """One connection for all statements that are refused, since they must leave no trace."""
    yield shared
    assert shared.execute("SELECT name, version FROM ml.models").fetchall() == [("good", 1)]
    assert shared.execute("SELECT name FROM (SHOW TABLES)").fetchall() == [("t",)]
    assert_nothing_is_lost(shared)


def create(con, options, query):
    con.execute(f"CREATE MODEL bad OPTIONS ({options}) AS {query}")


STATEMENTS = {
    "no such table": (LINEAR, "FROM tt", Exception, "Table with name tt does not exist"),
    "no such column": (LINEAR, "SELECT xx, y FROM t", Exception, '"xx" not found'),
    "no such label": (
        "model_type = 'linear_reg', input_label_cols = ['yy']",
        "SELECT x, y FROM t",
        UnknownName,
        r"model 'bad': the query has no column 'yy'; did you mean 'y'\? \(columns: x, y\)",
    ),
    "no label named": (
        "model_type = 'linear_reg'",
        "SELECT x, y FROM t",
        UnknownName,
        r"has no column 'label'; name the label with OPTIONS \(input_label_cols = \['…'\]\) \(columns: x, y\)",
    ),
    "two labels": (
        "model_type = 'linear_reg', input_label_cols = ['x', 'y']",
        "SELECT x, y FROM t",
        InvalidParameter,
        r"model 'bad': input_label_cols must name one column; got \['x', 'y'\]",
    ),
    "no model type": (
        "input_label_cols = ['y']",
        "FROM t",
        InvalidParameter,
        r"OPTIONS \(model_type = '…'\) must name the type of the model",
    ),
    "unknown model type": (
        "model_type = 'logistic_regression', input_label_cols = ['y']",
        "FROM t",
        UnknownName,
        r"no model type 'logistic_regression'; did you mean 'LogisticRegression'\? \(model types: ",
    ),
    "unknown option": (
        LINEAR + ", l2_regg = 1",
        "FROM t",
        UnknownName,
        r"model 'bad': .*no option 'l2_regg'",
    ),
    "unknown data option": (
        LINEAR + ", data_split_fraction = 0.5",
        "FROM t",
        UnknownName,
        "no option 'data_split_fraction'; did you mean 'data_split_eval_fraction'",
    ),
    "bad option value": (
        "model_type = 'lasso', input_label_cols = ['y'], alpha = -1",
        "FROM t",
        InvalidParameter,
        "model 'bad': Lasso: alpha must be a finite number >= 0; got -1",
    ),
    "bad split": (
        LINEAR + ", data_split_method = 'RANDON'",
        "FROM t",
        InvalidParameter,
        "data_split_method must be one of NO_SPLIT, AUTO_SPLIT, RANDOM, SEQ, CUSTOM; got 'RANDON'; did you mean 'RAN",
    ),
    "bad fraction": (
        LINEAR + ", data_split_method = 'RANDOM', data_split_eval_fraction = 20",
        "FROM t",
        InvalidParameter,
        "data_split_eval_fraction must be a number above 0 and below 1; got 20",
    ),
    "split without column": (
        LINEAR + ", data_split_method = 'SEQ'",
        "FROM t",
        InvalidParameter,
        "data_split_method = 'SEQ' needs data_split_col",
    ),
    "split by unknown column": (
        LINEAR + ", data_split_method = 'CUSTOM', data_split_col = 'flagg'",
        "FROM t",
        UnknownName,
        r"data_split_col = 'flagg' is no column of the query; did you mean 'flag'\?",
    ),
    "split by another type": (
        LINEAR + ", data_split_method = 'CUSTOM', data_split_col = 'x'",
        "FROM t",
        InvalidParameter,
        "data_split_col must be BOOLEAN for 'CUSTOM'; column 'x' is DOUBLE",
    ),
    "target all NULL": (LINEAR, "SELECT x, NULL::DOUBLE AS y FROM t", InvalidData, "'y'"),
    "one class": (
        LOGISTIC,
        "SELECT x, true AS y FROM t",
        InvalidData,
        "target 'y' of t has one class, True; a classifier needs at least 2",
    ),
    "fractions are no classes": (
        LOGISTIC,
        "SELECT x, x / 4 AS y FROM t",
        InvalidData,
        "target 'y' of t must hold classes, but holds 60 different numbers, fractions such as 0.25 among them. Use a",
    ),
    "decimal fractions are no classes": (LOGISTIC, "SELECT x, (x / 4)::DECIMAL(9, 2) AS y FROM t", InvalidData, "0.25"),
    "text target for a number": (LINEAR, "SELECT x, g || 'a' AS y FROM t", DbmlError, "'y'"),
    "no rows": (LINEAR, "SELECT x, y FROM t WHERE false", InvalidData, "row"),
    "all rows filtered": (LINEAR, "SELECT x, y FROM t WHERE x < -1", InvalidData, "row"),
    "no features": (LINEAR, "SELECT y FROM t", DbmlError, "column"),
    "no word in a text": (
        "model_type = 'MultinomialNB', input_label_cols = ['g'], text = ['body']",
        "SELECT '?! ...' AS body, g FROM t",
        InvalidData,
        r"no column is left to learn from \(no word of two letters or more in enough rows \(text_min_rows\): body\)",
    ),
    "more groups than rows": (
        "model_type = 'kmeans', num_clusters = 61",
        "SELECT x FROM t",
        InvalidData,
        "KMeans: n_clusters=61 must be at most the number of rows of t; got n_samples=60",
    ),
    "more components than columns": (
        "model_type = 'pca', num_principal_components = 2",
        "SELECT x FROM t",
        InvalidParameter,
        "PCA: n_components must be at most 1, which 1 terms of t have; got 2",
    ),
    "blob": (LINEAR, "SELECT x, 'a'::BLOB AS b, y FROM t", UnsupportedColumn, "b.*BLOB"),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_training_that_cannot_be(untouched, case):
    options, query, error, message = STATEMENTS[case]
    with pytest.raises(error, match=message):
        create(untouched, options, query)
    with pytest.raises(UnknownName):
        untouched.load_model("bad")


SYNTAX = {
    "CREATE MODEL": "expected the name of a model",
    "CREATE MODEL m": "expected OPTIONS",
    "CREATE MODEL m OPTIONS (model_type = 'linear_reg')": "expected AS and a query",
    "CREATE MODEL m OPTIONS (model_type = 'linear_reg') AS": "expected a query after AS",
    "CREATE MODEL m OPTIONS (a = 1, a = 2) AS FROM t": "option a is given twice",
    "CREATE MODEL a.b.c OPTIONS (model_type = 'linear_reg') AS FROM t": "name them model, or database.model",
    "CREATE TEMP MODEL m AS FROM t": "there are no temporary ones",
    "DROP MODEL": "expected the name of a model",
    "ALTER MODEL good FLY": "expected RENAME TO name, SET ALIAS",
    "FROM ML.PREDICTT(MODEL good, TABLE t)": "no function ML.PREDICTT",
    "SELECT predict('good', x, g, y) FROM t": r"good takes a row by its alias or 2 columns \(x, g\); 3 given",
    "SELECT predict('good', t, {'threshold': 0.5}) FROM t": "takes no threshold",
    "SELECT predict_proba('good', t) FROM t": "without probabilities",
}


@pytest.mark.parametrize("text", SYNTAX)
def test_a_statement_that_is_not_well_formed(untouched, text):
    with pytest.raises(StatementError, match=SYNTAX[text]):
        untouched.execute(text)


NAMES = {
    "SELECT predict('goood', t) FROM t": r"no model 'goood'; did you mean 'good'\? \(models: good\)",
    "FROM ML.PREDICT(MODEL nope, TABLE t)": r"no model 'nope' \(models: good\)",
    "SELECT predict('good@9', t) FROM t": r"model 'good' has no version 9 \(versions: 1\)",
    "DROP MODEL goood": "no model 'goood'; did you mean 'good'",
    "DROP MODEL good@9": "model 'good' has no version 9",
    "ALTER MODEL good ROLLBACK TO VERSION 4": "model 'good' has no version 4",
    "ALTER MODEL good DROP ALIAS best": "model 'good' has no alias 'best'",
}


@pytest.mark.parametrize("text", NAMES)
def test_what_does_not_exist_is_named_with_the_nearest(untouched, text):
    with pytest.raises(UnknownName, match=NAMES[text]):
        untouched.execute(text)


def test_one_value_is_no_row(untouched):
    message = (
        "model 'good' takes a row by its alias, or its 2 columns in the order x, g; got one value, which is no row"
    )
    for column in ("x", "t.g"):
        for run in (untouched.execute, untouched.sql):
            with pytest.raises(StatementError, match=message):
                run(f"SELECT predict('good', {column}) FROM t")


def test_an_error_does_not_show_a_line_that_nobody_wrote(con):
    for text in ("SELECT predict('good', u) FROM t", "FROM ML.PREDICT(MODEL good, TABLE u)"):
        with pytest.raises(duckdb.Error, match=r"u.* (not found|does not exist)") as raised:
            con.execute(text)
        assert "LINE" not in str(raised.value)
    with pytest.raises(duckdb.Error, match=r"LINE 1: SELECT z AS model FROM t"):
        con.execute("SELECT z AS model FROM t")


def test_changes_that_cannot_be(con):
    with pytest.raises(RegistryError, match="'good@1' cannot be rolled back: there is no older version"):
        con.execute("ALTER MODEL good ROLLBACK")
    con.execute(
        "CREATE MODEL other OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT x, y FROM t"
    )
    with pytest.raises(RegistryError, match="model 'other' cannot be renamed: there is a model 'good' already"):
        con.execute("ALTER MODEL other RENAME TO Good")
    with pytest.raises(StatementError, match="must not start with proba_"):
        con.execute("ALTER MODEL other RENAME TO proba_x")
    with pytest.raises(InvalidParameter, match="must not start with proba_"):
        con.save_model("proba_x", con.load_model("other"))
    with pytest.raises(NotFitted, match="LinearRegression"):
        con.save_model("empty", dbml.LinearRegression())


def test_one_row_trains_or_says_why(con):
    con.execute(f"CREATE MODEL single OPTIONS ({LINEAR}) AS SELECT x, y FROM t WHERE x = 7")
    assert con.execute("SELECT predict('single', 7.0)").fetchone()[0] == pytest.approx(14.0)
    with pytest.raises(InvalidData, match="at least 2 classes"):
        create(con, LOGISTIC, "SELECT x, flag AS y FROM t WHERE x = 7")


def test_constant_duplicated_and_empty_columns(con):
    con.execute(
        f"""CREATE MODEL odd OPTIONS ({LINEAR}) AS
        SELECT x, x AS again, 5.0 AS constant, NULL::DOUBLE AS empty, NULL::VARCHAR AS nothing, y FROM t"""
    )
    worst = con.execute(
        """SELECT max(abs(predicted_y - y)) FROM ML.PREDICT(MODEL odd,
        (SELECT x, x AS again, 5.0 AS constant, NULL::DOUBLE AS empty, NULL::VARCHAR AS nothing, y FROM t))"""
    ).fetchone()[0]
    assert worst < 1e-6


STRANGE = ['quo"te', "it's", "a.b", "a b", "select", "Größe", "😀", "x; DROP TABLE t; --", "$1", "%", "?"]


def test_names_of_columns_tables_and_models(con):
    columns = ", ".join('x * {} + 1 AS "{}"'.format(i + 1, name.replace('"', '""')) for i, name in enumerate(STRANGE))
    for name in STRANGE:
        quoted = '"' + name.replace('"', '""') + '"'
        con.execute(f"CREATE TABLE {quoted} AS SELECT {columns}, y FROM t")
        con.execute(f"CREATE MODEL {quoted} OPTIONS ({LINEAR}) AS FROM {quoted}")
        text = name.replace("'", "''")
        for query in (
            f"SELECT max(abs(predict('{text}', s) - y)) FROM {quoted} s",
            f"SELECT max(abs(predicted_y - y)) FROM ML.PREDICT(MODEL {quoted}, TABLE {quoted})",
        ):
            assert con.execute(query).fetchone()[0] < 1e-6, (name, query)
        assert con.duckdb.execute(f"SELECT max(abs(predict('{text}', s) - y)) FROM {quoted} s").fetchone()[0] < 1e-6
        assert con.load_model(name).predict(con.table(quoted)).columns[-1] == "predicted_y"
    for name in STRANGE:
        con.execute('DROP MODEL "{}"'.format(name.replace('"', '""')))
    assert con.models().aggregate("count(*)").fetchall() == [(1,)]


def test_a_column_dropped_renamed_or_retyped_since_training(con):
    model = con.load_model("good")
    missing = "'g', which the rows do not have"
    for query in ("SELECT x FROM t", "SELECT x, g AS h FROM t"):
        with pytest.raises(UnknownName, match=missing):
            model.predict(con.sql(query))
    with pytest.raises(UnknownName, match=missing):
        con.execute("FROM ML.PREDICT(MODEL good, (SELECT x FROM t))")
    with pytest.raises(DbmlError, match="'g'"):
        model.predict(con.sql("SELECT x FROM t").to_arrow_table())
    # Another type is cast, and what cannot be cast is missing.
    for retyped in ("x::VARCHAR AS x, g::INTEGER AS g", "x::DECIMAL(9, 2) AS x, g::HUGEINT AS g", "x::INTEGER AS x, g"):
        other = f"(SELECT x AS k, {retyped} FROM t)"
        worst = f"max(abs(predict('good', s.x, s.g) - predict('good', f.x, f.g))) FROM t f JOIN {other} s ON f.x = s.k"
        assert con.execute(f"SELECT {worst}").fetchone()[0] < 1e-9, retyped
        assert con.duckdb.execute(f"SELECT {worst}").fetchone()[0] < 1e-9, retyped
    words = con.execute("SELECT predict('good', 'not a number', '1') = predict('good', NULL, '1')").fetchall()
    assert words == [(True,)]


def test_arrays_that_cannot_be_learned_from():
    with pytest.raises(InvalidData):
        dbml.LinearRegression().fit(np.zeros((0, 2)), np.zeros(0))
    with pytest.raises(InvalidData, match="X must be a DuckDB relation, a table name or SQL with con=, an Arrow table"):
        dbml.LinearRegression().fit(object(), [1.0])


OPTIONS = {
    "input_label_cols = 5": (InvalidParameter, r"input_label_cols must name one column; got \[5\]"),
    "input_label_cols = ['y'], exclude = 5": (InvalidParameter, "exclude must be a list of column names; got 5"),
    "input_label_cols = ['y'], sample_weight_col = 'zero'": (InvalidData, "'zero' must have a positive weight"),
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_another_kind(untouched, options):
    error, message = OPTIONS[options]
    with pytest.raises(error, match=message):
        create(untouched, f"model_type = 'linear_reg', {options}", "SELECT x, y, 0 AS zero FROM t")


def test_text_is_not_true(con):
    with pytest.raises(InvalidParameter, match="auto_class_weights must be TRUE or FALSE; got 'false'"):
        create(con, LOGISTIC + ", auto_class_weights = 'false'", "SELECT x, flag AS y FROM t")
    con.execute(f"CREATE MODEL two OPTIONS ({LOGISTIC}) AS SELECT x, flag AS y FROM t")
    with pytest.raises(StatementError, match="threshold must be a number between 0 and 1"):
        con.execute("FROM ML.PREDICT(MODEL two, TABLE t, STRUCT('a' AS threshold))")


@pytest.mark.parametrize("kind", ["LinearRegression", "Ridge", "Lasso", "LogisticRegression", "SGDClassifier"])
def test_values_that_overflow_are_named(untouched, kind):
    label = "flag" if "Class" in kind or "Logistic" in kind else "y"
    with pytest.raises(InvalidData, match=f"{kind}: values of t are too large to be squared.* in x"):
        getattr(dbml, kind)().fit(untouched.sql(f"SELECT x * 1e300 AS x, {label} FROM t"), y=label)


def test_squares_that_overflow(untouched):
    rows = untouched.sql("SELECT CASE WHEN x % 2 = 0 THEN -1e300 ELSE 1e300 END AS x, y FROM t")
    for kind in (dbml.LinearRegression, dbml.Lasso):
        with pytest.raises(InvalidData, match="the sum of their squares must be below"):
            kind().fit(rows, y="y")


@pytest.mark.parametrize("kind", ["LinearRegression", "LinearSVR", "PoissonRegressor", "HuberRegressor"])
def test_a_target_that_overflows(con, kind):
    con.execute("CREATE TABLE vast AS SELECT x, 1e300 * (x + 1) AS y FROM t")
    for rows in (con.table("vast"), con.sql("FROM vast LIMIT 50")):
        with pytest.raises(InvalidData, match="the target 'y' must be within 1e\\+150"):
            getattr(dbml, kind)().fit(rows, y="y")


def test_a_column_called_rowid_is_a_column(con):
    con.execute(
        "CREATE TABLE numbered AS SELECT sin(i) AS rowid, i % 7 AS c0, 3 * sin(i) + i % 7 AS y FROM range(99) r(i)"
    )
    model = dbml.LinearRegression().fit(con.table("numbered"), y="y")
    assert model.feature_names_in_.tolist() == ["rowid", "c0"]
    np.testing.assert_allclose(model.coef_, [3.0, 1.0], rtol=1e-9)
    con.execute("UPDATE numbered SET rowid = rowid * 1000")
    assert len(model.predict(con.table("numbered"))) == 99


def test_tables_of_the_registry_are_not_proposed(untouched):
    with pytest.raises(UnknownName, match=r"no table 'model' \(tables: t\)"):
        dbml.LinearRegression().fit("model", y="y", con=untouched)


def test_nothing_but_the_target(untouched):
    with pytest.raises(InvalidData, match="there is none besides target and weights"):
        dbml.LinearRegression().fit(untouched.sql("SELECT y FROM t"), y="y")


def test_what_is_no_estimator_is_not_saved(untouched):
    with pytest.raises(InvalidParameter, match="model 'm' must be a fitted estimator of dbml; got object"):
        untouched.save_model("m", object())


@pytest.mark.parametrize("table", ["model_versions", "features"])
def test_a_model_whose_rows_are_missing(con, table):
    con.execute(f"CREATE MODEL hurt OPTIONS ({LINEAR}) AS SELECT x, y FROM t")
    con.execute(
        f"DELETE FROM ml.{table} WHERE model_id = (SELECT model_id FROM ml.registered_models WHERE name = 'hurt')"
    )
    for query in (
        "SELECT predict('hurt', t) FROM t",
        "FROM ML.WEIGHTS(MODEL hurt)",
        "FROM ML.FEATURE_INFO(MODEL hurt)",
    ):
        with pytest.raises(RegistryError, match="'hurt@1' is damaged: rows of it are missing"):
            con.execute(query)
    con.execute(f"CREATE OR REPLACE MODEL hurt OPTIONS ({LINEAR}) AS SELECT x, y FROM t")
    assert con.execute("SELECT predict('hurt', 1.0)").fetchone()[0] == pytest.approx(2.0)


def test_more_arrays_that_cannot_be_learned_from():
    X = np.arange(6.0).reshape(3, 2)
    with pytest.raises(InvalidData, match="all rows of one length"):
        dbml.LinearRegression().fit([[1.0], [2.0, 3.0]], [1.0, 2.0])
    with pytest.raises(InvalidData, match="labels that fit in 64 bits"):
        dbml.LogisticRegression().fit(X, np.array([2**64, 1, 2], object))
    with pytest.raises(InvalidParameter, match="no encoding option 'foo'"):
        dbml.LinearRegression().fit(X, [1.0, 2.0, 3.0], options={"foo": 1})


NO_QUERIES = {"DROP TABLE t": "DROP", "DELETE FROM t": "DELETE", "WITH a AS (FROM t) INSERT INTO t FROM a": "INSERT"}


@pytest.mark.parametrize("text", NO_QUERIES)
def test_a_training_changes_no_table(untouched, text):
    message = rf"model 'bad': the rows must come from one query \(SELECT, FROM, WITH, …\); got {NO_QUERIES[text]}"
    with pytest.raises(InvalidParameter, match=message):
        create(untouched, LINEAR, text)
    with pytest.raises(InvalidParameter, match=message):
        untouched.execute(f"EXPLAIN CREATE MODEL bad OPTIONS ({LINEAR}) AS {text}")
    options = "{'model_type': 'linear_reg', 'input_label_cols': ['y']}"
    with pytest.raises(Exception, match=message):
        untouched.execute(f"SELECT train_model('bad', '{text}', {options})")
    assert untouched.execute("SELECT count(*) FROM t").fetchone() == (60,)
    for empty in ("''", "NULL", "'FROM t; DROP TABLE t'"):
        with pytest.raises(Exception, match="the rows must come from one query"):
            untouched.execute(f"SELECT train_model('bad', {empty}, {options})")
    assert untouched.execute("SELECT count(*) FROM t").fetchone() == (60,)


def test_an_option_of_other_model_types_is_said_to_be_one(untouched):
    statement = (
        "CREATE MODEL bad OPTIONS (model_type = 'linear_reg', input_label_cols = ['y'], {}) AS SELECT x, y FROM t"
    )
    with pytest.raises(
        UnknownName, match="LinearRegression has no option 'max_iterations'; that is one of ElasticNet, "
    ):
        untouched.execute(statement.format("max_iterations = 3"))
    with pytest.raises(UnknownName, match=r"no option 'frobnicate' \(options: fit_intercept, l1_reg"):
        untouched.execute(statement.format("frobnicate = 3"))
    with pytest.raises(UnknownName, match=r"\(options: auto_class_weights, C, class_weight,"):
        untouched.execute(statement.format("frobnicate = 3").replace("linear_reg", "logistic_reg"))


# What would not fit in memory is refused before it is taken, with the option that makes it so large.
HUGE = {
    "RBFSampler": (
        "n_components = 1000000000000",
        "random directions take .*: lower n_components, or raise memory_limit",
    ),
    "nmf": ("n_components = 100000000000", "NMF: 100,000,000,000 components take"),
    "minibatch_nmf": ("n_components = 10000000", "MiniBatchNMF: 10,000,000 components take"),
    "dictionary_learning": ("n_components = 1000000", "1,000,000 atoms take .*: lower n_components"),
    "k_bins_discretizer": ("n_bins = 1000000000", "1,000,000,000 bins take .*: lower n_bins"),
    "kmeans": ("num_clusters = 1000000000000", "KMeans: the sums of 1,000,000,000,000 centres"),
    "dnn_regressor": (
        "hidden_units = [1000000000], input_label_cols = ['y']",
        "1,000,000,000 weights between hidden layers take .*: take fewer hidden units",
    ),
    "matrix_factorization": (
        "num_factors = 1000000, user_col = 'x', item_col = 'y', rating_col = 'r'",
        "equations of 1,000,000 factors take .*: lower n_factors",
    ),
}


@pytest.mark.parametrize("model_type", HUGE)
def test_what_cannot_fit_is_refused_before_it_is_taken(untouched, model_type):
    options, words = HUGE[model_type]
    query = "SELECT x, y, 1.0 AS r FROM t" if model_type == "matrix_factorization" else "SELECT x, y FROM t"
    query = "SELECT x FROM t" if model_type == "k_bins_discretizer" else query
    with pytest.raises(ExhaustedMemory, match=words):
        create(untouched, f"model_type = '{model_type}', {options}", query)


def test_more_landmarks_than_rows_are_all_rows(con):
    with pytest.warns(dbml.errors.DbmlWarning, match="t has 60 different rows: there is a component for each"):
        create(con, "model_type = 'Nystroem', n_components = 1000000000", "SELECT x FROM t")
    con.execute("DROP MODEL bad")


@pytest.mark.parametrize("kind", ["LinearRegression", "LogisticRegression", "GaussianNB", "PoissonRegressor"])
@pytest.mark.parametrize("sparse", [False, True])
def test_score_of_an_array_needs_the_true_values(kind, sparse):
    X = np.arange(20.0).reshape(10, 2)
    model = getattr(dbml, kind)().fit(X, np.arange(10) % 2)
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    with pytest.raises(InvalidData, match="y must be passed where X is an array, which has no column 'y': score and"):
        model.score(rows)


def test_score_of_a_classifier_needs_a_label_for_each_row():
    X = np.arange(20.0).reshape(10, 2)
    model = dbml.LogisticRegression().fit(X, np.arange(10) % 2)
    with pytest.raises(InvalidData, match="LogisticRegression: y must have a label for each row of X; got 3 of 10"):
        model.score(X, [0, 1, 0])
