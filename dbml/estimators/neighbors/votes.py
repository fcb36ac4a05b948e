"""What neighbours predict together: shares of classes, means of values."""

from __future__ import annotations

import numpy as np

from dbml.estimators.neighbors.search import Found
from dbml.passes.block import Floats


def weights_of(found: Found, distance: Floats, by_distance: bool) -> Floats:
    """Return the weight of each neighbour, (m, k): 1, or 1 / distance; where some are at 0, only those count."""
    there = (found.position >= 0).astype(float)
    if not by_distance:
        return there
    zero = (distance == 0.0) & (there > 0.0)
    nearest = np.where(there > 0.0, distance, np.inf).min(axis=1, keepdims=True)
    scale = np.where((nearest > 0.0) & np.isfinite(nearest), nearest, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(there > 0.0, scale / distance, 0.0)  # as shares, so that none overflows
    return np.where(zero.any(axis=1, keepdims=True), zero.astype(float), weights)


def class_shares(found: Found, weights: Floats, n_classes: int) -> Floats:
    """Return the share of each class among the neighbours, (m, n_classes)."""
    m = len(weights)
    place = np.arange(m)[:, None] * n_classes + found.label.astype(np.int64)
    votes = np.bincount(place.ravel(), weights.ravel(), minlength=m * n_classes).reshape(m, n_classes)
    return votes / votes.sum(axis=1, keepdims=True)


def mean_values(found: Found, weights: Floats) -> Floats:
    """Return the mean of the neighbours' values, (m,)."""
    return (weights * found.label).sum(axis=1) / weights.sum(axis=1)
