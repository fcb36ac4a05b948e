"""Plain values: what trees read. Training scan, Arrow encoder and SQL give the same bits; missing values stay NaN."""

import dataclasses
import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dbml_sql.features import Encoding, Feature
from dbml_sql.values import term_values
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from test_arrow_encoder import NASTY, SHARED, assert_same_blocks
from test_sources import whole

from dbml.data.arrow_encoder import ArrowEncoder
from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.base import Estimator, ModelState
from dbml.passes.dispatch import as_data
from dbml.passes.engine import Workspace
from dbml.passes.schema import Schema
from dbml.passes.step import Shuffled
from dbml.registry.content import from_content, to_content


def read(X, **how):
    return as_data(X, encode="values", **how)


def columns(X, **how):
    """Return the dense terms as a dict of lists, NaN as None."""
    data = read(X, **how)
    found = whole(data)[0]
    listed = [[None if np.isnan(value) else value for value in column.tolist()] for column in found.T]
    return dict(zip(data.schema.encoding.terms, listed, strict=True))


def in_sql(relation, encoding):
    """Return the dense terms of the rows by their SQL expressions, NULL as NaN."""
    listed = [f"CAST({term.sql} AS DOUBLE) AS t{number}" for number, term in enumerate(term_values(encoding))]
    table = relation.project(", ".join(listed)).to_arrow_table()
    assert not any(np.isnan(c.drop_null().to_numpy()).any() for c in table.columns), "NULL, never NaN"
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def assert_readers_agree(relation, schema=None):
    """Return the data after comparing the bits of the three readers, of lists and maps too."""
    data = read(relation, schema=schema)
    assert_same_blocks(data, relation.to_arrow_table())
    X, _ = whole(data)
    found = in_sql(relation, data.schema.encoding)
    dense = np.asfortranarray(X[:, : data.n_dense])
    np.testing.assert_array_equal(np.asfortranarray(found).view(np.int64), dense.view(np.int64))
    assert not np.isinf(found).any()
    return data


# what a column becomes -------------------------------------------------------------------------------------------


def test_numbers_stay_as_they_are(raw):
    found = columns(
        raw.sql("""SELECT * FROM (VALUES (1e8, 7, true, 1.25::DECIMAL(9, 2), 5::HUGEINT, 3::TINYINT, 0.5::FLOAT),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL), ('nan', -7, false, 0, -5, 0, 'inf'),
        ('-inf', 0, true, -1.5, 0, 1, -0.25)) t(d, i, b, de, h, t, f)""")
    )
    assert found == {
        "d": [1e8, None, None, None],
        "i": [7, None, -7, 0],
        "b": [1, None, 0, 1],
        "de": [1.25, None, 0, -1.5],
        "h": [5, None, -5, 0],
        "t": [3, None, 0, 1],
        "f": [0.5, None, None, -0.25],
    }


def test_categories_are_codes_by_falling_frequency(raw):
    found = columns(raw.sql("SELECT unnest(['b', 'a', NULL, 'c', 'b', 'b', 'c']) AS c, unnest(range(7)) AS i"))
    assert found["c"] == [0, 2, None, 1, 0, 0, 1]
    found = columns(raw.sql("SELECT unnest(['x', 'y', NULL, 'y'])::ENUM('x', 'y', 'z') AS e, 1 AS k"))
    assert found["e"] == [1, 0, None, 0]


def test_unseen_levels_are_missing_or_take_the_shared_code(raw):
    rows = "SELECT unnest(['a', 'a', 'b', 'b', 'c']) AS c"
    other = raw.sql("SELECT unnest(['a', 'b', 'c', 'new', NULL, '']) AS c")
    pooled = read(raw.sql(rows), options={"min_level_rows": 2}).schema
    assert pooled.encoding.features[0].other_level
    assert pooled.encoding.n_codes == (3,)
    assert columns(other, schema=pooled)["c"] == [0, 1, 2, 2, None, 2]
    strict = read(raw.sql(rows)).schema
    assert strict.encoding.n_codes == (3,)
    assert columns(other, schema=strict)["c"] == [0, 1, 2, None, None, None]
    for schema in (pooled, strict):
        assert_readers_agree(other, schema)


@pytest.mark.parametrize("n_levels", [2, 20, 21, 254, 255, 400])
def test_at_most_254_codes(raw, n_levels):
    relation = raw.sql(f"SELECT 'l' || (i % {n_levels}) AS c, i FROM range({20 * n_levels}) r(i)")
    data = assert_readers_agree(relation)
    assert data.schema.encoding.n_codes == (min(n_levels, 254), 0)
    assert data.schema.encoding.features[0].other_level == (n_levels > 254)
    assert set(whole(data)[0][:, 0]) == set(range(min(n_levels, 254)))
    assert ("rare levels" in str(data.plan)) == (n_levels > 254)
    few = read(relation, options={"max_levels": 1})
    assert few.schema.encoding.n_codes[0] == 2


def test_too_many_levels_are_refused(raw):
    relation = raw.sql("SELECT 'l' || (i % 4) AS c, MAP {'k' || (i % 5): 1.0} AS m FROM range(40) r(i)")
    with pytest.raises(InvalidParameter, match="max_levels must be an integer between 1 and 254 for an estimator that"):
        read(relation, options={"max_levels": 255})
    # Keys of a map stay sparse terms, of which there may be more.
    assert read(relation.select("m"), options={"max_levels": 1_000}).n_terms == 5
    assert as_data(relation, options={"max_levels": 255}).n_terms == 9


def test_parts_of_dates_are_numbers(raw):
    relation = raw.sql("""SELECT unnest(['2020-01-05', '2020-02-28', NULL, 'infinity'])::DATE AS d,
        unnest(['2020-01-05 23:00:00', '2020-01-07 06:00:00', NULL, '-infinity'])::TIMESTAMP AS t""")
    found = columns(relation)
    assert found == {
        "d.epoch": [18266, 18320, None, None],
        "d.month": [1, 2, None, None],
        "d.weekday": [0, 5, None, None],
        "t.epoch": [18266 + 23 / 24, 18268.25, None, None],
        "t.weekday": [0, 2, None, None],  # both in January: the month never varies
        "t.hour": [23, 6, None, None],
    }
    assert_readers_agree(relation)


def test_vectors_are_one_term_an_element(raw):
    relation = raw.sql("""SELECT unnest([[1, 2], NULL, [NULL, 4], ['nan'::DOUBLE, 'inf']])::DOUBLE[2] AS v,
        unnest([[1, 2], NULL, [3, NULL], [5, 6]])::FLOAT[2] AS f""")
    assert columns(relation) == {
        "v[1]": [1, None, None, None],
        "v[2]": [2, None, 4, None],
        "f[1]": [1, None, 3, 5],
        "f[2]": [2, None, None, 6],
    }
    assert_readers_agree(relation)


def test_columns_that_say_nothing_are_left_out(raw):
    raw.execute("""CREATE TABLE t AS SELECT i AS k, CASE WHEN i >= 5000 THEN i / 2 END AS late, NULL::DOUBLE AS none,
        CASE WHEN i % 2 = 0 THEN 'nan'::DOUBLE END AS no_number, 'same' AS one_level,
        CASE WHEN i >= 5000 THEN [i, i] END::DOUBLE[2] AS late_vector, [NULL, NULL]::DOUBLE[2] AS no_vector,
        DATE '2020-01-01' + (i // 4000)::INTEGER AS day FROM range(9000) r(i)""")
    raw.execute("CREATE TABLE large AS SELECT t.* FROM range(15), t ORDER BY k")  # not read once and kept in memory
    for table in ("t", "large"):
        data = read(raw.table(table))
        assert data.schema.encoding.terms == (
            ("k", "late", "late_vector[1]", "late_vector[2]", "day.epoch", "day.weekday")
        )
        left_out = next(d for d in data.plan.decisions if d.subject == "columns left out")
        assert left_out.choice == "none, no_number, one_level, no_vector, day.month"
    with pytest.raises(InvalidData, match="no column is left"):
        read(raw.sql("SELECT NULL::DOUBLE AS x FROM range(9)"))


def test_a_constant_number_stays(raw):
    assert columns(raw.sql("SELECT 7 AS x, NULL::INTEGER AS n FROM range(2)")) == {"x": [7, 7]}


def test_sparse_columns_are_as_they_are_with_terms(raw):
    relation = raw.sql("""SELECT i, [7, i % 3]::INTEGER[] AS idx, [i, 'nan'::DOUBLE]::FLOAT[] AS val,
        MAP {'k' || (i % 4): i / 3} AS m FROM range(50) r(i)""")
    one, other = (next(as_data(relation, encode=e).chunks()).encode(Workspace()) for e in ("terms", "values"))
    for a, b in zip(one.sparse, other.sparse, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.X.shape == other.X.shape == (50, 1)
    assert_readers_agree(relation)


# the readers agree -----------------------------------------------------------------------------------------------


def test_nasty_values(raw):
    data = assert_readers_agree(raw.sql(NASTY))
    assert data.schema.encoding.style == "values"
    assert {feature.style for feature in data.schema.encoding.features} == {"values"}
    raw.execute("SET TimeZone = 'Asia/Tokyo'")
    assert_readers_agree(raw.sql(NASTY), data.schema)


def test_columns_of_another_type_than_in_training(raw):
    schema = read(raw.sql(NASTY)).schema
    as_text = raw.sql(f"SELECT COLUMNS(* EXCLUDE (idx, val, m, v, w))::VARCHAR, idx, val, m, v, w FROM ({NASTY})")
    listed = raw.sql(f"SELECT * REPLACE (v::DOUBLE[] AS v, [i, i]::BIGINT[] AS w, b::INTEGER AS b, i::UBIGINT AS i, "
                     f"tz::TIMESTAMP AS tz, day::TIMESTAMP AS day, e::VARCHAR AS e, s::ENUM ('', 'it''s', 'é☃') AS s) "
                     f"FROM ({NASTY})")  # fmt: skip
    useless = raw.sql(
        f"SELECT * REPLACE ('?' AS d, 'x' AS i, NULL AS h, 'soon' AS day, 1 AS s, NULL AS v) FROM ({NASTY})"
    )
    for relation in (as_text, listed, useless):
        assert_readers_agree(relation, schema)


def test_columns_in_another_case_and_order(raw):
    schema = read(raw.sql("SELECT i AS Alpha, 'c' || (i % 2) AS beta FROM range(9) r(i)")).schema
    found = columns(raw.sql("SELECT 'c1' AS BETA, 2.5 AS alpha, 1 AS more"), schema=schema)
    assert found == {"Alpha": [2.5], "beta": [1]}


def test_nulls_only_and_slices(raw):
    encoder = ArrowEncoder(read(raw.sql("SELECT i AS a, 'c' || (i % 2) AS c FROM range(100) r(i)")).schema.encoding)
    block = encoder.encode([pa.nulls(3), pa.nulls(3)])
    assert block.sparse is None
    assert np.isnan(block.X).all()
    assert encoder.encode([pa.array([], pa.int64()), pa.array([], pa.string())]).X.shape == (0, 2)
    block = encoder.encode([pa.array([1, None, 3])[1:], pa.array(["c1", "c0", "new"])[1:]])
    np.testing.assert_array_equal(block.X, [[np.nan, 0], [3, np.nan]])
    codes = pa.array(["new", "c1", None]).dictionary_encode()
    np.testing.assert_array_equal(encoder.encode([pa.array([1, 2, 3]), codes]).X[:, 1], [np.nan, 1, np.nan])


TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "", "it's", "é☃", "null", "A"]), st.text(max_size=3))
DAYS = st.one_of(st.none(), st.dates(datetime.date(1500, 1, 1), datetime.date(2500, 1, 1)))
TIMES = st.one_of(st.none(), st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)))
LISTS = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats()), min_size=2, max_size=2))
VALUES = {
    "x": (pa.float64(), st.one_of(st.none(), st.floats())),
    "f": (pa.float32(), st.one_of(st.none(), st.floats(width=32))),
    "i": (pa.int64(), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))),
    "b": (pa.bool_(), st.one_of(st.none(), st.booleans())),
    "s": (pa.string(), TEXTS.filter(lambda text: text is None or "\0" not in text)),
    "d": (pa.date32(), DAYS),
    "t": (pa.timestamp("us"), TIMES),
    "v": (pa.list_(pa.float64(), 2), LISTS),
}


@st.composite
def tables(draw, n_rows):
    made = {"k": pa.array(range(n_rows))}
    for name, (kind, values) in VALUES.items():
        made[name] = pa.array(draw(st.lists(values, min_size=n_rows, max_size=n_rows)), kind)
    return pa.table(made)


@given(trained=tables(12), scored=tables(7), pooled=st.booleans())
@settings(max_examples=15)
def test_any_table_reads_the_same_in_three_ways(trained, scored, pooled):
    import duckdb

    schema = read(trained, options={"min_level_rows": 2} if pooled else None).schema
    with duckdb.connect() as con:
        assert_readers_agree(con.from_arrow(trained), schema)
        assert_readers_agree(con.from_arrow(scored), schema)


@pytest.mark.parametrize("name", ["nyc_flights_100k", "adult", "titanic", "taxis_6k", "bike_hour", "givemecredit"])
def test_real_tables(raw, name):
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip("../shared/data is absent")
    schema = read(raw.sql(f"SELECT * FROM '{path}' LIMIT 10000")).schema
    assert_readers_agree(raw.sql(f"SELECT * FROM '{path}' LIMIT 20000"), schema)


# arrays, frames, sparse matrices ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays(order, dtype):
    X = np.random.default_rng(0).normal(1e4, 1, (3_000, 5)).astype(dtype)
    X[::7, 1], X[::5, 2], X[::3, 2], X[:, 4] = np.nan, np.inf, -np.inf, np.nan
    data = read(np.asarray(X, order=order))
    kept = np.where(np.isfinite(X), X, np.nan).astype(np.float64)
    np.testing.assert_array_equal(whole(data)[0], kept)
    assert data.schema.encoding.terms == ("x0", "x1", "x2", "x3", "x4")  # all of them: a model knows its width
    np.testing.assert_array_equal(whole(data.take([1, 3]))[0], kept[:, [1, 3]])
    np.testing.assert_array_equal(whole(read(X[:9], schema=data.schema))[0], kept[:9])


def test_integers_masks_and_objects():
    assert columns(np.array([[True, False]])) == {"x0": [1], "x1": [0]}
    assert columns(np.array([[3, 255]], np.uint8)) == {"x0": [3], "x1": [255]}
    assert columns([[1, None], [True, 2.5]]) == {"x0": [1, 1], "x1": [None, 2.5]}
    assert columns(np.ma.masked_equal([[1.0, 2.0]], 2.0)) == {"x0": [1], "x1": [None]}


def test_an_array_for_a_model_of_a_table(raw):
    schema = read(raw.sql("SELECT i AS a, 'c' || (i % 2) AS c FROM range(9) r(i)")).schema
    assert columns(np.array([[1, "c1"], [None, "?"]], object), schema=schema) == {"a": [1, None], "c": [1, None]}


def test_frames():
    frame = pd.DataFrame(
        {
            "n": [1.5, np.nan, np.inf, 2.0],
            "i": pd.array([1, None, 3, 4], "Int64"),
            "c": pd.Categorical(["u", None, "v", "v"]),
            "s": ["x", "y", None, "y"],
            "b": [True, False, True, True],
        }
    )
    assert columns(frame) == {
        "n": [1.5, None, None, 2.0],
        "i": [1, None, 3, 4],
        "c": [1, None, 0, 0],
        "s": [1, 0, None, 0],
        "b": [1, 0, 1, 1],
    }


def test_sparse_matrices():
    X = np.zeros((50, 40))
    X[::3, 1], X[4, 2], X[5, 2], X[6, 3] = 2.5, np.nan, np.inf, -1.0
    wide = read(csr_array(X))
    assert (wide.n_dense, wide.n_terms) == (0, 40)
    assert wide.schema.encoding.style == "values"
    block = next(wide.chunks()).encode(Workspace())
    dense = csr_array((block.sparse.values, block.sparse.indices, block.sparse.indptr), shape=X.shape).toarray()
    np.testing.assert_array_equal(dense, np.where(np.isfinite(X), X, 0.0))  # as with terms
    narrow = read(csr_array(X[:, :5]))
    assert (narrow.n_dense, narrow.n_terms) == (5, 5)
    np.testing.assert_array_equal(whole(narrow)[0], np.where(np.isfinite(X), X, np.nan)[:, :5])
    np.testing.assert_array_equal(whole(read(X[:, :5], schema=narrow.schema))[0], whole(narrow)[0])
    np.testing.assert_array_equal(whole(read(csr_array(X[:, :5]), schema=narrow.schema))[0], whole(narrow)[0])


# access patterns -------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(raw):
    raw.execute("""CREATE TABLE mixed AS SELECT i AS id, (hash(i) % 1000) / 7 AS x, i % 2 AS y,
        CASE WHEN hash(i) % 3 = 0 THEN NULL ELSE 1e8 + hash(i) % 11 END AS far, 'c' || (hash(i) % 30) AS c
        FROM range(150000) r(i)""")
    raw.execute("CREATE UNIQUE INDEX ids ON mixed (id)")
    return raw.table("mixed")


def test_statistics_leave_out_what_is_missing(mixed):
    data = read(mixed.select("x, far, c, y"), y="y", task="classification")
    X, _ = whole(data)
    found = data.statistics
    np.testing.assert_allclose(found.mean, np.nanmean(X, axis=0), rtol=0.05)
    np.testing.assert_allclose(found.scale, np.nanstd(X, axis=0), rtol=0.05)
    X = np.array([[np.nan, 1.0], [np.nan, 3.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(read(X).statistics.mean, [0.0, 2.0])
    np.testing.assert_array_equal(read(X).statistics.scale, [1.0, 1.0])
    assert read(np.array([[1e308], [1.7e308], [-1e308]])).statistics.mean == pytest.approx([1.7e308 / 3])


def test_clustering_sees_through_offsets_and_missing_values(raw, mixed):
    raw.execute("CREATE TABLE even AS SELECT * EXCLUDE (id) FROM mixed")
    clustered, reason = read(raw.table("even"), y="y", task="classification").clustering()
    assert not clustered, reason
    raw.execute("CREATE TABLE huge AS SELECT 1.7e308 * (hash(rowid) % 3 - 1.0) AS huge, 1e300 AS h, x FROM even")
    assert not read(raw.table("huge")).clustering()[0]
    raw.execute("CREATE TABLE sorted AS SELECT far, x, y FROM mixed ORDER BY far")
    clustered, reason = read(raw.table("sorted"), y="y", task="classification").clustering()
    assert clustered
    assert "variance of far" in reason


def test_take_sample_materialise_shuffle_and_lookup(mixed):
    data = read(mixed, y="y", task="classification")
    X, y = whole(data)
    assert data.schema.encoding.terms == ("id", "x", "far", "c")
    np.testing.assert_array_equal(whole(data.take([2, 3]))[0], X[:, [2, 3]])
    rows = data.sample(5_000, seed=1)
    np.testing.assert_array_equal(rows.X, X[rows.X[:, 0].astype(int)])
    with data.materialise() as kept:
        np.testing.assert_array_equal(whole(kept)[0], X)
        order = Shuffled(seed=3)
        chunks, _ = kept._ordered(order)
        blocks = [block.X.copy() for block in (chunk.encode(Workspace()) for chunk in chunks)]
    shuffled = np.concatenate(blocks)
    np.testing.assert_array_equal(shuffled[np.argsort(shuffled[:, 0])], X)
    found = data.lookup(np.array([7, 149_999]), "id")
    np.testing.assert_array_equal(found.X, X[[7, 149_999]])
    assert found.y.tolist() == y[[7, 149_999]].tolist()


# what is stored --------------------------------------------------------------------------------------------------


def test_encodings_are_stored(raw):
    relation = raw.sql(NASTY)
    encoding = read(relation).schema.encoding
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding
    assert encoding.centre() == [0.0] * encoding.n_terms
    terms = as_data(relation).schema
    for schema in (terms, Schema(encoding, None)):
        state = ModelState("LinearRegression", {}, schema)
        assert from_content("m", to_content("m", state, "none", None)).schema == schema


def test_features_stored_before_there_were_styles():
    feature = Feature("x", "DOUBLE", "number", fill=(2.0,), flag=True)
    stored = {name: value for name, value in feature.to_json().items() if name != "style"}
    assert Feature.from_json(stored) == feature
    assert Encoding((feature,)).style == "terms"


def test_values_have_no_fill():
    feature = Feature("c", "VARCHAR", "category", fill=(0.0,), levels=("a", "b"), other_level=True, style="values")
    assert feature.fill == ()
    assert feature.centre == (0.0,)
    assert (feature.dense_terms, feature.sparse_terms, feature.n_codes) == (("c",), (), 3)
    plain = dataclasses.replace(feature, style="terms", fill=(0.0,))
    assert (plain.dense_terms, plain.n_codes) == ((), 0)
    assert plain.sparse_terms == ("c = a", "c = b", "c = other")


def test_terms_have_no_values():
    with pytest.raises(ValueError, match="an encoding of plain values"):
        term_values(Encoding((Feature("x", "DOUBLE", "number"),)))


def test_estimators_say_what_they_read(raw):
    class Reads(Estimator):
        encoding_style = "values"

        def _fit(self, data):
            self.style_, self.n_dense_ = data.schema.encoding.style, data.n_dense

    fitted = Reads().fit(raw.sql("SELECT i AS a, 'c' || (i % 2) AS c FROM range(9) r(i)"))
    assert (fitted.style_, fitted.n_dense_) == ("values", 2)
    assert Reads().fit(np.ones((3, 2))).style_ == "values"
