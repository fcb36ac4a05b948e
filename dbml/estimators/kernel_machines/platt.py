"""Probabilities from margins: a logistic curve for each pair of classes, and what all pairs say together.

References: Lin, Lin & Weng 2007, a note on Platt's probabilistic outputs for support vector machines;
Wu, Lin & Weng 2004, probability estimates for multi-class classification by pairwise coupling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Floats

_MOST_STEPS, _GRADIENT, _SHORTEST, _RIDGE = 100, 1e-5, 1e-10, 1e-12
_LEAST = 1e-7  # probability of a pair


def fit_sigmoid(decision: Floats, positive: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Return A and B of ``P(positive | d) = 1 / (1 + exp(A d + B))``, the most likely for held-out decisions.

    Newton's method; targets are Platt's, pulled from 0 and 1 by one row of either class.
    """
    n_pos, n_neg = float(weight[positive].sum()), float(weight[~positive].sum())
    target = np.where(positive, (n_pos + 1.0) / (n_pos + 2.0), 1.0 / (n_neg + 2.0))
    theta = np.array([0.0, np.log((n_neg + 1.0) / (n_pos + 1.0))])
    design = np.column_stack([decision, np.ones_like(decision)])
    value = _sigmoid_loss(design @ theta, target, weight)
    for _ in range(_MOST_STEPS):
        p = _falling(design @ theta)
        gradient = design.T @ (weight * (target - p))
        if np.abs(gradient).max() < _GRADIENT:
            break
        hessian = (design.T * (weight * p * (1.0 - p))) @ design + _RIDGE * np.eye(2)
        step = -np.linalg.solve(hessian, gradient)
        slope, length = gradient @ step, 1.0
        while length >= _SHORTEST:
            trial = _sigmoid_loss(design @ (theta + length * step), target, weight)
            if trial < value + 1e-4 * length * slope:
                break
            length *= 0.5
        else:
            break
        theta, value = theta + length * step, trial
    return float(theta[0]), float(theta[1])


def _sigmoid_loss(eta: Floats, target: Floats, weight: Floats) -> float:
    return float(weight @ (target * eta + np.logaddexp(0.0, -eta)))


def _falling(eta: Floats) -> Floats:
    """Return ``1 / (1 + exp(eta))`` without overflow."""
    u = np.exp(-np.abs(eta))
    return np.where(eta >= 0.0, u, 1.0) / (1.0 + u)


def pair_probabilities(decision: Floats, a: Floats, b: Floats) -> Floats:
    """Return for each pair the probability of its first class; decision (n, n_pairs)."""
    return np.clip(_falling(decision * a + b), _LEAST, 1.0 - _LEAST)


def couple(first: Floats, pairs: list[tuple[int, int]], n_classes: int) -> Floats:
    """Return probabilities of the classes from those of pairs, shape (n, n_classes).

    They minimise ``sum over pairs of (r_ji p_i - r_ij p_j)^2``, where r_ij is the probability of i among i and j.
    """
    n, k = len(first), n_classes
    if k == 2:
        return np.column_stack([first[:, 0], 1.0 - first[:, 0]])
    r = np.zeros((n, k, k))
    for place, (i, j) in enumerate(pairs):
        r[:, i, j], r[:, j, i] = first[:, place], 1.0 - first[:, place]
    system = np.zeros((n, k + 1, k + 1))
    system[:, :k, :k] = -r * r.transpose(0, 2, 1)
    diagonal = np.arange(k)
    system[:, diagonal, diagonal] = (r * r).sum(axis=1)
    system[:, :k, k] = system[:, k, :k] = 1.0
    right = np.zeros((n, k + 1, 1))
    right[:, k] = 1.0
    found = np.maximum(np.linalg.solve(system, right)[:, :k, 0], 0.0)
    return found / found.sum(axis=1, keepdims=True)
