"""Scalers, encoders, imputers and bins: scikit-learn's numbers, and SQL = UDF = Python."""

import math
from contextlib import nullcontext
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy import sparse as sp

import dbml
from dbml import KBinsDiscretizer, MinMaxScaler, OneHotEncoder, SimpleImputer, StandardScaler
from dbml.errors import DbmlError, DbmlWarning, ExhaustedMemory, InvalidData, InvalidParameter, UnsupportedColumn
from dbml.estimators import column_steps, quantiles
from dbml.passes.dispatch import as_data
from dbml.passes.memory import memory_limited

pytest.importorskip("sklearn")

from sklearn import impute, preprocessing
from sklearn.pipeline import make_pipeline

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def numbers(n=500, seed=0):
    """Columns of several scales: an offset of 1e8, a constant, few values, and some values missing."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [rng.normal(size=n), 1e8 + rng.normal(size=n), np.full(n, 3.0), rng.integers(0, 4, n), rng.lognormal(size=n)]
    )
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 2] = 3.0
    return X


def same(found, expected, rtol=1e-9):
    found, expected = (x.toarray() if sp.issparse(x) else np.asarray(x, float) for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


# scikit-learn's numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{}, {"with_mean": False}, {"with_std": False}, {"with_mean": False, "with_std": False}]
)
def test_standard_scaler(params):
    X = numbers()
    ours, theirs = StandardScaler(**params).fit(X), preprocessing.StandardScaler(**params).fit(X)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_"):
        expected = getattr(theirs, name)
        assert (getattr(ours, name) is None) == (expected is None)
        if expected is not None:
            same(getattr(ours, name), expected)
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-6)  # their mean of 1e8 loses digits
    exact = X[:, :2].astype(np.longdouble)
    if params == {}:
        same(ours.transform(X)[:, :2], (exact - np.nanmean(exact, axis=0)) / np.nanstd(exact, axis=0), rtol=1e-6)
    same(ours.inverse_transform(ours.transform(X)), X)


def test_standard_scaler_with_weights_and_parts():
    X, weight = numbers(), np.random.default_rng(1).integers(0, 4, 500).astype(float)
    ours = StandardScaler().fit(X, sample_weight=weight)
    again = StandardScaler().fit(np.repeat(X, weight.astype(int), axis=0))
    same(ours.mean_, again.mean_)
    same(ours.var_, again.var_)
    assert ours.n_samples_seen_.tolist() == again.n_samples_seen_.tolist()
    whole, parts = StandardScaler().fit(X), StandardScaler()
    for start in range(0, 500, 130):
        parts.partial_fit(X[start : start + 130])
    same(parts.mean_, whole.mean_)
    same(parts.scale_, whole.scale_)
    assert parts.n_samples_seen_.tolist() == whole.n_samples_seen_.tolist()


def test_a_column_far_from_zero_keeps_its_digits():
    values = np.array([1e8, 1e8 + 1, 1e8 + 2, 1e8 + 3]).reshape(-1, 1)
    assert StandardScaler().fit(values).var_[0] == 1.25
    assert MinMaxScaler().fit_transform(values).ravel().tolist() == [0.0, 1 / 3, 2 / 3, 1.0]


@pytest.mark.parametrize("params", [{}, {"feature_range": (-2, 5)}, {"clip": True}])
def test_min_max_scaler(params):
    X = numbers()
    ours, theirs = MinMaxScaler(**params).fit(X), preprocessing.MinMaxScaler(**params).fit(X)
    for name in ("data_min_", "data_max_", "data_range_", "scale_", "min_"):
        same(getattr(ours, name), getattr(theirs, name))
    assert ours.n_samples_seen_ == theirs.n_samples_seen_ == 500
    wild = np.where(np.isnan(X), np.nan, X * 1.5 - 1.0)
    np.testing.assert_allclose(ours.transform(wild), theirs.transform(wild), rtol=1e-7, atol=1e-7)
    same(ours.inverse_transform(ours.transform(X)), X)
    parts = MinMaxScaler(**params).partial_fit(X[:100]).partial_fit(X[100:])
    same(parts.data_max_, theirs.data_max_)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"strategy": "median"},
        {"strategy": "most_frequent"},
        {"strategy": "median", "keep_empty_features": True},
        {"strategy": "constant"},
        {"strategy": "constant", "fill_value": -1.5},
        {"strategy": "constant", "fill_value": -1.5, "keep_empty_features": True},
        {"strategy": "mean", "add_indicator": True},
    ],
)
def test_simple_imputer(params):
    X = np.column_stack([numbers(), np.full(500, np.nan)])
    ours, theirs = SimpleImputer(**params), impute.SimpleImputer(**params)
    left_out = not params.get("keep_empty_features")
    with pytest.warns(UserWarning) if left_out else nullcontext():
        expected = theirs.fit(X).transform(X)
    same(ours.fit_transform(X), expected)
    same(ours.statistics_, theirs.statistics_)
    if params.get("add_indicator"):
        same(ours.inverse_transform(ours.transform(X)), X)
        assert ours.get_feature_names_out()[-1] == "missingindicator_x5"


@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
def test_k_bins_discretizer(strategy, encode):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=400), 1e4 + rng.lognormal(size=400), rng.integers(0, 30, 400)])
    ours = KBinsDiscretizer([3, 7, 4], encode=encode, strategy=strategy).fit(X)
    theirs = preprocessing.KBinsDiscretizer([3, 7, 4], encode=encode, strategy=strategy).fit(X)
    for found, expected in zip(ours.bin_edges_, theirs.bin_edges_, strict=True):
        same(found, expected, rtol=1e-6 if strategy == "kmeans" else 1e-12)
    assert ours.n_bins_.tolist() == theirs.n_bins_.tolist()
    found, expected = ours.transform(X), theirs.transform(X)
    assert sp.issparse(found) == sp.issparse(expected)
    same(found, expected)
    same(ours.inverse_transform(found), theirs.inverse_transform(expected), rtol=1e-6)
    assert len(ours.get_feature_names_out()) == found.shape[1]


@pytest.mark.filterwarnings("ignore")
def test_bins_that_are_too_narrow_are_left_out():
    X = np.column_stack([np.r_[np.zeros(90), np.arange(10.0)], np.full(100, 2.0)])
    theirs = preprocessing.KBinsDiscretizer(5, encode="ordinal").fit(X)
    with pytest.warns(DbmlWarning, match="KBinsDiscretizer: column 'x1' is constant"):
        ours = KBinsDiscretizer(5, encode="ordinal").fit(X)
    assert ours.n_bins_.tolist() == theirs.n_bins_.tolist()
    same(ours.transform(X), theirs.transform(X))


@pytest.mark.parametrize("n_bins", [5, 10, 20])
def test_k_means_bins_of_a_skew_column_all_have_rows(n_bins):
    x = np.exp(np.random.default_rng(0).normal(size=(1_000, 1)))
    params = {"n_bins": n_bins, "strategy": "kmeans", "encode": "ordinal"}
    losses = []
    for made in (KBinsDiscretizer(**params), preprocessing.KBinsDiscretizer(**params)):
        bins = made.fit_transform(x).astype(int).ravel()
        sizes = np.bincount(bins, minlength=n_bins)
        means = np.bincount(bins, x[:, 0], n_bins) / np.maximum(sizes, 1)
        losses.append(float(np.sum((x[:, 0] - means[bins]) ** 2)))
        assert sizes.min() > 0
    assert losses[0] <= 1.1 * losses[1]


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 301.0)])
def test_k_means_makes_no_more_bins_than_values(weight):
    x = np.repeat([0.0, 1.0, 2.0], 100)[:, None]
    with pytest.warns(DbmlWarning, match="'x0' has 3 bins, not 5"):
        ours = KBinsDiscretizer(5, strategy="kmeans").fit(x, sample_weight=weight)
    same(ours.bin_edges_[0], [0.0, 0.5, 1.5, 2.0])


CATEGORIES = np.array([[3, 1.5], [1, np.nan], [3, 2.5], [2, 1.5], [1, 1.5], [3, np.nan]] * 5 + [[9, 0.0]])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"drop": "first"},
        {"drop": "if_binary"},
        {"handle_unknown": "ignore"},
        {"min_frequency": 6},
        {"min_frequency": 0.3, "drop": "first"},
        {"max_categories": 2, "handle_unknown": "infrequent_if_exist"},
        {"max_categories": 1, "handle_unknown": "infrequent_if_exist"},
        {"min_frequency": 2, "handle_unknown": "infrequent_if_exist", "sparse_output": False},
    ],
)
def test_one_hot_encoder(params):
    ours, theirs = OneHotEncoder(**params).fit(CATEGORIES), preprocessing.OneHotEncoder(**params).fit(CATEGORIES)
    found, expected = ours.transform(CATEGORIES), theirs.transform(CATEGORIES)
    assert sp.issparse(found) == sp.issparse(expected)
    same(found, expected)
    for mine, other in zip(ours.categories_, theirs.categories_, strict=True):
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(
        ours.infrequent_categories_, getattr(theirs, "infrequent_categories_", [None, None]), strict=True
    ):
        assert (mine is None) == (other is None)
        if other is not None:
            np.testing.assert_array_equal(mine, other)
    names = ours.get_feature_names_out(), theirs.get_feature_names_out(["x0", "x1"])
    assert names[0].tolist() == names[1].tolist()
    if "drop" in params:
        assert ours.drop_idx_.tolist() == theirs.drop_idx_.tolist()
    if "min_frequency" not in params and "max_categories" not in params:
        same(ours.inverse_transform(found), CATEGORIES)
    strange = np.array([[77.0, 1.5], [3.0, 5.0]])
    if params.get("handle_unknown", "error") == "error":
        with pytest.raises(InvalidData, match=r"OneHotEncoder: found unknown categories in column x0: 77\.0"):
            ours.transform(strange)
    else:
        same(ours.transform(strange), theirs.transform(strange))


def test_texts_are_categories():
    import pyarrow as pa

    words = ["b", "a", None, "it's", "a", "b", "constant"]
    table = pa.table({"w": words, "c": ["same"] * 7, "n": [1, 2, 1, 2, 1, 2, 1]})
    model = OneHotEncoder(sparse_output=False).fit(table)
    assert [list(c) for c in model.categories_] == [["a", "b", "constant", "it's", None], ["same"], [1.0, 2.0]]
    found = model.transform(table)
    assert found.sum(axis=0).tolist() == [2, 2, 1, 1, 1, 7, 4, 3]
    assert model.get_feature_names_out().tolist()[:6] == ["w_a", "w_b", "w_constant", "w_it's", "w_None", "c_same"]
    assert model.inverse_transform(found).tolist() == [[w, "same", 1 + i % 2] for i, w in enumerate(words)]
    with pytest.raises(
        InvalidData, match=r"found unknown categories in column w: '\(a text that training did not see\)'"
    ):
        model.transform(pa.table({"w": ["new"], "c": ["same"], "n": [1]}))


def test_rare_and_many_texts_are_all_kept():
    import pyarrow as pa

    words = [f"word {i}" for i in range(600)]
    model = OneHotEncoder().fit(pa.table({"w": words}))
    assert len(model.categories_[0]) == 600
    assert model.transform(pa.table({"w": words})).sum() == 600


# quantiles --------------------------------------------------------------------------------------------------------


def spread(seed=0):
    """Numbers, tiny negative ones, none at all, and both zeros."""
    return np.column_stack(
        [numbers(seed=seed), -numbers(seed=1)[:, 0] * 1e-300, np.full(500, np.nan), np.r_[-0.0, [0] * 499]]
    )


def found_by_bits(X, shares, method, weight=None):
    with as_data(X, sample_weight=weight, encode="values") as data:
        found = quantiles.column_quantiles(data, [shares] * X.shape[1], method, "q")
        assert "radix selection" in str(data.plan)
        return found


@pytest.mark.parametrize("method", quantiles.METHODS)
def test_quantiles_by_bits_are_exact(method):
    X, shares = spread(), np.linspace(0, 1, 9).tolist()
    bits = found_by_bits(X, shares, method)
    with as_data(X, encode="values") as data:
        ordered = quantiles.block_quantiles(data.sample(500, 0), [shares] * X.shape[1], method)
    for j in range(X.shape[1]):
        np.testing.assert_array_equal(bits[j], ordered[j])
        seen = X[~np.isnan(X[:, j]), j]
        if seen.size:
            np.testing.assert_allclose(bits[j], np.quantile(seen, shares, method=method), rtol=1e-12)


def test_weighted_quantiles_are_those_of_repeated_rows():
    X, weight = numbers(), np.random.default_rng(1).integers(0, 4, 500).astype(float)
    shares = np.linspace(0, 1, 9).tolist()
    expected = found_by_bits(np.repeat(X, weight.astype(int), axis=0), shares, "averaged_inverted_cdf")
    with as_data(X, sample_weight=weight, encode="values") as data:
        ordered = quantiles.block_quantiles(data.sample(500, 0), [shares] * 5, "averaged_inverted_cdf")
    for found in (found_by_bits(X, shares, "averaged_inverted_cdf", weight), ordered):
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_fractional_weights_mark_no_column_without_missing_values():
    X, weight = numbers(20_000), np.random.default_rng(1).random(20_000)
    marked = SimpleImputer(add_indicator=True).fit(X, sample_weight=weight)
    assert marked.indicator_features_ == [0, 1, 3, 4]
    weight[np.isnan(X[:, 0])] = 0.0
    assert SimpleImputer(add_indicator=True).fit(X, sample_weight=weight).indicator_features_ == [1, 3, 4]
    assert StandardScaler().fit(X[:, 2:3], sample_weight=weight).n_samples_seen_ == pytest.approx(weight.sum())


def test_categories_are_counted_in_any_unit_of_weights():
    X = np.array([[1.0], [2.0], [2.0], [np.nan], [3.0]])
    weight = np.array([3.0, 1.0, 1.0, 1.0, 0.0])
    for unit in (1e-9, 1e-300, 1e9):
        assert SimpleImputer(strategy="most_frequent").fit(X, sample_weight=unit * weight).statistics_ == [1.0]
        (codes,) = OneHotEncoder().fit(X, sample_weight=unit * weight).codes_
        assert codes == [1.0, 2.0, None]
    light = SimpleImputer(strategy="most_frequent").fit(X[1:], sample_weight=[1e-12, 1e-12, 1.0, 0.0])
    assert light.statistics_ == [2.0]
    whole = np.array([0.0, 1.0, 3.0, 2.0**20 + 1.0, 2.0**40 + 1.0])
    np.testing.assert_array_equal(column_steps.rounded_weights(whole), whole)
    shuffled = column_steps.rounded_weights(np.random.default_rng(0).random(10_000))
    assert shuffled.cumsum()[-1] == np.sort(shuffled).cumsum()[-1]


@pytest.mark.parametrize("subsample", [None, 100])
def test_linear_quantiles_take_no_weights(subsample):
    model = KBinsDiscretizer(3, quantile_method="linear", subsample=subsample)
    with pytest.raises(InvalidParameter, match=r"quantile_method must be 'averaged_inverted_cdf' .* have weights"):
        model.fit(numbers()[:, :2], sample_weight=np.full(500, 0.5))


def test_all_rows_decide_where_no_sample_is_asked_for():
    X = np.random.default_rng(0).normal(size=(3000, 2))
    ours = KBinsDiscretizer(10, subsample=None).fit(X)
    theirs = preprocessing.KBinsDiscretizer(10, subsample=None).fit(X)
    for found, expected in zip(ours.bin_edges_, theirs.bin_edges_, strict=True):
        same(found, expected)
    same(SimpleImputer(strategy="median").fit(X).statistics_, np.median(X, axis=0))


# bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MinMaxScaler(feature_range=(1, 1)), "MinMaxScaler: feature_range must be two numbers, the first one smaller"),
        (MinMaxScaler(feature_range=(1,)), r"MinMaxScaler: feature_range must be two numbers; got \(1,\)"),
        (SimpleImputer(fill_value=1.0), "SimpleImputer: fill_value must be None where strategy is not 'constant'"),
        (SimpleImputer(strategy="mode"), "SimpleImputer: strategy must be one of"),
        (KBinsDiscretizer(1), "KBinsDiscretizer: n_bins must be an integer >= 2"),
        (KBinsDiscretizer([3, 3]), "KBinsDiscretizer: n_bins must be an integer >= 2, or one for each of 5 columns"),
        (OneHotEncoder(drop="last"), "OneHotEncoder: drop must be one of"),
    ],
)
def test_wrong_parameters_are_refused(model, message):
    with pytest.raises(InvalidParameter, match=message):
        model.fit(numbers())


MODELS = (StandardScaler, MinMaxScaler, SimpleImputer, OneHotEncoder, KBinsDiscretizer)


@pytest.mark.parametrize("model", MODELS)
def test_sparse_rows_and_wrong_shapes_are_refused(model):
    with pytest.raises(UnsupportedColumn, match=f"{model.__name__}: sparse rows are not supported"):
        model().fit(sp.csr_array(np.eye(40)))
    if model is not SimpleImputer:
        fitted = model().fit(np.arange(12.0).reshape(-1, 2))
        with pytest.raises(InvalidData, match=f"{model.__name__}: inverse_transform takes .* columns; got an array"):
            fitted.inverse_transform(np.zeros((3, 99)))


@pytest.mark.parametrize("model", [StandardScaler, MinMaxScaler, SimpleImputer, KBinsDiscretizer])
def test_text_is_refused_by_name(model, raw):
    raw.execute("CREATE TABLE t AS SELECT i AS a, 'word' || i % 3 AS w FROM range(100) r(i)")
    with pytest.raises(
        UnsupportedColumn, match=f"{model.__name__}: columns must be numbers; .*: w of .*t, which hold text"
    ):
        model().fit(raw.table("t"))


def test_too_many_different_values_are_refused(monkeypatch):
    monkeypatch.setattr("dbml.estimators.one_hot_encoder._MOST_CATEGORIES", 100)
    with pytest.raises(ExhaustedMemory, match="column 'x0' has more than 100 different values"):
        OneHotEncoder().fit(np.arange(101.0).reshape(-1, 1))


def test_no_rows_one_row():
    for model in MODELS:
        with duckdb.connect() as con:
            con.execute("CREATE TABLE t (a DOUBLE, b INTEGER)")
            with pytest.raises(DbmlError):
                model().fit(con.table("t"))
    assert StandardScaler().fit_transform([[2.0, 5.0]]).tolist() == [[0.0, 0.0]]
    assert MinMaxScaler().fit_transform([[2.0, 5.0]]).tolist() == [[0.0, 0.0]]
    assert OneHotEncoder(sparse_output=False).fit_transform([[2.0, 5.0]]).tolist() == [[1.0, 1.0]]


# SQL --------------------------------------------------------------------------------------------------------------

TYPES = {
    "standard_scaler": "",
    "min_max_scaler": ", feature_range = (-1, 1), clip = true",
    "simple_imputer": ", strategy = 'median', add_indicator = true",
    "k_bins_discretizer": ", n_bins = 4",
    "KBinsDiscretizer": ", encode = 'ordinal', strategy = 'uniform', num_buckets = 3",
    "one_hot_encoder": ", handle_unknown = 'infrequent_if_exist', max_categories = 4",
    "OneHotEncoder": ", handle_unknown = 'ignore', drop = 'first'",
}


@pytest.fixture
def con():
    with dbml.connect() as con:
        con.execute(
            """CREATE TABLE t AS SELECT i AS id,
            CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'nan' ELSE sin(i) END::DOUBLE AS a,
            1e8 + i % 13 AS "b "" c", [cos(i), CASE WHEN i % 9 > 0 THEN i % 5 END]::DOUBLE[2] AS v,
            ['x', 'y', 'it''s', NULL][1 + i % 4] AS kind, (i % 3)::TINYINT AS few, i * 1.5::DECIMAL(9, 2) AS d,
            TIMESTAMP '2026-01-01' + to_hours(i::INTEGER) AS day FROM range(400) r(i)"""
        )
        con.execute(
            """CREATE TABLE strange AS FROM t UNION ALL BY NAME
            SELECT 1000 AS id, NULL AS a, NULL AS "b "" c", NULL AS v, 'never seen' AS kind, 77 AS few, NULL AS d,
            NULL AS day UNION ALL BY NAME
            SELECT 1001 AS id, 'inf'::DOUBLE AS a, -1e9 AS "b "" c", [1e9, -1e9]::DOUBLE[2] AS v, 'x' AS kind, 1 AS few
            """
        )
        yield con


def check_three_ways(con, model, table):
    """Compare native SQL, the UDF, relations and Python; NaN is NULL in SQL."""
    rows = con.table(table)
    python = model.transform(rows.to_arrow_table())
    python = python.toarray() if sp.issparse(python) else python
    names = model.get_feature_names_out().tolist()
    columns = ", ".join(f'f."{name.replace(chr(34), 2 * chr(34))}"' for name in model.schema_.encoding.columns)

    def compare(listed):
        found = np.array([[math.nan if value is None else value for value in row] for row in listed], float)
        np.testing.assert_allclose(found.reshape(python.shape), python, rtol=1e-9, atol=1e-12)

    for connection in (con, con.duckdb):
        compare([row[0] for row in connection.execute(f"SELECT transform('m', f) FROM {table} f").fetchall()])
        compare([row[0] for row in connection.execute(f"SELECT transform('m', {columns}) FROM {table} f").fetchall()])
    compare([row[0] for row in con.execute(f"SELECT ml.transform_m({columns}) FROM {table} f").fetchall()])
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    for relation in (
        model.transform(rows),
        con.sql(f"FROM ML.TRANSFORM(MODEL m, TABLE {table})"),
        con.sql(f"FROM ml.transform_m({table})"),
    ):
        compare(relation.project(listed).fetchall())
        assert {str(type) for type in relation.project(listed).types} == {"DOUBLE"}
        kept = [column for column in rows.columns if column.casefold() not in {name.casefold() for name in names}]
        assert [column for column in relation.columns if column not in names] == kept


@pytest.mark.filterwarnings("ignore::dbml.errors.DbmlWarning")  # 3 different values make no 4 bins
@pytest.mark.parametrize("model_type", TYPES)
def test_three_ways_agree(con, model_type):
    columns = 'few, "b "" c", kind' if "hot" in model_type.lower() else 'a, "b "" c", v, few, d, day'
    options = f"model_type = '{model_type}'{TYPES[model_type]}"
    con.execute(f"CREATE MODEL m OPTIONS ({options}) AS SELECT {columns} FROM t")
    check_three_ways(con, con.load_model("m"), "strange")


def test_scaled_columns_stay_in_their_place(con):
    con.execute("CREATE MODEL s OPTIONS (model_type = 'standard_scaler') AS SELECT a, d FROM t")
    found = con.sql("FROM ML.TRANSFORM(MODEL s, TABLE t)")
    assert found.columns == con.table("t").columns
    ((mean, spread),) = found.aggregate("avg(d), stddev_pop(d)").fetchall()
    assert (abs(mean) < 1e-12, spread) == (True, pytest.approx(1.0))


def test_a_model_learns_from_transformed_rows(con):
    con.execute("CREATE MODEL s OPTIONS (model_type = 'standard_scaler') AS SELECT a, few FROM t")
    con.execute(
        """CREATE MODEL l OPTIONS (model_type = 'linear_reg', input_label_cols = ['d']) AS
        SELECT a, few, d FROM ML.TRANSFORM(MODEL s, TABLE t)"""
    )
    scaled = con.sql("SELECT a, few, d FROM ML.TRANSFORM(MODEL s, TABLE t)")
    same(con.load_model("l").coef_, dbml.LinearRegression().fit(scaled, "d").coef_)
    assert len(con.execute("FROM ML.PREDICT(MODEL l, (FROM ML.TRANSFORM(MODEL s, TABLE t)))").fetchall()) == 400


def test_unknown_categories_are_an_error_in_every_way(con):
    con.execute("CREATE MODEL m OPTIONS (model_type = 'one_hot_encoder') AS SELECT kind, few FROM t")
    for query in (
        "SELECT transform('m', f) FROM strange f",
        "FROM ML.TRANSFORM(MODEL m, TABLE strange)",
        "SELECT ml.transform_m('new', 1)",
    ):
        with pytest.raises((duckdb.Error, DbmlError), match="found unknown categories in column kind"):
            con.execute(query).fetchall()
    with pytest.raises(duckdb.Error, match="found unknown categories in column kind"):
        con.duckdb.execute("SELECT transform('m', f) FROM strange f").fetchall()
    assert con.execute("SELECT ml.transform_m('x', 2)").fetchone() == ([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0],)


@pytest.mark.filterwarnings("ignore::dbml.errors.DbmlWarning")
@pytest.mark.parametrize("model", MODELS)
def test_save_and_load(model, con, database):
    fitted = model().fit(con.sql("SELECT a, few, v FROM t"))
    con.execute(f"ATTACH '{database}' AS other")
    con.save_model("other.m", fitted)
    loaded = con.load_model("other.m")
    rows = con.table("t").to_arrow_table()
    found, expected = loaded.transform(rows), fitted.transform(rows)
    np.testing.assert_array_equal(*(x.toarray() if sp.issparse(x) else x for x in (found, expected)))
    assert repr(loaded) in (repr(fitted), "MinMaxScaler(feature_range=[0, 1])")


@pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not in ../shared/data")
@pytest.mark.parametrize(
    ("table", "model_type", "query"),
    [
        ("adult", "one_hot_encoder", "SELECT workclass, education, age, sex FROM {} LIMIT 5000"),
        ("givemecredit", "standard_scaler", "SELECT * EXCLUDE (row_id) FROM {} LIMIT 20000"),
        ("givemecredit", "simple_imputer", "SELECT * EXCLUDE (row_id) FROM {} LIMIT 20000"),
        ("diamonds", "min_max_scaler", "SELECT carat, depth, price, x, y, z FROM {} LIMIT 20000"),
        ("dry_bean", "k_bins_discretizer", "SELECT * EXCLUDE (Class) FROM {}"),
    ],
)
@pytest.mark.filterwarnings("ignore::dbml.errors.DbmlWarning")
def test_real_tables(con, table, model_type, query):
    path = str(DATA / f"{table}.parquet")
    con.execute(f"CREATE TABLE real AS {query.format(f'read_parquet({path!r})')}")
    con.execute(f"CREATE MODEL m OPTIONS (model_type = '{model_type}') AS FROM real")
    con.execute("CREATE TABLE few_rows AS FROM real LIMIT 1000")
    model = con.load_model("m")
    check_three_ways(con, model, "few_rows")
    kinds = {
        "standard_scaler": preprocessing.StandardScaler(),
        "min_max_scaler": preprocessing.MinMaxScaler(),
        "simple_imputer": impute.SimpleImputer(),
        "k_bins_discretizer": preprocessing.KBinsDiscretizer(),
        "one_hot_encoder": preprocessing.OneHotEncoder(),
    }
    frame = con.sql("FROM real").df()
    numbers_only = model_type != "one_hot_encoder"
    theirs = kinds[model_type].fit(frame.astype(float) if numbers_only else frame)
    some = frame.head(1000)
    expected = theirs.transform(some.astype(float) if numbers_only else some)
    found = model.transform(con.table("few_rows").to_arrow_table())
    found, expected = (x.toarray() if sp.issparse(x) else np.asarray(x, float) for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_in_a_pipeline_of_scikit_learn():
    X = numbers()
    y = np.nan_to_num(X[:, 0]) > 0
    model = make_pipeline(SimpleImputer(), StandardScaler(), dbml.LogisticRegression())
    assert model.fit(X, y).score(X, y) > 0.9
    theirs = make_pipeline(KBinsDiscretizer(4), preprocessing.StandardScaler(with_mean=False))
    assert theirs.fit_transform(X[:, [0, 4]]).shape == (500, 8)


def test_little_memory_is_enough():
    X = np.random.default_rng(0).normal(size=(60_000, 20))
    with memory_limited("64MiB"):
        same(SimpleImputer(strategy="median").fit(X).statistics_, np.median(X, axis=0))


def test_kernels_take_read_only_rows():
    from dbml_kernels.column_moments import column_moments_update
    from dbml_kernels.radix_histogram import radix_histogram_add

    X = np.asfortranarray(numbers())
    X.flags.writeable = False
    moments, limits = np.zeros((3, 5)), np.array([[np.inf] * 5, [-np.inf] * 5])
    missing = np.zeros(5)
    column_moments_update(X, np.zeros(0), moments, limits, missing)
    np.testing.assert_array_equal(missing, np.isnan(X).sum(axis=0))
    same(moments[1], np.nanmean(X, axis=0))
    same(moments[2] / moments[0], np.nanvar(X, axis=0), rtol=1e-7)
    same(limits, [np.nanmin(X, axis=0), np.nanmax(X, axis=0)])
    histogram = np.zeros((1, 16))
    radix_histogram_add(X[:, 0], np.zeros(0), np.zeros(1, np.uint64), 0, 4, histogram)
    assert histogram.sum() == np.isfinite(X[:, 0]).sum()
    assert histogram[0, :8].sum() == (X[:, 0] < 0).sum()
    assert column_steps.ColumnMomentsStep(2).start()["moments"].shape == (3, 2)


@pytest.mark.parametrize("strategy", ["quantile", "kmeans", "uniform"])
@pytest.mark.parametrize("encode", ["ordinal", "onehot-dense"])
@pytest.mark.parametrize("unit", [1e-9, 1e-15, 1e9])
def test_bins_do_not_depend_on_the_unit_of_a_column(con, strategy, encode, unit):
    X = np.random.default_rng(0).normal(size=(60, 1))
    params = {"n_bins": 4, "strategy": strategy, "encode": encode}
    plain = preprocessing.KBinsDiscretizer(quantile_method="averaged_inverted_cdf", **params).fit_transform(X)
    con.duckdb.register("frame", {"x0": X[:, 0] * unit})
    con.execute("CREATE OR REPLACE TABLE small AS FROM frame")
    ours = KBinsDiscretizer(**params).fit(con.table("small"))
    assert ours.n_bins_.tolist() == [4]
    same(ours.transform(X * unit), plain)
    con.save_model("small_bins", ours)
    columns = [f'"{name}"' for name in ours.get_feature_names_out()]
    found = con.duckdb.sql(f"SELECT {', '.join(columns)} FROM ml.transform_small_bins(small)").fetchall()
    same(found, plain)
