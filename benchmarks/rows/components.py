"""Principal components: of a tall table, of a wide one, and of one far larger than the memory limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import bars
from benchmarks.contenders import Contender, Result, Row
from benchmarks.datasets import CLASSES, CLASSES_X2000, UNIFORM_2M, UNIFORM_30M
from benchmarks.rows.parts import PLENTY, SCAN


def ours(label: str = "dbml", **changes: Any) -> Contender:
    """Return dbml's contender; keywords that are not of `Contender` are settings of `PCA`."""
    known = {name: changes.pop(name) for name in tuple(changes) if name in Contender.__dataclass_fields__}
    return Contender(label, "ours", "components:dbml_pca", {"settings": changes}, **known)


def peers(order: str, **settings: Any) -> tuple[Contender, ...]:
    """Return scikit-learn's `PCA` twice, once for each way to fetch the table."""
    return tuple(
        Contender(
            f"sklearn PCA {settings['svd_solver']}, {fetch}, order {order}",
            "peer",
            "components:sklearn_pca",
            {"settings": settings, "order": order, "fetch": fetch},
            imports=("sklearn.decomposition",),
            memory_limit=limit,
        )
        for fetch, limit in (("fetchnumpy", PLENTY), ("stream", ""))
    )


def batches(n: int) -> Contender:
    """Return the peer out of memory: `partial_fit` over batches."""
    params = {"settings": {"n_components": n}}
    return Contender("IncrementalPCA partial_fit loop", "peer", "components:sklearn_incremental", params, again=0)


def _beyond_scan(r: Result) -> float:
    """Return how many MiB more 30M rows take than 2M, less those that they take the bare scan."""
    ours, scan = (r.one(f"{who} 30M").peak - r.one(f"{who} 2M").peak for who in ("dbml", "scan"))
    return ours - scan


PCA = Row(
    "pca",
    "8 principal components, 2M x 28",
    CLASSES,
    (
        SCAN,
        ours(n_components=8),
        ours("dbml blockwise", n_components=8, svd_solver="blockwise"),
        *peers("F", n_components=8, svd_solver="covariance_eigh"),
        *peers("C", n_components=8, svd_solver="covariance_eigh"),
        *peers("C", n_components=8, svd_solver="full")[1:],
        batches(8),
    ),
    (
        *bars.against_peers(8),
        bars.faster_than("scikit-learn's full decomposition", "sklearn PCA full", 20),
        bars.quality("explained", 1e-6),
    ),
    target="label",
    quality="explained",
    metric="explained",
    tolerance=1e-6,
)

# One query over 2,000 columns takes 2.1 GB of DuckDB's half; with less, some hundred are read at a time.
PCA_WIDE = Row(
    "pca_wide",
    "50 principal components, 200k x 2,000",
    CLASSES_X2000,
    (
        SCAN,
        ours(n_components=50),
        ours("dbml 1GB", n_components=50, memory_limit="1GB"),
        *peers("C", n_components=50, svd_solver="randomized", random_state=0),
        *peers("F", n_components=50, svd_solver="randomized", random_state=0)[1:],
    ),
    (*bars.against_peers(3), bars.quality("explained", 1e-3)),
    target="label",
    quality="explained",
    metric="explained",
    tolerance=2e-3,
    memory_limit="5GB",
    rounds=1,
    timeout=300,
)

# DuckDB itself keeps about 1 KB for every segment that it has read, three or four to a column and row group, for as
# long as the database is open: that is the first figure less the second.
PCA_MEMORY = Row(
    "pca_memory",
    "8 principal components within 64 MiB, 30M x 28 (a hundred times that) against 2M x 28",
    UNIFORM_2M,
    (
        replace(SCAN, label="scan 30M", dataset=UNIFORM_30M),
        replace(SCAN, label="scan 2M"),
        ours("dbml 30M", n_components=8, dataset=UNIFORM_30M),
        ours("dbml 2M", n_components=8),
    ),
    (
        bars.over("", "MiB more at 30M than at 2M", lambda r: r.one("dbml 30M").peak - r.one("dbml 2M").peak, 16.0),
        bars.over("", "of them more than the bare scan takes more", _beyond_scan, 16.0),
        bars.over("", "peak MiB at 30M", lambda r: r.one("dbml 30M").peak, 64.0 + 200.0),
    ),
    target="label",
    quality="explained",
    memory_limit="64MiB",
    rounds=1,
)
