"""What X may be: relations, names, SQL, files, frames, Arrow; all give the same rows."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from dbml.data.source import open_source
from dbml.errors import InvalidData, UnknownName
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace

ROWS = """SELECT i::DOUBLE / 4 AS x, i AS n, ['a', 'b', 'c'][i % 3 + 1] AS c, i % 2 = 0 AS label FROM range(500) r(i)"""


@pytest.fixture
def table(raw):
    raw.execute(f"CREATE TABLE t AS {ROWS}")
    return raw


def whole(data):
    """All rows as one dense matrix, and the target."""
    space = Workspace()
    X, y = [], []
    for chunk in data.chunks():
        block = chunk.encode(space)
        rows = np.zeros((block.n_rows, data.n_terms))
        rows[:, : data.n_dense] = block.X
        if block.sparse is not None:
            for i in range(block.n_rows):
                span = slice(*block.sparse.indptr[i : i + 2])
                rows[i, block.sparse.indices[span]] += block.sparse.values[span]
        X.append(rows)
        y.append(np.zeros(0) if block.y is None else block.y.copy())
    return np.concatenate(X), np.concatenate(y)


def inputs(con, folder):
    arrow = con.table("t").to_arrow_table()
    con.sql(f"COPY t TO '{folder}/t.parquet'")
    con.sql(f"COPY t TO '{folder}/t.csv'")
    con.execute("CREATE VIEW v AS SELECT * FROM t WHERE n >= 0")
    return {
        "relation": con.table("t"),
        "query": con.sql("SELECT * FROM t WHERE n > -5"),
        "view": con.table("v"),
        "filtered": con.table("t").filter("n < 1000").project("x, n, c, label"),
        "joined": con.sql("SELECT t.* FROM t JOIN (SELECT n FROM t) u USING (n) ORDER BY n"),
        "arrow": arrow,
        "batch": arrow.combine_chunks().to_batches()[0],
        "reader": arrow.to_reader(max_chunksize=100),
        "dataset": pyarrow.dataset.dataset(arrow),
        "pandas": arrow.to_pandas(),
        "polars": pl.from_arrow(arrow),
        "lazy": pl.from_arrow(arrow).lazy(),
        "dict": {name: arrow.column(name).to_pylist() for name in arrow.column_names},
        "parquet": f"{folder}/t.parquet",
        "csv": f"{folder}/t.csv",
    }


def test_every_source_gives_the_same_blocks(table, tmp_path):
    expected, y = whole(as_data(table.table("t"), "label", task="classification"))
    for name, X in inputs(table, tmp_path).items():
        data = as_data(X, "label", task="classification")
        found, found_y = whole(data)
        assert data.schema.target.classes == (False, True), name
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=name)
        np.testing.assert_array_equal(found_y, y, err_msg=name)


def test_names_and_sql_need_a_connection(table):
    assert as_data("t", task="classification", con=table).n_rows == 500
    assert as_data("SELECT * FROM t WHERE n < 100", task="classification", con=table).n_rows == 100
    with pytest.raises(InvalidData, match="con="):
        as_data("t", task="classification")
    with pytest.raises(UnknownName, match="no table 'tt'; did you mean 't'"):
        as_data("tt", con=table)
    with pytest.raises(UnknownName, match=r"no file 'nowhere\.parquet'"):
        as_data("nowhere.parquet")


def test_wrapped_connection(table):
    class Wrapper:
        duckdb = table

    assert as_data("t", con=Wrapper()).n_rows == 500


@pytest.mark.parametrize(
    "name", ['x"; DROP TABLE t; --', "a.b", "select", "naïve ☃", "with space", "'quoted'", "dbml_source"]
)
def test_names_are_quoted(table, name):
    quoted = '"' + name.replace('"', '""') + '"'
    table.execute(f"CREATE TABLE {quoted} AS SELECT n AS {quoted}, label FROM t")
    data = as_data(table.table(quoted), task="classification")
    assert data.schema.encoding.columns == (name,)
    assert whole(data)[0].shape == (500, 1)
    assert as_data(name, con=table).n_rows == 500
    assert table.sql("SELECT count(*) FROM t").fetchall() == [(500,)]


def test_temporary_tables_and_open_transactions_are_seen(table):
    table.execute("BEGIN")
    table.execute("INSERT INTO t SELECT NULL, 1000 + i, 'new', true FROM range(100) r(i)")
    table.execute("CREATE TEMP TABLE tmp AS FROM t WHERE n < 10")
    data = as_data(table.table("t"), task="classification")
    assert data.n_rows == 600
    assert "x IS NULL" in data.schema.encoding.terms
    assert whole(data)[0].shape[0] == 600
    assert as_data(table.table("tmp")).n_rows == 10
    table.execute("ROLLBACK")
    assert as_data(table.table("t")).n_rows == 500


def test_a_registered_frame_is_seen(table):
    table.register("frame", pd.DataFrame({"x": [1.0, None, 3.0], "label": [1, 0, 1]}))
    data = as_data(table.sql("SELECT * FROM frame"), task="classification")
    assert data.schema.encoding.terms == ("x", "x IS NULL")


def test_rows_are_counted_after_deletes_and_filters(table):
    table.execute("DELETE FROM t WHERE n % 10 = 0")
    assert as_data(table.table("t")).n_rows == 450
    assert as_data(table.sql("FROM t WHERE n < 100")).n_rows == 90
    table.execute("DELETE FROM t")
    with pytest.raises(InvalidData, match="no rows"):
        as_data(table.table("t"))


def test_an_open_result_is_not_broken(table):
    relation = table.table("t")
    result = table.execute("SELECT n FROM t ORDER BY n")
    assert result.fetchone() == (0,)
    with pytest.raises(InvalidData, match="unfinished result"):
        as_data(relation)
    assert result.fetchone() == (1,)


@pytest.mark.parametrize(
    ("sql", "base"),
    [
        ("SELECT x, n > 5 AS late FROM t WHERE n < 100", "t"),
        ("SELECT month(DATE '2020-01-01' + n::INTEGER) AS m FROM t", "t"),
        ("FROM v", "t"),
        ("SELECT c, x + y AS z FROM v -- trailing words", "t"),
        ("SELECT t.x FROM main.t WHERE t.n BETWEEN 2 AND 7", "t"),
        ('SELECT x, "n" , c FROM t AS "from" WHERE "from".n < 7', "t"),
        ("select c, x\nfrom v", "t"),
        ("SELECT x, current_date FROM t", "t"),
        ("SELECT x, n FROM t LIMIT 5", None),
        ("SELECT x, n FROM t USING SAMPLE 10 ROWS", None),
        ("SELECT x, n FROM t GROUP BY ALL", None),
        ("SELECT x, n FROM t, range(2)", None),
        ("SELECT count(*) AS n FROM t", None),
        ("SELECT mad(x) AS m FROM t", None),
        ("SELECT x FROM t LIMIT 5", None),
        ("SELECT DISTINCT x FROM t", None),
        ("SELECT random() AS r FROM t", None),
        ("SELECT sum(x) OVER () AS s FROM t", None),
        ("SELECT unnest([x, n]) AS u FROM t", None),
        ("SELECT a.x FROM t a JOIN t b USING (n)", None),
        ("SELECT x FROM t WHERE n IN (SELECT n FROM t)", None),
        ("SELECT x FROM t USING SAMPLE 10 ROWS", None),
    ],
)
def test_the_base_table_of_a_query(table, sql, base):
    table.execute("CREATE VIEW v AS SELECT x, n + 1 AS y, c FROM t WHERE c <> 'b'")
    relation = table.sql(sql)
    source = open_source(relation)
    assert (source.base and source.base.name) == base
    if base:
        everything = table.sql(
            f"SELECT * FROM {source.base.rows((0, 500))} EXCEPT ALL {sql.partition('--')[0]}"
        ).fetchall()
        assert everything == []
        assert table.sql(f"SELECT count(*) FROM {source.base.rows()}").fetchall() == relation.count("*").fetchall()


def test_columns_that_differ_in_case_only():
    with pytest.raises(InvalidData, match=r"must differ in more than case; these do not: A, a"):
        as_data(pa.table({"A": [1], "a": [2]}))


def test_columns_of_the_same_name(table):
    with pytest.raises(InvalidData, match="these do not: x"):
        as_data(table.sql("SELECT a.x, b.x, a.c FROM t a JOIN t b USING (n)"))


def test_columns_of_a_dict_must_fit():
    with pytest.raises(InvalidData, match="one array per column"):
        as_data({"a": [1, 2], "b": [1]})
