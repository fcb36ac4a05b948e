"""What the columns of a table become, as a person sees it: terms, values, refusals."""

import numpy as np
import pytest
from dbml_sql.features import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources import whole

from dbml.data.columns import Role
from dbml.data.source import open_source
from dbml.data.vector_means import element_means
from dbml.errors import InvalidData, UnknownName, UnsupportedColumn
from dbml.passes.dispatch import as_data


def read(con, sql, **options):
    """Return the design as a dict of columns, centre added back."""
    data = as_data(con.sql(sql), options=options)
    X, _ = whole(data)
    X += data.schema.encoding.centre()
    return dict(zip(data.schema.encoding.terms, X.T.tolist(), strict=True))


@pytest.mark.parametrize(
    "kind",
    ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
     "FLOAT", "DOUBLE", "DECIMAL(9, 2)", "DECIMAL(38, 5)"],
)  # fmt: skip
def test_numbers(raw, kind):
    found = read(raw, f"SELECT i::{kind} AS a, CASE i WHEN 2 THEN NULL ELSE i END::{kind} AS b FROM range(4) r(i)")
    assert found["a"] == [0, 1, 2, 3]
    assert found["b"] == pytest.approx([0, 1, 4 / 3, 3])
    assert found["b IS NULL"] == [0, 0, 1, 0]


def test_missing_numbers_take_the_mean_of_the_others(raw):
    values = "unnest(['1', NULL, 'nan', 'inf', '-inf', '4']::DOUBLE[])"
    found = read(raw, f"SELECT {values} AS a, {values}::FLOAT AS f")
    for name in ("a", "f"):
        assert found[name] == [1, 2.5, 2.5, 2.5, 2.5, 4]
        assert found[f"{name} IS NULL"] == [0, 1, 1, 1, 1, 0]


def test_booleans(raw):
    found = read(raw, "SELECT unnest([true, false, NULL, true]) AS b")
    assert found["b"] == pytest.approx([1, 0, 2 / 3, 1])
    assert found["b IS NULL"] == [0, 0, 1, 0]


def test_categories_by_falling_frequency(raw):
    found = read(raw, "SELECT unnest(['b', 'a', NULL, 'b', '', 'it''s']) AS c")
    assert list(found) == ["c = b", "c = ", "c = a", "c = it's", "c IS NULL"]
    assert found["c = b"] == [1, 0, 0, 1, 0, 0]
    assert found["c IS NULL"] == [0, 0, 1, 0, 0, 0]


def test_enums_are_categories(raw):
    found = read(raw, "SELECT unnest(['y', 'x', 'y']::ENUM('x', 'y', 'unused')[]) AS c")
    assert list(found) == ["c = y", "c = x"]


def test_rare_levels_share_a_term(raw):
    sql = """SELECT CASE WHEN i < 900 THEN 'often' WHEN i < 980 THEN 'some' ELSE 'rare' || (i % 10) END AS c
             FROM range(1000) r(i)"""
    found = read(raw, sql)
    assert list(found) == ["c = often", "c = some", "c = other"]
    assert sum(found["c = other"]) == 20
    assert list(read(raw, sql, max_levels=1)) == ["c = often", "c = other"]
    assert len(read(raw, sql, min_level_rows=2)) == 12


def test_unseen_categories(raw):
    pooled = as_data(raw.sql("SELECT unnest(['a', 'a', 'b', 'b', 'c']) AS c"), options={"min_level_rows": 2}).schema
    strict = as_data(raw.sql("SELECT unnest(['a', 'b', 'c']) AS c")).schema
    other = raw.sql("SELECT unnest(['b', 'new', NULL]) AS C")
    assert whole(as_data(other, schema=pooled))[0].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert whole(as_data(other, schema=strict))[0].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_a_million_categories_are_pooled(raw):
    sql = "SELECT CASE WHEN i % 2 = 0 THEN 'one' ELSE 'id' || i END AS c FROM range(1_000_000) r(i)"
    assert list(read(raw, sql)) == ["c = one", "c = other"]


def test_many_levels(raw):
    sql = "SELECT 'level ' || (i % 5_000) AS c FROM range(50_000) r(i)"
    data = as_data(raw.sql(sql), options={"max_levels": 5_000})
    X, _ = whole(data.take([0, 4_999]))
    assert data.n_terms == 5_000
    assert X.sum(axis=0).tolist() == [10, 10]


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"])
def test_dates_become_calendar_parts_in_utc(raw, kind):
    raw.execute("SET TimeZone = 'America/New_York'")
    times = "TIMESTAMP '1969-12-31 22:00:00', TIMESTAMP '2024-02-29 12:30:00', NULL"
    value = "t AT TIME ZONE 'UTC' AS t" if kind == "TIMESTAMPTZ" else f"t::{kind} AS t"
    found = read(raw, f"SELECT {value} FROM (SELECT unnest([{times}]) AS t)")
    days = [-1, 19_782] if kind == "DATE" else [-2 / 24, 19_782 + 12.5 / 24]
    assert found["t.epoch"] == pytest.approx([*days, sum(days) / 2])
    assert found["t.epoch IS NULL"] == [0, 0, 1]
    assert found["t.month = 2"] == [0, 1, 0]
    assert found["t.month = 12"] == [1, 0, 0]
    assert found["t.weekday = 3"] == [1, 0, 0]  # a Wednesday
    assert found["t.weekday = 4"] == [0, 1, 0]
    assert ("t.hour = 22" in found) == (kind != "DATE")


def test_parts_that_never_vary_are_left_out(raw):
    sql = "SELECT TIMESTAMP '2024-05-01 08:00:00' + to_days(i::INTEGER) AS t FROM range(20) r(i)"
    terms = list(read(raw, sql))
    assert "t.epoch" in terms
    assert not any(term.startswith(("t.month", "t.hour")) for term in terms)


def test_vectors(raw):
    sql = "SELECT unnest([['1', '2'], ['3', NULL], NULL, ['5', 'nan']]::DOUBLE[2][]) AS v"
    found = read(raw, sql)
    assert found["v[1]"] == [1, 3, 3, 5]
    assert found["v[2]"] == [2, 2, 2, 2]
    assert found["v IS NULL"] == [0, 1, 1, 1]
    assert read(raw, "SELECT [i, i / 2]::FLOAT[2] AS v FROM range(3) r(i)")["v[2]"] == [0, 0.5, 1]


def test_the_mean_of_an_element_is_that_of_the_rows_that_have_it(raw):
    values = [[1.0, float("nan"), 3.0, 9.0], [], None, [5.0, 2.0], [float("inf"), 4.0, 7.0], [None, 6.0, 8.0]]
    source = open_source(raw.sql("SELECT unnest($v::DOUBLE[][]) AS v", params={"v": values}))
    counts, means = element_means(source, Role("v", "DOUBLE[]", "vector", width=3))
    assert counts.tolist() == [2, 3, 3]
    assert means.tolist() == [3, 4, 6]
    counts, means = element_means(source.filtered("false"), Role("v", "DOUBLE[]", "vector", width=3))
    assert counts.tolist() == means.tolist() == [0, 0, 0]


def test_sparse_lists(raw):
    sql = """SELECT unnest([[3, 1], [], NULL, [2, 2]]::INTEGER[][]) AS idx,
             unnest([[0.5, 2], [], NULL, [1, 4]]::FLOAT[][]) AS val"""
    found = read(raw, sql)
    assert found == {"idx[1]": [2, 0, 0, 0], "idx[2]": [0, 0, 0, 5], "idx[3]": [0.5, 0, 0, 0]}
    ints = "SELECT [0, 2] AS a, [7, 8] AS b"
    assert read(raw, ints, sparse=["a", "b"]) == {"a[0]": [7], "a[1]": [0], "a[2]": [8]}
    with pytest.raises(UnsupportedColumn, match=r"a INTEGER\[\].*b INTEGER\[\].*sparse"):
        read(raw, ints)
    with pytest.raises(InvalidData, match="as many entries as each other; in 1 rows"):
        read(raw, "SELECT [1, 2] AS a, [0.5] AS b")
    with pytest.raises(InvalidData, match="indices in a must be between 0"):
        read(raw, "SELECT [-1, 2] AS a, [0.5, 1.0] AS b")


def test_maps(raw):
    sql = "SELECT unnest([MAP {'a': 1, 'b': 2}, MAP {'b': 3}, NULL, MAP {'a': NULL}]) AS m"
    assert read(raw, sql) == {"m[b]": [2, 3, 0, 0], "m[a]": [1, 0, 0, 0]}
    assert read(raw, "SELECT MAP {7: 1.5} AS m") == {"m[7]": [1.5]}
    many = raw.sql("SELECT MAP {'a' || i: 1.0, 'b' || i % 2: 2.0} AS m FROM range(3_000) r(i)")
    assert as_data(many).n_terms == 3_002
    few = as_data(many, options={"max_levels": 2})
    assert few.schema.encoding.terms == ("m[b0]", "m[b1]")
    assert few.plan.decisions[-1].choice == "the 2 most frequent of 3,002"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'x'::BLOB", "bytes have no meaning"),
        ("uuid()", "an identifier"),
        ("TIME '10:00:00'", "hour"),
        ("INTERVAL 1 DAY", "epoch"),
        ("{'a': 1}", r"column\.\*"),
        ("[1, 2]", "cast lists of one length"),
    ],
)
def test_columns_that_cannot_be_features_are_refused_by_name(raw, value, words):
    with pytest.raises(UnsupportedColumn, match=f"odd .*{words}.*exclude"):
        read(raw, f"SELECT i AS a, {value} AS odd FROM range(3) r(i)")
    assert list(read(raw, f"SELECT i AS a, {value} AS odd FROM range(3) r(i)", exclude=["odd"])) == ["a"]


def test_identifiers_and_free_text_are_refused_by_name(raw):
    sql = "SELECT i AS a, 'user ' || i AS name, 'note ' || (i % 900) AS note FROM range(2000) r(i)"
    with pytest.raises(UnsupportedColumn, match=r"name \(2,000 different values in 2,000 rows\), note .*exclude"):
        read(raw, sql)
    assert list(read(raw, sql, exclude=["NAME", "note"])) == ["a"]
    assert len(read(raw, "SELECT 'c' || i AS c FROM range(20) r(i)")) == 20  # a small table


def test_columns_without_content_are_left_out(raw):
    sql = "SELECT i AS a, NULL::DOUBLE AS n, NULL::VARCHAR AS s, 'same' AS c, NULL::DATE AS d FROM range(9) r(i)"
    data = as_data(raw.sql(sql))
    assert data.schema.encoding.terms == ("a",)
    left_out = [d.choice for d in data.plan.decisions if d.subject == "columns left out"]
    assert left_out == ["n, s, c, d.epoch, d.month, d.weekday"]
    with pytest.raises(InvalidData, match="no column is left to learn from"):
        read(raw, "SELECT NULL::DOUBLE AS n FROM range(9)")


def test_a_level_with_a_nul_character_is_pooled(raw):
    raw.execute("CREATE TABLE t AS SELECT 'a' || chr(0) || 'b' AS c UNION ALL SELECT 'x' UNION ALL SELECT 'a'")
    found = read(raw, "FROM t")
    assert list(found) == ["c = a", "c = x", "c = other"]
    assert sum(found["c = other"]) == 1


def test_columns_match_by_name_when_scoring(raw):
    schema = as_data(raw.sql("SELECT i AS Alpha, 'c' || (i % 2) AS beta FROM range(9) r(i)")).schema
    other = raw.sql("SELECT 'c1' AS BETA, 7 AS extra, 2.5 AS alpha")
    X, _ = whole(as_data(other, schema=schema))
    assert X.tolist() == [[2.5 - 4, 0, 1]]
    with pytest.raises(UnknownName, match=r"no column 'Alpha' in .*did you mean 'alpa'.*columns: beta, alpa"):
        as_data(raw.sql("SELECT 'c1' AS beta, 2.5 AS alpa"), schema=schema)


def test_the_encoding_survives_json(raw):
    sql = """SELECT i AS a, 'c' || (i % 2) AS c, DATE '2020-01-01' + i::INTEGER AS d, [i, 1]::FLOAT[2] AS v
             FROM range(60) r(i)"""
    encoding = as_data(raw.sql(sql)).schema.encoding
    assert Encoding.from_json(encoding.to_json()) == encoding


@settings(max_examples=30)
@given(st.lists(st.none() | st.floats() | st.floats(width=16), min_size=1, max_size=30))
def test_any_doubles(values):
    import pyarrow as pa

    finite = [v for v in values if v is not None and np.isfinite(v)]
    table = pa.table({"x": pa.array(values, pa.float64()), "one": np.arange(len(values))})
    with np.errstate(over="ignore"):
        if not finite or not np.isfinite(np.sum(np.array(finite))):
            return
    data = as_data(table)
    X, _ = whole(data)
    feature = data.schema.encoding.features[0]
    expected = [v - feature.fill[0] if v is not None and np.isfinite(v) else 0.0 for v in values]
    np.testing.assert_array_equal(X[:, 0], expected)
    assert feature.flag == (len(finite) < len(values))
