"""The peers of factorizations: scikit-learn for atoms; for ratings the `implicit` package, and a biased ALS in NumPy.

`params`: ``estimator``, ``settings``, ``fetch`` (see `benchmarks.fetching`).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import fetch
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted


def atoms(job: Job) -> Outcome:
    """Fetch the table, learn atoms with scikit-learn."""
    from sklearn import decomposition

    X, _ = fetch(job, "C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(decomposition, job.params["estimator"])(**job.params["settings"]).fit(X)
    return Outcome(model.components_, notes={"n_iter": float(model.n_iter_)})


def _coded(job: Job) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Return users, items, and user number, item number and rating of each row."""
    rows = connection(job).sql(f"SELECT userId, movieId, rating FROM {quoted(job.table)}").fetchnumpy()
    users, user = np.unique(rows["userId"], return_inverse=True)
    items, item = np.unique(rows["movieId"], return_inverse=True)
    return users, items, user, item, rows["rating"].astype(np.float64)


def implicit(job: Job) -> Outcome:
    """Fetch the ratings, factorize them with `implicit`."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    users, items, user, item, rating = _coded(job)
    seen = csr_matrix((rating.astype(np.float32), (user, item)), shape=(users.size, items.size))
    model = AlternatingLeastSquares(**job.params["settings"])
    model.fit(seen, show_progress=False)

    def predict(table: str) -> NDArray[np.int64]:
        query = f"SELECT DISTINCT userId FROM {quoted(table)} ORDER BY userId"
        asked = connection(job).sql(query).fetchnumpy()["userId"]
        codes = np.searchsorted(users, asked)
        known = np.flatnonzero(users[np.minimum(codes, users.size - 1)] == asked)
        best = np.full((asked.size, 10), -1, np.int64)
        best[known] = items[model.recommend(codes[known], seen[codes[known]], N=10)[0]]
        return best

    return Outcome(predict=predict)


def numpy_als(job: Job) -> Outcome:
    """Fetch the ratings, alternate ridge regressions with biases in NumPy, a solve for each user and item."""
    users, items, user, item, rating = _coded(job)
    k, l2, rounds = (job.params["settings"][name] for name in ("n_factors", "regularization", "max_iter"))
    mean = rating.mean()
    sides = [np.zeros((users.size, k + 1)), np.random.default_rng(0).normal(size=(items.size, k + 1)) * 0.1]
    sides[1][:, k] = 0.0
    codes = (user, item)
    orders = [np.argsort(code, kind="stable") for code in codes]
    for _ in range(rounds):
        for own in (0, 1):
            order, other = orders[own], sides[1 - own]
            to = codes[1 - own][order]
            ends = np.searchsorted(codes[own][order], np.arange(len(sides[own]) + 1))
            left = rating[order] - mean - other[to, k]
            for code in range(len(sides[own])):
                rows = slice(ends[code], ends[code + 1])
                design = other[to[rows]].copy()
                design[:, k] = 1.0
                penalty = l2 * len(design) * np.eye(k + 1)
                sides[own][code] = np.linalg.solve(design.T @ design + penalty, design.T @ left[rows])

    def predict(table: str) -> NDArray[np.float64]:
        asked = connection(job).sql(f"SELECT userId, movieId FROM {quoted(table)}").fetchnumpy()
        known, factors = [], []
        for keys, side, name in ((users, sides[0], "userId"), (items, sides[1], "movieId")):
            place = np.minimum(np.searchsorted(keys, asked[name]), keys.size - 1)
            known.append(keys[place] == asked[name])
            factors.append(side[place] * known[-1][:, None])
        biases = factors[0][:, k] + factors[1][:, k]
        return mean + biases + (factors[0][:, :k] * factors[1][:, :k]).sum(axis=1)

    return Outcome(predict=predict)
