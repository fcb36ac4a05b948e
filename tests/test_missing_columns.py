"""Rows that lack columns a model needs: one error, in our words, wherever the rows come from."""

from contextlib import contextmanager

import duckdb
import pandas as pd
import pytest

import dbml
from dbml.errors import StatementError, UnknownName


@contextmanager
def opened(way):
    with pytest.MonkeyPatch.context() as patch, dbml.connect() as con:
        if way == "function":
            patch.setattr("dbml.registry.macros.too_large", lambda form, encoding: "too large")
        con.execute(
            "CREATE TABLE t AS SELECT i::DOUBLE AS a, (i % 7)::DOUBLE AS b, 'x' || i % 3 AS \"the c\", 2.0 * i AS y, "
            "i % 5 > 2 AS late FROM range(300) r(i)"
        )
        con.execute(
            "CREATE MODEL m OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS "
            'SELECT a, b, "the c", y FROM t'
        )
        con.execute("CREATE TABLE u AS SELECT a AS aa, b, y FROM t")
        yield con


@pytest.fixture(params=["native", "function"])
def con(request):
    with opened(request.param) as con:
        yield con


@pytest.fixture(scope="module", params=["native", "function"])
def unchanged(request):
    """A connection for statements that are refused: each test finds what was there before."""
    with opened(request.param) as con:
        yield con


MISSING = (
    r"model 'm' needs columns 'a', 'the c', which the rows do not have; did you mean 'aa' for 'a'\? "
    r"\(columns of the rows: aa, b, y\). Hint: SELECT \*, \"?aa\"? AS \"?a\"? FROM …$"
)
LACKING = (
    "SELECT predict('m', u) FROM u",
    "SELECT predict('m', u.*) FROM u WHERE b > 1",
    "SELECT predict('m', *) FROM u",
    "SELECT count(*) FROM t JOIN u ON u.aa = t.a WHERE predict('m', t) > 0 AND predict('m', u) > 0",
    "WITH q AS (FROM u) SELECT predict('m', q) FROM q",
    "SELECT (SELECT max(predict('m', i)) FROM u i WHERE i.b = t.b) FROM t",
    "FROM ML.PREDICT(MODEL m, TABLE u)",
    "FROM ML.PREDICT(MODEL m, (SELECT aa, b, y FROM t SEMI JOIN u USING (b), LATERAL (SELECT t.a AS aa)))",
    "WITH q AS (FROM u) SELECT * FROM ML.EVALUATE(MODEL m, TABLE q)",
    "CREATE TABLE scored AS SELECT predict('m', u) FROM u",
    "CREATE VIEW scored AS FROM ML.PREDICT(MODEL m, TABLE u)",
    "EXPLAIN SELECT predict('m', u) FROM u",
    "EXPLAIN ANALYZE SELECT predict('m', u) FROM u",
    "COPY (FROM ML.PREDICT(MODEL m, TABLE u)) TO 'never.csv'",
    "INSERT INTO u SELECT a, predict('m', t), predict('m', s) FROM t, u s",
    "UPDATE u SET y = predict('m', u)",
    "CREATE MODEL n OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS FROM ML.PREDICT(MODEL m, TABLE u)",
    "SELECT 1; SELECT predict('m', u) FROM u",
)


@pytest.mark.parametrize("query", LACKING)
@pytest.mark.parametrize("method", ["execute", "sql"])
def test_all_missing_columns_are_named_with_the_nearest_and_a_remedy(unchanged, query, method):
    if "VIEW" in query and unchanged.sql("SELECT link IS NULL FROM ml.model_versions").fetchall() == [(True,)]:
        pytest.skip("a view may not call a Python function")
    with pytest.raises(UnknownName, match=MISSING):
        getattr(unchanged, method)(query)
    assert unchanged.sql("SELECT count(*) FROM u").fetchall() == [(300,)]
    assert unchanged.sql("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY 1").fetchall() == [
        ("t",),
        ("u",),
    ]


def test_the_relation_of_a_model_says_the_same(con):
    with pytest.raises(UnknownName, match=MISSING.replace("model 'm'", "LinearRegression")):
        con.load_model("m").predict(con.table("u"))


def test_the_function_on_a_plain_connection_names_all_columns_too(con):
    with pytest.raises(duckdb.Error, match="model 'm' needs columns 'a', 'the c', which the rows do not have"):
        con.duckdb.execute("SELECT predict('m', u) FROM u").fetchall()


def test_a_label_that_an_evaluation_needs(con):
    with pytest.raises(
        UnknownName, match=r"needs a column 'y' \(the label\), which .*\(columns of the rows: a, b, the c"
    ):
        con.sql('FROM ML.EVALUATE(MODEL m, (SELECT a, b, "the c" FROM t))')


def test_rows_of_a_variable_and_parameters(con):
    frame = pd.DataFrame({"aa": [1.0], "b": [2.0], "y": [3.0]})
    with pytest.raises(UnknownName, match=MISSING):
        con.sql("SELECT predict('m', frame), ? FROM frame", params=[1])
    assert len(frame) == 1


def test_columns_are_found_by_name_whatever_their_order_case_and_number(con):
    con.execute('CREATE TABLE v AS SELECT 1 AS extra, "the c" AS "THE C", b AS B, a AS "A" FROM t')
    for rows in ("predict('m', v)", "predict('m', *)"):
        assert con.sql(f"SELECT bool_and(abs({rows} - 2 * v.A) < 1e-6) FROM v").fetchall() == [(True,)]
    assert con.sql("SELECT bool_and(abs(predicted_y - 2 * A) < 1e-6) FROM ML.PREDICT(MODEL m, TABLE v)").fetchall() == [
        (True,)
    ]


def test_a_column_that_the_person_wrote_is_duckdbs_error(con):
    with pytest.raises(duckdb.BinderException, match='column "a" not found'):
        con.sql("SELECT predict('m', a, b, 'x') FROM u")
    with pytest.raises(duckdb.BinderException, match="Ambiguous reference"):
        con.sql("SELECT predict('m', *) FROM t, t AS again")


def test_other_stars_are_refused_with_words(con):
    for star in ("* EXCLUDE (y)", "COLUMNS(*)", "*, 1", "t.a, *"):
        with pytest.raises(StatementError, match=r"expected \* alone"):
            con.sql(f"SELECT predict('m', {star}) FROM t")


@pytest.mark.parametrize("tables", ["u AS a1, t", "u, main.t", "u JOIN t ON true", "u a1 CROSS JOIN memory.main.t"])
def test_a_model_of_one_column_takes_a_row_of_any_table_in_from(con, tables):
    con.execute("CREATE MODEL one OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT a, y FROM t")
    query = f"SELECT bool_and(abs(predict('one', t) - 2 * t.a) < 1e-6) FROM {tables}"
    assert con.sql(query).fetchall() == [(True,)]


def test_columns_with_strange_names_and_types(con):
    structs = """1 AS "a, b INTEGER)", {'a': 1, 'b c': [2]} AS s"""
    rows = f"""SELECT {structs}, 1.5::DECIMAL(9, 2) AS "it's", 'x'::ENUM('x', 'a)') AS "q""q" """
    with pytest.raises(UnknownName, match="needs columns 'a', 'b', 'the c'") as raised:
        con.sql(f"FROM ML.PREDICT(MODEL m, ({rows}))")
    assert """(columns of the rows: a, b INTEGER), s, it's, q"q)""" in str(raised.value)
