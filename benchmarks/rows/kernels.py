"""Kernel machines: the exact dual of few rows, landmarks of many."""

from __future__ import annotations

from typing import Any

from benchmarks import bars
from benchmarks.contenders import Bar, Contender, Result, Row
from benchmarks.datasets import CLASSES_10K, CLASSES_TO_COMPARE
from benchmarks.rows.parts import PLENTY, SCAN

FEW, MANY = 20_000, 200_000


def ours(label: str = "dbml", rows: int = 0, **settings: Any) -> Contender:
    """Return dbml's SVC."""
    return Contender(label, "ours", "kernel_peers:ours", {"settings": settings, "rows": rows}, again=1)


def sklearn(fetch: str, rows: int = 0, **settings: Any) -> Contender:
    """Return scikit-learn's SVC, its data fetched in one way."""
    params = {"settings": settings, "rows": rows, "fetch": fetch}
    limit = PLENTY if fetch == "fetchnumpy" else ""
    return Contender(
        f"sklearn SVC, {fetch}", "peer", "kernel_peers:sklearn", params, memory_limit=limit, again=1, warm=""
    )


def _accuracy(label: str, than: str, limit: float) -> Bar:
    def difference(result: Result) -> float:
        own, other = (result.one(name).quality["accuracy"] for name in (label, than))
        return 100.0 * (own - other)

    return Bar(f"points of accuracy, {label} above {than}", difference, limit, at_least=True)


EXACT = Row(
    "svc_exact",
    "SVC rbf, the exact dual, 10k x 28",
    CLASSES_10K,
    (SCAN, ours(), sklearn("fetchnumpy"), sklearn("stream")),
    (bars.speedup(1 / 1.5), bars.memory_share(), bars.quality("accuracy", 0.002)),
    target="label",
    quality="auc",
    metric="accuracy",
    tolerance=0.002,
    memory_limit="1GB",
    rounds=2,
    timeout=200,
)

LARGE = Row(
    "svc_large",
    f"SVC rbf on {MANY:,} x 28 by landmarks, against the exact dual of {FEW:,}",
    CLASSES_TO_COMPARE,
    (
        SCAN,
        ours(),
        ours("dbml, exact, 20k", FEW, solver="exact"),
        sklearn("fetchnumpy", FEW),
        sklearn("stream", FEW),
    ),
    (
        bars.speedup(1.0),
        bars.memory_share(),
        _accuracy("dbml", "dbml, exact, 20k", -0.5),
    ),
    target="label",
    quality="auc",
    metric="accuracy",
    tolerance=0.01,
    memory_limit="1GB",
    rounds=1,
    timeout=300,
)
