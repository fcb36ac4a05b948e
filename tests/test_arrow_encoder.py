"""The Arrow encoder (scoring function) gives the bits of the training scan in SQL."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dbml.data.arrow_encoder import ArrowEncoder
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


def assert_same_blocks(data, table):
    encoder = ArrowEncoder(data.schema.encoding)
    space = Workspace()
    columns = [table.column(name) for name in data.schema.encoding.columns]
    for chunk in data.chunks():
        block = chunk.encode(space)
        parts = [column.slice(block.start, block.n_rows) for column in columns]
        other = encoder.encode(parts)
        np.testing.assert_array_equal(other.X.view(np.int64), block.X.view(np.int64))
        assert (other.sparse is None) == (block.sparse is None)
        if block.sparse is not None:
            for one, two in zip(other.sparse, block.sparse, strict=True):
                np.testing.assert_array_equal(one, two)


NASTY = """
    SELECT i,
        CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE ELSE i / 3 END AS d,
        CASE i % 5 WHEN 0 THEN NULL ELSE (i / 3)::FLOAT END AS f,
        CASE i % 5 WHEN 1 THEN NULL ELSE (i % 2 = 0) END AS b,
        (i % 200 - 100)::TINYINT AS ti, (i % 200)::UTINYINT AS ut, (i * 3)::USMALLINT AS us, (i * 9)::UINTEGER AS ui,
        (i * 9007199254740993::HUGEINT % 18446744073709551615)::UBIGINT AS ub, (i::HUGEINT * 12345678901234567890) AS h,
        (i / 7)::DECIMAL(9, 3) AS de, (i / 7)::DECIMAL(30, 12) AS wide,
        CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'it''s' ELSE 'é☃' END AS s,
        ['x', 'y', NULL][i % 3 + 1]::ENUM('y', 'x') AS e,
        CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN 'infinity' ELSE DATE '1960-02-27' + (i * 17)::INTEGER END::DATE AS day,
        CASE i % 9 WHEN 0 THEN NULL WHEN 1 THEN '-infinity'
            ELSE TIMESTAMP '1965-02-27 03:04:05.123457' + to_minutes(i * 177) END::TIMESTAMP AS ts,
        (TIMESTAMP '1965-02-27 03:04:05.123457' + to_minutes(i * 177))::TIMESTAMPTZ AS tz,
        (TIMESTAMP '1965-02-27 03:04:05' + to_minutes(i * 177))::TIMESTAMP_S AS tss,
        (TIMESTAMP '1965-02-27 03:04:05' + to_minutes(i * 177))::TIMESTAMP_NS AS tsn,
        CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN [NULL, 1, 2] ELSE [i, 'nan'::DOUBLE, i / 3] END::DOUBLE[3] AS v,
        [i, i + 1]::FLOAT[2] AS w,
        CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN [] ELSE [7, 3, 3, 0] END::INTEGER[] AS idx,
        CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN [] ELSE [i, NULL, 2, 'nan'::DOUBLE] END::FLOAT[] AS val,
        CASE i % 5 WHEN 0 THEN NULL ELSE MAP {'k': i / 3, 'l': 2.0} END AS m,
    FROM range(3000) r(i)
"""


def test_nasty_values(raw):
    relation = raw.sql(NASTY)
    assert_same_blocks(as_data(relation), relation.to_arrow_table())


def test_columns_of_another_type_than_in_training(raw):
    raw.execute(
        """CREATE TABLE seen AS SELECT i AS n, 'c' || (i % 3) AS c, DATE '2020-01-01' + i::INT AS d
        FROM range(99) r(i)"""
    )
    schema = as_data(raw.table("seen")).schema
    other = raw.sql(
        """SELECT ['1', 'x', NULL, '2.5'][i % 4 + 1] AS n, i % 3 AS c, ['2020-02-02', 'no date'][i % 2 + 1] AS d
        FROM range(9) r(i)"""
    )
    data = as_data(other, schema=schema)
    assert_same_blocks(data, other.to_arrow_table())
    block = next(data.chunks()).encode(Workspace())
    fill = schema.encoding.features[0].fill[0]
    np.testing.assert_array_equal(block.X[:4, 0], [1 - fill, 0, 0, 2.5 - fill])


def test_nulls_only_and_slices(raw):
    relation = raw.sql("SELECT i AS a, 'c' || (i % 2) AS c FROM range(100) r(i)")
    encoder = ArrowEncoder(as_data(relation).schema.encoding)
    block = encoder.encode([pa.nulls(3), pa.nulls(3)])
    assert block.X.tolist() == [[0.0]] * 3
    assert block.sparse.indptr.tolist() == [0, 0, 0, 0]
    assert encoder.encode([pa.array([], pa.int64()), pa.array([], pa.string())]).X.shape == (0, 1)
    block = encoder.encode([pa.array([1, None, 3])[1:], pa.array(["c1", "c0", "new"])[1:]])
    assert block.X[:, 0].tolist() == [0.0, 3 - 49.5]
    assert block.sparse.indptr.tolist() == [0, 1, 1]


REAL = "nyc_flights_100k adult bank_marketing titanic taxis_6k a9a bike_hour dry_bean diamonds givemecredit"
REAL += " insurance_datacar elec2 gaia_100k mammography"


@pytest.mark.parametrize("name", REAL.split())
def test_real_tables(raw, name):
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip("../shared/data is absent")
    relation = raw.sql(f"SELECT * FROM '{path}' LIMIT 20000")
    assert_same_blocks(as_data(relation), relation.to_arrow_table())
