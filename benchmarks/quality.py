"""How good a fitted model is, on rows it never saw or by its objective; computed after the clock has stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.fetching import batches, sparse, stream
from benchmarks.floors import connection
from benchmarks.jobs import Job, Outcome, quoted

Quality = dict[str, float]


def _held_out(job: Job, outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if outcome.predict is not None:
        return outcome.predict("holdout"), target_of(job, "holdout")
    if outcome.coef is None or len(outcome.coef) != len(job.features):
        raise ValueError(f"{len(job.features)} coefficients are needed, {np.shape(outcome.coef)} came")
    X, y = stream(replace(job, table="holdout"), "F")
    return X @ outcome.coef + outcome.intercept, y


def target_of(job: Job, table: str) -> NDArray[np.float64]:
    """Return the target of the rows of a table, in their order."""
    query = f"SELECT {quoted(job.target)} AS y FROM {quoted(table)}"
    return connection(job).sql(query).fetchnumpy()["y"].astype(np.float64)


def log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the decision that a probability stands for; 0 and 1 are taken for 1e-12 next to them."""
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(inside) - np.log1p(-inside)


def r2(job: Job, outcome: Outcome) -> Quality:
    """Return the share of the variance explained on the held-out rows."""
    predicted, y = _held_out(job, outcome)
    return {"r2": 1 - float(np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))}


def area(decision: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by exact ranks, ties counted half."""
    _, inverse, counts = np.unique(decision, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    n_pos = int(positive.sum())
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * (len(positive) - n_pos)))


def auc(job: Job, outcome: Outcome) -> Quality:
    """Return the area under the ROC curve, the accuracy and the mean logistic loss on the held-out rows."""
    decision, y = _held_out(job, outcome)
    positive = y > 0.5
    loss = np.logaddexp(0, np.where(positive, -decision, decision)).mean()
    accuracy = float(((decision > 0) == positive).mean())
    return {"auc": area(decision, positive), "accuracy": accuracy, "log_loss": float(loss)}


def spam(job: Job, outcome: Outcome) -> Quality:
    """Return the F1 score of the second class on the held-out rows."""
    decision, y = _held_out(job, outcome)
    hits = float(((decision > 0) & (y > 0.5)).sum())
    return {"f1": 2 * hits / float((decision > 0).sum() + (y > 0.5).sum())}


def lasso(job: Job, outcome: Outcome) -> Quality:
    """Return r2 on the held-out rows and the objective on the training rows."""
    return {**r2(job, outcome), **objective(job, outcome)}


def svm(job: Job, outcome: Outcome) -> Quality:
    """Return the area on the held-out rows and the mean squared hinge loss plus penalty on the training rows."""
    total, n = 0.0, 0
    for columns, y in batches(job, 65_536):
        margin = np.where(y > 0.5, 1.0, -1.0) * (np.column_stack(columns) @ outcome.coef + outcome.intercept)
        total += float(np.sum(np.maximum(0, 1 - margin) ** 2))
        n += len(y)
    penalty = 0.5 * float(outcome.coef @ outcome.coef) / n
    decision, y = _held_out(job, outcome)
    return {"auc": area(decision, y > 0.5), "objective": total / n + penalty}


def objective(job: Job, outcome: Outcome) -> Quality:
    """Return the objective of the lasso on the training rows, |y - Xw|^2 / 2n + alpha |w|_1, and how many w it uses."""
    if outcome.predict is not None:
        y = target_of(job, job.table)
        squares, n = float(np.sum((y - outcome.predict(job.table)) ** 2)), len(y)
    else:
        squares, n = _squares(job, outcome)
    used = int(np.count_nonzero(outcome.coef))
    value = squares / (2 * n) + job.params["alpha"] * float(np.abs(outcome.coef).sum())
    return {"objective": value, "features_used": used}


def _squares(job: Job, outcome: Outcome) -> tuple[float, int]:
    if job.features == ("idx", "val"):
        X, y = sparse(job)
        return float(np.sum((y - X @ outcome.coef - outcome.intercept) ** 2)), len(y)
    total, n = 0.0, 0
    for columns, y in batches(job, 65_536):
        total += float(np.sum((y - np.column_stack(columns) @ outcome.coef - outcome.intercept) ** 2))
        n += len(y)
    return total, n


def of_seeds(job: Job, outcome: Outcome) -> Quality:
    """Return the mean over the seeds of the figure of each real table; the figures themselves are in the notes."""
    return {f"{table} {metric}": float(np.mean(figures)) for table, (metric, figures) in outcome.notes["seeds"].items()}


def largest_difference(job: Job, outcome: Outcome) -> Quality:
    """Return the largest difference of any Shapley value to the shap package's; see `benchmarks.explaining`."""
    from benchmarks.explaining import values_file

    return {"difference": float(np.abs(outcome.predict("t") - np.load(values_file(job))).max())}


def rmse(job: Job, outcome: Outcome) -> Quality:
    """Return the root of the mean squared error on the held-out rows."""
    predicted, y = _held_out(job, outcome)
    return {"rmse": float(np.sqrt(np.mean((predicted - y) ** 2)))}


def ranking(job: Job, outcome: Outcome) -> Quality:
    """Return the mean over users of the discounted gain of ten recommended items, as a share of the best possible."""
    assert outcome.predict is not None
    best = outcome.predict("holdout")
    query = "SELECT userId, list(movieId) AS seen FROM holdout GROUP BY userId ORDER BY userId"
    seen = connection(job).sql(query).fetchall()
    discount = 1.0 / np.log2(np.arange(2, best.shape[1] + 2))
    gains = []
    for row, (_, items) in zip(best, seen, strict=True):
        possible = discount[: min(len(items), discount.size)].sum()
        gains.append(float(discount[np.isin(row, items)].sum() / possible))
    return {"ndcg": float(np.mean(gains))}


def _held_out_rows(job: Job) -> NDArray[np.float64]:
    names = [name for name in job.features if name != job.target]
    rows = connection(job).sql(f"SELECT {', '.join(map(quoted, names))} FROM holdout").fetchnumpy()
    return np.column_stack([rows[name] for name in names]).astype(np.float64)


def sparse_coding(job: Job, outcome: Outcome) -> Quality:
    """Return the objective of dictionary learning over the held-out rows: half the squared error plus the penalty."""
    from sklearn.decomposition import sparse_encode

    assert outcome.coef is not None
    X, alpha = _held_out_rows(job), job.params["settings"]["alpha"]
    codes = sparse_encode(X, outcome.coef, algorithm="lasso_cd", alpha=alpha, max_iter=5_000)
    left = X - codes @ outcome.coef
    return {"objective": float((0.5 * np.sum(left**2) + alpha * np.abs(codes).sum()) / len(X))}


def nonnegative_parts(job: Job, outcome: Outcome) -> Quality:
    """Return the relative error of the held-out rows as sums of the parts."""
    from scipy.optimize import nnls

    assert outcome.coef is not None
    X = _held_out_rows(job)
    left = [nnls(outcome.coef.T, row)[1] for row in X]
    return {"objective": float(np.sqrt(np.sum(np.square(left)) / np.sum(X**2)))}


def explained(job: Job, outcome: Outcome) -> Quality:
    """Return the share of the variance of the held-out rows along orthonormal directions, one a row of `coef`."""
    assert outcome.coef is not None
    X, _ = stream(replace(job, table="holdout"), "F")
    X -= X.mean(axis=0)
    along = X @ np.reshape(outcome.coef, (-1, len(job.features))).T
    return {"explained": float(np.sum(along**2) / np.sum(X**2))}


def inertia(job: Job, outcome: Outcome) -> Quality:
    """Return the mean squared distance of training rows to the nearest centroid; `coef` (n_seeds, k, n_features)."""
    total, n = 0.0, 0
    for columns, _ in batches(job, 65_536):
        X = np.column_stack(columns)
        for centroids in outcome.coef:
            total += float(np.min([np.square(X - centre).sum(axis=1) for centre in centroids], axis=0).sum())
            n += len(X)
    return {"objective": total / n}


def density(job: Job, outcome: Outcome) -> Quality:
    """Return the opposite of the mean log density of the training rows."""
    return {"objective": -float(np.mean(outcome.predict(job.table)))}
