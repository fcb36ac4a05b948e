"""Scoring and explaining with trees."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import bars
from benchmarks.contenders import Contender, Row
from benchmarks.datasets import CLASSES_1M
from benchmarks.explaining import speeds
from benchmarks.rows.parts import PLENTY
from benchmarks.tree_scoring import DEPTH, LEAVES, TREES

WITH_LIGHTGBM = ("lightgbm", "pandas")
TRAIN = Contender(
    "train", "ours", "tree_scoring:train", warm="", again=0, imports=WITH_LIGHTGBM, quality=False, memory_limit=PLENTY
)


def _ours(label: str, run: str, model: str = "trees") -> Contender:
    return Contender(f"dbml {label}", "ours", run, {"model": model}, again=4)


def _lightgbm(label: str, run: str, leaves: int = LEAVES) -> Contender:
    return Contender(
        f"LightGBM {label}",
        "peer",
        f"tree_scoring:lightgbm_{run}",
        {"leaves": leaves},
        imports=WITH_LIGHTGBM,
        memory_limit=PLENTY,
    )


NATIVE, ON_ARRAYS, FROM_DATABASE = f"native SQL, symmetric, {2**DEPTH} leaves", "on arrays", "from the database"

SCORING = Row(
    "tree_scoring",
    f"scoring with {TREES} trees x {LEAVES} leaves, and with symmetric ones of depth {DEPTH}, 1M x 28",
    CLASSES_1M,
    (
        Contender("sum of each column", "floor", "floors:sum_scan"),
        Contender("bare UDF", "floor", "floors:bare_udf"),
        _ours("UDF", "ours:udf"),
        _ours("relation", "tree_scoring:relation"),
        _ours("ML.PREDICT", "tree_scoring:ml_predict"),
        _ours(NATIVE, "ours:native_sql", "symmetric"),
        _lightgbm(FROM_DATABASE, "from_database"),
        _lightgbm(ON_ARRAYS, "on_arrays"),
        _lightgbm(f"{ON_ARRAYS}, {2**DEPTH} leaves", "on_arrays", 2**DEPTH),
    ),
    (
        bars.faster_than("LightGBM from the database, by the UDF", f"LightGBM {FROM_DATABASE}", 1.0, "dbml UDF"),
        bars.faster_than("LightGBM on arrays, by the relation", f"LightGBM {ON_ARRAYS}", 1.0, "dbml relation"),
        bars.faster_than("LightGBM on arrays, by ML.PREDICT", f"LightGBM {ON_ARRAYS}", 1.0, "dbml ML.PREDICT"),
        bars.faster_than("LightGBM on arrays, by native SQL", f"LightGBM {ON_ARRAYS}", 1.0, f"dbml {NATIVE}"),
    ),
    target="label",
    memory_limit="4GB",
    prepare=TRAIN,
    rounds=3,
    timeout=300,
)

EXPLAINED = {"rows": 20_000}

TREESHAP = Row(
    "treeshap",
    f"Shapley values of {TREES} trees x {LEAVES} leaves, {EXPLAINED['rows']:,} rows x 28",
    CLASSES_1M,
    (
        Contender("dbml", "ours", "explaining:dbml", EXPLAINED),
        Contender("shap TreeExplainer", "peer", "explaining:shap", EXPLAINED, imports=("shap",)),
        Contender(
            "LightGBM pred_contrib, its own trees",
            "peer",
            "explaining:lightgbm",
            EXPLAINED,
            imports=WITH_LIGHTGBM,
            quality=False,
        ),
    ),
    (
        bars.faster_than("the shap package", "shap", 1.0),
        bars.over("", "largest difference to the shap package", lambda r: r.ours.quality["difference"], 1e-9),
    ),
    target="label",
    quality="largest_difference",
    memory_limit="4GB",
    prepare=replace(TRAIN, run="explaining:prepare", imports=(*WITH_LIGHTGBM, "shap")),
    rounds=2,
    timeout=300,
    table=speeds,
)
