"""Sweeps of coordinate descent over codes that are not negative: ``min |x - w H|^2 / 2 + l1 |w|_1``, ``w >= 0``.

    w_j <- max(0, w_j + (p_j - l1 - sum_m g_jm w_m) / g_jj),  g = H H' (k, k),  p = x H' (n, k)

A few sweeps from codes that are nearly right. Rows go side by side, so that one entry of all of them is a vector of the
processor; `dbml_kernels.lasso_codes` takes each row to its end instead.

Cichocki & Phan 2009, hierarchical alternating least squares.
"""

from __future__ import annotations

from dbml_kernels.jit import kernel

LANES = 128  # rows side by side: fewer than 64 are no vectors to LLVM, which takes such loops apart


@kernel
def nonnegative_sweeps(gram, projection, l1, sweeps, codes, tile):
    """Sweep over the rows of `codes` (n, k), in place; gram (k, k), projection (n, k), tile (3, k, LANES) scratch."""
    n, k = codes.shape
    q, w, change = tile[0], tile[1], tile[2, 0]
    for first in range(0, n, LANES):
        size = min(LANES, n - first)
        for j in range(k):
            q[j] = 0.0
            w[j] = 0.0
        for s in range(size):
            for j in range(k):
                q[j, s] = projection[first + s, j] - l1
                if gram[j, j] > 0.0:
                    w[j, s] = codes[first + s, j]
        for j in range(k):
            for s in range(LANES):
                change[s] = w[j, s]
            _pass_on(gram[j], change, q)
        for _ in range(sweeps):
            for j in range(k):
                if gram[j, j] > 0.0:
                    _move(1.0 / gram[j, j], q[j], w[j], change)
                    _pass_on(gram[j], change, q)
        for s in range(size):
            for j in range(k):
                codes[first + s, j] = w[j, s]


@kernel
def _move(inverse, q, w, change):
    """Take one entry of all rows to its best value, the others fixed; `change` is by how much. All (LANES,)."""
    for s in range(LANES):
        value = w[s] + q[s] * inverse
        new = value if value > 0.0 else 0.0
        change[s] = new - w[s]
        w[s] = new


@kernel
def _pass_on(row, change, q):
    """``q -= row change'``; row (k,), change (LANES,), q (k, LANES)."""
    for m in range(row.shape[0]):
        share, left = row[m], q[m]
        for s in range(LANES):
            left[s] -= share * change[s]
