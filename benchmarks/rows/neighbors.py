"""Nearest neighbours: all rows, an exact index, some of its cells."""

from __future__ import annotations

from benchmarks import bars
from benchmarks.contenders import Bar, Contender, Row
from benchmarks.datasets import Dataset
from benchmarks.neighbors import CENTRES, QUERIES, RECALL, WIDTH, K, build
from benchmarks.rows.parts import PLENTY

WITH_NEIGHBORS = ("sklearn.neighbors",)
MIXTURE = Dataset("mixture", 1_000_000, build, features=0)
TRAIN = Contender("train", "ours", "neighbors:train", warm="", again=0, quality=False, memory_limit=PLENTY)
PROBED = 3


def _ours(label: str, model: str, nprobe: int | None = None, limit: str = PLENTY) -> Contender:
    params = {"model": model, "nprobe": nprobe}
    return Contender(f"dbml {label}", "ours", "neighbors:ours", params, warm="", again=4, memory_limit=limit)


def _sklearn(fetch: str) -> Contender:
    return Contender(
        f"scikit-learn brute, {fetch}",
        "peer",
        "neighbors:sklearn_brute",
        {"fetch": fetch},
        warm="",
        imports=WITH_NEIGHBORS,
        memory_limit=PLENTY,
    )


ALL, EXACT, SOME = "all rows", "exact index", f"index, nprobe = {PROBED}"

NEIGHBORS = Row(
    "neighbors",
    f"{K} neighbours of {QUERIES:,} queries among 1M x {WIDTH}, a mixture of {CENTRES:,} Gaussians",
    MIXTURE,
    (
        Contender("arrow scan", "floor", "neighbors:scan", warm=""),
        _ours(ALL, "brute"),
        _ours(EXACT, "indexed"),
        _ours(SOME, "indexed", PROBED),
        _ours(f"{SOME}, memory_limit 256MB", "indexed", PROBED, "256MB"),
        _sklearn("arrow"),
        _sklearn("fetchnumpy"),
    ),
    (
        bars.faster_than("scikit-learn, all rows", "scikit-learn", 1.0, f"dbml {ALL}"),
        bars.faster_than("scikit-learn, exact index", "scikit-learn", 3.0, f"dbml {EXACT}"),
        bars.faster_than("scikit-learn, some cells", "scikit-learn", 20.0, f"dbml {SOME}"),
        Bar("recall of some cells", lambda r: r.one(f"dbml {SOME}").notes["recall"], RECALL, at_least=True),
        Bar("recall of the exact index", lambda r: r.one(f"dbml {EXACT}").notes["recall"], 1.0, at_least=True),
        bars.memory_of("scikit-learn", "scikit-learn"),
    ),
    memory_limit=PLENTY,
    prepare=TRAIN,
    timeout=300,
)
