"""Views and macros over a model: what they mean when the model is replaced, and who is told."""

import warnings

import pytest

import dbml
from dbml.errors import InvalidParameter
from dbml.registry.dependents import OutdatedViews


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute(
            "CREATE TABLE t AS SELECT i::DOUBLE AS a, (i * i % 7)::DOUBLE AS b, 2.0 * i AS y FROM range(50) r(i)"
        )
        make(con, "a, b")
        yield con


def make(con, columns, name="m"):
    options = "OPTIONS (model_type = 'linear_reg', input_label_cols = ['y'])"
    con.execute(f"CREATE OR REPLACE MODEL {name} {options} AS SELECT {columns}, y FROM t")


GOOD = "SELECT bool_and(abs(p - 2 * a) < 1e-6) FROM v"


def test_a_view_finds_its_columns_by_name_in_a_model_that_takes_them_in_another_order(con):
    con.execute("CREATE VIEW v AS SELECT *, predict('m', t) AS p FROM t")
    con.execute("CREATE TEMP VIEW w AS FROM v UNION ALL SELECT *, predict('m', t) AS p FROM t")
    lazy = con.sql(GOOD.replace("FROM v", "FROM (SELECT *, predict('m', t) AS p FROM t)"))
    with pytest.warns(OutdatedViews, match=r"'m@2' takes the columns b, a \(version 1: a, b\), and v, w call it"):
        make(con, "b, a")
    for asked in (con.sql(GOOD), con.sql(GOOD.replace("FROM v", "FROM w")), lazy):
        assert asked.fetchall() == [(True,)]


def test_a_view_never_takes_one_column_for_another(con):
    con.execute("CREATE VIEW v AS SELECT *, predict('m', a, b) AS p FROM t")
    con.execute("CREATE TABLE renamed AS SELECT a AS c, b AS d, y FROM t; DROP VIEW IF EXISTS nothing")
    with pytest.warns(OutdatedViews, match=r"make them again, or let them keep version 1: predict\('m@1', …\)"):
        con.execute(
            "CREATE OR REPLACE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM renamed"
        )
    with pytest.raises(Exception, match="predict_m"):
        con.sql("FROM v")


def test_a_view_of_a_version_keeps_it(con):
    con.execute("ALTER MODEL m SET ALIAS best")
    con.execute("CREATE VIEW v AS SELECT *, predict('m@1', t) AS p FROM t")
    con.execute("CREATE VIEW w AS SELECT *, predict('m@best', t) AS p FROM t")
    con.execute("CREATE VIEW x AS SELECT *, predicted_y AS p FROM ML.PREDICT(MODEL m@1, TABLE t)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        con.execute("CREATE OR REPLACE TABLE t AS SELECT a, -y AS c, y FROM t")
        make(con, "c")
        con.execute("CREATE OR REPLACE TABLE t AS SELECT a, 1.0 AS b, y FROM t")
    for view in "vwx":
        scores = con.sql(f"SELECT avg(p) FROM {view}").fetchall()
        assert scores == con.sql("SELECT avg(predict('m@1', t)) FROM t").fetchall()
    with pytest.warns(OutdatedViews, match="'m@1' is dropped, and v, w, x call it: make them again, or drop them"):
        con.execute("DROP MODEL m@1")


def test_nobody_is_warned_without_reason(con):
    con.execute("CREATE VIEW v AS SELECT *, predict('m', t) AS p FROM t")
    make(con, "a", name="other")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(con, "a, b")
        make(con, "a, b", name="other")
        con.execute("DROP MODEL other")
        con.execute("ALTER MODEL m RENAME TO M")
    assert con.sql(GOOD).fetchall() == [(True,)]


def test_macros_and_temporary_views_of_other_schemas_are_named_too(con):
    con.execute(
        "CREATE SCHEMA s; CREATE MACRO s.score(f) AS predict('m', f); CREATE TEMP VIEW v AS FROM ml.predict_m(t)"
    )
    con.execute("CREATE VIEW unrelated AS SELECT 'ml.predict_m' AS text, 1 AS predict_m")
    with pytest.warns(OutdatedViews, match="model 'm' is 'n' now, and s.score, v call it"):
        con.execute("ALTER MODEL m RENAME TO n")
    con.execute("CREATE OR REPLACE MACRO s.score(f) AS predict('n', f); DROP VIEW v")
    with pytest.warns(OutdatedViews, match="model 'n' is dropped, and s.score calls it"):
        con.execute("DROP MODEL n")


def test_a_rollback_to_other_columns_warns(con):
    make(con, "a")
    con.execute("CREATE VIEW v AS SELECT predict('m', t) AS p FROM t")
    with pytest.warns(OutdatedViews, match=r"'m@1' takes the columns a, b \(version 2: a\), and v calls it"):
        con.execute("ALTER MODEL m ROLLBACK")


@pytest.fixture
def classes(con):
    """A classifier of two classes, and a third one that the table gets later."""
    con.execute(
        "CREATE TABLE s AS SELECT i AS x, CASE WHEN i + hash(i) % 20 < 30 THEN 'no' ELSE 'yes' END AS label "
        "FROM range(60) s(i)"
    )
    learn(con, "s")
    return con


def learn(con, rows, kind="logistic_reg"):
    options = f"OPTIONS (model_type = '{kind}', input_label_cols = ['label'])"
    con.execute(f"CREATE OR REPLACE MODEL c {options} AS FROM {rows}")


CALLS = {
    "evaluate": "ML.EVALUATE(MODEL c, TABLE s)",
    "curve": "ML.ROC_CURVE(MODEL c, TABLE s, [0.5])",
    "confusion": "ML.CONFUSION_MATRIX(MODEL c, TABLE s)",
    "dependence": "ML.PARTIAL_DEPENDENCE(MODEL c, TABLE s, STRUCT('x' AS feature, 2 AS grid))",
    "permuted": "ML.PERMUTATION_IMPORTANCE(MODEL c, TABLE s, STRUCT(1 AS n_repeats))",
    "weights": "ML.WEIGHTS(MODEL c)",
    "features": "ML.FEATURE_INFO(MODEL c)",
    "training": "ML.TRAINING_INFO(MODEL c)",
}


@pytest.mark.parametrize("kind", ["VIEW", "TEMP VIEW"])
def test_a_view_of_metrics_and_weights_follows_the_model(classes, kind):
    con = classes
    lazy = {name: con.sql(f"FROM {call}") for name, call in CALLS.items()}
    for name, call in CALLS.items():
        con.execute(f"CREATE {kind} {name} AS FROM {call}")
    before = {name: con.sql(f"FROM {name}").fetchall() for name in CALLS}
    learn(con, "(SELECT x * x AS x, label FROM s WHERE x % 3 > 0)")
    for name, call in CALLS.items():
        now = con.execute(f"FROM {call}").fetchall()
        assert now != before[name], name
        assert con.sql(f"FROM {name}").fetchall() == lazy[name].fetchall() == now, name


def test_a_view_of_metrics_never_takes_one_class_for_another(classes):
    con = classes
    for name, call in CALLS.items():
        con.execute(f"CREATE VIEW {name} AS FROM {call}")
    con.execute("CREATE VIEW first AS FROM ML.EVALUATE(MODEL c@1, TABLE s)")
    first = con.sql("FROM first").fetchall()
    about = r"'c@2' predicts label of the classes maybe, no, yes \(version 1: label of the classes no, yes\), and"
    with pytest.warns(OutdatedViews, match=about):
        learn(con, "(FROM s UNION ALL SELECT 70 + i, 'maybe' FROM range(20) r(i))")
    for name in CALLS.keys() - {"features", "training"}:
        with pytest.raises(Exception, match="has another label or other classes than version 1"):
            con.sql(f"FROM {name}").fetchall()
    assert con.sql("FROM first").fetchall() == first
    assert con.sql("FROM features").fetchall() == con.execute("FROM ML.FEATURE_INFO(MODEL c)").fetchall()


def test_explanations_in_a_temporary_view_are_of_one_version(classes):
    con = classes
    con.execute("CREATE TEMP VIEW explained AS FROM ML.EXPLAIN_PREDICT(MODEL c, TABLE s)")
    before = con.sql("FROM explained").fetchall()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutdatedViews)
        learn(con, "(FROM s UNION ALL SELECT 70 + i, 'maybe' FROM range(20) r(i))")
    assert con.sql("FROM explained").fetchall() == before


def test_a_view_of_weights_of_a_model_that_is_gone_says_so(classes):
    con = classes
    con.execute("CREATE VIEW weights AS FROM ML.WEIGHTS(MODEL c)")
    con.execute("DROP MODEL c")
    with pytest.raises(Exception, match="there is no model 'c' any more"):
        con.sql("FROM weights").fetchall()


def test_prune_versions(con):
    for _ in range(3):
        make(con, "a, b")
    con.execute("ALTER MODEL m SET ALIAS best TO VERSION 2")
    con.execute("CREATE VIEW v AS SELECT predict('m@1', t) AS p FROM t")
    with pytest.warns(OutdatedViews, match="versions 1, 3 of model 'm' are dropped, and v calls it"):
        assert con.prune_versions("m") == [1, 3]
    assert con.sql("SELECT version FROM ml.model_versions ORDER BY 1").fetchall() == [(2,), (4,)]
    assert con.prune_versions("m", keep=2) == []
    with pytest.raises(InvalidParameter, match="keep must be an integer >= 1; got 0"):
        con.prune_versions("m", keep=0)
