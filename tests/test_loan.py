"""What DuckDB lends to shards that would not fit, and when it does not."""

import gc

import numpy as np
import pytest

import dbml
from dbml.errors import InvalidData
from dbml.passes.dispatch import as_data
from dbml.passes.memory import set_memory_limit

N = 60_000


@pytest.fixture
def con():
    con = dbml.connect(memory_limit="256MB")  # 128 MB for DuckDB, 96 MB for shards
    con.execute("CREATE TABLE t AS SELECT i::DOUBLE AS x, i::DOUBLE AS y FROM range(60000) r(i)")
    yield con
    con.close()
    set_memory_limit(None)


def limit_of(con):
    return con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]


def derive(con, row_bytes):
    def make(block):
        return {"kept": np.zeros((block.n_rows, row_bytes), np.uint8)}

    return as_data(con.table("t"), "y", task="regression").derive(make, shard_rows=10_000)


def test_shards_that_fit_borrow_nothing(con):
    before = limit_of(con)
    with derive(con, 1_000) as shards:
        assert shards.in_memory and limit_of(con) == before


def test_shards_that_would_not_fit_take_what_duckdb_does_not_need(con):
    before = limit_of(con)
    with derive(con, 2_000) as shards:  # 120 MB
        assert shards.in_memory
        assert limit_of(con) == "64.0 MiB"
        with derive(con, 2_000) as others:  # there is nothing left to lend
            assert not others.in_memory
        assert limit_of(con) == "64.0 MiB"
    assert limit_of(con) == before


def test_beyond_the_loan_shards_are_spilled(con):
    before = limit_of(con)
    with derive(con, 4_000) as shards:
        assert not shards.in_memory
    assert limit_of(con) == before


@pytest.mark.parametrize("limit", ["100MiB", "10GiB"])
def test_a_limit_that_was_set_by_hand_is_left_alone(con, limit):
    con.execute(f"SET memory_limit = '{limit}'")
    before = limit_of(con)
    with derive(con, 2_000) as shards:
        assert not shards.in_memory
        assert limit_of(con) == before


def test_a_limit_set_in_the_meantime_stays(con):
    with derive(con, 2_000):
        con.execute("SET memory_limit = '200MiB'")
    assert limit_of(con) == "200.0 MiB"


def test_a_closed_database_takes_nothing_back(con):
    shards = derive(con, 2_000)
    con.duckdb.close()
    shards.close()
    with pytest.raises(InvalidData, match="closed"):
        shards.each(len)


def test_an_error_while_shards_are_made_gives_the_loan_back(con):
    before, seen = limit_of(con), []

    def make(block):
        seen.append(block.n_rows)
        if sum(seen) > N // 2:
            raise ValueError("no more")
        return {"kept": np.zeros((block.n_rows, 2_000), np.uint8)}

    with pytest.raises(ValueError, match="no more"):
        as_data(con.table("t"), "y", task="regression").derive(make, shard_rows=10_000)
    assert limit_of(con) == before


def test_materialised_blocks_borrow_too_and_forgotten_ones_give_back(con):
    before = limit_of(con)
    columns = ", ".join(f"i AS x{j}" for j in range(20))
    con.execute(f"CREATE TABLE wide AS SELECT i::DOUBLE AS y, {columns} FROM range(500000) r(i)")
    kept = as_data(con.table("wide"), "y", task="regression").materialise()  # 88 MB, of which 64 MB are its share
    assert "in memory" in str(kept.plan) and "spilled" not in str(kept.plan)
    assert limit_of(con) != before
    del kept
    gc.collect()
    assert limit_of(con) == before
