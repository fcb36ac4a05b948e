"""Linear models: trained from a table, in the database's order or shuffled, on wide and sparse tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import bars
from benchmarks.contenders import Contender, Result, Row
from benchmarks.datasets import A9A, CLASSES, CLASSES_1M, GRANTS, ORDERED, REGRESSION, REGRESSION_20M, WIDE
from benchmarks.rows.parts import PLENTY, SCAN, ours

ALPHAS = [10.0**k for k in range(-3, 7)]
EPOCHS = 5


def peers(library: str, estimator: str, order: str, run: str = "in_memory", **settings: Any) -> tuple[Contender, ...]:
    """Return a peer twice, once for each way to fetch the table."""
    words = (library, estimator, settings.get("solver", ""), "precompute" if settings.get("precompute") else "")
    label = " ".join(word for word in words if word)
    params = {"library": library, "estimator": estimator, "order": order, "settings": settings}
    extra = ("sklearnex.linear_model",) if library == "sklearnex" else ()
    return tuple(
        Contender(
            f"{label}, {fetch}", "peer", f"peers:{run}", {**params, "fetch": fetch}, imports=extra, memory_limit=limit
        )
        for fetch, limit in (("fetchnumpy", PLENTY), ("stream", ""))
    )


def loop(estimator: str, **settings: Any) -> Contender:
    """Return the out-of-core peer: scikit-learn's `partial_fit` over batches from DuckDB."""
    tuned = {"alpha": 1e-6, "learning_rate": "constant", "eta0": 1e-3, "average": True, "random_state": 0}
    params = {"library": "sklearn", "estimator": estimator, "settings": {**tuned, **settings}, "epochs": 2}
    return Contender(f"{estimator} partial_fit loop", "peer", "peers:partial_fit", params, again=0)


def with_params(contenders: tuple[Contender, ...], **params: Any) -> tuple[Contender, ...]:
    """Return contenders with more parameters."""
    return tuple(replace(c, params={**c.params, **params}) for c in contenders)


LEAST_SQUARES = Row(
    "least_squares",
    "least squares, 2M x 28",
    REGRESSION,
    (
        SCAN,
        ours("LinearRegression"),
        ours("Ridge", "dbml Ridge", alpha=1.0),
        *peers("sklearn", "Ridge", "F", alpha=1.0, solver="cholesky", copy_X=False),
        *peers("sklearnex", "Ridge", "C", alpha=1.0),
        *peers("sklearnex", "LinearRegression", "C"),
        loop("SGDRegressor"),
    ),
    (*bars.against_peers(10), bars.quality("r2", 1e-5)),
    quality="r2",
    metric="r2",
    tolerance=1e-5,
)

RIDGE_PATH = Row(
    "ridge_path",
    "ridge, 10 alphas, chosen by 5 folds, 2M x 28",
    REGRESSION,
    (
        SCAN,
        ours("RidgeCV", alphas=ALPHAS, cv=5),
        *peers("sklearn", "RidgeCV", "F", alphas=ALPHAS),
        Contender(
            "GridSearchCV(Ridge cholesky)",
            "peer",
            "peers:ridge_grid",
            {"alphas": ALPHAS, "order": "F", "fetch": "stream"},
            again=0,
        ),
    ),
    (*bars.against_peers(10), bars.quality("r2", 1e-5)),
    quality="r2",
    metric="r2",
    tolerance=1e-4,
    rounds=2,
)

LOGISTIC = Row(
    "logistic",
    "logistic regression, 2M x 28",
    CLASSES,
    (
        SCAN,
        ours("LogisticRegression", C=1.0),
        *peers("sklearnex", "LogisticRegression", "C", C=1.0, solver="lbfgs", max_iter=200),
        *peers("sklearn", "LogisticRegression", "C", C=1.0, solver="lbfgs", max_iter=200),
        *peers("sklearn", "LogisticRegression", "F", C=1.0, solver="newton-cholesky"),
        loop("SGDClassifier", loss="log_loss"),
    ),
    (*bars.against_peers(4), bars.quality("auc", 1e-5)),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=1.5e-5,
)

LASSO = Row(
    "lasso",
    "lasso, one alpha, 2M x 28",
    REGRESSION,
    with_params(
        (
            SCAN,
            ours("Lasso", alpha=0.01),
            *peers("sklearn", "Lasso", "F", alpha=0.01, precompute=True, copy_X=False),
        ),
        alpha=0.01,
    ),
    (*bars.against_peers(10), bars.quality("r2", 1e-5)),
    quality="lasso",
    metric="r2",
    tolerance=1e-4,
)

LASSO_CV = Row(
    "lasso_cv",
    "lasso, 100 alphas x 5 folds, 2M x 28",
    REGRESSION,
    (
        SCAN,
        ours("LassoCV", cv=5),
        *peers("sklearn", "LassoCV", "F", cv=5, precompute=True, n_jobs=2),
    ),
    (*bars.against_peers(10), bars.quality("r2", 1e-4)),
    quality="r2",
    metric="r2",
    tolerance=1e-3,
    rounds=1,
    timeout=180,
)

LINEAR_SVM = Row(
    "linear_svm",
    "linear SVM, 1M x 28",
    CLASSES_1M,
    (
        SCAN,
        ours("LinearSVC", C=1.0),
        *peers("sklearn", "LinearSVC", "C", run="linear_svc", C=1.0, dual=False),
        loop("SGDClassifier", loss="squared_hinge"),
    ),
    (*bars.against_peers(5), bars.quality("auc", 1e-5)),
    target="label",
    quality="svm",
    metric="auc",
    tolerance=1.5e-5,
    rounds=2,
)

WIDE_SCAN = Row(
    "least_squares_wide_scan",
    "least squares, 10M x 40, against the bare scan",
    WIDE,
    (SCAN, ours("LinearRegression")),
    (bars.over_floor(1.5),),
    quality="r2",
    memory_limit="1GB",
)

MEMORY = Row(
    "memory_20m",
    "least squares within 1 GB, 20M x 28 against 2M x 28",
    REGRESSION,
    (
        replace(SCAN, label="scan 20M", dataset=REGRESSION_20M),
        ours("LinearRegression", "dbml 20M", dataset=REGRESSION_20M),
        ours("LinearRegression", "dbml 2M"),
        replace(SCAN, label="scan 2M"),
    ),
    (
        bars.over("", "peak MiB at 20M", lambda r: r.one("dbml 20M").peak, 1e9 / 2**20 + 300),
        bars.over("", "MiB more at 20M than at 2M", lambda r: r.one("dbml 20M").peak - r.one("dbml 2M").peak, 64.0),
    ),
    quality="r2",
    memory_limit="1GB",
    rounds=1,
)


def _accuracy_lost(result: Result) -> float:
    clustered, shuffled = result.one("dbml, sorted by label"), result.one("dbml, shuffled")
    return 100 * (shuffled.quality["accuracy"] - clustered.quality["accuracy"])


def _epoch_cost(result: Result) -> float:
    clustered, shuffled = result.one("dbml, sorted by label"), result.one("dbml, shuffled")
    return clustered.notes["epoch_seconds"] / shuffled.notes["epoch_seconds"]


def _sgd(label: str, **where: str) -> Contender:
    settings = {"loss": "log_loss", "max_iter": EPOCHS, "tol": None, "random_state": 0}
    return ours("SGDClassifier", label, run="sgd", again=1, **where, **settings)


SGD_SORTED = Row(
    "sgd_sorted",
    f"SGD, {EPOCHS} epochs, 1M x 28, sorted by label against shuffled",
    ORDERED,
    (
        SCAN,
        _sgd("dbml, sorted by label", table="clustered", warm="warm_clustered"),
        _sgd("dbml, shuffled"),
        replace(loop("SGDClassifier", loss="log_loss"), label="partial_fit loop, sorted", table="clustered"),
        replace(loop("SGDClassifier", loss="log_loss"), label="partial_fit loop, shuffled"),
    ),
    (
        bars.over("", "accuracy points lost to the sorting", _accuracy_lost, 0.5),
        bars.over("", "epoch, shuffled order over plain", _epoch_cost, 1.15),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=0.005,
    rounds=2,
)

LASSO_GRANTS = Row(
    "lasso_grants",
    "lasso, real table of 8,190 x 1,497",
    GRANTS,
    with_params(
        (
            SCAN,
            ours("Lasso", alpha=0.005),
            *peers("sklearn", "Lasso", "F", alpha=0.005, max_iter=10_000),
            *peers("sklearn", "Lasso", "F", alpha=0.005, max_iter=10_000, precompute=True)[:1],
        ),
        alpha=0.005,
    ),
    (bars.speedup(1), bars.objective(1e-9)),
    quality="objective",
    metric="objective",
    tolerance=1e-3,
    memory_limit="1GB",
)

LASSO_A9A = Row(
    "lasso_a9a",
    "lasso on lists of indices and values, a9a, 48,842 x 123",
    A9A,
    with_params(
        (
            SCAN,
            ours("Lasso", alpha=0.001),
            Contender(
                "sklearn Lasso, CSC",
                "peer",
                "peers:sparse_lasso",
                {"library": "sklearn", "estimator": "Lasso", "settings": {"alpha": 0.001}},
            ),
        ),
        alpha=0.001,
    ),
    (bars.speedup(1), bars.objective(1e-9)),
    quality="objective",
    metric="objective",
    tolerance=1e-3,
)
