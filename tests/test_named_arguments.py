"""Named arguments of the ML functions: a value that is none, and a name that does not exist, are told in our words."""

import duckdb
import pytest

import dbml
from dbml.errors import DbmlError

NO_NUMBER = ("'a'", "NULL", "-1", "[1]", "TRUE", "1e30", "'NaN'::DOUBLE")
MODELS = {
    "late": ("logistic_reg", "b", ""),
    "near_late": ("knn_classifier", "b", ""),
    "numbers": ("linear_reg", "y", ""),
    "near": ("nearest_neighbors", None, ""),
    "groups": ("kmeans", None, ", num_clusters = 2"),
    "parts": ("pca", None, ", n_components = 1"),
    "odd": ("isolation_forest", None, ", n_estimators = 5"),
}


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT i::DOUBLE AS x, i * 7 % 13 AS z, i % 2 = 0 AS b, 2.0 * i AS y FROM range(60) r(i)"
        )
        connection.execute("CREATE TABLE r AS SELECT i % 7 AS user, i % 5 AS item, i % 4 AS rating FROM range(80) r(i)")
        for name, (type_, label, more) in MODELS.items():
            labels = "" if label is None else f", input_label_cols = ['{label}']"
            columns = "x, z" if label is None else f"x, z, {label}"
            connection.execute(
                f"CREATE MODEL {name} OPTIONS (model_type = '{type_}'{labels}{more}) AS SELECT {columns} FROM t"
            )
        connection.execute(
            "CREATE MODEL liked OPTIONS (model_type = 'matrix_factorization', user_col = 'user', item_col = 'item', "
            "num_factors = 2) AS FROM r"
        )
        yield connection


def refused(con, query, words, parameters=None):
    with pytest.raises((DbmlError, duckdb.InvalidInputException)) as raised:
        con.execute(query, parameters).fetchall()
    assert words in str(raised.value)
    assert "Conversion" not in str(raised.value)
    assert "Arrow" not in str(raised.value)


@pytest.mark.parametrize("value", [*NO_NUMBER, "1.5", "x"])
@pytest.mark.parametrize(
    "call",
    [
        "FROM ML.PREDICT(MODEL late, TABLE t, STRUCT({} AS threshold))",
        "FROM ML.PREDICT(MODEL near_late, TABLE t, STRUCT({} AS threshold))",
        "FROM ML.EVALUATE(MODEL late, TABLE t, STRUCT({} AS threshold))",
        "SELECT predict('late', t, {{'threshold': {}}}) FROM t",
        "SELECT predict('near_late', t, {{'threshold': {}}}) FROM t",
    ],
)
def test_thresholds(con, call, value):
    refused(con, call.format(value), "threshold must be a number between 0 and 1; got")


@pytest.mark.parametrize("model", ["late", "near_late"])
def test_thresholds_that_are_known_later(con, model):
    for value, told in ((7, "7"), (-0.5, "-0.5"), (None, "NULL"), ("a", "a"), ([0.5], "[0.5]"), (float("nan"), "nan")):
        for mark in ("?", "$1"):
            query = f"SELECT predict('{model}', t, {{'threshold': {mark}}}) FROM t"
            refused(con, query, f"threshold must be a number between 0 and 1; got {told}", [value])
    counted = f"SELECT count(*) FROM t WHERE predict('{model}', t, {{'threshold': %s}})"
    for given, expected in (("?", 0.25), ("$1", 0.25), ("$1 / 2", 0.125)):
        known = con.execute(counted % expected).fetchall()
        assert con.execute(counted % given, [0.25]).fetchall() == known
    assert con.execute(counted % "(SELECT 0.5)").fetchall() == con.execute(counted % "0.5").fetchall()


@pytest.mark.parametrize("value", [*NO_NUMBER, "1.5", "0", "x"])
@pytest.mark.parametrize("option", ["k", "nprobe"])
def test_neighbours(con, option, value):
    words = f"{option} must be the same" if value == "x" else f"{option} must be a whole number, at least 1; got"
    refused(con, f"FROM ML.NEIGHBORS(MODEL near, TABLE t, {option} => {value})", words)
    refused(con, f"FROM ML.NEIGHBORS(MODEL near, TABLE t, STRUCT({value} AS {option}))", words)


@pytest.mark.parametrize("value", [*NO_NUMBER, "1.5", "0", "x"])
@pytest.mark.parametrize("model", ["odd", "groups"])
def test_contamination(con, model, value):
    query = f"FROM ML.DETECT_ANOMALIES(MODEL {model}, STRUCT({value} AS contamination), TABLE t)"
    refused(con, query, "contamination must be a number > 0 and <= 0.5; got")


@pytest.mark.parametrize("value", ["'a'", "NULL", "0.5", "TRUE", "['a']", "[NULL]", "['NaN'::DOUBLE]", "{'a': 1}"])
def test_thresholds_of_a_curve(con, value):
    refused(
        con,
        f"FROM ML.ROC_CURVE(MODEL late, TABLE t, {value})",
        "thresholds must be a list of numbers, such as [0.25, 0.5]; ",
    )


@pytest.mark.parametrize("value", [*NO_NUMBER, "1.5", "(SELECT 1)"])
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("EXPLAIN_PREDICT(MODEL late, TABLE t, STRUCT({} AS top_k_features))", "top_k_features must be a whole number"),
        ("GLOBAL_EXPLAIN(MODEL numbers, TABLE t, STRUCT({} AS class_level_explain))", "class_level_explain"),
        ("PERMUTATION_IMPORTANCE(MODEL late, TABLE t, STRUCT({} AS n_repeats))", "n_repeats must be a whole number"),
        ("PERMUTATION_IMPORTANCE(MODEL late, TABLE t, STRUCT({} AS seed))", "seed must be a whole number"),
        ("PERMUTATION_IMPORTANCE(MODEL late, TABLE t, STRUCT({} AS metric))", "metric must be one of 'accuracy'"),
        ("PARTIAL_DEPENDENCE(MODEL late, TABLE t, STRUCT({} AS feature))", "feature must be one of 'x', 'z'"),
        ("PARTIAL_DEPENDENCE(MODEL late, TABLE t, STRUCT('x' AS feature, {} AS grid))", "grid must be a whole number"),
        ("RECOMMEND(MODEL liked, STRUCT({} AS k))", "k must be a whole number"),
        ("RECOMMEND(MODEL liked, STRUCT(3 AS k, {} AS exclude_seen))", "exclude_seen must be TRUE or FALSE"),
    ],
)
def test_options_that_must_be_written_down(con, call, words, value):
    if value == "TRUE" and "TRUE or FALSE" in words:
        pytest.skip("that is one")
    refused(con, f"FROM ML.{call.format(value)}", words)


@pytest.mark.parametrize("function", ["PREDICT", "EVALUATE", "CONFUSION_MATRIX", "EXPLAIN_PREDICT", "NEIGHBORS"])
def test_names_and_forms(con, function):
    model, known = ("near", "k") if function == "NEIGHBORS" else ("late", "threshold")
    call = f"FROM ML.{function}(MODEL {model}, TABLE t, {{}})"
    refused(con, call.format("STRUCT(1 AS nonsense)"), "no option nonsense here (options: ")
    refused(con, call.format(f"STRUCT(1 AS {known}, 1 AS {known})"), f"option {known} is given twice")
    refused(con, call.format(f"STRUCT(AS {known})"), f"option {known} has no value")
    refused(con, call.format("STRUCT(1)"), "expected STRUCT(value AS name)")


def test_names_of_arrows(con):
    for mark in ("=>", ":="):
        call = "FROM ML.NEIGHBORS(MODEL near, TABLE t, {})"
        refused(con, call.format(f"n {mark} 1"), "no option n here (options: k, nprobe)")
        refused(con, call.format(f"k {mark} "), "option k has no value")
        refused(con, call.format(f"k {mark} 1, k {mark} 2"), "option k is given twice")
        assert len(con.execute(call.format(f"k {mark} 2")).fetchall()) == 120


@pytest.mark.parametrize("model", ["groups", "parts"])
@pytest.mark.parametrize("function", ["PREDICT", "EVALUATE"])
def test_no_option_is_ignored(con, function, model):
    refused(con, f"FROM ML.{function}(MODEL {model}, TABLE t, STRUCT(0.5 AS threshold))", "no option threshold here")


@pytest.mark.parametrize("type_", ["logistic_reg", "boosted_tree_classifier", "naive_bayes"])
def test_thresholds_of_macros(type_):
    with duckdb.connect() as plain:
        with dbml.attach(plain) as con:
            con.execute("CREATE TABLE r AS SELECT i AS x, i + hash(i) % 9 > 15 AS late FROM range(30) s(i)")
            con.execute(f"CREATE MODEL m OPTIONS (model_type = '{type_}', input_label_cols = ['late']) AS FROM r")
        calls = (
            "SELECT ml.predict_m(x, threshold := {0}) FROM r",
            "SELECT predicted_late FROM ml.predict_m(r, threshold := {0})",
        )
        for call in calls:
            for value, told in (
                ("NULL", "NULL"),
                ("2", "2"),
                ("0.5 + 1", "1.5"),
                ("-1", "-1"),
                ("'nan'::DOUBLE", "nan"),
                ("x", "2"),
            ):
                with pytest.raises(duckdb.Error, match=f"threshold must be a number between 0 and 1; got {told}"):
                    plain.execute(call.format(value)).fetchall()
            with pytest.raises(duckdb.Error, match="threshold must be a number between 0 and 1; got 7"):
                plain.execute(call.format("$1"), [7]).fetchall()
            yes = [
                plain.execute(call.format(value)).fetchall().count((True,)) for value in ("0", "0.25", "7.5e-1", "1")
            ]
            assert yes == sorted(yes, reverse=True) and yes[0] > yes[-1] == 0
            assert plain.execute(call.format("$1"), [0.25]).fetchall() == plain.execute(call.format("0.25")).fetchall()


@pytest.mark.parametrize("function", ["predict", "predict_proba", "transform"])
def test_a_model_that_only_finds_neighbours_says_so(con, function):
    with pytest.raises(DbmlError, match=r"use FROM ML\.NEIGHBORS\(MODEL …, TABLE …\)"):
        con.execute(f"SELECT {function}('near', t) FROM t")
    with pytest.raises(
        duckdb.Error, match=r"model 'near' is a NearestNeighbors, which .*: use ML.NEIGHBORS on a connection"
    ):
        con.duckdb.execute(f"SELECT {function}('near', t) FROM t")


@pytest.mark.parametrize("name", ["near_late", "groups"])
def test_columns_by_their_names(con, name):
    same = "SELECT predict($m, 20.0, 3) = predict($m, z := 3, x => 20.0)".replace("$m", f"'{name}'")
    assert con.execute(same).fetchall() == [(True,)]
    with pytest.raises(DbmlError, match=f"{name} has no column y .columns: x, z"):
        con.execute(f"SELECT predict('{name}', y := 3, x := 20.0)")
