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
