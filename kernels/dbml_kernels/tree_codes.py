"""Values -> small integers whose order against the thresholds of a tree is that of the values."""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel

_TILE = 256
_FEWEST_EDGES, _MOST_CELLS, _CROWDED = 8, 4_096, 4  # of a grid that pays


@kernel(exact=True)
def _cell_of(value, low, per_value, n_cells):
    """Return the cell of a grid that a value lies in, the first or last one if beyond; more is in no lower cell."""
    cell = (value - low) * per_value
    cell = cell if cell > 0.0 else 0.0  # of NaN, too
    return np.int32(cell if cell < n_cells - 1.0 else n_cells - 1.0)


@kernel(exact=True)
def _grid_fill(edges, starts):
    """Write how many edges lie in earlier cells than each, (n_cells,); return low end, cells a unit, most in a cell."""
    m, n_cells = edges.shape[0], starts.shape[0]
    low = edges[0]
    per_value = n_cells / (edges[m - 1] - low)
    cell = most = before = 0
    for k in range(m):
        own = _cell_of(edges[k], low, per_value, n_cells)
        if own >= cell:
            starts[cell : own + 1] = k
            cell, before = own + 1, k
        most = max(most, k + 1 - before)
    starts[cell:] = m
    return low, per_value, most


@kernel(exact=True)
def rank_column(values, edges, step, first, out):
    """``out[first + i * step] = #{edges < values[i]}``: ``value <= edges[k]`` where ``rank <= k``.

    Shapes: `values` (n,), `edges` (m,) ascending, `out` flat, of an unsigned type: a value that is not finite gets all
    its bits set. A grid over the edges says how many are surely less, and the few in the same cell are compared; where
    they crowd in a few cells, a binary search without branches. A tile of values side by side, so that loads overlap.
    """
    n, m = values.shape[0], edges.shape[0]
    steps = 0
    while (1 << steps) <= m:
        steps += 1
    starts = np.empty(min(_MOST_CELLS, 4 << steps), np.int32)
    low_end, per_value, in_cell = 0.0, 0.0, _CROWDED + 1
    if m >= _FEWEST_EDGES and n >= starts.shape[0]:
        low_end, per_value, in_cell = _grid_fill(edges, starts)
    low = np.zeros(_TILE, np.int64)
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        if in_cell <= _CROWDED:
            for i in range(size):
                low[i] = starts[_cell_of(values[begin + i], low_end, per_value, starts.shape[0])]
            for _ in range(in_cell):
                for i in range(size):
                    edge = edges[np.uint64(min(low[i], m - 1))]
                    low[i] += (low[i] < m) & (edge < values[begin + i])
        else:
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
