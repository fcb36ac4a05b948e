"""Naive Bayes: Gaussian on numbers, multinomial on the words of texts."""

from __future__ import annotations

from typing import Any

from benchmarks import bars
from benchmarks.contenders import Bar, Contender, Row
from benchmarks.datasets import CLASSES, SMS
from benchmarks.rows.parts import PLENTY, SCAN

_PEER = ("sklearn.naive_bayes", "sklearn.feature_extraction.text")


def _ours(estimator: str, label: str = "dbml", **params: Any) -> Contender:
    return Contender(label, "ours", "our_bayes:fit", {"estimator": estimator, "settings": {}, **params})


def _gaussian(fetch: str, limit: str) -> Contender:
    params = {"fetch": fetch, "order": "C"}
    return Contender(f"GaussianNB, {fetch}", "peer", "bayes_peers:gaussian", params, imports=_PEER, memory_limit=limit)


def _texts(vectorizer: str, estimator: str, **settings: Any) -> Contender:
    params = {"vectorizer": vectorizer, "estimator": estimator, "settings": settings}
    label = f"{vectorizer} and {estimator}"
    return Contender(label, "peer", "bayes_peers:texts", params, imports=_PEER, memory_limit=PLENTY, again=1)


GAUSSIAN = Row(
    "gaussian_nb",
    "Gaussian naive Bayes, 2M x 28",
    CLASSES,
    (SCAN, _ours("GaussianNB"), _gaussian("fetchnumpy", PLENTY), _gaussian("stream", "")),
    (
        *bars.against_peers(8),
        bars.quality("auc", 1e-9),
        Bar("times the bare scan", lambda r: r.ours.seconds / r.one("Arrow scan").seconds, 2.0),
    ),
    target="label",
    quality="auc",
    metric="auc",
    tolerance=1e-6,
)

TEXTS = Row(
    "text_spam",
    "spam from raw texts, naive Bayes, 1M rows",
    SMS,
    (
        SCAN,
        _ours("MultinomialNB", options={"text": ["body"]}),
        _ours("MultinomialNB", "dbml tf-idf", options={"text": ["body"], "text_weights": "tfidf"}),
        _texts("CountVectorizer", "MultinomialNB", min_df=2),
        _texts("TfidfVectorizer", "MultinomialNB", min_df=2),
    ),
    (
        bars.speedup(2),
        bars.memory_share(),
        Bar(
            "f1 above the peer's on the same counts",
            lambda r: r.ours.quality["f1"] - r.one("CountVectorizer and MultinomialNB").quality["f1"],
            -0.005,
            at_least=True,
        ),
        Bar("f1 of spam", lambda r: r.ours.quality["f1"], 0.93, at_least=True),
    ),
    target="label",
    quality="spam",
    metric="f1",
    tolerance=0.02,  # tf-idf finds some more
)
