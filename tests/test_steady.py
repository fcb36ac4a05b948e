"""All passes of a training see the same rows: of a query that runs once, of a table that others write to."""

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pytest

import dbml
from dbml.errors import InvalidData
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace
from dbml.passes.progress import Listener, listening

N = 150_000  # more than a row group: small tables are read into memory once


@pytest.fixture
def con(database):
    """A database with a table of two row groups."""
    with duckdb.connect(database) as opened:
        opened.execute(
            f"CREATE TABLE t AS SELECT i AS k, sin(i)::DOUBLE AS x, ['a', 'b'][i % 2 + 1] AS c, "
            f"(sin(i) + cos(3 * i) > 0) AS label FROM range({N}) r(i)"
        )
        yield opened


def rows(data):
    """One pass: all dense terms and the target."""
    space, found = Workspace(), []
    for chunk in data.chunks():
        block = chunk.encode(space)
        found.append(np.column_stack([block.X, block.y]))
    return np.concatenate(found)


def tables(con):
    return con.sql("SELECT database_name, table_name FROM duckdb_tables() WHERE table_name <> 't'").fetchall()


QUERIES = {
    "random numbers": f"SELECT random() AS x, random() > 0.5 AS label FROM range({N})",
    "sample": "SELECT x, label FROM t USING SAMPLE 10%",
    "limit": "SELECT a.x, b.label FROM t a JOIN t b USING (k) LIMIT 50_000",
    "join": "SELECT a.x, b.label FROM t a JOIN t b USING (k)",
    "view": "SELECT x, label FROM v",
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_once(con, name):
    con.execute("CREATE VIEW v AS SELECT x + random() AS x, label FROM t WHERE random() > 0.5")
    with as_data(QUERIES[name], task="classification", con=con) as data:
        first, second = rows(data), rows(data)
        assert first.shape[0] == data.n_rows == sum(data.schema.target.counts)
        assert np.array_equal(first, second)
        assert np.bincount(first[:, 1].astype(int)).tolist() == list(data.schema.target.counts)
        sampled = data.sample(1_000, 0)
        assert set(sampled.X[:, 0]) <= set(first[:, 0])
        assert f"rows of the query  {data.n_rows:,} kept in a temporary table, in" in str(data.plan)
    assert tables(con) == []


def test_a_csv_file_is_read_once(con, tmp_path):
    path = str(tmp_path / "t.csv")
    con.execute(f"COPY t TO '{path}'")
    with as_data(path, task="classification") as data:
        before = rows(data)
        (tmp_path / "t.csv").write_text("k,x,c,label\n1,2.0,a,true\n")
        assert np.array_equal(before, rows(data))
        assert data.n_rows == N and data.seekable


def test_fit_leaves_nothing_behind(con):
    relation = con.sql("SELECT a.x, a.c, b.label FROM t a JOIN t b USING (k)")
    dbml.LogisticRegression().fit(relation, "label")
    with pytest.raises(InvalidData, match="has one class"):
        dbml.LogisticRegression().fit(con.sql("SELECT x, label AND false AS label FROM (FROM t ORDER BY x)"), "label")
    with pytest.raises(Exception, match="Could not convert"):
        dbml.LogisticRegression().fit(con.sql("SELECT c::INTEGER AS x, label FROM t ORDER BY x"), "label")
    assert tables(con) == []
    con.begin()  # no transaction is open
    con.rollback()


def test_names_of_a_query_may_be_anything(con):
    query = 'SELECT x AS "rowid", x AS "a ""b", label FROM (FROM t ORDER BY x)'
    with as_data(query, task="classification", con=con) as data:
        assert data.schema.encoding.columns == ("rowid", 'a "b')
        assert np.array_equal(rows(data), rows(data))


def test_a_read_only_database(con, database):
    con.close()
    with duckdb.connect(database, read_only=True) as reader:
        model = dbml.LogisticRegression().fit(reader.sql("SELECT a.x, b.label FROM t a JOIN t b USING (k)"), "label")
        assert np.isfinite(model.coef_).all()


def test_frames_in_memory_are_not_copied():
    frame = pd.DataFrame({"x": np.arange(10.0), "label": np.arange(10) % 2})
    for X in (frame, pa.table({"x": frame.x, "label": frame.label})):
        with as_data(X, task="classification") as data:
            assert "temporary table" not in str(data.plan) and data.source.base is None


def test_a_dataset_is_read_once(tmp_path):
    pa.dataset.write_dataset(pa.table({"x": np.arange(10.0), "label": np.arange(10) % 2}), tmp_path, format="csv")
    with as_data(pa.dataset.dataset(tmp_path, format="csv"), task="classification") as data:
        assert "10 kept in a temporary table" in str(data.plan)


def test_a_stream_can_be_read_by_row_groups():
    x = np.arange(200_000.0)
    with as_data(pa.table({"x": x, "label": x % 2}).to_reader(), task="classification") as data:
        assert data.seekable and len(data.partitions) == 2


def test_a_query_that_does_not_fit_runs_for_every_pass(con):
    con.execute("SET memory_limit = '20MB'; SET temp_directory = ''")
    with as_data("SELECT i::DOUBLE AS x, i AS y FROM range(5_000_000) r(i)", "y", task="regression", con=con) as data:
        assert "rows of the query  read by running it again for every pass, because DuckDB has no room" in str(
            data.plan
        )
        assert data.n_rows == 5_000_000
        assert next(data.chunks()).n_rows > 0
    assert tables(con) == []


def test_a_query_inside_the_transaction_of_the_person(con):
    con.begin()
    con.execute("UPDATE t SET x = 2 * x WHERE k = 1")
    with as_data("SELECT a.x, b.label FROM t a JOIN t b USING (k)", task="classification", con=con) as data:
        assert np.array_equal(rows(data), rows(data))
        assert data.n_rows == N
    assert tables(con) == []
    con.rollback()
    assert con.sql("SELECT x FROM t WHERE k = 1").fetchall() == [(np.sin(1),)]


WRITES = {
    "insert": "INSERT INTO t SELECT i, 1e6, 'new', true FROM range(50_000) r(i)",
    "delete": "DELETE FROM t WHERE k % 3 = 0",
    "update": "UPDATE t SET x = -x, label = NOT label",
    "truncate": "TRUNCATE t",
    "replace": "CREATE OR REPLACE TABLE t AS SELECT 1 AS z",
    "null": "UPDATE t SET label = NULL",
}


@pytest.mark.parametrize("name", WRITES)
def test_passes_over_a_table_see_one_state_of_it(con, name):
    with as_data(con.table("t"), task="classification") as data:
        before, sampled = rows(data), data.sample(1_000, 3)
        con.cursor().execute(WRITES[name])
        assert np.array_equal(before, rows(data))
        assert np.array_equal(sampled.X, data.sample(1_000, 3).X)
        assert np.array_equal(rows(data.take([0])), before[:, [0, -1]])
        assert data.lookup(np.array([7, 70_000]), "k").n_rows == 2
    changed = con.sql("FROM t").to_arrow_table()
    assert changed.num_rows != N or changed.column_names == ["z"] or name in ("update", "null")


class Writer(Listener):
    """Another connection that changes the table before every pass."""

    def __init__(self, con, statement):
        self.con, self.statement, self.n_writes = con.cursor(), statement, 0

    def pass_started(self, purpose, n_rows):
        self.con.execute(self.statement)
        self.n_writes += 1


@pytest.mark.parametrize("name", ["insert", "delete", "update"])
@pytest.mark.parametrize("model", [dbml.SGDClassifier(max_iter=3, tol=None, random_state=0), dbml.LogisticRegression()])
def test_a_writer_does_not_disturb_a_training(con, model, name):
    calm = type(model)(**model.get_params()).fit(con.table("t"), "label")
    writer = Writer(con, WRITES[name])
    with listening(writer):
        model.fit(con.table("t"), "label")
    assert writer.n_writes >= 1
    assert np.array_equal(model.coef_, calm.coef_) and np.array_equal(model.intercept_, calm.intercept_)


def test_the_transaction_of_the_person_stays_open(con):
    con.begin()
    con.execute("INSERT INTO t VALUES (-1, 0.5, 'z', true)")
    dbml.LogisticRegression().fit(con.table("t"), "label")
    dbml.LogisticRegression().fit(con.table("t"), "label").score(con.table("t"), "label")
    assert con.cursor().sql("SELECT count(*) FROM t").fetchall() == [(N,)]
    con.rollback()
    assert con.sql("SELECT count(*) FROM t").fetchall() == [(N,)]


def test_data_that_nobody_closes_let_go_and_lose_nothing(con):
    data = as_data(con.table("t"), task="classification")
    query = as_data(con.sql("SELECT x, label FROM t ORDER BY x"), task="classification")
    con.execute("INSERT INTO t VALUES (-1, 0.5, 'z', true)")
    del data, query
    assert con.cursor().sql("SELECT count(*) FROM t").fetchall() == [(N + 1,)]
    assert tables(con) == []


def test_closing_twice_and_after_the_connection(con):
    data, query = (as_data(text, task="classification", con=con) for text in ("t", "FROM t ORDER BY x"))
    query.close()
    query.close()
    con.close()
    data.close()
