"""A training query that runs again reads the tables that it read, from whatever database and schema is current."""

import duckdb
import pytest

import dbml
from dbml.errors import RegistryError
from dbml.registry.query_tables import query_to_store

LINE = "OPTIONS (model_type = 'linear_reg', input_label_cols = ['y'])"
ROWS = "SELECT i::DOUBLE AS x, 2.0 * i AS y FROM range(100) r(i)"
EXPLAIN = "SELECT attribution FROM ML.GLOBAL_EXPLAIN(MODEL {})"
MEAN = pytest.approx(50.0)  # of 2 |x - 49.5|


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute(f"CREATE SCHEMA s; CREATE TABLE s.d AS {ROWS}; CREATE TABLE d AS SELECT 1000 * x AS x, y FROM s.d")
        yield con


def test_from_another_database(tmp_path):
    with dbml.connect(tmp_path / "w1.duckdb") as con:
        con.execute(
            f"CREATE TABLE d AS {ROWS}; CREATE TABLE r AS SELECT i // 9 AS u, i % 9 AS it, 1.0 AS s FROM range(80) t(i)"
        )
        con.execute(f"CREATE MODEL li {LINE} AS FROM d")
        con.execute(
            "CREATE MODEL mf OPTIONS (model_type = 'matrix_factorization', user_col = 'u', item_col = 'it', "
            "rating_col = 's', num_factors = 2) AS SELECT u, it, s FROM r WHERE u <> 1 OR it < 6"
        )
    with dbml.connect() as con:
        con.execute(f"ATTACH '{tmp_path / 'w1.duckdb'}' AS \"other name\"")
        unseen = 'SELECT it FROM ML.RECOMMEND(MODEL "other name".mf, (SELECT 1 AS u), STRUCT(TRUE AS exclude_seen))'
        for beside in (
            None,
            "CREATE TABLE d AS SELECT 7.0 AS x, 1.0 AS y; CREATE TABLE r AS SELECT 1 AS u, 8 AS it, 1.0 AS s",
        ):
            if beside:
                con.execute(beside)
            assert con.sql(EXPLAIN.format('"other name".li')).fetchall() == [(MEAN,)]
            assert sorted(con.sql(unseen).fetchall()) == [(6,), (7,), (8,)]


def test_from_another_schema(con):
    con.execute("USE s").execute(f"CREATE MODEL li {LINE} AS FROM d").execute("USE main")
    assert con.sql(EXPLAIN.format("li")).fetchall() == [(MEAN,)]
    assert con.sql("SELECT query FROM ml.models").fetchall() == [('FROM "s".d',)]


def test_of_another_database_than_the_model(con, tmp_path):
    con.execute(f"ATTACH '{tmp_path / 'far.duckdb'}' AS far").execute(
        f"CREATE MODEL far.li {LINE} AS SELECT * FROM s.d"
    )
    con.execute("USE far; CREATE SCHEMA s; CREATE TABLE s.d AS SELECT 7.0 AS x, 1.0 AS y")
    assert con.sql(EXPLAIN.format("li")).fetchall() == [(MEAN,)]


def test_a_table_that_is_gone_is_named_with_its_model(con):
    con.execute(f"CREATE MODEL li {LINE} AS FROM s.d").execute("DROP TABLE s.d")
    with pytest.raises(RegistryError, match=r"model 'li@1' was trained on s\.d of database 'memory', which is gone"):
        con.sql(EXPLAIN.format("li"))


def test_what_an_older_dbml_stored_names_tables_of_the_main_schema(con):
    con.execute(f"CREATE OR REPLACE TABLE d AS {ROWS}").execute(f"CREATE MODEL li {LINE} AS FROM d")
    con.execute("UPDATE ml.model_versions SET query = 'FROM d'").execute("DELETE FROM s.d; USE s")
    assert con.sql(EXPLAIN.format("memory.li")).fetchall() == [(MEAN,)]


def test_temporary_tables_files_and_variables(con, tmp_path):
    con.execute(f"CREATE TEMP TABLE d AS {ROWS}")
    rows = con.sql("FROM temp.d")  # noqa: F841  a name in the query
    con.execute(f"COPY temp.d TO '{tmp_path / 'd.parquet'}'")
    for source in ("d", "rows", f"'{tmp_path / 'd.parquet'}'", f"read_parquet('{tmp_path / 'd.parquet'}')"):
        con.execute(f"CREATE OR REPLACE MODEL li {LINE} AS FROM {source}").execute("USE s")
        assert con.sql(EXPLAIN.format("memory.li")).fetchall() == [(MEAN,)]
        con.execute("USE main")


@pytest.mark.parametrize(
    ("query", "stored"),
    [
        ("SELECT 'ö', d.x FROM d -- of d", "SELECT 'ö', d.x FROM main.d -- of d"),
        ("FROM D JOIN s.d USING (y)", 'FROM main.D JOIN "s".d USING (y)'),
        ("FROM memory.s.d, memory.d", 'FROM "s".d, main.d'),
        ("SELECT (SELECT max(x) FROM d) FROM v", "SELECT (SELECT max(x) FROM main.d) FROM main.v"),
        ("WITH d AS (FROM d) FROM d", "WITH d AS (FROM main.d) FROM d"),
        ("WITH a AS (FROM d), d AS (FROM a) FROM d, s.d", 'WITH a AS (FROM main.d), d AS (FROM a) FROM d, "s".d'),
        (
            "WITH RECURSIVE d AS (SELECT 1 UNION ALL FROM d) FROM d",
            "WITH RECURSIVE d AS (SELECT 1 UNION ALL FROM d) FROM d",
        ),
        ("(FROM d) UNION ALL (FROM d)", "(FROM main.d) UNION ALL (FROM main.d)"),
        ("TABLE d", "TABLE main.d"),
        ('FROM "no such" , t', 'FROM "no such" , "temp".main.t'),
        ("FROM 'd.parquet', range(3) d", "FROM 'd.parquet', range(3) d"),
        ("FROM other.d", 'FROM "other".main.d'),
        ("FROM ML.PREDICT(MODEL m, TABLE d)", "FROM ML.PREDICT(MODEL m, TABLE d)"),
        ("SELECT " + "(" * 600 + "1" + ")" * 600 + " FROM d", None),
        ("SELECT " + "1 + " * 600 + "1 FROM d", None),
    ],
)
def test_names_are_completed_and_nothing_else_changes(query, stored):
    with duckdb.connect() as con:
        con.execute(
            "CREATE SCHEMA s; CREATE TABLE s.d(x INT, y INT); CREATE TABLE d(x INT, y INT); CREATE VIEW v AS FROM d"
        )
        con.execute("CREATE TEMP TABLE t(x INT); ATTACH ':memory:' AS other; CREATE TABLE other.d(x INT)")
        assert query_to_store(con, query, "memory") in (
            [stored] if stored else [query, query.replace("FROM d", "FROM main.d")]
        )
