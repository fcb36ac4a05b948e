"""Statistics come from where they lie: zone maps first, one aggregate pass for the rest; they are right either way."""

import numpy as np
import pytest

from dbml.data.source import open_source
from dbml.data.statistics import clean_columns, steady
from dbml.passes.dispatch import as_data

COLUMNS = """i AS n, CASE i WHEN 77 THEN NULL ELSE i END AS holes, i / 3 AS d, (i / 3)::FLOAT AS f,
    CASE i WHEN 77 THEN 'nan'::DOUBLE ELSE i END AS nans, CASE i WHEN 77 THEN '-inf'::FLOAT ELSE i END AS infs"""


def clean(relation):
    source = open_source(relation)
    return clean_columns(source, list(source.columns))


def test_zone_maps_of_a_table(raw):
    raw.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM range(1000) r(i)")
    assert clean(raw.table("t")) == {"n", "d", "f"}
    assert clean(raw.sql("SELECT n + 1 AS m, holes, d FROM t WHERE n > 5")) == {"m", "d"}
    raw.execute("UPDATE t SET n = NULL WHERE n = 3")
    raw.execute("INSERT INTO t BY NAME SELECT 'nan'::DOUBLE AS d")
    assert clean(raw.table("t")) == set()


def test_rows_of_an_open_transaction_count(raw):
    raw.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM range(1000) r(i)")
    raw.execute("BEGIN")
    raw.execute("INSERT INTO t BY NAME SELECT NULL AS n, 'nan'::DOUBLE AS d FROM range(300_000)")
    assert clean(raw.table("t")) == set()
    assert as_data(raw.table("t")).n_rows == 301_000


def test_statistics_of_parquet_do_not_show_nan(raw, tmp_path):
    raw.sql(f"SELECT {COLUMNS} FROM range(1000) r(i)").to_parquet(str(tmp_path / "t.parquet"))
    assert clean(raw.sql(f"FROM '{tmp_path}/t.parquet'")) == {"n"}


@pytest.mark.parametrize("query", ["FROM t", "SELECT DISTINCT * FROM t"])
def test_means_and_flags(raw, query):
    raw.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM range(1000) r(i)")
    features = {f.column: f for f in as_data(raw.sql(query)).schema.encoding.features}
    without = (999 * 1000 / 2 - 77) / 999
    means = {"n": 499.5, "d": 166.5, "f": 166.5, "holes": without, "nans": without, "infs": without}
    for name, mean in means.items():
        assert features[name].fill[0] == pytest.approx(mean, rel=1e-6)
        assert features[name].flag == (name in ("holes", "nans", "infs"))


def test_the_centre_of_a_large_table_comes_from_a_sample(raw):
    raw.execute("CREATE TABLE t AS SELECT i AS ordered, hash(i) % 1000 AS mixed FROM range(500_000) r(i)")
    ordered, mixed = as_data(raw.table("t")).schema.encoding.features
    assert ordered.fill[0] == pytest.approx(250_000, rel=0.1)
    assert mixed.fill[0] == pytest.approx(499.5, rel=0.02)


def test_the_same_data_give_the_same_encoding(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT random() AS x, CASE WHEN i % 9 > 0 THEN random() END AS y FROM range(400_000) r(i)"
    )
    assert len({str(as_data(raw.table("t")).schema.encoding.to_json()) for _ in range(5)}) == 1


def test_scales_of_the_terms(raw):
    raw.execute("CREATE TABLE t AS SELECT hash(i) % 1000 AS x, 'c' || i % 4 AS c FROM range(100_000) r(i)")
    statistics = as_data(raw.table("t")).statistics
    np.testing.assert_allclose(statistics.scale, [288.7] + [0.433] * 4, rtol=0.05)
    np.testing.assert_allclose(statistics.mean[1:], 0.25, atol=0.02)
    assert statistics.n_rows == 100_000


def test_a_steady_mean():
    assert steady(None) == steady(float("nan")) == steady(0.0) == 0.0
    assert steady(123456789.01234567) == steady(123456789.01234563) == 123456789.0


def test_a_small_table_of_many_columns_is_read_once(raw):
    columns = ", ".join(f"CASE WHEN i % 97 <> {k} THEN (i * {k}) % 31 END::DOUBLE AS x{k}" for k in range(60))
    raw.execute(f"CREATE TABLE t AS SELECT {columns}, i::INTEGER AS y FROM range(500) r(i)")
    data = as_data(raw.sql("FROM t WHERE y % 3 <> 1"), "y", task="regression")
    kept = raw.sql("FROM t WHERE y % 3 <> 1").fetchnumpy()
    raw.execute("DROP TABLE t")
    (block,) = data.map(lambda block: (block.X.copy(), block.y.copy()))
    for number, feature in enumerate(data.schema.encoding.features):
        values = kept[feature.column]
        assert feature.fill[0] == pytest.approx(values.mean(), rel=1e-9)
        at, flag = data.schema.encoding.offsets()[number][0], np.ma.getmaskarray(values)
        np.testing.assert_allclose(block[0][:, at], np.where(flag, 0.0, values.filled(0) - feature.fill[0]))
        assert feature.flag == flag.any() and (not feature.flag or (block[0][:, at + 1] == flag).all())
    np.testing.assert_array_equal(block[1], kept["y"])


def test_great_numbers_do_not_overflow_the_mean(raw):
    raw.execute(
        "CREATE TABLE t AS SELECT 1.5e308::DOUBLE AS x, i AS y FROM range(4) r(i) UNION ALL SELECT 'inf'::DOUBLE, 9"
    )
    (feature, _) = as_data(raw.table("t")).schema.encoding.features
    assert feature.fill[0] == pytest.approx(1.5e308) and feature.flag
