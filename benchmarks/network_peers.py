"""The peer that trains networks: fetch, standardise, train; the clock counts all of it.

`params`: ``fetch``, see `benchmarks.fetching`, ``dtype`` of the rows, ``settings`` of the estimator.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch, stream
from benchmarks.jobs import Job, Outcome
from benchmarks.quality import log_odds


def perceptron(job: Job) -> Outcome:
    """Train scikit-learn's `MLPClassifier` on standardised rows, without copies of them."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    X, y = fetch(job, "C")
    scaler = StandardScaler(copy=False).fit(X)
    rows = scaler.transform(X).astype(job.params["dtype"], copy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are fixed
        model = MLPClassifier(**job.params["settings"]).fit(rows, y)

    def predict(table: str) -> NDArray[np.float64]:
        held = scaler.transform(stream(replace(job, table=table), "C")[0]).astype(job.params["dtype"])
        return log_odds(model.predict_proba(held)[:, 1].astype(np.float64))

    return Outcome(predict=predict, notes={"n_iter_": model.n_iter_, "loss_": float(model.loss_)})
