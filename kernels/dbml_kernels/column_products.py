"""Products of a column-major matrix X with few columns: ``Z = X M`` and ``X' Z``, by tiles that stay in registers.

X and Z are passed as flat memory of column-major matrices of `n` rows: column j is ``x[j * n : (j + 1) * n]``. Made for
one thread a block: libraries that start threads of their own for such narrow products wait for each other.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.gram import tile_sums
from dbml_kernels.jit import kernel

SLICE = 128  # rows whose part of Z stays in the first cache while all of X passes by
SUMMED = 512


@kernel
def eight_columns_add(x0, x1, x2, x3, x4, x5, x6, x7, m, j, k, z0, z1, z2, z3):
    """``z_c += sum_r x_r m[j + r, k + c]`` for 8 columns of X and 4 of Z."""
    a0, a1, a2, a3 = m[j, k], m[j + 1, k], m[j + 2, k], m[j + 3, k]
    a4, a5, a6, a7 = m[j + 4, k], m[j + 5, k], m[j + 6, k], m[j + 7, k]
    b0, b1, b2, b3 = m[j, k + 1], m[j + 1, k + 1], m[j + 2, k + 1], m[j + 3, k + 1]
    b4, b5, b6, b7 = m[j + 4, k + 1], m[j + 5, k + 1], m[j + 6, k + 1], m[j + 7, k + 1]
    c0, c1, c2, c3 = m[j, k + 2], m[j + 1, k + 2], m[j + 2, k + 2], m[j + 3, k + 2]
    c4, c5, c6, c7 = m[j + 4, k + 2], m[j + 5, k + 2], m[j + 6, k + 2], m[j + 7, k + 2]
    d0, d1, d2, d3 = m[j, k + 3], m[j + 1, k + 3], m[j + 2, k + 3], m[j + 3, k + 3]
    d4, d5, d6, d7 = m[j + 4, k + 3], m[j + 5, k + 3], m[j + 6, k + 3], m[j + 7, k + 3]
    for i in range(x0.shape[0]):
        v0, v1, v2, v3, v4, v5, v6, v7 = x0[i], x1[i], x2[i], x3[i], x4[i], x5[i], x6[i], x7[i]
        z0[i] += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3 + a4 * v4 + a5 * v5 + a6 * v6 + a7 * v7
        z1[i] += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3 + b4 * v4 + b5 * v5 + b6 * v6 + b7 * v7
        z2[i] += c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3 + c4 * v4 + c5 * v5 + c6 * v6 + c7 * v7
        z3[i] += d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3 + d4 * v4 + d5 * v5 + d6 * v6 + d7 * v7


@kernel
def columns_times_add(x, n, d, m, z):
    """``Z += X M``; x (n * d,), m (d, l), z (n * l,)."""
    width = m.shape[1]
    whole, most = d - d % 8, width - width % 4
    for start in range(0, n, SLICE):
        stop = min(start + SLICE, n)
        for j in range(0, whole, 8):
            x0, x1 = x[j * n + start : j * n + stop], x[(j + 1) * n + start : (j + 1) * n + stop]
            x2, x3 = x[(j + 2) * n + start : (j + 2) * n + stop], x[(j + 3) * n + start : (j + 3) * n + stop]
            x4, x5 = x[(j + 4) * n + start : (j + 4) * n + stop], x[(j + 5) * n + start : (j + 5) * n + stop]
            x6, x7 = x[(j + 6) * n + start : (j + 6) * n + stop], x[(j + 7) * n + start : (j + 7) * n + stop]
            for k in range(0, most, 4):
                z0, z1 = z[k * n + start : k * n + stop], z[(k + 1) * n + start : (k + 1) * n + stop]
                z2, z3 = z[(k + 2) * n + start : (k + 2) * n + stop], z[(k + 3) * n + start : (k + 3) * n + stop]
                eight_columns_add(x0, x1, x2, x3, x4, x5, x6, x7, m, j, k, z0, z1, z2, z3)
            for k in range(most, width):
                into = z[k * n + start : k * n + stop]
                for i in range(stop - start):
                    into[i] += (
                        m[j, k] * x0[i] + m[j + 1, k] * x1[i] + m[j + 2, k] * x2[i] + m[j + 3, k] * x3[i]
                        + m[j + 4, k] * x4[i] + m[j + 5, k] * x5[i] + m[j + 6, k] * x6[i] + m[j + 7, k] * x7[i]
                    )  # fmt: skip
        for j in range(whole, d):
            column = x[j * n + start : j * n + stop]
            for k in range(width):
                into, factor = z[k * n + start : k * n + stop], m[j, k]
                for i in range(stop - start):
                    into[i] += factor * column[i]


@kernel
def columns_transposed_add(x, n, d, z, width, out):
    """``out[:d] += X' Z``; x (n * d,), z (n * width,), out (at least d, width)."""
    tile = np.empty(16)
    for start in range(0, n, SUMMED):
        stop = min(start + SUMMED, n)
        for jb in range(0, d, 4):
            j1, j2, j3 = min(jb + 1, d - 1), min(jb + 2, d - 1), min(jb + 3, d - 1)
            a0, a1 = x[jb * n + start : jb * n + stop], x[j1 * n + start : j1 * n + stop]
            a2, a3 = x[j2 * n + start : j2 * n + stop], x[j3 * n + start : j3 * n + stop]
            for kb in range(0, width, 4):
                k1, k2, k3 = min(kb + 1, width - 1), min(kb + 2, width - 1), min(kb + 3, width - 1)
                b0, b1 = z[kb * n + start : kb * n + stop], z[k1 * n + start : k1 * n + stop]
                b2, b3 = z[k2 * n + start : k2 * n + stop], z[k3 * n + start : k3 * n + stop]
                tile_sums(a0, a1, a2, a3, b0, b1, b2, b3, tile)
                for r in range(min(4, d - jb)):
                    for c in range(min(4, width - kb)):
                        out[jb + r, kb + c] += tile[4 * r + c]
