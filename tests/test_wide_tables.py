"""Tables of more columns than DuckDB's memory has room for are read in groups of columns, and look no different."""

import duckdb
import numpy as np
import pytest

import dbml
from dbml.data import duck, table, wide
from dbml.data.chunked import ROW_GROUP
from dbml.data.source import open_source
from dbml.errors import ExhaustedMemory
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace
from dbml.passes.plan import Partition

COLUMNS, ROWS = 300, 36_000  # a page of doubles ends after 32,768 rows


def blocks(data, partitions=None):
    """Copies of what every block holds."""
    space, found = Workspace(), []
    for chunk in data.chunks(partitions):
        block = chunk.encode(space)
        arrays = [block.X, block.y, block.weight, *(block.sparse or ())]
        found.append((block.start, *(None if array is None else array.tobytes() for array in arrays)))
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    name = str(tmp_path_factory.mktemp("wide") / "wide.duckdb")
    listed = ", ".join(f"(i * {k + 1}) % 1009 / 3 AS x{k}" for k in range(COLUMNS))
    with duckdb.connect(name) as con:
        con.execute(f"CREATE TABLE t AS SELECT {listed} FROM range({ROWS}) n(i)")
    return name


def test_a_table_wider_than_the_memory_is_read_within_it(path):
    with dbml.connect(path, read_only=True) as con:
        plenty = dbml.PCA(3).fit(con.table("t"))
        assert not [d for d in plenty.explain().decisions if d.subject == "reading"]
        rows = con.sql("FROM t LIMIT 5").df()
    with dbml.connect(path, memory_limit="64MiB", read_only=True) as con:
        with pytest.raises(duckdb.OutOfMemoryException):
            con.duckdb.sql("FROM t").to_arrow_reader(1_024).read_all()
        scarce = dbml.PCA(3).fit(con.table("t"))
        (reading,) = [d for d in scarce.explain().decisions if d.subject == "reading"]
        assert "columns of" in reading.choice
        assert "all 300 at once" in reading.reason
        np.testing.assert_allclose(scarce.explained_variance_, plenty.explained_variance_, rtol=1e-9)
        np.testing.assert_allclose(scarce.transform(rows), plenty.transform(rows), rtol=1e-9, atol=1e-9)


def test_an_error_says_what_to_do(path):
    with dbml.connect(path, memory_limit="64MiB", read_only=True) as con:
        relation = con.duckdb.sql("FROM t")
        with pytest.raises(ExhaustedMemory, match=r"ran out of it .*memory_limit, or select fewer columns"):
            list(duck.stream(relation, "SELECT * FROM t", 1_024))


@pytest.fixture(scope="module")
def mixed():
    with duckdb.connect(":memory:") as con:
        con.execute(
            f"""CREATE TABLE t AS SELECT i % 3 AS label, hash(i) % 100 / 7 AS a, i::FLOAT AS b, i % 5 AS weight,
            CASE WHEN i % 11 > 0 THEN i % 13 END AS "c d", 'l' || hash(i + 1) % 4 AS level,
            DATE '2020-01-01' + (i % 400)::INTEGER AS day, [i::DOUBLE, -i]::DOUBLE[2] AS pair
            FROM range({ROW_GROUP + 9_000}) n(i)"""
        )
        yield con


@pytest.mark.parametrize(
    "query",
    [
        "FROM t",
        "FROM t WHERE a > 3",
        'SELECT level, "c d", LABEL, weight, a FROM t',
        "SELECT label, weight, a * 2 AS twice, level FROM t WHERE b < 130_000",
    ],
)
def test_rows_are_the_same_as_of_one_query(mixed, monkeypatch, query):
    weighed = {"sample_weight": "weight", "task": "classification"}
    whole = as_data(mixed.sql(query), "label", **weighed)
    monkeypatch.setattr(table, "room_if_wide", lambda source, n_columns: wide.ScanRoom(1 << 20, 2))
    grouped = as_data(mixed.sql(query), "label", **weighed)
    assert grouped._scan.room.columns(1) == 1
    assert blocks(grouped) == blocks(whole)
    assert len(blocks(whole)) > 5
    pieces = [Partition(0, 500, 4_000), Partition(0, 4_500, 77), Partition(1, ROW_GROUP - 5, 5_000)]
    assert blocks(grouped, pieces) == blocks(whole, pieces)
    assert grouped.sample(3_000, 1).X.tobytes() == whole.sample(3_000, 1).X.tobytes()
    grouped.close()
    whole.close()


def test_rows_that_were_deleted_are_left_out(monkeypatch):
    with duckdb.connect(":memory:") as con:
        con.execute("CREATE TABLE t AS SELECT i % 17 AS a, i / 7 AS b, 'l' || i % 3 AS level FROM range(20_000) n(i)")
        con.execute("DELETE FROM t WHERE a > 10")
        whole = as_data(con.table("t"), task="none")
        monkeypatch.setattr(table, "room_if_wide", lambda source, n_columns: wide.ScanRoom(1 << 20, 2))
        grouped = as_data(con.table("t"), task="none")
        assert blocks(grouped) == blocks(whole)
        grouped.close()
        whole.close()


@pytest.mark.parametrize(
    ("query", "bare"),
    [("FROM s", True), ("SELECT a, b FROM s", True), ("SELECT a.b FROM s", False), ("SELECT b AS a FROM s", False)],
)
def test_only_columns_under_their_own_names_are_read_without_the_query(query, bare):
    with duckdb.connect(":memory:") as con:
        con.execute("CREATE TABLE s AS SELECT {'b': i} AS a, -i AS b FROM range(5) n(i)")
        source = open_source(con.sql(query))
        assert source.base.bare == bare
        column = source.columns if len(source.columns) == 1 else ["b"]
        found = source.fetch(source.select([*column], [(1, 3), (4, 5)]))
        assert found == [(row,) for row in ((1, 2, 4) if query == "SELECT a.b FROM s" else (-1, -2, -4))]


def test_stretches_cover_the_ranges_in_order():
    ranges = [(0, 10_000), (20_000, 20_010), (ROW_GROUP - 3, ROW_GROUP + 300_000)]
    for rows in (64, 2_048, 8_192, ROW_GROUP):
        found = list(wide.stretches(ranges, rows))
        assert all(sum(high - low for low, high in stretch) <= rows for stretch in found)
        flat = [bounds for stretch in found for bounds in stretch]
        assert all(low // ROW_GROUP == (high - 1) // ROW_GROUP for low, high in flat)
        numbers = np.concatenate([np.arange(low, high) for low, high in flat])
        np.testing.assert_array_equal(numbers, np.concatenate([np.arange(low, high) for low, high in ranges]))
    assert list(wide.stretches([(0, 0)], 64)) == []
