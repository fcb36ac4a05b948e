"""Leaves that take a quantile of their residuals, in the order that monotonic constraints ask for."""

from __future__ import annotations

import numpy as np
from dbml_kernels.tree_split import TERM
from numpy.typing import NDArray

from dbml.estimators.trees.losses import weighted_quantile, weights_of
from dbml.estimators.trees.nodes import Flat
from dbml.passes.block import Floats
from dbml.passes.shards import Shard, Shards


def leaf_quantiles(
    shards: Shards, flat: Flat, sizes: NDArray[np.int64], level: float, monotonic: NDArray[np.int64]
) -> Floats:
    """Return the quantile of the residuals of each leaf, in the order of the leaves.

    Parameters
    ----------
    shards : Shards
        The rows; their scores are those before the tree.
    flat : Flat
        The tree.
    sizes : ndarray of shape (n_shards,), int64
        Rows of each shard that the tree grew from, the first ones of its order.
    level : float
        The quantile.
    monotonic : ndarray of shape (n_terms,), int64
        -1, 0 or 1 for each term.
    """
    if not monotonic.any():
        return _quantiles(shards, flat, flat.leaves, sizes, level)
    # The bounds of growth are in units of gradients: others are found from the quantiles of all nodes.
    found = _quantiles(shards, flat, np.arange(len(flat.nodes)), sizes, level)
    return values_in_order(flat, found, monotonic)[flat.leaves]


def values_in_order(flat: Flat, values: Floats, monotonic: NDArray[np.int64]) -> Floats:
    """Return the values of nodes, (n_nodes,), within bounds: those of one child end where those of the other begin."""
    kept, low, high = values.copy(), np.full(values.size, -np.inf), np.full(values.size, np.inf)
    for number, node in enumerate(flat.nodes):
        left, right = int(flat.left[number]), int(flat.left[number]) + 1
        if left < 0:
            continue
        for child in (left, right):
            low[child], high[child] = low[number], high[number]
            # A side without rows has the value of its node.
            own = values[child] if flat.nodes[child].rows else kept[number]
            kept[child] = min(max(own, low[child]), high[child])
        way = int(monotonic[int(node.best[TERM])])
        if way:
            lower, upper = (left, right) if way > 0 else (right, left)
            high[lower] = low[upper] = middle = 0.5 * kept[left] + 0.5 * kept[right]
            kept[lower], kept[upper] = min(kept[lower], middle), max(kept[upper], middle)
    return kept


def _quantiles(shards: Shards, flat: Flat, numbers: NDArray[np.intp], sizes: NDArray[np.int64], level: float) -> Floats:
    """Return the quantile of the residuals of some nodes, 0 where they have no rows."""

    def work(shard: Shard) -> tuple[Floats, Floats]:
        own = shard.resident
        rows = own["order"][: sizes[shard.number]]
        w = weights_of(own)
        return own["y"][rows] - own["scores"][0][rows], w[rows] if w.size else np.ones(rows.size)

    parts = shards.each(work, "trees: quantiles of the leaves")
    begins, ends = flat.runs(numbers)
    found = np.zeros(numbers.size)
    for place in range(numbers.size):
        runs = [slice(*run) for run in zip(begins[place], ends[place], strict=True)]
        residuals, w = (np.concatenate([part[i][run] for part, run in zip(parts, runs, strict=True)]) for i in (0, 1))
        if residuals.size:
            found[place] = weighted_quantile(residuals, w, level)
    return found
