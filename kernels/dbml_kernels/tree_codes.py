"""Values -> small integers whose order against the thresholds of a tree is that of the values."""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel

_TILE = 256


@kernel
def rank_column(values, edges, step, first, out):
    """``out[first + i * step] = #{edges < values[i]}``: ``value <= edges[k]`` where ``rank <= k``.

    Shapes: `values` (n,), `edges` (m,) ascending, `out` flat, of an unsigned type: a value that is not finite gets all
    its bits set. A binary search without branches, a tile of values side by side, so that searches overlap.
    """
    n, m = values.shape[0], edges.shape[0]
    steps = 0
    while (1 << steps) <= m:
        steps += 1
    low = np.zeros(_TILE, np.int64)
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        low[:] = 0
        for s in range(steps):
            half = 1 << (steps - 1 - s)
            for i in range(size):
                probe = low[i] + half
                edge = edges[np.uint64(min(probe, m) - 1)]
                low[i] = probe if (probe <= m) & (edge < values[begin + i]) else low[i]
        for i in range(size):
            out[first + (begin + i) * step] = low[i] if math.isfinite(values[begin + i]) else -1


@kernel
def code_column(values, step, first, out):
    """``out[first + i * step] = values[i]``, the codes of a category; all bits set where a value is not finite."""
    for i in range(values.shape[0]):
        out[first + i * step] = np.int64(values[i]) if math.isfinite(values[i]) else -1


@kernel
def rank_entries(indptr, indices, values, begin, places, edges, bounds, step, out):
    """Write the ranks of the entries of sparse rows; those of rows without an entry are the caller's.

    Row `begin` and on, as many as `out` has room for: the entry of row ``begin + i`` and term j goes to
    ``out[i * step + places[j]]``, unless ``places[j] < 0``, ranked among ``edges[bounds[j] : bounds[j + 1]]``.
    """
    for i in range(out.shape[0] // step):
        for at in range(indptr[begin + i], indptr[begin + i + 1]):
            term = indices[at]
            if places[term] < 0:
                continue
            low, high = bounds[term], bounds[term + 1]
            while low < high:
                middle = (low + high) // 2
                if edges[middle] < values[at]:
                    low = middle + 1
                else:
                    high = middle
            out[i * step + places[term]] = low - bounds[term]
