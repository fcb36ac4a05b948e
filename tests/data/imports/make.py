"""Makes the model files beside it and what their libraries predict with them; run by hand, the tests read the files.

python tests/data/imports/make.py   (needs lightgbm, xgboost and pandas)
"""

import json
from pathlib import Path

import duckdb
import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb

from dbml.demo.tables import make_flights

HERE = Path(__file__).parent
N_ROWS = 120
PLANS = ["basic", "family", "it's free", "pro"]


def customers(seed, n_rows):
    """Return rows with missing numbers and categories, zeros, and codes of a region."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n_rows).astype(float),
            "spent": np.where(rng.random(n_rows) < 0.4, 0.0, rng.normal(20, 30, n_rows).round(2)),
            "plan": pd.Categorical(rng.choice(PLANS, n_rows, p=[0.4, 0.3, 0.1, 0.2]), categories=PLANS),
            "region": rng.integers(0, 40, n_rows),
            "height": rng.normal(1.7, 0.1, n_rows).round(3),
        }
    )
    for column, share in (("age", 0.15), ("plan", 0.1), ("spent", 0.05), ("height", 0.05)):
        rows.loc[rng.random(n_rows) < share, column] = np.nan if column != "plan" else None
    return rows


def score(rows):
    """Return what the targets are drawn from."""
    odds = rows["age"].fillna(60) / 20 - 2 + (rows["plan"] == "pro") - (rows["spent"].fillna(0) == 0)
    return (odds + (rows["region"] % 3 == 0) * 1.5 + rows["height"].fillna(1.7)).to_numpy()


TRAIN, TEST = customers(0, 1500), customers(1, N_ROWS)
SCORE = score(TRAIN) + np.random.default_rng(2).normal(0, 0.5, len(TRAIN))
TARGETS = {
    "binary": (np.median(SCORE) < SCORE).astype(int),
    "three": np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7])),
    "number": SCORE,
    "positive": np.exp(SCORE / 2),
}
SMALL = {"verbose": -1, "num_leaves": 6, "min_data_per_group": 20, "cat_smooth": 1, "seed": 0, "deterministic": True}


def train_lightgbm(target, rounds=6, **params):
    """Return a booster of LightGBM; region is a category without a DataFrame's levels where it is asked for."""
    frame = TRAIN.drop(columns=["plan"]) if "categorical_feature" in params else TRAIN
    return lgb.train({**SMALL, **params}, lgb.Dataset(frame, TARGETS[target]), rounds), frame.columns


def train_xgboost(target, rounds=6, columns=tuple(TRAIN.columns), **params):
    """Return a booster of XGBoost."""
    data = xgb.DMatrix(TRAIN[list(columns)], TARGETS[target], enable_categorical=True)
    return xgb.train({"max_depth": 3, "seed": 0, "verbosity": 0, **params}, data, rounds), columns


def add(predicted, name, values):
    """Add the predictions of a model to the table, a column a class."""
    values = np.asarray(values, float)
    if values.ndim == 1:
        predicted[name] = values
    else:
        predicted.update({f"{name}_{k}": values[:, k] for k in range(values.shape[1])})


def make_lightgbm(predicted):
    """Write the models of LightGBM."""
    for name, target, params in (
        ("lightgbm_binary.txt", "binary", {"objective": "binary", "sigmoid": 1.5}),
        ("lightgbm_zero.txt", "number", {"objective": "regression", "zero_as_missing": True}),
        ("lightgbm_codes.txt", "number", {"objective": "huber", "categorical_feature": [2]}),
        ("lightgbm_forest.json", "three", {"objective": "multiclass", "num_class": 3, "boosting": "rf"}),
        ("lightgbm_gamma.json", "positive", {"objective": "gamma", "use_missing": False}),
    ):
        more = {"bagging_freq": 1, "bagging_fraction": 0.5} if params.get("boosting") == "rf" else {}
        booster, columns = train_lightgbm(target, **params, **more)
        text = name.endswith(".txt")
        content = booster.model_to_string() if text else json.dumps(booster.dump_model())
        (HERE / name).write_text(content, encoding="utf-8")
        add(predicted, name.partition(".")[0], booster.predict(TEST[columns]))


def make_xgboost(predicted):
    """Write the models of XGBoost."""
    numbers = ("age", "spent", "region", "height")
    for name, target, params in (
        ("xgboost_binary.json", "binary", {"objective": "binary:logistic"}),
        ("xgboost_three.ubj", "three", {"objective": "multi:softprob", "num_class": 3}),
        ("xgboost_dart.json", "positive", {"objective": "count:poisson", "booster": "dart", "rate_drop": 0.4}),
        (
            "xgboost_vector.json",
            "three",
            {
                "objective": "multi:softprob",
                "num_class": 3,
                "multi_strategy": "multi_output_tree",
                "columns": numbers,
            },
        ),
    ):
        booster, columns = train_xgboost(target, **params)
        (HERE / name).write_bytes(bytes(booster.save_raw(name.rpartition(".")[2])))
        test = xgb.DMatrix(TEST[list(columns)], enable_categorical=True)
        add(predicted, name.partition(".")[0], booster.predict(test))


def make_flights_model():
    """Write the model that the documentation imports, of the flights of the demo."""
    with duckdb.connect() as con:
        make_flights(con, 20_000)
        rows = con.sql("SELECT carrier, origin, distance, wind, late FROM flights").df()
    X = rows[["carrier", "origin", "distance", "wind"]].astype({"carrier": "category", "origin": "category"})
    params = {**SMALL, "objective": "binary", "num_leaves": 5}
    lgb.train(params, lgb.Dataset(X, rows["late"].astype(int)), 8).save_model(HERE / "late.txt")


def main():
    """Write all files."""
    predicted = {}
    make_lightgbm(predicted)
    make_xgboost(predicted)
    make_flights_model()
    TEST.assign(**predicted).to_csv(HERE / "customers.csv", index=False, float_format="%.17g")


if __name__ == "__main__":
    main()
