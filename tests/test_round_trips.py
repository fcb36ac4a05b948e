"""What a statement about models asks DuckDB: a query costs a quarter of a millisecond, however small it is."""

import os

import duckdb
import pyarrow as pa
import pytest

import dbml
from dbml.data.duck import private_connection
from dbml.passes.dispatch import as_data

CREATE = "CREATE OR REPLACE MODEL m OPTIONS(model_type = 'linear_reg', input_label_cols = ['y']) AS SELECT * FROM t"


@pytest.fixture
def asked(monkeypatch):
    texts = []
    execute = duckdb.DuckDBPyConnection.execute

    def noted(con, query, *arguments, **more):
        texts.append(query)
        return execute(con, query, *arguments, **more)

    monkeypatch.setattr(duckdb.DuckDBPyConnection, "execute", noted)
    return texts


def test_statements_ask_each_thing_once(asked):
    with dbml.connect() as con:
        assert len(asked) <= 4
        con.execute("CREATE TABLE t AS SELECT x, 2.0 * x AS y FROM range(100) r(x)").execute(CREATE).execute(CREATE)
        asked.clear()
        con.execute("SELECT predict('m', t) FROM t").fetchall()
        assert len(asked) <= 7
        asked.clear()
        con.execute(CREATE)
        assert len(asked) <= 50


def test_frames_are_read_in_one_database_of_our_own_and_see_nothing_of_each_other():
    reader = pa.table({"x": [1.0, 2.0]}).to_reader()
    other = pa.table({"x": [3.0, 4.0, 5.0]}).to_reader()
    with as_data(reader) as first, as_data(other) as second:
        assert (first.n_rows, second.n_rows) == (2, 3)
    one, two = private_connection(), private_connection()
    one.execute("CREATE TEMP TABLE rows AS SELECT 1 AS a")
    with pytest.raises(duckdb.CatalogException):
        two.execute("FROM rows")
    assert one.execute("SELECT current_setting('temp_directory')").fetchall()[0][0].find(str(os.getpid())) > 0
    one.close()
    two.execute("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_a_database_of_its_own():
    private_connection()
    child = os.fork()
    if child == 0:
        found = private_connection().execute("SELECT sum(i) FROM range(1_000_000) r(i)").fetchall()
        os._exit(0 if found == [(499_999_500_000,)] else 1)
    assert os.waitpid(child, 0)[1] == 0
