"""Trees: boosting and forests, trained from a table."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import bars, growth
from benchmarks.contenders import Bar, Contender, Result, Row
from benchmarks.datasets import CLASSES, CLASSES_20M, CLASSES_200K, CLASSES_BY_WIDTH, REAL_MIXED
from benchmarks.real_tables import METRICS
from benchmarks.rows.parts import PLENTY, SCAN

TREES, LEAVES, RATE, BINS, THREADS = 100, 31, 0.1, 255, 2
SEEDS = 5
GOSS = {"data_sample_strategy": "goss", "top_rate": 0.2, "other_rate": 0.1}
BOOSTER = "HistGradientBoostingClassifier"


def boosted(label: str = "dbml", trees: int = TREES, **changes: Any) -> Contender:
    """Return dbml's boosting; keywords that are not of `Contender` are settings of the estimator."""
    known = {name: changes.pop(name) for name in tuple(changes) if name in Contender.__dataclass_fields__}
    fixed = {"max_iter": trees, "max_leaf_nodes": LEAVES, "learning_rate": RATE, "max_bins": BINS}
    settings = {**fixed, "early_stopping": False, "random_state": 0, **changes}
    return Contender(label, "ours", "our_trees:fit", {"estimator": BOOSTER, "settings": settings}, **known)


def lightgbm(label: str, fetch: str, **changes: Any) -> Contender:
    """Return LightGBM, its data fetched in one way."""
    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": RATE,
        "max_bin": BINS,
        "num_threads": THREADS,
        "verbose": -1,
        **changes,
    }
    params = {"settings": settings, "rounds": TREES, "fetch": fetch}
    return Contender(
        f"{label}, {fetch}", "peer", "tree_peers:lightgbm", params, imports=("lightgbm",), memory_limit=PLENTY
    )


def xgboost(fetch: str) -> Contender:
    """Return XGBoost hist, its data fetched in one way."""
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_leaves": LEAVES,
        "max_depth": 0,
        "eta": RATE,
        "max_bin": BINS,
        "nthread": THREADS,
    }
    params = {"settings": settings, "rounds": TREES, "fetch": fetch}
    return Contender(
        f"XGBoost hist, {fetch}", "peer", "tree_peers:xgboost", params, imports=("xgboost",), memory_limit=PLENTY
    )


def ensemble(library: str, estimator: str, order: str, **settings: Any) -> Contender:
    """Return a peer with scikit-learn's interface, over `fetchnumpy`."""
    params = {
        "library": library,
        "estimator": estimator,
        "order": order,
        "settings": {"random_state": 0, **settings},
        "fetch": "fetchnumpy",
    }
    imports = (f"{library}.ensemble",)
    return Contender(
        f"{library} {estimator}", "peer", "tree_peers:ensemble", params, imports=imports, memory_limit=PLENTY
    )


def _auc_more(label: str, than: str) -> Bar:
    def difference(result: Result) -> float:
        return result.one(label).quality["auc"] - result.one(than).quality["auc"]

    return Bar(f"auc, {label} above {than}", difference, -0.003, at_least=True)


BOOSTING = Row(
    "boosting",
    f"boosting, {TREES} trees x {LEAVES} leaves, 2M x 28",
    CLASSES,
    (
        SCAN,
        boosted(),
        boosted("dbml, all rows", sampling_method="uniform"),
        boosted("dbml, half the rows a tree", subsample=0.5),
        boosted("dbml, float64", precision="float64"),
        boosted("dbml, 64 leaves", max_leaf_nodes=64),
        boosted("dbml, 64 leaves, symmetric", max_leaf_nodes=64, grow_policy="symmetric"),
        lightgbm("LightGBM", "fetchnumpy"),
        lightgbm("LightGBM row-wise", "fetchnumpy", force_row_wise=True),
        lightgbm("LightGBM row-wise", "arrow", force_row_wise=True),
        lightgbm("LightGBM col-wise", "arrow", force_col_wise=True),
        lightgbm("LightGBM quantised row-wise", "arrow", force_row_wise=True, use_quantized_grad=True),
        lightgbm("LightGBM quantised col-wise", "arrow", force_col_wise=True, use_quantized_grad=True),
        lightgbm("LightGBM quantised row-wise goss", "arrow", force_row_wise=True, use_quantized_grad=True, **GOSS),
        xgboost("fetchnumpy"),
        xgboost("stream"),
        xgboost("arrow"),
        ensemble(
            "sklearn", BOOSTER, "F", max_iter=TREES, max_leaf_nodes=LEAVES, learning_rate=RATE, early_stopping=False
        ),
    ),
    (
        bars.speedup(2.0),
        bars.worst_speedup(1.3),
        bars.quality("auc", 0.001),
        bars.memory_of("LightGBM's, the fastest", "LightGBM"),
        bars.memory_of("LightGBM's, the leanest", "LightGBM", leanest=True),
        _auc_more("dbml, 64 leaves, symmetric", "dbml, 64 leaves"),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.002,
    memory_limit="260MB",  # the least that costs dbml no time
    rounds=2,
    timeout=300,
)


def _against_lightgbm(table: str, metric: str) -> Bar:
    def difference(result: Result) -> float:
        ours, theirs = (result.one(label).quality[f"{table} {metric}"] for label in ("dbml", "LightGBM"))
        return ours - theirs if metric == "auc" else 100 * (1 - ours / theirs)

    unit, limit = ("auc", -0.001) if metric == "auc" else ("% of rmse", -0.5)
    return Bar(f"{unit} better than LightGBM on {table}", difference, limit, at_least=True)


QUALITY = Row(
    "boosting_quality",
    f"boosting on real tables, {SEEDS} seeds each",
    REAL_MIXED,
    (
        Contender("dbml", "ours", "real_tables:dbml", {"seeds": SEEDS}, table="", warm="bike_hour", again=0),
        Contender(
            "LightGBM",
            "peer",
            "real_tables:lightgbm",
            {"seeds": SEEDS},
            table="",
            warm="bike_hour",
            again=0,
            imports=("lightgbm", "pandas"),
        ),
    ),
    tuple(_against_lightgbm(table, metric) for table, metric in METRICS.items()),
    target="target",
    quality="of_seeds",
    memory_limit="1GB",
    rounds=1,
    timeout=600,
)


def _spilled_price(result: Result) -> float:
    spilled = result.one("dbml, spilled")
    if not spilled.notes["spilled"]:
        raise ValueError("nothing was spilled, the bins fit")
    return spilled.seconds / result.one("dbml, in memory").seconds


SPILLED = Row(
    "boosting_spilled",
    "boosting 2M x 28 where the bins do not fit in memory",
    CLASSES,
    (
        SCAN,
        boosted("dbml, in memory", memory_limit="1GB"),
        boosted("dbml, spilled", memory_limit="192MB"),
    ),
    (bars.over("", "times the seconds of in memory", _spilled_price, 3.0),),
    target="label",
    quality="auc",
    metric="auc",
    rounds=2,
    timeout=300,
)


def forest(label: str = "dbml", **settings: Any) -> Contender:
    """Return dbml's forest."""
    fixed = {"n_estimators": 50, "random_state": 0}
    params = {"estimator": "RandomForestClassifier", "settings": {**fixed, **settings}}
    return Contender(label, "ours", "our_trees:fit", params)


FOREST = Row(
    "forest",
    "random forest, 50 trees, 200k x 28",
    CLASSES_200K,
    (
        SCAN,
        forest(),
        ensemble("sklearnex", "RandomForestClassifier", "C", n_estimators=50, n_jobs=THREADS),
        ensemble("sklearn", "RandomForestClassifier", "C", n_estimators=50, n_jobs=THREADS),
    ),
    (
        bars.faster_than("scikit-learn-intelex", "sklearnex", 1.5),
        bars.faster_than("scikit-learn", "sklearn ", 10.0),
        bars.quality("auc", 0.002),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.01,
    memory_limit="1GB",
    rounds=2,
    timeout=300,
)


BY_ROWS = ("dbml, 200k x 28", "dbml, 2M x 28", "dbml, 20M x 28")
BY_COLUMNS = ("dbml, 200k x 10", "dbml, 200k x 100", "dbml, 200k x 1,000")


def _growth(name: str, trees: int, patience: float) -> Row:
    """Return the row of the cost of a row and feature, over so many trees."""
    datasets = (CLASSES_200K, CLASSES, CLASSES_20M, *CLASSES_BY_WIDTH)
    how: dict[str, Any] = {"trees": trees, "quality": False, "again": 4, "patience": patience}
    return Row(
        name,
        f"boosting, {trees} trees: the cost of a row and feature from 200k to 20M rows and from 10 to 1,000 columns",
        CLASSES_200K,
        tuple(
            boosted(label, dataset=dataset, sampling_method="uniform", **how)
            for dataset, label in zip(datasets, BY_ROWS + BY_COLUMNS, strict=True)
        ),
        (
            bars.over("", "times, the cost by rows", partial(growth.spread, labels=BY_ROWS), 1.5),
            bars.over("", "times, the cost by columns", partial(growth.spread, labels=BY_COLUMNS), 1.5),
        ),
        target="label",
        memory_limit="10GB",
        rounds=2,
        timeout=600,
        table=growth.table,
        figure=partial(growth.draw, by_rows=BY_ROWS, by_columns=BY_COLUMNS),
    )


GROWTH, SHORT_GROWTH = _growth("tree_growth", TREES, 80.0), _growth("tree_growth_short", 10, 30.0)
