"""Factors: dictionaries of patches, nonnegative parts, ratings."""

from __future__ import annotations

from typing import Any

from benchmarks import bars
from benchmarks.contenders import Bar, Contender, Result, Row
from benchmarks.datasets import PARTS, PATCHES, RATINGS, SEEN
from benchmarks.rows.parts import PLENTY

ATOMS, ALPHA, PASSES = 100, 0.1, 8
DICTIONARY = {"n_components": ATOMS, "alpha": ALPHA, "tol": 0.0, "max_no_improvement": None, "random_state": 0}
PEER = ("sklearn.decomposition",)


def atoms(label: str, estimator: str, **settings: Any) -> Contender:
    """Return dbml's atoms."""
    return Contender(label, "ours", "our_factors:atoms", {"estimator": estimator, "settings": settings}, again=1)


def sklearn_atoms(estimator: str, fetch: str, **settings: Any) -> Contender:
    """Return scikit-learn's atoms, the table fetched in one way."""
    params = {"estimator": estimator, "settings": settings, "fetch": fetch}
    return Contender(
        f"sklearn {estimator}, {fetch}",
        "peer",
        "factor_peers:atoms",
        params,
        imports=PEER,
        memory_limit=PLENTY,
        again=0,
    )


def _subsampled(result: Result) -> float:
    return result.one("dbml").seconds / result.one("dbml, one feature in 12").seconds


def _subsampled_objective(result: Result) -> float:
    whole, some = (result.one(label).quality["objective"] for label in ("dbml", "dbml, one feature in 12"))
    return some / whole - 1.0


DICTIONARIES = Row(
    "dictionary",
    f"{ATOMS} atoms of patches of 32 x 32 x 3, {PATCHES.rows:,} patches",
    PATCHES,
    (
        atoms("dbml", "MiniBatchDictionaryLearning", max_iter=PASSES, **DICTIONARY),
        atoms("dbml, one feature in 12", "MiniBatchDictionaryLearning", max_iter=PASSES, reduction=12, **DICTIONARY),
        *(
            sklearn_atoms("MiniBatchDictionaryLearning", how, max_iter=PASSES, fit_algorithm=algorithm, **DICTIONARY)
            for how, algorithm in (("fetchnumpy", "cd"), ("stream", "cd"))
        ),
    ),
    (
        bars.speedup(2.0),
        bars.objective(0.01),
        bars.memory_share(),
        Bar("times faster by one feature in 12", _subsampled, 5.0, at_least=True),
        Bar("relative objective of one feature in 12 above", _subsampled_objective, 0.02),
    ),
    target="y",
    quality="sparse_coding",
    metric="objective",
    tolerance=0.05,
    rounds=1,
    timeout=400,
    memory_limit="1GB",
)

NMF_SETTINGS = {"n_components": 16, "max_iter": 50, "tol": 0.0}
MINIBATCHES = {"n_components": 16, "max_iter": 10, "tol": 0.0, "max_no_improvement": None}

NONNEGATIVE = Row(
    "nmf",
    f"16 nonnegative parts of {PARTS.rows:,} x 64, 50 iterations",
    PARTS,
    (
        atoms("dbml", "NMF", **NMF_SETTINGS),
        atoms("dbml, minibatches", "MiniBatchNMF", **MINIBATCHES),
        *(sklearn_atoms("NMF", how, init="nndsvda", **NMF_SETTINGS) for how in ("fetchnumpy", "stream")),
        sklearn_atoms("MiniBatchNMF", "stream", init="nndsvda", random_state=0, **MINIBATCHES),
    ),
    (bars.objective(0.01), bars.memory_share()),
    target="y",
    quality="nonnegative_parts",
    metric="objective",
    tolerance=0.02,
    rounds=1,
    timeout=300,
    memory_limit="256MB",
)

EXPLICIT = {"n_factors": 16, "regularization": 0.15, "max_iter": 15}

RATINGS_EXPLICIT = Row(
    "ratings_explicit",
    "ratings of movies, a tenth held out",
    RATINGS,
    (
        Contender("dbml", "ours", "our_factors:ratings", {"settings": {**EXPLICIT, "tol": 0.0}}),
        Contender(
            "ALS in NumPy", "peer", "factor_peers:numpy_als", {"settings": EXPLICIT, "fetch": "fetchnumpy"}, again=0
        ),
    ),
    (Bar("rmse of the held-out tenth", lambda r: r.ours.quality["rmse"], 0.88), bars.speedup(1.0)),
    target="rating",
    quality="rmse",
    memory_limit="256MB",
    rounds=1,
)

# Confidence is 1 + alpha rating here and alpha rating there: 3 for what was seen in both.
IMPLICIT = {"factors": 48, "regularization": 30.0, "alpha": 3.0, "iterations": 15, "random_state": 0}

RATINGS_IMPLICIT = Row(
    "ratings_implicit",
    "movies seen, a fifth held out, ten recommended",
    SEEN,
    (
        Contender(
            "dbml",
            "ours",
            "our_factors:recommendations",
            {
                "settings": {
                    "n_factors": 48,
                    "feedback": "implicit",
                    "regularization": 30.0,
                    "alpha": 2.0,
                    "max_iter": 15,
                    "tol": 0.0,
                }
            },
        ),
        *(
            Contender(
                f"implicit, {name}",
                "peer",
                "factor_peers:implicit",
                {"settings": {**IMPLICIT, **changes}, "fetch": "fetchnumpy"},
                imports=("implicit.als",),
                again=1,
            )
            for name, changes in (
                ("its defaults", {"factors": 100, "alpha": 1.0, "regularization": 0.01}),
                ("tuned", {}),
            )
        ),
    ),
    (bars.quality("ndcg", 0.0),),
    target="rating",
    quality="ranking",
    metric="ndcg",
    tolerance=0.01,
    memory_limit="256MB",
    rounds=1,
)
