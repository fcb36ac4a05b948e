"""One classifier for each pair of classes: their decisions become a class, as in LIBSVM and scikit-learn.

A decision above 0 is for the first class of the pair.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Floats


def pairs_of(n_classes: int) -> list[tuple[int, int]]:
    """Return the pairs of classes, in the order of decisions: (0, 1), (0, 2), …, (1, 2), …."""
    return list(combinations(range(n_classes), 2))


def votes(decision: Floats, n_classes: int) -> NDArray[np.intp]:
    """Return how many pairs are won by each class, shape (n, n_classes); decision (n, n_pairs)."""
    found = np.zeros((len(decision), n_classes), np.intp)
    for place, (i, j) in enumerate(pairs_of(n_classes)):
        first = decision[:, place] > 0.0
        found[:, i] += first
        found[:, j] += ~first
    return found


def one_vs_rest_decision(decision: Floats, n_classes: int) -> Floats:
    """Return votes with confidences of less than half a vote added, shape (n, n_classes)."""
    confidence, won = np.zeros((len(decision), n_classes)), votes(decision, n_classes)
    for place, (i, j) in enumerate(pairs_of(n_classes)):
        confidence[:, i] += decision[:, place]
        confidence[:, j] -= decision[:, place]
    return won + confidence / (3.0 * (np.abs(confidence) + 1.0))


def packed_coefficients(by_pair: Floats, classes: NDArray[np.intp], n_classes: int) -> tuple[Floats, NDArray[np.intp]]:
    """Return LIBSVM's table of dual coefficients, and the order of its columns.

    A row with its class is a column; of the ``n_classes - 1`` entries, the pair with class c stands in row c, those
    after its own class one row earlier.

    Parameters
    ----------
    by_pair : ndarray of shape (n_pairs, n_vectors)
        Weights of the support vectors, 0 where one is none of a pair.
    classes : ndarray of shape (n_vectors,)
        Class of each.
    n_classes : int
    """
    order = np.argsort(classes, kind="stable")
    packed, own = np.zeros((n_classes - 1, len(order))), classes[order]
    for place, (i, j) in enumerate(pairs_of(n_classes)):
        row = by_pair[place, order]
        packed[j - 1, own == i] = row[own == i]
        packed[i, own == j] = row[own == j]
    return packed, order


def unpacked_coefficients(packed: Floats, n_support: NDArray[np.int64]) -> Floats:
    """Return the weights by pair of LIBSVM's table, shape (n_pairs, n_vectors)."""
    k = len(n_support)
    own = np.repeat(np.arange(k), n_support)
    by_pair = np.zeros((k * (k - 1) // 2, packed.shape[1]))
    for place, (i, j) in enumerate(pairs_of(k)):
        by_pair[place, own == i] = packed[j - 1, own == i]
        by_pair[place, own == j] = packed[i, own == j]
    return by_pair
