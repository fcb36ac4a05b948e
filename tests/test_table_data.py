"""TableData: streaming, seeking, terms, target and weights, lookup."""

import duckdb
import numpy as np
import pytest
from test_sources import whole

from dbml.engine.local import LocalEngine
from dbml.errors import InvalidData, InvalidParameter, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace, using
from dbml.passes.plan import Partition
from dbml.passes.step import Shuffled

N = 300_000


class Sums:
    """Sums of the terms and the target."""

    tolerance = 0.0
    chained = False

    def __init__(self, n_terms):
        self.n_terms = n_terms

    def start(self):
        return {"sum": np.zeros(self.n_terms), "y": np.zeros(1), "n": np.zeros(1)}

    def update(self, state, block):
        state["sum"][: block.X.shape[1]] += block.X.sum(axis=0)
        if block.sparse is not None:
            np.add.at(state["sum"], block.sparse.indices, block.sparse.values)
        state["y"] += block.y.sum()
        state["n"] += block.n_rows

    def merge(self, into, other):
        for name in into:
            into[name] += other[name]
        return into


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    import duckdb

    with duckdb.connect(str(tmp_path_factory.mktemp("db") / "big.duckdb")) as con:
        con.execute(
            f"""CREATE TABLE t AS SELECT i, hash(i) % 1000 / 7 AS x, 'c' || hash(i + 1) % 4 AS c,
            (hash(i + 2) % 2) AS label, i < {N // 2} AS sorted FROM range({N}) r(i)"""
        )
        yield con


def test_blocks_are_runs_of_rows_in_order(big):
    data = as_data(big.table("t"), task="classification")
    assert data.n_rows == N
    chunks = [(chunk.start, chunk.n_rows) for chunk in data.chunks()]
    assert [start for start, _ in chunks] == list(range(0, N, data.block_rows))
    assert sum(n for _, n in chunks) == N
    X, y = whole(data)
    np.testing.assert_array_equal(X[:, 0] + data.schema.encoding.features[0].fill[0], np.arange(N))
    labels = big.sql("SELECT label FROM t").to_arrow_table()["label"].to_numpy()
    np.testing.assert_array_equal(y, labels)


def test_partitions_are_read_alone(big):
    data = as_data(big.table("t"), task="classification")
    assert data.seekable
    assert [(p.start, p.n_rows) for p in data.partitions] == [(0, 122880), (122880, 122880), (245760, N - 245760)]
    wanted = [Partition(0, 5_000, 100), Partition(1, 122_870, 20), Partition(2, 245_000, 13_000)]
    space = Workspace()
    rows = [
        chunk.encode(space).X[:, 0].copy() + data.schema.encoding.features[0].fill[0] for chunk in data.chunks(wanted)
    ]
    expected = np.concatenate([np.arange(p.start, p.start + p.n_rows) for p in wanted])
    np.testing.assert_array_equal(np.concatenate(rows), expected)
    assert [(c.start, c.n_rows) for c in data.chunks(wanted)][:3] == [(5_000, 100), (122_870, 20), (245_000, 12_288)]


@pytest.mark.parametrize(
    "sql", ["FROM t", "SELECT * FROM t WHERE i % 3 > 0", "SELECT DISTINCT ON (i) * FROM t ORDER BY i"]
)
def test_shuffled_passes_see_every_row_once(big, sql):
    data = as_data(big.sql(sql), task="classification", options={"exclude": ["x"]})
    step = Sums(data.n_terms)
    (plain,) = data.fold(step)
    (shuffled,) = data.fold(step, order=Shuffled(3))
    assert shuffled["n"] == plain["n"]
    np.testing.assert_allclose(shuffled["sum"], plain["sum"], rtol=1e-9, atol=1e-3)


def test_clustering_is_seen(big):
    mixed = as_data(big.table("t"), task="classification", options={"exclude": ["i", "sorted"]})
    clustered, reason = mixed.clustering()
    assert not clustered, reason
    ordered = as_data(big.table("t"), "sorted", task="classification", options={"exclude": ["i", "label"]})
    clustered, reason = ordered.clustering()
    assert clustered
    assert "the target" in reason
    clustered, reason = as_data(big.table("t"), task="classification").clustering()
    assert clustered
    assert "i lies between" in reason or "sorted lies between" in reason


def test_take_scans_only_the_columns_it_needs(big):
    data = as_data(big.table("t"), task="classification")
    X, _ = whole(data)
    names = list(data.schema.encoding.terms)
    terms = sorted(names.index(name) for name in ("x", "c = c1", "c = c3"))
    taken = data.take(terms)
    block = next(taken.chunks())
    assert block.scan.gather.input_columns == ["x", "c"]
    rows, y = whole(taken)
    np.testing.assert_array_equal(rows, X[:, terms])
    assert y.size == N


def test_lookup(big):
    data = as_data(big.table("t"), task="classification")
    found = data.lookup(np.array([7, 299_999, 150_000, -4]), "i")
    fill = data.schema.encoding.features[0].fill[0]
    np.testing.assert_array_equal(found.X[:, 0] + fill, [7, 150_000, 299_999])
    assert data.lookup(np.array([], dtype=int), "i").n_rows == 0
    with pytest.raises(UnknownName, match="no column 'nowhere'"):
        data.lookup(np.array([1]), "nowhere")


def test_target_and_weights_as_arrays_follow_the_rows(big):
    X = big.sql("SELECT x, i FROM t")
    y = np.arange(N) % 3
    data = as_data(X, y, task="classification", sample_weight=np.arange(N, dtype=float))
    space = Workspace()
    for chunk in [*data.chunks(), *data.chunks([Partition(0, 200_000, 30_000)])]:
        block = chunk.encode(space)
        rows = np.round(block.X[:, 1] + data.schema.encoding.features[1].fill[0]).astype(int)
        np.testing.assert_array_equal(block.y, rows % 3)
        np.testing.assert_array_equal(block.weight, rows)


def test_arrays_follow_the_rows_of_a_table_with_deleted_rows(raw):
    raw.execute("CREATE TABLE t AS SELECT i FROM range(50_000) r(i)")
    raw.execute("DELETE FROM t WHERE i % 5 = 0")
    data = as_data(raw.table("t"), np.arange(40_000) * 1.0, task="regression")
    assert not data.seekable
    X, y = whole(data)
    rows = X[:, 0] + data.schema.encoding.features[0].fill[0]
    np.testing.assert_allclose(rows, np.arange(50_000)[np.arange(50_000) % 5 > 0])
    np.testing.assert_array_equal(y, np.arange(40_000))
    assert as_data(raw.table("t")).seekable


def test_weights_in_a_column(raw):
    raw.execute("CREATE TABLE t AS SELECT i AS x, i % 4 AS w, i AS label, i - 5 AS negative FROM range(100) r(i)")
    raw.execute("ALTER TABLE t ADD COLUMN holes INTEGER")
    data = as_data(raw.table("t"), task="regression", sample_weight="w")
    assert "w" not in data.schema.encoding.columns
    block = next(data.chunks()).encode(Workspace())
    np.testing.assert_array_equal(block.weight, np.arange(100) % 4)
    for column, words in (("negative", "must not be negative"), ("holes", "the weight must be finite")):
        with pytest.raises(InvalidData, match=words):
            next(as_data(raw.table("t"), task="regression", sample_weight=column).chunks()).encode(Workspace())
    raw.execute("ALTER TABLE t ADD COLUMN words VARCHAR")
    with pytest.raises(UnsupportedColumn, match="weight column 'words' must be a number"):
        as_data(raw.table("t"), task="regression", sample_weight="words")


def test_array_of_another_length(raw):
    with pytest.raises(InvalidData, match="inconsistent numbers of samples"):
        as_data(raw.sql("SELECT i FROM range(10) r(i)"), np.zeros(9), task="regression")


def test_options_are_checked(raw):
    relation = raw.sql("SELECT i AS a, i AS label FROM range(10) r(i)")
    with pytest.raises(InvalidParameter, match="no encoding option 'max_level'; did you mean 'max_levels'"):
        as_data(relation, options={"max_level": 3})
    with pytest.raises(InvalidParameter, match="max_levels must be an integer between 1 and"):
        as_data(relation, options={"max_levels": 0})
    with pytest.raises(UnknownName, match="no excluded column 'b'"):
        as_data(relation, options={"exclude": ["b"]})


def test_the_plan_names_what_is_read(big):
    data = as_data(big.sql("SELECT x, c, nullif(label, 1) AS label FROM t WHERE i > 1000"), "label", task="regression")
    plan = data.plan
    assert plan.source == "t"
    assert plan.columns == ("x", "c")
    assert '"label" IS NOT NULL' in plan.filters
    assert any("i > 1000" in condition for condition in plan.filters)
    assert len(plan.partitions) == 3
    assert [d.choice for d in plan.decisions if d.subject == "rows left out"]


def test_a_lookup_uses_an_index(raw):
    raw.execute("CREATE TABLE t AS SELECT i AS id, i / 2 AS x FROM range(200_000) r(i)")
    data = as_data(raw.table("t"))
    data.lookup(np.array([5]), "id")
    assert data.plan.decisions[-1].choice == "a scan pruned by zone maps"
    raw.execute("CREATE INDEX by_id ON t (id)")
    found = data.lookup(np.array([5, 9]), "id")
    assert found.n_rows == 2
    assert data.plan.decisions[-1].choice == "an index scan"


@pytest.mark.parametrize(
    ("condition", "pruned"),
    [
        ("i >= 122880", 1),
        ("122880 > i AND x < 5", 2),
        ("i BETWEEN 150000 AND 160000", 2),
        ("(i = 7)", 2),
        ("i < 10 OR i > 290000", 0),
        ("x > 3", 0),
        ("i + 1 > 290000", 0),
        ("c = 'c1'", 0),
    ],
)
def test_row_groups_that_a_filter_rules_out(big, condition, pruned):
    data = as_data(big.sql(f"SELECT * FROM t WHERE {condition}"))
    assert data.plan.pruned == pruned
    assert whole(data)[0].shape[0] == big.sql(f"SELECT count(*) FROM t WHERE {condition}").fetchall()[0][0]


@pytest.mark.parametrize("kind", ["BOOLEAN", "TINYINT", "UTINYINT", "INTEGER", "BIGINT", "UBIGINT", "HUGEINT"])
@pytest.mark.parametrize("condition", ["true", "label IS NOT NULL", "i <> 1", "label = 0", "i >= 0 AND label IS NULL"])
def test_classes_are_counted_the_same_by_sum_and_by_group(raw, kind, condition):
    labels = f"CASE WHEN i % 7 = 3 THEN NULL ELSE CAST(i % 3 = 1 AS {kind}) END"
    raw.execute(
        f"CREATE TABLE t AS SELECT i, label FROM (SELECT i, {labels} AS label FROM range(100) r(i)) WHERE {condition}"
    )
    expected = dict(raw.sql("SELECT label, count(*) FROM t WHERE label IS NOT NULL GROUP BY 1 ORDER BY 1").fetchall())
    if len(expected) < 2:
        with pytest.raises(InvalidData, match=r"one class|is NULL in all"):
            as_data(raw.table("t"), "label", task="classification")
        return
    data = as_data(raw.table("t"), "label", task="classification")
    assert dict(zip(data.schema.target.classes, data.schema.target.counts, strict=True)) == expected
    assert [type(label) for label in data.schema.target.classes] == [type(label) for label in expected]
    assert data.n_rows == sum(expected.values())


def test_neighbouring_classes_at_the_edge_of_their_type_are_counted(raw):
    raw.execute("CREATE TABLE t AS SELECT i, CAST(i % 2 AS BIGINT) + 9223372036854775806 AS label FROM range(9) r(i)")
    target = as_data(raw.table("t"), "label", task="classification").schema.target
    assert (target.classes, target.counts) == ((2**63 - 2, 2**63 - 1), (5, 4))


def test_a_sample_in_blocks_is_the_same_for_any_number_of_threads():
    con = duckdb.connect()
    con.execute("CREATE TABLE t AS SELECT (random() * 100)::DOUBLE AS x, range::DOUBLE AS z FROM range(400_000)")
    found = []
    for threads in (1, 2, 7):
        with as_data(con.table("t")) as data, using(LocalEngine(threads)):
            found.append(np.concatenate(data.sampled(lambda block: block.X[:, 1].copy(), 30_000, seed=3)))
    assert len(found[0]) == 30_000
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    with as_data(con.sql("FROM t WHERE x < 1")) as data:  # a filter that leaves few rows where the sample looks
        assert sum(data.sampled(lambda block: block.n_rows, 3_000, seed=3)) == 3_000
