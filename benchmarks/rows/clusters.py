"""Clusters: k-means, mini-batches and mixtures, from a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks import bars
from benchmarks.contenders import Bar, Contender, Result, Row
from benchmarks.datasets import CLASSES, CLASSES_20M, CLASSES_200K
from benchmarks.rows.parts import PLENTY, SCAN

K = 10
SEEDS = 3  # iterations depend on where centroids start: seconds and quality are means


def ours(estimator: str, label: str = "dbml", **changes: Any) -> Contender:
    """Return dbml's contender; keywords that are not of `Contender` are settings of the estimator."""
    known = {name: changes.pop(name) for name in tuple(changes) if name in Contender.__dataclass_fields__}
    params = {"estimator": estimator, "settings": changes, "seeds": SEEDS}
    return Contender(label, "ours", "our_clusters:fit", params, **known)


def peer(
    library: str, estimator: str, fetch: str, module: str = "cluster", note: str = "", **settings: Any
) -> Contender:
    """Return a peer with scikit-learn's interface, its data fetched in one way."""
    params = {
        "library": library,
        "module": module,
        "estimator": estimator,
        "order": "C",
        "settings": {"n_init": 1, **settings},
        "seeds": SEEDS,
        "fetch": fetch,
    }
    label = f"{library} {estimator}{note}, {fetch}"
    imports = (f"{library}.{module}",)
    return Contender(label, "peer", "cluster_peers:fit", params, imports=imports, memory_limit=PLENTY)


def _faster_than_batches(result: Result) -> float:
    peers = [m for label, m in result.measured.items() if label.startswith("sklearn MiniBatchKMeans") and m.samples]
    return min(m.seconds for m in peers) / result.one("dbml MiniBatchKMeans").seconds


def _better_than_batches(result: Result) -> float:
    peers = [m for label, m in result.measured.items() if label.startswith("sklearn MiniBatchKMeans") and m.samples]
    best = min(m.quality["objective"] for m in peers)
    return result.one("dbml MiniBatchKMeans").quality["objective"] / best - 1.0


KMEANS = Row(
    "kmeans",
    f"k-means, k = {K}, 2M x 28",
    CLASSES,
    (
        SCAN,
        ours("KMeans", n_clusters=K),
        peer("sklearnex", "KMeans", "fetchnumpy", n_clusters=K),
        peer("sklearnex", "KMeans", "stream", n_clusters=K),
        peer("sklearn", "KMeans", "fetchnumpy", n_clusters=K),
        peer("sklearn", "KMeans", "stream", n_clusters=K),
        peer("sklearn", "KMeans", "stream", note=" elkan", n_clusters=K, algorithm="elkan"),
    ),
    (bars.speedup(3.0), bars.worst_speedup(2.0), bars.memory_share(), bars.objective(0.01)),
    target="label",
    quality="inertia",
    metric="objective",
    tolerance=0.01,
    memory_limit="128MB",
    rounds=1,
    timeout=300,
)

MINI_BATCH = Row(
    "minibatch_kmeans",
    f"k-means by mini-batches, k = {K}, 2M x 28",
    CLASSES,
    (
        SCAN,
        ours("MiniBatchKMeans", "dbml MiniBatchKMeans", n_clusters=K),
        ours("KMeans", "dbml KMeans", n_clusters=K),
        peer("sklearn", "MiniBatchKMeans", "fetchnumpy", n_clusters=K),
        peer("sklearn", "MiniBatchKMeans", "stream", n_clusters=K),
    ),
    (
        Bar("times scikit-learn's mini-batches", _faster_than_batches, 1.0, at_least=True),
        bars.over("", "relative inertia above scikit-learn's mini-batches", _better_than_batches, 0.0),
        bars.memory_share(),
    ),
    target="label",
    quality="inertia",
    metric="objective",
    tolerance=0.01,
    memory_limit="128MB",
    rounds=2,
)

MIXTURE = Row(
    "gaussian_mixture",
    f"Gaussian mixture, {K} components, full and diagonal, 200k x 28",
    CLASSES_200K,
    (
        SCAN,
        ours("GaussianMixture", n_components=K),
        ours("GaussianMixture", "dbml diag", n_components=K, covariance_type="diag"),
        peer("sklearn", "GaussianMixture", "fetchnumpy", "mixture", n_components=K),
        peer("sklearn", "GaussianMixture", "stream", "mixture", n_components=K),
        peer("sklearn", "GaussianMixture", "stream", "mixture", " diag", n_components=K, covariance_type="diag"),
    ),
    (
        bars.faster_than("scikit-learn, full", "sklearn GaussianMixture, ", 2.0),
        bars.faster_than("scikit-learn, diagonal", "sklearn GaussianMixture diag", 2.0, ours="dbml diag"),
        bars.objective(0.001),
    ),
    target="label",
    quality="density",
    memory_limit="384MB",
    rounds=2,
    timeout=300,
)

MEMORY = Row(
    "kmeans_20m",
    f"k-means within 384 MB, k = {K}, 20M x 28 against 2M x 28",
    CLASSES,
    (
        replace(SCAN, label="scan 20M", dataset=CLASSES_20M),
        ours("KMeans", "dbml 20M", n_clusters=K, dataset=CLASSES_20M, again=0),
        ours("KMeans", "dbml 2M", n_clusters=K, again=0),
    ),
    (bars.over("", "MiB more at 20M than at 2M", lambda r: r.one("dbml 20M").peak - r.one("dbml 2M").peak, 64.0),),
    target="label",
    quality="inertia",
    memory_limit="384MB",
    rounds=1,
    timeout=300,
)
