"""A column that became another kind of type since training is an error in every way of scoring, never a score."""

import duckdb
import pytest
from dbml_sql.features import Encoding, Feature
from dbml_sql.retyped import refused_types

import dbml
from dbml.errors import DbmlError, UnknownName, UnsupportedColumn

ROWS = """
SELECT i::DOUBLE AS x, 'c' || (i % 5) AS g, TIMESTAMP '2024-01-01' + INTERVAL (i) HOUR AS ts,
  [i, i % 7]::FLOAT[2] AS v, i * 2.0 + i % 5 AS y FROM range(200) r(i)
"""
MODELS = {
    "linear": "model_type = 'linear_reg', input_label_cols = ['y']",
    "trees": "model_type = 'boosted_tree_regressor', max_iterations = 2, max_depth = 1, input_label_cols = ['y']",
}
REFUSALS = (DbmlError, duckdb.InvalidInputException, duckdb.ConversionException)
REFUSED = {
    "[x] AS x": r"a number in column 'x' \(DOUBLE in training\); the rows have DOUBLE\[\], which holds none",
    "{'a': x} AS x": r"a number in column 'x' .*; the rows have STRUCT\(a DOUBLE\)",
    "row(x) AS x": r"a number in column 'x' .*; the rows have (TUPLE|STRUCT)\(",
    "MAP {'a': x} AS x": "a number in column 'x' .*; the rows have MAP",
    "ts::DATE AS x": "a number in column 'x' .*; the rows have DATE",
    "'a'::BLOB AS x": "a number in column 'x' .*; the rows have BLOB",
    "[g] AS g": r"a category in column 'g' .*; the rows have VARCHAR\[\]",
    "{'a': g} AS g": "a category in column 'g' .*; the rows have STRUCT",
    "epoch_us(ts) AS ts": "a date in column 'ts' .*; the rows have BIGINT",
    "x AS v": "a vector of 2 numbers in column 'v' .*; the rows have DOUBLE",
    "[x]::FLOAT[1] AS v": r"a vector of 2 numbers in column 'v' .*; the rows have FLOAT\[1\], which holds none",
    "[x, x, x]::DOUBLE[3] AS v": r"a vector of 2 numbers in column 'v' .*; the rows have DOUBLE\[3\]",
}
READ = [
    *(
        "x::VARCHAR AS x",
        "x::DECIMAL(9, 2) AS x",
        "x > 3 AS x",
        "NULL AS x",
        "'a word' AS x",
        "3 AS g",
        "ts::DATE AS g",
    ),
    *(
        "ts::VARCHAR AS ts",
        "ts::DATE AS ts",
        "NULL AS ts",
        "[1.0, 2.0] AS v",
        "[x, x]::DOUBLE[2] AS v",
        "'[1, 2]' AS v",
        "g::ENUM('c0') AS g",
    ),
]


@pytest.fixture(scope="module")
def con():
    with dbml.connect() as con:
        con.execute(f"CREATE TABLE t AS {ROWS}")
        for name, options in MODELS.items():
            con.execute(f"CREATE MODEL {name} OPTIONS ({options}) AS FROM t")
        yield con


def ways(con, name, query):
    """Yield the ways to score the rows of a query."""
    con.execute(f"CREATE OR REPLACE TABLE now AS {query}")
    model = con.load_model(name)
    yield "row", lambda: con.execute(f"SELECT predict('{name}', s) FROM now s").fetchall()
    yield "ML.PREDICT", lambda: con.execute(f"FROM ML.PREDICT(MODEL {name}, TABLE now)").fetchall()
    yield "function", lambda: con.duckdb.execute(f"SELECT predict('{name}', s) FROM now s").fetchall()
    yield "macro", lambda: con.duckdb.execute(f"FROM ml.predict_{name}(now)").fetchall()
    yield "relation", lambda: model.predict(con.table("now")).fetchall()
    yield "Arrow", lambda: model.predict(con.table("now").to_arrow_table())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("column", REFUSED)
def test_a_type_that_holds_no_value(con, name, column):
    query = f"SELECT * REPLACE ({column}) FROM t LIMIT 9"
    said = f"needs {REFUSED[column]}"
    if "FLOAT[1]" in column or "DOUBLE[3]" in column:  # the Python function gets lists, whose type tells no length
        said += "|column 'v' must hold vectors of 2 numbers; got one of [13]"
    for way, score in ways(con, name, query):
        with pytest.raises(REFUSALS, match=said):
            score()
            pytest.fail(way)
    with pytest.raises(UnsupportedColumn, match="Cast it in SQL, or train again"):
        con.load_model(name).score(con.table("now"), "y")


@pytest.mark.parametrize("column", READ)
def test_a_type_that_may_hold_values_is_cast(con, column):
    safe = column.replace("g::ENUM('c0')", "if(g = 'c0', g, NULL)::ENUM('c0')")
    for name in MODELS:
        for way, score in ways(con, name, f"SELECT * REPLACE ({safe}) FROM t LIMIT 9"):
            assert len(score()) == 9, (name, way)


def test_a_missing_column_that_no_tree_asks_about_is_named(con):
    for name in MODELS:
        for _, score in ways(con, name, "SELECT * EXCLUDE (g, v) FROM t LIMIT 9"):
            with pytest.raises((UnknownName, duckdb.Error), match=r"g['\"]"):
                score()
    with pytest.raises(UnknownName, match="model 'trees' needs columns 'g', 'v', which the rows do not have"):
        con.execute("SELECT predict('trees', s) FROM now s")


def test_a_column_of_the_type_it_had_is_never_refused():
    kinds = {"number": "DATE", "category": "VARCHAR[]", "map": "MAP(VARCHAR, DOUBLE)", "vector": "FLOAT[1]"}
    for kind, type_ in kinds.items():
        assert refused_types("m", Encoding((Feature("a", type_, kind),)), {"a": type_}) is None


@pytest.mark.parametrize("name", MODELS)
def test_a_prediction_may_stand_wherever_an_expression_may(con, name):
    """DuckDB refuses the alias of an expression with side effects, and such an expression in a window."""
    call = f"predict('{name}', t)"
    above = f"SELECT count(*) FROM t WHERE {call} > 201"
    expected = con.execute(above).fetchall()
    assert 0 < expected[0][0] < 200
    assert con.execute(f"SELECT count(*) FROM (SELECT {call} AS p FROM t WHERE p > 201)").fetchall() == expected
    for query in (
        f"SELECT ntile(4) OVER (ORDER BY {call}) FROM t",
        f"SELECT avg(x) OVER (PARTITION BY {call}) FROM t",
        f"SELECT {call} AS p, x FROM t QUALIFY row_number() OVER (PARTITION BY p ORDER BY x) > 0",
        f"SELECT ml.predict_{name}(x, g, ts, v) AS p FROM t WHERE p IS NOT NULL",
    ):
        assert len(con.execute(query).fetchall()) == 200, query


def test_so_may_one_with_a_threshold_from_a_column(con):
    con.execute(
        "CREATE MODEL late OPTIONS (model_type = 'logistic_reg', input_label_cols = ['late']) AS "
        "SELECT x, y % 5 > 2 AS late FROM t"
    )
    rows = "(SELECT x, x / 200 AS y FROM t) r"
    query = f"SELECT predict('late', r, {{'threshold': y}}) AS p FROM {rows} WHERE p IS NOT NULL"
    assert len(con.execute(query).fetchall()) == 200
    with pytest.raises(duckdb.InvalidInputException, match=r"^Invalid Input Error: threshold must be .*; got 2\.0$"):
        con.execute("SELECT predict('late', r, {'threshold': x}) FROM t r").fetchall()


def test_a_struct_is_a_row_of_a_model_of_one_column_too(con):
    con.execute("CREATE MODEL one OPTIONS (model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT x, y FROM t")
    for row in ("{'x': 5.0, 'z': 1}", "struct_pack(x := 5.0)"):
        assert con.sql(f"SELECT predict('one', 5.0) = predict('one', {row})").fetchall() == [(True,)]
    for row in ("row(5.0)", "s"):
        with pytest.raises(duckdb.Error, match=r"Cannot extract field 'x'|read by its field, s\.\"x\""):
            con.sql(f"SELECT predict('one', {row}) FROM (SELECT {{'x': 5.0}} s)").fetchall()
