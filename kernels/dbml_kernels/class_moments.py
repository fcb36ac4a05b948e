"""Weight, mean and squared deviations of each column by class, without cancellation at any offset.

A slice of rows that stays in cache is put in the order of its classes; a column of it is gathered once, and every run
of a class is summed twice: for its mean, and for the squares about that mean. Slices are added by
``m2 += q + delta^2 w v / (w + v)``, ``mean += delta v / (w + v)`` (Chan, Golub & LeVeque 1983).

X is the flat memory of a column-major (n, d) matrix; y holds class numbers. Shapes: weight (k,), mean and m2 (k, d).
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

SLICE = 2048


@kernel
def class_order(y, start, rows, bounds, order):
    """Put rows ``start … start + rows`` in the order of their classes: class c has ``order[bounds[c]:bounds[c+1]]``.

    Shapes: bounds (k + 1,), order (at least rows,).
    """
    bounds[:] = 0
    for i in range(rows):
        bounds[np.int64(y[start + i]) + 1] += 1
    for c in range(1, bounds.shape[0]):
        bounds[c] += bounds[c - 1]
    for i in range(rows):
        c = np.int64(y[start + i])
        order[bounds[c]] = start + i
        bounds[c] += 1
    for c in range(bounds.shape[0] - 1, 0, -1):
        bounds[c] = bounds[c - 1]
    bounds[0] = 0


@kernel
def run_mean(values, w, weighted, total):
    """Return the (weighted) mean of a run, whose weight is `total`; both of shape (n,)."""
    s = 0.0
    if weighted:
        for i in range(values.shape[0]):
            s += w[i] * values[i]
    else:
        for i in range(values.shape[0]):
            s += values[i]
    return s / total


@kernel
def run_deviations(values, w, weighted, mean):
    """Return the (weighted) sum of squared deviations of a run from its mean; both of shape (n,)."""
    s = 0.0
    if weighted:
        for i in range(values.shape[0]):
            s += w[i] * (values[i] - mean) * (values[i] - mean)
    else:
        for i in range(values.shape[0]):
            s += (values[i] - mean) * (values[i] - mean)
    return s


@kernel
def class_moments_add(x, n, d, y, w, weighted, weight, mean, m2):
    """Add n rows to the moments of their classes."""
    k = weight.shape[0]
    bounds, order = np.empty(k + 1, np.int64), np.empty(SLICE, np.int64)
    column, ws, added = np.empty(SLICE), np.empty(SLICE), np.empty(k)
    for start in range(0, n, SLICE):
        rows = min(SLICE, n - start)
        class_order(y, start, rows, bounds, order)
        for c in range(k):
            added[c] = bounds[c + 1] - bounds[c]
        if weighted:
            for i in range(rows):
                ws[i] = w[order[i]]
            for c in range(k):
                added[c] = 0.0
                for i in range(bounds[c], bounds[c + 1]):
                    added[c] += ws[i]
        for j in range(d):
            values = x[j * n : (j + 1) * n]
            for i in range(rows):
                column[i] = values[order[i]]
            for c in range(k):
                if added[c] > 0.0:
                    run, run_w = column[bounds[c] : bounds[c + 1]], ws[bounds[c] : bounds[c + 1]]
                    centre = run_mean(run, run_w, weighted, added[c])
                    share, delta = added[c] / (weight[c] + added[c]), centre - mean[c, j]
                    mean[c, j] += delta * share
                    m2[c, j] += run_deviations(run, run_w, weighted, centre) + delta * delta * weight[c] * share
        for c in range(k):
            weight[c] += added[c]


@kernel
def scaled_squares_add(x, n, d, origin, scale, out):
    """``out_i += sum_j scale_j (x_ij - origin_j)^2``; origin and scale (d,), out (n,)."""
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        part = out[start:stop]
        for j in range(d):
            column, centre, factor = x[j * n + start : j * n + stop], origin[j], scale[j]
            for i in range(stop - start):
                part[i] += factor * (column[i] - centre) * (column[i] - centre)
