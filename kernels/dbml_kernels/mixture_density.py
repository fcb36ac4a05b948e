"""Log densities of normal distributions, and what rows belong to which of several.

    log N(x) = level - |(x - m) P|^2 / 2,    P upper triangular with P P' the precision matrix

or ``level - sum_j ((x_j - m_j) s_j)^2 / 2`` for a diagonal one. Levels hold the logarithms of weights, determinants and
of 2 pi. X is the flat memory of a column-major (n, d) matrix; a slice of 256 rows stays in cache.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

SLICE = 256


@kernel
def difference_write(x, n, start, stop, d, mean, out):
    """``out[j] = x_j - mean_j`` for one slice; out (d, SLICE)."""
    for j in range(d):
        column, into, m = x[j * n + start : j * n + stop], out[j], mean[j]
        for i in range(stop - start):
            into[i] = column[i] - m


@kernel
def square_add(y, rows, out):
    """``out -= y^2 / 2`` for one slice."""
    for i in range(rows):
        out[i] -= 0.5 * y[i] * y[i]


@kernel
def triangle_add(difference, rows, d, root, y, out):
    """``out -= |x P|^2 / 2``: 4 columns of P at a time; difference (d, SLICE), root (d, d), y (4, SLICE) scratch."""
    for j in range(0, d, 4):
        j1, j2, j3 = min(j + 1, d - 1), min(j + 2, d - 1), min(j + 3, d - 1)
        y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
        y[:, :rows] = 0.0
        last = min(j + 4, d)
        for i in range(0, last - 1, 2):
            u, v, a, b = difference[i], difference[i + 1], root[i], root[i + 1]
            a0, a1, a2, a3 = a[j], a[j1], a[j2], a[j3]
            b0, b1, b2, b3 = b[j], b[j1], b[j2], b[j3]
            for r in range(rows):
                y0[r] += u[r] * a0 + v[r] * b0
                y1[r] += u[r] * a1 + v[r] * b1
                y2[r] += u[r] * a2 + v[r] * b2
                y3[r] += u[r] * a3 + v[r] * b3
        if last % 2:
            u, a = difference[last - 1], root[last - 1]
            for r in range(rows):
                y0[r] += u[r] * a[j]
                y1[r] += u[r] * a[j1]
                y2[r] += u[r] * a[j2]
                y3[r] += u[r] * a[j3]
        for c in range(last - j):
            square_add(y[c], rows, out)


@kernel
def diagonal_add(x, n, start, stop, d, mean, inverse, out):
    """``out -= sum_j ((x_j - mean_j) inverse_j)^2 / 2`` for one slice."""
    rows = stop - start
    for j in range(0, d - 3, 4):
        p0, p1, p2, p3 = j * n + start, (j + 1) * n + start, (j + 2) * n + start, (j + 3) * n + start
        x0, x1, x2, x3 = x[p0 : p0 + rows], x[p1 : p1 + rows], x[p2 : p2 + rows], x[p3 : p3 + rows]
        m0, m1, m2, m3 = mean[j], mean[j + 1], mean[j + 2], mean[j + 3]
        s0, s1, s2, s3 = inverse[j], inverse[j + 1], inverse[j + 2], inverse[j + 3]
        for i in range(rows):
            a, b, c, e = (x0[i] - m0) * s0, (x1[i] - m1) * s1, (x2[i] - m2) * s2, (x3[i] - m3) * s3
            out[i] -= 0.5 * (a * a + b * b + c * c + e * e)
    for j in range(d - d % 4, d):
        column, m, s = x[j * n + start : j * n + stop], mean[j], inverse[j]
        for i in range(rows):
            a = (column[i] - m) * s
            out[i] -= 0.5 * a * a


@kernel
def slice_densities(x, n, start, stop, d, levels, means, roots, diagonal, difference, y, out):
    """Write the log densities of one slice; means (k, d), roots (k, d, d) or, diagonal, (k, 1, d); out (k, SLICE)."""
    rows = stop - start
    for q in range(levels.shape[0]):
        out[q, :rows] = levels[q]
        if diagonal:
            diagonal_add(x, n, start, stop, d, means[q], roots[q, 0], out[q])
        else:
            difference_write(x, n, start, stop, d, means[q], difference)
            triangle_add(difference, rows, d, roots[q], y, out[q])


@kernel
def shares_of(out, rows, k, total):
    """Turn log densities into shares of their sum; write its logarithm; out (k, SLICE), total (SLICE,)."""
    for i in range(rows):
        highest = out[0, i]
        for q in range(1, k):
            highest = max(highest, out[q, i])
        total[i] = highest
    sums = np.zeros(rows)
    for q in range(k):
        own = out[q]
        for i in range(rows):
            own[i] = np.exp(own[i] - total[i])
            sums[i] += own[i]
    for q in range(k):
        own = out[q]
        for i in range(rows):
            own[i] /= sums[i]
    for i in range(rows):
        total[i] += np.log(sums[i])


@kernel
def mixture_shares(x, n, d, levels, means, roots, diagonal, difference, y, out, shares, total):
    """Write the share of each component in the density of each row, and the log density; shares (k, n), total (n,)."""
    k = levels.shape[0]
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        rows = stop - start
        slice_densities(x, n, start, stop, d, levels, means, roots, diagonal, difference, y, out)
        shares_of(out, rows, k, total[start:stop])
        for q in range(k):
            shares[q, start:stop] = out[q, :rows]
