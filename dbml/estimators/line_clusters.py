"""K-means of numbers: on a line a cluster is a run of the sorted values, and prefix sums know its mean."""

from __future__ import annotations

import numpy as np

from dbml.passes.block import Floats

_MOST_ROUNDS, _TOLERANCE = 300, 1e-4  # as in scikit-learn


def line_centres(values: Floats, weight: Floats | None, n_clusters: int) -> Floats:
    """Return the centres of k-means, ascending: as many as asked for, or as there are distinct values.

    Begins with centres of equal distances; a cluster without a value moves to the one that costs most where it is, as
    in `sklearn.cluster.KMeans`.

    Parameters
    ----------
    values : ndarray of shape (n,)
        At least one, none missing.
    weight : ndarray of shape (n,) or None
        Above 0.
    n_clusters : int
    """
    low, high = values.min(), values.max()
    spread = float(values.var())
    values, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    if values.size <= n_clusters:
        return values
    masses = counts.astype(float) if weight is None else np.bincount(which, weight)
    middle = float(np.average(values, weights=masses))
    mass = np.concatenate([[0.0], np.cumsum(masses)])
    total = np.concatenate([[0.0], np.cumsum(masses * (values - middle))])
    uniform = np.linspace(low, high, n_clusters + 1)
    centres = 0.5 * (uniform[1:] + uniform[:-1])
    for _ in range(_MOST_ROUNDS):
        ends = np.searchsorted(values, 0.5 * (centres[1:] + centres[:-1]))
        ends = np.concatenate([[0], ends, [values.size]])
        sizes, inside, sums = np.diff(ends), np.diff(mass[ends]), np.diff(total[ends])
        empty = sizes == 0
        moved = middle + sums / np.where(empty, 1.0, inside)
        n_empty = int(empty.sum())
        if n_empty:
            cost = masses * (values - np.repeat(moved, sizes)) ** 2
            moved[empty] = values[np.argpartition(cost, -n_empty)[-n_empty:]]
        shift = float(((moved - centres) ** 2).sum())
        centres = np.sort(moved)
        if not n_empty and shift <= _TOLERANCE * spread:
            break
    return centres
