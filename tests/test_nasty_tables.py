"""Tables that nobody can learn from, or hardly: a clear error that names what is wrong, or a rule that holds."""

import re

import numpy as np
import pytest
from test_sources import whole

from dbml.errors import InvalidData, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace


@pytest.fixture(params=["table", "query", "parquet"])
def rows(raw, request, tmp_path):
    """Make a relation of SQL: over a table, an opaque query, and a Parquet file."""

    def make(sql):
        if request.param == "query":
            return raw.sql(f"SELECT DISTINCT * FROM ({sql})")
        if request.param == "parquet":
            raw.sql(sql).to_parquet(str(tmp_path / "rows.parquet"))
            return raw.sql(f"FROM '{tmp_path}/rows.parquet'")
        raw.execute(f"CREATE OR REPLACE TABLE rows AS {sql}")
        return raw.table("rows")

    return make


@pytest.mark.parametrize("task", ["regression", "classification", "none"])
def test_no_rows(rows, task):
    with pytest.raises(InvalidData, match="has no rows to learn from"):
        as_data(rows("SELECT 1 AS x, 1 AS label WHERE false"), task=task)


def test_no_target_column(rows):
    with pytest.raises(
        UnknownName, match=r"no target column 'label' in .*; did you mean 'labels'\? \(columns: x, labels\)"
    ):
        as_data(rows("SELECT 1 AS x, 1 AS labels"), task="regression")


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_target_that_is_all_null(rows, task):
    with pytest.raises(InvalidData, match="'label' is NULL in all 3 rows"):
        as_data(rows("SELECT i AS x, NULL::INTEGER AS label FROM range(3) r(i)"), task=task)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT"])
def test_a_target_that_is_not_finite(rows, value, kind):
    sql = f"SELECT i AS x, CASE WHEN i < 2 THEN '{value}'::{kind} ELSE i END AS y FROM range(10) r(i)"
    with pytest.raises(InvalidData, match=r"'y' must be finite; 2 of (8|10) rows .*isfinite"):
        as_data(rows(sql), "y", task="regression")
    with pytest.raises(InvalidData, match=r"'y' .* holds -?(nan|inf), which is no class"):
        as_data(rows(sql), "y", task="classification")


def test_rows_without_a_target_are_left_out(rows):
    relation = rows("SELECT i AS x, CASE WHEN i % 3 > 0 THEN i * 2 END AS label FROM range(9) r(i)")
    data = as_data(relation, task="regression")
    X, y = whole(data)
    assert data.n_rows == 6
    assert sorted(zip(X[:, 0].tolist(), y.tolist(), strict=True)) == [(i - 4.5, i * 2) for i in (1, 2, 4, 5, 7, 8)]
    (decision,) = [d for d in data.plan.decisions if d.subject == "rows left out"]
    assert (decision.choice, decision.reason) == ("3", "their target is NULL")


@pytest.mark.parametrize("kind", ["VARCHAR", "DATE", "BLOB", "INTEGER[]"])
def test_a_target_of_the_wrong_type_for_regression(raw, kind):
    relation = raw.sql(f"SELECT i AS x, NULL::{kind} AS y FROM range(3) r(i)")
    with pytest.raises(UnsupportedColumn, match=rf"'y' of a regression must be a number; .* is {re.escape(kind)}"):
        as_data(relation, "y", task="regression")


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "BLOB", "UUID", "DOUBLE[2]"])
def test_a_target_of_the_wrong_type_for_classification(raw, kind):
    relation = raw.sql(f"SELECT i AS x, NULL::{kind} AS y FROM range(3) r(i)")
    with pytest.raises(UnsupportedColumn, match=rf"'y' of a classifier must be .* is {re.escape(kind)}"):
        as_data(relation, "y", task="classification")


def test_one_class(rows):
    with pytest.raises(InvalidData, match="has one class, 'yes'; a classifier needs at least 2"):
        as_data(rows("SELECT i AS x, 'yes' AS y FROM range(5) r(i)"), "y", task="classification")


def test_too_many_classes(rows):
    with pytest.raises(InvalidData, match="2,000 different values; a classifier takes at most 1,000"):
        as_data(rows("SELECT i AS x, i AS y FROM range(2000) r(i)"), "y", task="classification")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("[true, false, NULL]", (False, True)),
        ("[3, -1, 3, 7]", (-1, 3, 7)),
        ("[0.5::DOUBLE, -1, 0.5]", (-1.0, 0.5)),
        ("[1.5, -1]::DECIMAL(3, 1)[]", (-1.0, 1.5)),
        ("['b', 'a', NULL, 'it''s', '']", ("", "a", "b", "it's")),
        ("['b', 'a']::ENUM('b', 'a')[]", ("a", "b")),
        ("[" + ", ".join(f"'k{i:02}'" for i in range(20)) + "]", tuple(f"k{i:02}" for i in range(20))),
        ("range(20)", tuple(range(20))),
    ],
)
def test_classes_keep_their_type(rows, labels, classes):
    relation = rows(f"SELECT x, y FROM (SELECT unnest({labels}) AS y, unnest(range(30)) AS x) WHERE x < len({labels})")
    data = as_data(relation, "y", task="classification")
    found = data.schema.target.classes
    assert found == classes
    assert [type(label) for label in found] == [type(label) for label in classes]
    _, y = whole(data)
    labels = [v for (v,) in relation.project("y").fetchall() if v is not None]
    wanted = [float(v) if isinstance(classes[0], float) else v for v in labels]
    # DISTINCT gives its rows in another order each time.
    assert sorted(classes[int(code)] for code in y) == sorted(wanted)
    assert sum(data.schema.target.counts) == data.n_rows


def test_labels_of_a_wide_integer(raw):
    relation = raw.sql("SELECT i AS x, (i % 2)::HUGEINT * 10_000_000_000_000_000_000 AS y FROM range(4) r(i)")
    data = as_data(relation, "y", task="classification")
    assert data.schema.target.classes == (0, 10_000_000_000_000_000_000)
    assert whole(data)[1].tolist() == [0, 1, 0, 1]


def test_a_label_that_the_model_does_not_know(raw):
    rows = raw.sql("SELECT i AS x, ['yes', 'no'][i % 2 + 1] AS y FROM range(9) r(i)")
    schema = as_data(rows, "y", task="classification").schema
    other = raw.sql("SELECT i AS x, ['yes', 'maybe'][i % 2 + 1] AS y FROM range(4) r(i)")
    with pytest.raises(InvalidData, match="must be a class that the model knows; in 2 of these 4 rows"):
        next(as_data(other, "y", schema=schema).chunks()).encode(Workspace())


def test_one_row(rows):
    data = as_data(rows("SELECT 2.5 AS x, 'a' AS c, 1.0 AS label"), task="regression")
    assert data.schema.encoding.terms == ("x",)
    assert whole(data)[0].tolist() == [[0]]
    assert data.statistics.scale.tolist() == [1]


def test_constant_and_duplicated_columns_stay(rows):
    data = as_data(rows("SELECT 7 AS same, i AS a, i AS b FROM range(5) r(i)"))
    X, _ = whole(data)
    assert sorted(map(tuple, X)) == [(0, i - 2, i - 2) for i in range(5)]


def test_a_large_offset_is_centred(rows):
    X, _ = whole(as_data(rows("SELECT 1e8 + i / 1000 AS x FROM range(1000) r(i)")))
    assert np.abs(X).max() < 1.1
    np.testing.assert_allclose(np.sort(np.diff(np.sort(X[:, 0]))), 0.001, atol=2e-8)


def test_all_rows_filtered(rows):
    with pytest.raises(InvalidData, match=r"has no rows|the filter leaves none of the 5 rows of rows to learn from: "):
        as_data(rows("SELECT i AS x, i AS y FROM range(5) r(i)").filter("x > 10"), "y", task="regression")


def test_scoring_no_rows(rows):
    schema = as_data(rows("SELECT i AS x, 'c' || (i % 2) AS c FROM range(5) r(i)")).schema
    assert list(as_data(rows("SELECT 1 AS x, 'c' AS c WHERE false"), schema=schema).chunks()) == []


def test_a_wide_table(raw):
    names = [f"x{i}" for i in range(1_200)]
    raw.execute(f"CREATE TABLE wide AS SELECT {', '.join(f'i * {n[1:]} AS {n}' for n in names)} FROM range(3000) r(i)")
    data = as_data(raw.table("wide"))
    assert data.n_dense == 1_200
    assert data.block_rows < 2_000
    (block, *_) = [chunk.encode(Workspace()) for chunk in data.take([3, 1_100]).chunks()]
    np.testing.assert_allclose(block.X[:3], (np.arange(3)[:, None] - 1499.5) * [3, 1_100])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_filter_that_leaves_nothing_is_named(raw, task, tmp_path):
    raw.execute("CREATE TABLE t AS SELECT i AS x, i % 2 = 0 AS label, i::DOUBLE AS y FROM range(60) r(i)")
    raw.execute("CREATE VIEW v AS SELECT * FROM t WHERE x < 10")
    raw.execute(f"COPY t TO '{tmp_path}/t.parquet'")
    y = "label" if task == "classification" else "y"
    left = "the filter leaves none of the 60 rows of {} to learn from: .*{}"
    with pytest.raises(InvalidData, match=left.format("t", "x > 100")):
        as_data("SELECT * FROM t WHERE x > 100", y, task=task, con=raw)
    with pytest.raises(InvalidData, match=left.format("t", "x < 10.*x > 20")):
        as_data("FROM v WHERE x > 20", y, task=task, con=raw)
    with pytest.raises(InvalidData, match=left.format("t", "x > 100")):
        as_data(raw.sql("SELECT x FROM t WHERE x > 100"), np.zeros(0), task=task)
    with pytest.raises(InvalidData, match=left.format("the query", "x > 100")):
        as_data(f"SELECT * FROM '{tmp_path}/t.parquet' WHERE x > 100", y, task=task, con=raw)
    with pytest.raises(InvalidData, match="the query has no rows to learn from"):
        as_data("SELECT a.* FROM t a JOIN t b USING (x) WHERE x > 100", y, task=task, con=raw)
    raw.execute("DELETE FROM t")
    with pytest.raises(InvalidData, match=r"^t has no rows to learn from"):
        as_data("SELECT * FROM t WHERE x > 100", y, task=task, con=raw)


def test_a_filter_that_leaves_one_class_or_no_target_is_named(raw):
    raw.execute("CREATE TABLE t AS SELECT i AS x, i % 2 = 0 AS label, NULL::DOUBLE AS y FROM range(60) r(i)")
    with pytest.raises(InvalidData, match="'label' of t WHERE label has one class, True"):
        as_data("SELECT * FROM t WHERE label", task="classification", con=raw)
    with pytest.raises(InvalidData, match="the target 'y' is NULL in all 10 rows of t WHERE x < 10"):
        as_data("SELECT * FROM t WHERE x < 10", "y", task="regression", con=raw)
