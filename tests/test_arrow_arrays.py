"""Numbers between Arrow and NumPy."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from dbml.data.arrow_arrays import arrow_of, arrow_texts, numbers_of

FIT = """
import sys, duckdb, dbml
con = dbml.connect(":memory:")
con.execute("CREATE TABLE t AS SELECT range::DOUBLE AS a, range % 3 AS y FROM range(500)")
dbml.LinearRegression().fit(con.table("t"), y="y")
sys.exit("pandas" in sys.modules)
"""


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()])
def test_numbers_are_the_same_in_arrow_and_numpy(kind):
    array = pa.array([0, 1, 2, 3], pa.int64()).cast(kind).slice(1)
    for column in (array, pa.chunked_array([array[:1], array[1:]]), array[:0], pa.chunked_array([], kind)):
        found = numbers_of(column)
        assert found.tolist() == column.to_pylist()
        assert found.dtype == kind.to_pandas_dtype()
        if not pa.types.is_boolean(kind):
            assert arrow_of(found).equals(column if isinstance(column, pa.Array) else column.combine_chunks())


def test_a_missing_number_is_nan():
    np.testing.assert_array_equal(numbers_of(pa.array([1, None])), [1.0, np.nan])


def test_texts_are_the_same_in_arrow():
    for texts in (["a", "", "Zürich", "日本"], []):
        assert arrow_texts(texts).equals(pa.array(texts, pa.string()))


def test_training_on_numbers_does_without_pandas():
    assert subprocess.run([sys.executable, "-c", FIT], check=False).returncode == 0
