"""Parquet files are read by row groups: geometry from footers, some row groups only, pruned ones in the plan."""

import numpy as np
import pytest

from dbml.data.parquet import find_files
from dbml.passes.dispatch import as_data
from dbml.passes.plan import Partition
from dbml.passes.step import Shuffled, Step

ROWS, GROUP = 50_000, 8_192


class Rows(Step):
    """Collects a column of the rows, in the order they come."""

    chained = True

    def start(self):
        return {"seen": np.empty(0)}

    def update(self, state, block):
        state["seen"] = np.concatenate([state["seen"], block.y])

    def merge(self, into, other):
        raise AssertionError("a chained step has one state")


@pytest.fixture
def folder(raw, tmp_path):
    raw.execute(f"CREATE TABLE t AS SELECT i / 7 AS x, i AS y, i // 30_000 AS part FROM range({ROWS}) r(i)")
    raw.sql(f"COPY t TO '{tmp_path}/one.parquet' (ROW_GROUP_SIZE {GROUP})")
    raw.sql(f"COPY t TO '{tmp_path}/hive' (FORMAT parquet, PARTITION_BY (part), ROW_GROUP_SIZE {GROUP})")
    raw.sql(f"COPY (FROM t WHERE y < 20_000) TO '{tmp_path}/it''s 0.parquet' (ROW_GROUP_SIZE {GROUP})")
    raw.sql(f"COPY (FROM t WHERE y >= 20_000) TO '{tmp_path}/it''s 1.parquet' (ROW_GROUP_SIZE {GROUP})")
    return tmp_path


QUERIES = [
    "FROM '{}/one.parquet'",
    "SELECT y, x + 1 AS x FROM '{}/one.parquet' p",
    "SELECT x, y FROM read_parquet('{}/it''s *.parquet')",
    "SELECT p.x, p.y FROM read_parquet(['{0}/it''s 0.parquet', '{0}/it''s 1.parquet'], union_by_name = true) AS p",
    "FROM parquet_scan('{}/hive/*/*.parquet', hive_partitioning = true)",
]


@pytest.mark.parametrize("query", QUERIES)
def test_partitions_are_row_groups(raw, folder, query):
    data = as_data(raw.sql(query.format(folder)), "y", task="regression")
    assert sum(partition.n_rows for partition in data.partitions) == ROWS
    assert all(0 < partition.n_rows <= GROUP + 2_048 for partition in data.partitions)
    assert data.seekable and len(data.plan.partitions) == len(data.partitions) > 5
    (every,) = data.fold(Rows())
    pieces = []
    for partition in data.partitions:
        chunks = [chunk.encode(_workspace()).y.copy() for chunk in data.chunks([partition])]
        pieces.append(np.concatenate(chunks))
        assert pieces[-1].size == partition.n_rows
    np.testing.assert_array_equal(np.sort(np.concatenate(pieces)), np.arange(ROWS))
    np.testing.assert_array_equal(np.sort(every["seen"]), np.arange(ROWS))


def _workspace():
    from dbml.passes.engine import Workspace

    return Workspace()


def test_a_run_of_rows_over_the_end_of_a_file(raw, folder):
    data = as_data(raw.sql(QUERIES[2].format(folder)), "y", task="regression")
    read = [chunk.encode(_workspace()).y.copy() for chunk in data.chunks([Partition(0, 19_000, 2_000)])]
    np.testing.assert_array_equal(np.concatenate(read), np.arange(19_000, 21_000))


def test_shuffled_rows_are_a_permutation(raw, folder):
    data = as_data(f"{folder}/one.parquet", "y", task="regression")
    (state,) = data.fold(Rows(), order=Shuffled(3))
    assert (np.diff(state["seen"][:1_000]) != 1).mean() == pytest.approx(1 / 8, abs=0.01)  # runs of 8, from far places
    np.testing.assert_array_equal(np.sort(state["seen"]), np.arange(ROWS))


def test_a_sample_comes_from_all_over_the_file(raw, folder):
    sample = as_data(f"{folder}/one.parquet", "y", task="regression").sample(700, 0)
    assert sample.n_rows == 700
    assert len(np.unique(sample.y // GROUP)) == 7


def test_the_plan_counts_row_groups_that_statistics_rule_out(raw, folder):
    data = as_data(
        raw.sql(f"SELECT x, y FROM '{folder}/one.parquet' WHERE y >= 40000 AND x < 6500"), "y", task="regression"
    )
    n_groups = len(data.partitions)
    kept = {y // GROUP for y in range(40_000, 45_500)}
    assert data.plan.pruned == n_groups - len(kept)
    assert data.plan.filters[0] == "y >= 40000 AND x < 6500"
    (state,) = data.fold(Rows())
    np.testing.assert_array_equal(state["seen"], np.arange(40_000, 45_500))


def test_an_array_is_matched_by_position(raw, folder):
    y = np.arange(ROWS) * 2.0
    one = as_data(raw.sql(f"SELECT x FROM '{folder}/one.parquet'"), y, task="regression")
    assert one.seekable
    block = one.sample(100, 1)
    np.testing.assert_allclose(block.y, 14 * (block.X[:, 0] + one.schema.encoding.features[0].fill[0]))
    several = as_data(raw.sql(f"SELECT x FROM read_parquet('{folder}/it''s *.parquet')"), y, task="regression")
    assert not several.seekable


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DISTINCT x FROM '{}/one.parquet'",
        "SELECT a.x FROM '{0}/one.parquet' a, '{0}/one.parquet' b LIMIT 5",
        "SELECT one.x FROM '{}/one.parquet' LIMIT 10",
        "SELECT random() AS x FROM '{}/one.parquet'",
        "SELECT x FROM read_parquet('{}/one.parquet', filename = true) WHERE filename <> ''",
        "SELECT x FROM read_csv('{}/one.csv')",
    ],
)
def test_other_queries_are_streams(raw, folder, query):
    raw.sql(f"COPY t TO '{folder}/one.csv'")
    assert find_files(raw.sql(query.format(folder))) is None
