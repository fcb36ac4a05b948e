"""Every type of column is learned from, or refused with its name, its type and what to do."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

import dbml
from dbml.errors import UnsupportedColumn

N = 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
K = RNG.integers(0, 5, N)
DAY = 86_400


def learned_columns():
    """Arrow arrays with the kinds of their features."""
    cents = [decimal.Decimal(int(100 * x)) / 100 for x in X]
    pairs = [[1.0, float(x)] for x in X]
    runs = pa.array([50, 100, N], pa.int32())
    halves = pa.array(X.astype(np.float16))
    number, category, vector = {"number"}, {"category"}, {"vector"}
    date = {"number", "category"}
    yield "float16", halves, number
    yield "int8", pa.array(K.astype(np.int8)), number
    yield "uint64", pa.array(K.astype(np.uint64)), number
    yield "bool8", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1] * 100, pa.int8())), number
    yield "decimal32", pa.array([decimal.Decimal(1), decimal.Decimal(2)] * 100, pa.decimal32(5, 2)), number
    yield "decimal128", pa.array(cents, pa.decimal128(38, 2)), number
    yield "decimal256 of 20 digits", pa.array(cents, pa.decimal256(20, 2)), number
    yield "decimal256 of 60 digits", pa.array(cents, pa.decimal256(60, 2)), number
    yield "dictionary of numbers", pa.array(K).dictionary_encode(), number
    yield "dictionary of halves", pa.DictionaryArray.from_arrays(pa.array(K % 2), halves[:2]), number
    yield "dictionary of texts", pa.array(list("abcd") * 50).dictionary_encode(), category
    yield "run-end encoded", pa.RunEndEncodedArray.from_arrays(runs, pa.array([1.0, 2.0, 3.0])), number
    yield "run-end encoded halves", pa.RunEndEncodedArray.from_arrays(runs, halves[:3]), number
    yield "run-end encoded texts", pa.RunEndEncodedArray.from_arrays(runs, pa.array(["a", "b", "c"])), category
    yield "large string", pa.array(["a", "b"] * 100, pa.large_string()), category
    yield "string view", pa.array(["a", "b"] * 100, pa.string_view()), category
    yield "fixed list", pa.array(pairs, pa.list_(pa.float64(), 2)), vector
    yield "fixed list of halves", pa.array([halves[:2].to_pylist()] * N, pa.list_(pa.float16(), 2)), vector
    yield "map", pa.array([[("a", 1.0), ("b", x)] for x in X], pa.map_(pa.string(), pa.float64())), {"map"}
    yield "date32", pa.array(range(N), pa.date32()), date
    yield "date64", pa.array([DAY * 1000 * i for i in range(N)], pa.date64()), date
    for unit, per_second in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        yield f"timestamp {unit}", pa.array([DAY * per_second * i for i in range(N)], pa.timestamp(unit)), date
    yield "timestamp tz", pa.array([DAY * 10**6 * i for i in range(N)], pa.timestamp("us", tz="Europe/Berlin")), date


def refused_columns():
    """Arrow arrays with words of their refusal."""
    pairs = [[1.0, float(x)] for x in X]
    halves = pa.array(X.astype(np.float16))
    yield (
        "timestamp tz ns",
        pa.array([DAY * i for i in range(N)], pa.timestamp("ns", tz="UTC")),
        "TZ_NS .*::TIMESTAMPTZ",
    )
    yield "list", pa.array(pairs, pa.list_(pa.float64())), r"c DOUBLE\[\] \(cast lists of one length to an array"
    yield "list of halves", pa.array([[h] for h in halves.to_pylist()], pa.list_(pa.float16())), r"c FLOAT\[\] \(cast"
    yield "large list", pa.array(pairs, pa.large_list(pa.float64())), r"c DOUBLE\[\] \(cast lists of one length"
    yield "list view", pa.array(pairs, pa.list_view(pa.float64())), r"c DOUBLE\[\] \(cast lists of one length"
    yield "map of texts", pa.array([[("a", "b")]] * N, pa.map_(pa.string(), pa.string())), "c MAP.* must be numbers"
    yield "duration", pa.array(range(N), pa.duration("s")), r"c INTERVAL \(select its length in seconds: epoch"
    months = [pa.scalar((1, 2, 3), pa.month_day_nano_interval()).as_py()] * N
    yield "interval", pa.array(months, pa.month_day_nano_interval()), r"c INTERVAL \(select its length"
    yield "time32", pa.array(range(N), pa.time32("s")), r"c TIME \(select a part of it: hour"
    yield "time64", pa.array(range(N), pa.time64("ns")), r"c TIME_NS \(select a part of it: hour"
    yield "struct", pa.array([{"a": 1.0, "b": {"c": x}} for x in X]), r"c STRUCT\(.*select its fields: column\.\*"
    yield "binary", pa.array([b"a"] * N), r"c BLOB \(bytes have no meaning"
    yield "null", pa.nulls(N), "it is NULL in every row"
    uuids = pa.array([bytes([i % 7]) * 16 for i in range(N)], pa.binary(16))
    yield "uuid", pa.ExtensionArray.from_storage(pa.uuid(), uuids), r"c UUID \(a UUID is an identifier"
    yield "json", pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"] * N)), r"c JSON \(select its fields"
    sides, members = pa.array([0, 1] * 100, pa.int8()), [pa.array(X), pa.array(["a"] * N)]
    yield "sparse union", pa.UnionArray.from_sparse(sides, members), r"c UNION\(.*select its members"
    places = pa.array([i // 2 for i in range(N)], pa.int32())
    dense = pa.UnionArray.from_dense(sides, places, members)
    yield "dense union", dense, r"does not read the type of c \(dense_union.*X\.drop_columns\(\['c'\]\)"


ARROW = {name: (column, result) for name, column, result in (*learned_columns(), *refused_columns())}


def check(rows, result):
    """Rows with columns c and y are learned from and scored, or refused."""
    if isinstance(result, str):
        with pytest.raises(UnsupportedColumn, match=result):
            dbml.LinearRegression().fit(rows, "y")
        return None
    model = dbml.LinearRegression().fit(rows, "y")
    assert {feature.kind for feature in model.schema_.encoding.features} == result
    return model


@pytest.mark.parametrize("name", ARROW)
def test_arrow_types(name):
    column, result = ARROW[name]
    rows = pa.table({"c": column, "y": X + K})
    model = check(rows, result)
    if model is not None:
        assert np.isfinite(model.predict(rows)).all()


@pytest.mark.parametrize("name", ["float16", "decimal256 of 60 digits", "run-end encoded halves", "dense union"])
def test_readers_and_batches_of_types_that_duckdb_does_not_read(name):
    column, result = ARROW[name]
    rows = pa.table({"c": column, "y": X + K})
    check(rows.combine_chunks().to_batches()[0], result)
    model = check(rows.to_reader(), result)
    if model is not None:
        assert model.coef_ == pytest.approx(dbml.LinearRegression().fit(rows, "y").coef_)


def test_a_dataset_of_a_type_that_duckdb_does_not_read():
    dataset = pa.dataset.dataset(pa.table({"c": ARROW["float16"][0], "y": X}))
    with pytest.raises(UnsupportedColumn, match=r"does not read the type of c \(halffloat\)"):
        dbml.LinearRegression().fit(dataset, "y")


def test_halves_and_long_decimals_keep_their_values():
    halves, cents = ARROW["float16"][0], ARROW["decimal256 of 60 digits"][0]
    y = 3.0 * halves.to_numpy().astype(float) - 2.0 * np.array([float(cent) for cent in cents.to_pylist()]) + 1.0
    model = dbml.LinearRegression().fit(pa.table({"h": halves, "d": cents, "y": y}), "y")
    assert [*model.coef_, model.intercept_] == pytest.approx([3.0, -2.0, 1.0])


PANDAS = {
    "float16": (pd.Series(X.astype(np.float16)), {"number"}),
    "sparse": (pd.Series(pd.arrays.SparseArray(np.where(K == 0, X, 0.0))), {"number"}),
    "arrow float16": (pd.Series(X.astype(np.float16)).astype(pd.ArrowDtype(pa.float16())), {"number"}),
    "nullable integer": (pd.Series(K).astype("Int64"), {"number"}),
    "category of numbers": (pd.Series(K).astype("category"), {"number"}),
    "category": (pd.Series(list("ab") * 100).astype("category"), {"category"}),
    "integers of 71 bits": (pd.Series([2**70 + int(k) for k in K], dtype=object), {"number"}),
    "complex": (pd.Series(X + 1j), r"does not read the type of c \(complex128\).*X\.drop\(columns=\['c'\]\)"),
    "period": (pd.Series(pd.period_range("2020-01", periods=N)), r"does not read the type of c \(period\[D\]\)"),
    "timedelta": (pd.Series(pd.to_timedelta(range(N), unit="s")), r"c INTERVAL \(select its length"),
    "dictionaries": (pd.Series([{"a": 1}] * N), r"c STRUCT\(.*select its fields"),
}


@pytest.mark.parametrize("name", PANDAS)
def test_pandas_types(name):
    column, result = PANDAS[name]
    check(pd.DataFrame({"c": column, "y": X + K}), result)


POLARS = {
    "float16": (pl.Series(X).cast(pl.Float16), {"number"}),
    "int128": (pl.Series(K).cast(pl.Int128), r"does not read the type of c \(Int128\).*X\.drop\('c'\)"),
    "decimal": (pl.Series([decimal.Decimal("1.5"), decimal.Decimal(2)] * 100), {"number"}),
    "enum": (pl.Series(list("ab") * 100, dtype=pl.Enum(["a", "b"])), {"category"}),
    "array": (pl.Series([[1.0, float(x)] for x in X], dtype=pl.Array(pl.Float64, 2)), {"vector"}),
    "duration": (pl.Series([datetime.timedelta(seconds=i) for i in range(N)]), r"c INTERVAL \(select its length"),
    "time": (pl.Series([datetime.time(1, 2)] * N), r"c TIME_NS \(select a part of it: hour"),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_types(name):
    column, result = POLARS[name]
    check(pl.DataFrame({"c": column, "y": X + K}), result)
    check(pl.DataFrame({"c": column, "y": X + K}).lazy(), result)


SQL = {
    "i::HUGEINT": {"number"},
    "i::UHUGEINT * 100000000000000000000": {"number"},
    "i::DECIMAL(38, 10)": {"number"},
    "TIMESTAMP_NS '2020-01-01' + i * INTERVAL 1 DAY": {"number", "category"},
    "TIMESTAMPTZ '2020-01-01' + i * INTERVAL 1 DAY": {"number", "category"},
    "MAP {i % 3: i}": {"map"},
    "MAP {i % 3: i % 2 = 0}": {"map"},
    "i::BIT": r"c BIT \(bits have no meaning as a number: select bit_count",
    "i::BIGNUM": r"c BIGNUM \(cast it: ::DOUBLE\)",
    "i::VARIANT": r"c VARIANT \(select its fields",
    "union_value(a := i)": r"c UNION\(a BIGINT\) \(select its members: column\.member\)",
    "TIME '01:00:00'": r"c TIME \(select a part of it: hour",
    "'01:00:00'::TIME_NS": r"c TIME_NS \(select a part of it: hour",
    "'01:00:00+00'::TIMETZ": r"c TIME WITH TIME ZONE \(select a part of it: hour",
    "(TIMESTAMP '2020-01-01' + i * INTERVAL 1 DAY)::TIMESTAMPTZ_NS": r"c TIMESTAMPTZ_NS \(cast it: ::TIMESTAMPTZ\)",
    "INTERVAL (i) SECOND": r"c INTERVAL \(select its length in seconds: epoch",
    "uuid()": r"c UUID \(a UUID is an identifier\)",
    "'{}'::JSON": r"c JSON \(select its fields",
    "'POINT(0 0)'::GEOMETRY": r"c GEOMETRY \(select its coordinates",
    "{'a': {'b': i}}": r"c STRUCT\(a STRUCT\(b BIGINT\)\) \(select its fields: column\.\*\)",
    "[i]": r"c BIGINT\[\] \(cast lists of one length to an array",
    "['a', 'b']::VARCHAR[2]": r"c VARCHAR\[2\] \(only arrays of numbers are features",
    "[[1.0, 2.0]]::DOUBLE[2][1]": r"c DOUBLE\[2\]\[1\] \(only arrays of numbers are features",
    "MAP {'a': 'b'}": r"c MAP\(VARCHAR, VARCHAR\) \(the values of a MAP must be numbers",
    "NULL": "it is NULL in every row",
}


@pytest.mark.parametrize("expression", SQL)
def test_types_of_duckdb(raw, expression):
    relation = raw.sql(f"SELECT {expression} AS c, (i % 7)::DOUBLE AS y FROM range({N}) r(i)")
    model = check(relation, SQL[expression])
    if model is not None:
        assert np.isfinite(model.predict(relation.to_arrow_table())).all()
