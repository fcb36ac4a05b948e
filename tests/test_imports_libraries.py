"""Models that LightGBM and XGBoost train here, of every kind that can be imported, against their own predict."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import dbml
from dbml.errors import InvalidData
from dbml.imports import Wishes, imported_model, read_dump

pd = pytest.importorskip("pandas")

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
LEVELS = {"c": ["w", "x", "y", "z z"], "k": list(range(3, 60)), "o": ["lo", "mid", "hi"]}


@pytest.fixture(scope="module")
def lgb():
    return pytest.importorskip("lightgbm", reason="LightGBM is not installed: the committed files are tested")


@pytest.fixture(scope="module")
def xgb():
    return pytest.importorskip("xgboost", reason="XGBoost is not installed: the committed files are tested")


def frame(seed, n=1500):
    """Return numbers with NaN and zeros, categories of texts and numbers, and codes."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "z": np.where(rng.random(n) < 0.5, 0, rng.normal(size=n)),
            "c": pd.Categorical(rng.choice(["x", "y", "z z", "w"], n), categories=LEVELS["c"]),
            "i": rng.integers(0, 9, n),
            "k": pd.Categorical(rng.integers(3, 60, n), categories=LEVELS["k"]),
            "o": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), categories=LEVELS["o"], ordered=bool(seed % 2)),
            "m": rng.normal(size=n),
        }
    )
    rows.loc[rng.random(n) < 0.1, "a"] = np.nan
    rows.loc[rng.random(n) < 0.1, "c"] = np.nan
    return rows


TRAIN, TEST = frame(0), frame(2)
for column, step in (("m", 5), ("z", 9), ("o", 13)):
    TEST.loc[::step, column] = np.nan
TEST.loc[::17, "i"] = -1
RAW = (
    TRAIN["a"].fillna(0) + (TRAIN["c"] == "x") + TRAIN["z"] * (TRAIN["i"] > 4) + TRAIN["k"].astype(float) % 3
).to_numpy()
TARGETS = {
    "number": RAW,
    "share": 1 / (1 + np.exp(-RAW)),
    "binary": (np.median(RAW) < RAW).astype(int),
    "three": np.digitize(RAW, np.quantile(RAW, [0.3, 0.6])),
    "positive": np.exp(RAW / 3),
}


def arrow(rows):
    texts = {name: object for name in rows.columns if isinstance(rows[name].dtype, pd.CategoricalDtype)}
    return pa.Table.from_pandas(rows.astype(texts), preserve_index=False)


def predicted(model, rows=TEST):
    """Return what a library's predict gives: numbers, the probability of the second class, those of all classes."""
    if not hasattr(model, "predict_proba"):
        return model.predict(arrow(rows))
    found = model.predict_proba(arrow(rows))
    return found[:, 1] if found.shape[1] == 2 else found


FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
LIGHTGBM = {
    **{name: ("number", {}) for name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape")},
    **{name: ("positive", {}) for name in ("poisson", "gamma", "tweedie")},
    "binary": ("binary", {}),
    "binary sigmoid": ("binary", {"sigmoid": 2.5}),
    "binary without average": ("binary", {"boost_from_average": False}),
    "binary zero_as_missing": ("binary", {"zero_as_missing": True}),
    "binary use_missing": ("binary", {"use_missing": False}),
    "binary dart": ("binary", {"boosting": "dart", "drop_rate": 0.5}),
    "binary rf": ("binary", FOREST),
    "regression rf": ("number", FOREST),
    "multiclass rf": ("three", {"num_class": 3, **FOREST}),
    "poisson rf": ("positive", FOREST),
    "multiclass": ("three", {"num_class": 3}),
    "multiclassova": ("three", {"num_class": 3, "sigmoid": 1.5}),
    "cross_entropy": ("share", {}),
    "lambdarank": ("three", {}),
    "regression constant": ("number", {"min_data_in_leaf": 5000}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm_to_the_last_bits(lgb, name):
    target, params = LIGHTGBM[name]
    small = {"verbose": -1, "min_data_per_group": 5, "cat_smooth": 1, "num_leaves": 12, "num_threads": 1}
    ranks = {"group": [30] * 50} if name == "lambdarank" else {}
    data = lgb.Dataset(TRAIN, TARGETS[target], **ranks)
    booster = lgb.train({"objective": name.partition(" ")[0], **small, **params}, data, 8)
    expected = booster.predict(TEST)
    for content in (booster.model_to_string(), json.dumps(booster.dump_model())):
        model = imported_model(read_dump(content.encode(), "'m'"), "'m'", Wishes())
        np.testing.assert_allclose(predicted(model), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["regression", "binary", "multiclass"])
def test_explanations_are_those_of_lightgbm(lgb, name):
    """Rows of nodes are imported too: what a column adds to a prediction is the same number."""
    target, params = LIGHTGBM[name]
    small = {"objective": name, "verbose": -1, "num_leaves": 8, "num_threads": 1, **params}
    booster = lgb.train(small, lgb.Dataset(TRAIN, TARGETS[target]), 4)
    model = imported_model(read_dump(booster.model_to_string().encode(), "'m'"), "'m'", Wishes())
    expected = booster.predict(TEST, pred_contrib=True).reshape(len(TEST), -1, len(TRAIN.columns) + 1)
    found = model.shap_values(arrow(TEST)).reshape(len(TEST), len(TRAIN.columns), -1)
    np.testing.assert_allclose(found, expected[:, :, :-1].transpose(0, 2, 1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.atleast_1d(model.expected_value_), expected[0, :, -1], rtol=1e-9)


def test_lightgbm_with_codes_and_categories_of_a_frame(lgb):
    """Which feature's levels the file holds is not said there: they are asked for, and codes stay codes."""
    params = {"objective": "binary", "verbose": -1, "min_data_per_group": 5, "cat_smooth": 1, "num_threads": 1}
    data = lgb.Dataset(TRAIN, TARGETS["binary"], categorical_feature=["c", "i", "k", "o"])
    booster = lgb.train(params, data, 5)
    for content in (booster.model_to_string().encode(), json.dumps(booster.dump_model()).encode()):
        with pytest.raises(InvalidData, match=r"the levels of 3 columns of a DataFrame and 4 categorical features"):
            imported_model(read_dump(content, "'m'"), "'m'", Wishes())
        model = imported_model(read_dump(content, "'m'"), "'m'", Wishes(categories=LEVELS))
        np.testing.assert_allclose(predicted(model), booster.predict(TEST), rtol=1e-9)


def test_lightgbm_with_an_ordered_category(lgb):
    """LightGBM compares the codes of an ordered category as numbers."""
    rows, test = frame(1), frame(3)
    booster = lgb.train({"objective": "regression", "verbose": -1, "num_threads": 1}, lgb.Dataset(rows, RAW), 5)
    content = booster.model_to_string().encode()
    with pytest.raises(InvalidData, match="does not say which are whose"):
        imported_model(read_dump(content, "'m'"), "'m'", Wishes())
    model = imported_model(read_dump(content, "'m'"), "'m'", Wishes(categories=LEVELS))
    np.testing.assert_allclose(predicted(model, test), booster.predict(test), rtol=1e-9)


def test_lightgbm_refuses_what_cannot_be_imported(lgb):
    for params, words in (({"reg_sqrt": True}, "reg_sqrt"), ({"linear_tree": True}, "linear trees")):
        both = {"objective": "regression", "verbose": -1, "num_threads": 1, **params}
        booster = lgb.train(both, lgb.Dataset(TRAIN[["a", "z", "m"]], RAW), 2)
        for content in (booster.model_to_string(), json.dumps(booster.dump_model())):
            with pytest.raises(InvalidData, match=words):
                imported_model(read_dump(content.encode(), "'m'"), "'m'", Wishes())


NUMBERS = ["a", "z", "m"]
XGBOOST = {
    **{f"reg:{name}": ("number", {}) for name in ("squarederror", "pseudohubererror", "absoluteerror")},
    "reg:squaredlogerror": ("positive", {}),
    "reg:quantileerror": ("number", {"quantile_alpha": 0.3}),
    **{name: ("positive", {}) for name in ("count:poisson", "reg:gamma", "reg:tweedie")},
    "binary:logistic": ("binary", {}),
    "binary:logistic base_score": ("binary", {"base_score": 0.2}),
    "binary:logistic one-hot": ("binary", {"max_cat_to_onehot": 100}),
    "binary:logistic approx": ("binary", {"tree_method": "approx"}),
    "binary:logistic dart": ("binary", {"booster": "dart", "rate_drop": 0.5}),
    "binary:logistic forest": ("binary", {"num_parallel_tree": 5, "subsample": 0.6}),
    "binary:logistic lossguide": ("binary", {"grow_policy": "lossguide", "max_leaves": 30, "max_depth": 0}),
    "binary:logistic pruned": ("binary", {"gamma": 5.0}),
    "reg:logistic": ("share", {}),
    "rank:pairwise": ("three", {}),
    "multi:softprob": ("three", {"num_class": 3}),
    "multi:softprob vectors": ("three", {"num_class": 3, "multi_strategy": "multi_output_tree"}),
    "multi:softmax": ("three", {"num_class": 3}),
}


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost_to_the_rounding_of_its_sums(xgb, name):
    target, params = XGBOOST[name]
    columns = NUMBERS if "vectors" in name else list(TRAIN.columns)
    ranks = {"qid": np.repeat(np.arange(50), 30)} if name.startswith("rank") else {}
    data = xgb.DMatrix(TRAIN[columns], TARGETS[target], enable_categorical=True, **ranks)
    test = xgb.DMatrix(TEST[columns], enable_categorical=True)
    common = {"max_depth": 4, "verbosity": 0, "nthread": 1}
    booster = xgb.train({"objective": name.partition(" ")[0], **common, **params}, data, 8)
    for kind in ("json", "ubj"):
        model = imported_model(read_dump(bytes(booster.save_raw(kind)), "'m'"), "'m'", Wishes())
        expected = booster.predict(test).astype(float)
        if name == "multi:softmax":
            np.testing.assert_array_equal(model.predict(arrow(TEST)), expected)
        else:
            np.testing.assert_allclose(predicted(model), expected, rtol=3e-6, atol=3e-6)


def test_xgboost_at_its_own_thresholds(xgb):
    """Doubles that are no floats, right at the splits: each goes where XGBoost's rounding sends it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1)) * np.array([[1e-3]])
    booster = xgb.train({"max_depth": 3, "nthread": 1}, xgb.DMatrix(X, rng.normal(size=400)), 5)
    model = imported_model(read_dump(bytes(booster.save_raw("json")), "'m'"), "'m'", Wishes(features=["x"]))
    limits = model.trees_.threshold[model.trees_.left >= 0]
    near = np.concatenate([np.nextafter(limits, -np.inf), limits, np.nextafter(limits, np.inf)])[:, None]
    leaves = booster.predict(xgb.DMatrix(near), pred_leaf=True)
    found = model.predict(near)
    np.testing.assert_allclose(found, booster.predict(xgb.DMatrix(near)), rtol=3e-6, atol=1e-7)
    assert len(np.unique(leaves, axis=0)) == len(np.unique(found))


def test_xgboost_uses_the_best_iteration(xgb):
    train, test = xgb.DMatrix(TRAIN[NUMBERS], RAW), xgb.DMatrix(TEST[NUMBERS])
    held_out = xgb.DMatrix(TRAIN[NUMBERS][:300], RAW[:300][::-1].copy())
    params = {"learning_rate": 1.0, "nthread": 1}
    booster = xgb.train(params, train, 30, evals=[(held_out, "e")], early_stopping_rounds=3, verbose_eval=False)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    model = imported_model(read_dump(bytes(booster.save_raw("ubj")), "'m'"), "'m'", Wishes())
    expected = booster.predict(test, iteration_range=(0, booster.best_iteration + 1))
    np.testing.assert_allclose(predicted(model), expected, rtol=3e-6, atol=3e-6)


REAL = {
    "adult": ("SELECT * EXCLUDE (split) FROM {} LIMIT 5000", "income"),
    "bank_marketing": ("SELECT * FROM {} LIMIT 5000", "y"),
    "titanic": ("SELECT * EXCLUDE (alive) FROM {}", "survived"),
    "givemecredit": ("SELECT * EXCLUDE (row_id) FROM {} LIMIT 5000", "SeriousDlqin2yrs"),
    "diamonds": ("SELECT * FROM {} LIMIT 5000", "price"),
    "nyc_flights_100k": (
        "SELECT month, dep_time, carrier, origin, dest, air_time, distance, arr_delay FROM {} "
        "WHERE arr_delay IS NOT NULL LIMIT 5000",
        "arr_delay",
    ),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not in ../shared/data")
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("table", REAL)
def test_real_tables_score_in_sql_as_the_library_does(table, library, tmp_path, request):
    query, label = REAL[table]
    module = request.getfixturevalue({"lightgbm": "lgb", "xgboost": "xgb"}[library])
    with dbml.connect() as con:
        path = DATA / f"{table}.parquet"
        con.execute(f"CREATE TABLE t AS {query.format(f'read_parquet({str(path)!r})')}")
        rows = con.table("t").df()
        y, X = rows.pop(label), rows
        for name in X.columns:
            if X[name].dtype.kind not in "iufb":
                X[name] = X[name].astype("category")
        numbers = y.dtype.kind in "iuf" and y.nunique() > 2
        classes = None if numbers else sorted(y.unique().tolist())
        target = y.astype(float) if numbers else y.map({one: k for k, one in enumerate(classes)}).astype(int)
        expected, path = _trained(module, library, X, target, not numbers, tmp_path)
        con.import_model("m", path, target=label, classes=classes)
        if numbers:
            found = con.sql("SELECT predict('m', t) FROM t").fetchnumpy()
        else:
            second = str(classes[1]).lower() if isinstance(classes[1], bool) else str(classes[1])
            found = con.sql(f"SELECT predict_proba('m', t)['{second}'] FROM t").fetchnumpy()
        (found,) = found.values()
        limit = {"lightgbm": 1e-9, "xgboost": 3e-6}[library]
        np.testing.assert_allclose(np.asarray(found), expected, rtol=limit, atol=limit * max(1.0, abs(expected).max()))


def _trained(module, library, X, target, binary, folder):
    """Return what a library predicts for the rows of training, and the file of its model."""
    if library == "lightgbm":
        params = {"objective": "binary" if binary else "regression", "verbose": -1, "num_threads": 1}
        booster = module.train(params, module.Dataset(X, target), 20)
        booster.save_model(folder / "model.txt")
        return booster.predict(X), folder / "model.txt"
    data = module.DMatrix(X, target, enable_categorical=True)
    params = {"objective": "binary:logistic" if binary else "reg:squarederror", "nthread": 1}
    booster = module.train(params, data, 20)
    booster.save_model(folder / "model.json")
    return booster.predict(data).astype(float), folder / "model.json"
