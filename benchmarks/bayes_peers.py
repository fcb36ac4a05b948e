"""The peers of naive Bayes: scikit-learn's, on arrays and on the words of texts.

`params`: ``fetch`` (see `benchmarks.fetching`); of texts ``vectorizer`` and ``estimator``, with their ``settings``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.fetching import fetch, stream
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted
from benchmarks.quality import log_odds


def gaussian(job: Job) -> Outcome:
    """Fetch the table, fit `GaussianNB`."""
    from sklearn.naive_bayes import GaussianNB

    X, y = fetch(job, job.params["order"])
    model = GaussianNB().fit(X, y)

    def predict(table: str) -> np.ndarray:
        return log_odds(model.predict_proba(stream(replace(job, table=table), "C")[0])[:, 1])

    return Outcome(predict=predict)


def texts(job: Job) -> Outcome:
    """Fetch the texts, count their words, fit naive Bayes."""
    from sklearn import naive_bayes
    from sklearn.feature_extraction import text

    columns = connection(job).sql(job.select_sql).fetchnumpy()
    vectorizer = getattr(text, job.params["vectorizer"])(**job.params["settings"])
    words = vectorizer.fit_transform(columns[job.features[0]])
    model = getattr(naive_bayes, job.params["estimator"])().fit(words, columns[job.target])

    def predict(table: str) -> np.ndarray:
        query = f"SELECT {quoted(job.features[0])} AS body FROM {quoted(table)}"
        rows = vectorizer.transform(connection(job).sql(query).fetchnumpy()["body"])
        return log_odds(model.predict_proba(rows)[:, 1])

    return Outcome(predict=predict, notes={"words": len(vectorizer.vocabulary_)})
