"""Rows come from one query that only reads: nothing else ever runs, wherever a query may be given."""

import duckdb
import pytest
from dbml_sql.query_text import looks_like_query, writing_part

import dbml
from dbml.cli import USAGE_ERROR, run
from dbml.errors import InvalidData
from dbml.passes.dispatch import as_data

ROWS = "SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(60) r(i)"
LINEAR = "model_type = 'linear_reg', input_label_cols = ['y']"

# What is refused, and what the message says came.
REFUSED = {
    "SELECT * FROM t; DROP TABLE t": "SELECT and DROP",
    "FROM t; DELETE FROM t": "SELECT and DELETE",
    "DROP TABLE t": "DROP",
    "INSERT INTO t SELECT 1, 2": "INSERT",
    "UPDATE t SET x = 0": "UPDATE",
    "CREATE TABLE z AS SELECT * FROM t": "CREATE",
    "CREATE TABLE z AS PIVOT t ON x USING sum(y)": "CREATE",
    "COPY t TO 't.csv'": "COPY",
    "PRAGMA table_info('t')": "PRAGMA",
    "EXPLAIN ANALYZE SELECT * FROM t": "EXPLAIN",
    "WITH a AS (FROM t) INSERT INTO t FROM a": "INSERT",
    "WITH a AS (DELETE FROM t RETURNING x, y) SELECT * FROM a": "a query with DELETE in it",
    "WITH a AS MATERIALIZED (UPDATE t SET x = 0 RETURNING x, y) FROM a": "a query with UPDATE in it",
    "WITH a AS (WITH b AS (SELECT 1) DELETE FROM t RETURNING x, y) FROM a": "a query with DELETE in it",
    "WITH a AS (INSERT INTO t SELECT 1, 2 RETURNING x, y) FROM a": "a query with INSERT in it",
    "WITH a AS (COPY (FROM t) TO 't.csv') FROM a": "a query with COPY in it",
    "WITH a AS (TRUNCATE t) FROM a": "a query with TRUNCATE in it",
}
ACCEPTED = [
    "SELECT * FROM t",
    "  -- all\n(SELECT * FROM t) ;; ",
    "FROM t",
    "TABLE t",
    "VALUES (1.0, 2.0), (2.0, 4.0)",
    "WITH a AS (FROM t) SELECT * FROM a",
    "SELECT x, sum(update) AS y FROM (SELECT x, y AS update FROM t) GROUP BY x",
    "SELECT x, y FROM t WHERE '; (DELETE FROM t' <> ''",
]


@pytest.fixture
def con():
    with dbml.connect(":memory:") as opened:
        opened.execute(f"CREATE TABLE t AS {ROWS}")
        yield opened


def unchanged(con):
    tables = con.sql("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'").fetchall()
    return tables == [("t",)] and con.sql("FROM t").fetchall() == con.sql(ROWS).fetchall()


@pytest.mark.parametrize("text", REFUSED)
def test_fit_runs_one_query_or_nothing(con, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidData, match=f"one query that only reads .*; got {REFUSED[text]}. Nothing was run"):
        dbml.LinearRegression().fit(text, "y", con=con)
    with pytest.raises(InvalidData, match=f"got {REFUSED[text]}"):
        as_data(text, con=con)
    assert unchanged(con) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", REFUSED)
def test_sql_runs_one_query_or_nothing(con, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "{'model_type': 'linear_reg', 'input_label_cols': ['y']}"
    quoted = text.replace("'", "''")
    with pytest.raises(Exception, match=f"the rows must come from one query .*; got {REFUSED[text]}"):
        con.execute(f"SELECT train_model('bad', '{quoted}', {options})")
    if ";" not in text:
        for statement in ("CREATE MODEL", "EXPLAIN CREATE MODEL", "EXPLAIN ANALYZE CREATE MODEL"):
            with pytest.raises(Exception, match=f"the rows must come from one query .*; got {REFUSED[text]}"):
                con.execute(f"{statement} bad OPTIONS ({LINEAR}) AS {text}")
    assert unchanged(con) and not list(tmp_path.iterdir())
    assert con.models().fetchall() == []


ESCAPES = "SELECT 1 AS x, 2 AS y); DROP TABLE t; FROM (FROM t"


@pytest.mark.parametrize("text", [ESCAPES, *REFUSED])
def test_the_command_line_runs_one_query_or_nothing(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with dbml.connect("m.duckdb") as con:
        con.execute(f"CREATE TABLE t AS {ROWS}; CREATE MODEL good OPTIONS ({LINEAR}) AS FROM t")
    for arguments in (["train", text, "-y", "y", "--db", "m.duckdb"], ["predict", "good", text, "--db", "m.duckdb"]):
        code = run(arguments)
        assert code != 0 and capsys.readouterr().err
        if looks_like_query(text) and text != ESCAPES:
            assert code == USAGE_ERROR
    with duckdb.connect("m.duckdb") as plain:
        assert unchanged(plain)
    assert [path.name for path in tmp_path.iterdir()] == ["m.duckdb"]


@pytest.mark.parametrize("text", ACCEPTED)
def test_queries_that_read_are_accepted(con, text):
    rows = len(con.duckdb.sql(text.rstrip("; ")).fetchall())
    assert as_data(text, con=con).sample(1_000, 0).n_rows == rows
    assert looks_like_query(text) and writing_part(text) is None


def test_a_pivot_is_a_query(con):
    con.execute("CREATE TABLE long AS SELECT i % 5 AS k, i % 2 AS c, i::DOUBLE AS v FROM range(40) r(i)")
    data = as_data("PIVOT long ON c USING sum(v) GROUP BY k", con=con)
    assert data.schema.encoding.columns == ("k", "0", "1")
