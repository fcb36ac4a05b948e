"""Rows of the matrix of a kernel function, in single precision, and their sums.

    linear  x . v        poly  (gamma x . v + coef0)^degree      sigmoid  tanh(gamma x . v + coef0)
    rbf  exp(-gamma |x - v|^2)                                   laplacian  exp(-gamma |x - v|_1)

Shapes: V (q, p) and XT (p, n) float32, of the rows and the columns of the matrix; out (q, n) float32. Distances are
sums of differences, so that near rows far from the origin keep their digits, and ``K[i, j] == K[j, i]`` bit for bit.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.exponential import exponential, exponential_single
from dbml_kernels.jit import kernel

LINEAR, POLY, SIGMOID, RBF, LAPLACIAN = range(5)
TILE = 256  # columns that are summed side by side: sums and columns stay in the first cache


@kernel
def _sums(kind, v, XT, start, stop, sums):
    """``sums[j]``: the product or distance of v and column ``start + j`` of XT; four terms at a time."""
    sums[:] = np.float32(0.0)
    whole = v.shape[0] - v.shape[0] % 4
    for k in range(0, whole, 4):
        a, b, c, d = v[k], v[k + 1], v[k + 2], v[k + 3]
        x, y, z, w = XT[k, start:stop], XT[k + 1, start:stop], XT[k + 2, start:stop], XT[k + 3, start:stop]
        if kind == RBF:
            for j in range(x.shape[0]):
                e, f, g, h = x[j] - a, y[j] - b, z[j] - c, w[j] - d
                sums[j] += (e * e + f * f) + (g * g + h * h)
        elif kind == LAPLACIAN:
            for j in range(x.shape[0]):
                sums[j] += (abs(x[j] - a) + abs(y[j] - b)) + (abs(z[j] - c) + abs(w[j] - d))
        else:
            for j in range(x.shape[0]):
                sums[j] += (x[j] * a + y[j] * b) + (z[j] * c + w[j] * d)
    _sums_rest(kind, v, XT, whole, start, stop, sums)


@kernel
def _sums_rest(kind, v, XT, first, start, stop, sums):
    """Add the terms from `first` on, one at a time."""
    for k in range(first, v.shape[0]):
        own, line = v[k], XT[k, start:stop]
        if kind == RBF:
            for j in range(line.shape[0]):
                difference = line[j] - own
                sums[j] += difference * difference
        elif kind == LAPLACIAN:
            for j in range(line.shape[0]):
                sums[j] += abs(line[j] - own)
        else:
            for j in range(line.shape[0]):
                sums[j] += line[j] * own


@kernel
def kernel_rows(kind, gamma, coef0, degree, V, XT, first, last, sums, slots, out):
    """``out[slots[i], first:last] = K(V[i], XT[:, first:last])``; gamma, coef0 and sums (TILE,) float32."""
    for start in range(first, last, TILE):
        stop = min(start + TILE, last)
        for i in range(V.shape[0]):
            _sums(kind, V[i], XT, start, stop, sums)
            line = out[slots[i], start:stop]
            if kind == LINEAR:
                for j in range(line.shape[0]):
                    line[j] = sums[j]
            elif kind >= RBF:
                for j in range(line.shape[0]):
                    line[j] = exponential_single(-gamma * sums[j])
            else:
                for j in range(line.shape[0]):
                    x = gamma * sums[j] + coef0
                    line[j] = np.float32(_shaped(kind, degree, np.float64(x)))


@kernel
def _shaped(kind, degree, x):
    """Return ``x ** degree``, or for the sigmoid kernel ``tanh(x)``."""
    if kind == SIGMOID:
        e = exponential(-2.0 * abs(x))
        t = (1.0 - e) / (1.0 + e)
        return t if x >= 0.0 else -t
    power = 1.0
    for _ in range(degree):
        power *= x
    return power


@kernel
def kernel_values(kind, gamma, coef0, degree, squares_x, squares_v, products):
    """Turn products ``x . v`` (n, m), float64, into values of the kernel; squares of norms (n,), (m,)."""
    n, m = products.shape
    for i in range(n):
        if kind == RBF:
            for j in range(m):
                d = squares_x[i] + squares_v[j] - 2.0 * products[i, j]
                products[i, j] = exponential(-gamma * max(d, 0.0))
        elif kind != LINEAR:
            for j in range(m):
                products[i, j] = _shaped(kind, degree, gamma * products[i, j] + coef0)


@kernel
def expansion_add(rows, slots, delta, first, last, out):
    """``out[first:last] += sum_i delta[i] rows[slots[i], first:last]``; rows float32, delta and out float64."""
    for start in range(first, last, 1024):
        stop = min(start + 1024, last)
        for i in range(slots.shape[0]):
            d, slot = delta[i], slots[i]
            for j in range(start, stop):
                out[j] += d * rows[slot, j]


@kernel
def laplacian_values(gamma, X, V, out):
    """``out[i, j] = exp(-gamma |X[i] - V[j]|_1)``; X (n, p), V (m, p), out (n, m) float64."""
    for i in range(X.shape[0]):
        for j in range(V.shape[0]):
            total = 0.0
            for k in range(X.shape[1]):
                total += abs(X[i, k] - V[j, k])
            out[i, j] = exponential(-gamma * total)


@kernel
def square_gather(rows, slots, columns, out):
    """``out[i, j] = rows[slots[i], columns[j]]``; rows and out float32."""
    for i in range(slots.shape[0]):
        line = rows[slots[i]]
        for j in range(columns.shape[0]):
            out[i, j] = line[columns[j]]
