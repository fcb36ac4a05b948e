"""Gram matrix of ``V = [1 y X]``: the lower triangle of ``V' diag(w) V``, by 4 x 3 columns over slices of rows.

X is passed as the flat memory of a column-major matrix of `n` rows: column j is ``x[j * n : (j + 1) * n]``. A slice of
1,024 rows stays in cache while its tiles are made: 12 sums, 3 vectors and a factor are the 16 registers of AVX2.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

SLICE = 1024


@kernel
def tile_sums(a0, a1, a2, a3, b0, b1, b2, tile):
    """``tile[3 r + c] = a_r . b_c`` for 4 x 3 columns of one slice."""
    s00 = s01 = s02 = s10 = s11 = s12 = 0.0
    s20 = s21 = s22 = s30 = s31 = s32 = 0.0
    for i in range(a0.shape[0]):
        x0, x1, x2, x3 = a0[i], a1[i], a2[i], a3[i]
        z0, z1, z2 = b0[i], b1[i], b2[i]
        s00 += x0 * z0
        s01 += x0 * z1
        s02 += x0 * z2
        s10 += x1 * z0
        s11 += x1 * z1
        s12 += x1 * z2
        s20 += x2 * z0
        s21 += x2 * z1
        s22 += x2 * z2
        s30 += x3 * z0
        s31 += x3 * z1
        s32 += x3 * z2
    tile[0], tile[1], tile[2] = s00, s01, s02
    tile[3], tile[4], tile[5] = s10, s11, s12
    tile[6], tile[7], tile[8] = s20, s21, s22
    tile[9], tile[10], tile[11] = s30, s31, s32


@kernel
def column_sums(a0, a1, a2, a3, y, tile):
    """``tile[2 r] = sum a_r``, ``tile[2 r + 1] = a_r . y`` for 4 columns of one slice."""
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
    for i in range(y.shape[0]):
        x0, x1, x2, x3, z = a0[i], a1[i], a2[i], a3[i], y[i]
        s0 += x0
        s1 += x1
        s2 += x2
        s3 += x3
        t0 += x0 * z
        t1 += x1 * z
        t2 += x2 * z
        t3 += x3 * z
    tile[0], tile[1], tile[2], tile[3] = s0, t0, s1, t1
    tile[4], tile[5], tile[6], tile[7] = s2, t2, s3, t3


@kernel
def slice_add(a, a_rows, a_start, x, x_rows, x_start, n, d, y, tile, gram):
    """Add one slice of `n` rows: ``gram[2 + j, 2 + k] += a_j . x_k`` (k <= j), sums and products with y of ``a_j``.

    `a` is X times the weights (X itself without weights); columns past the last are read again and not counted.
    """
    for jb in range(0, d, 4):
        j1, j2, j3 = min(jb + 1, d - 1), min(jb + 2, d - 1), min(jb + 3, d - 1)
        p0, p1, p2, p3 = (
            jb * a_rows + a_start,
            j1 * a_rows + a_start,
            j2 * a_rows + a_start,
            j3 * a_rows + a_start,
        )
        a0, a1, a2, a3 = a[p0 : p0 + n], a[p1 : p1 + n], a[p2 : p2 + n], a[p3 : p3 + n]
        column_sums(a0, a1, a2, a3, y, tile)
        for r in range(min(4, d - jb)):
            gram[2 + jb + r, 0] += tile[2 * r]
            gram[2 + jb + r, 1] += tile[2 * r + 1]
        last = min(jb + 4, d)
        for kb in range(0, last, 3):
            k1, k2 = min(kb + 1, d - 1), min(kb + 2, d - 1)
            q0, q1, q2 = kb * x_rows + x_start, k1 * x_rows + x_start, k2 * x_rows + x_start
            tile_sums(a0, a1, a2, a3, x[q0 : q0 + n], x[q1 : q1 + n], x[q2 : q2 + n], tile)
            for r in range(last - jb):
                j = jb + r
                for c in range(min(3, j - kb + 1)):
                    gram[2 + j, 2 + kb + c] += tile[3 * r + c]


@kernel
def target_add(y, w, weighted, gram):
    """Add the corner of ``[1 y]``: ``gram[0, 0] += sum w``, ``gram[1, 0] += w . y``, ``gram[1, 1] += w . y^2``."""
    count = total = square = 0.0
    for i in range(y.shape[0]):
        weight = w[i] if weighted else 1.0
        count += weight
        total += weight * y[i]
        square += weight * y[i] * y[i]
    gram[0, 0] += count
    gram[1, 0] += total
    gram[1, 1] += square


@kernel
def gram_add(x, n, d, y, gram):
    """``gram += [1 y X]'[1 y X]`` (lower triangle) for n rows without weights; x (n * d,), y (n,), gram (m, m)."""
    tile = np.empty(12)
    target_add(y, y, False, gram)
    for start in range(0, n, SLICE):
        rows = min(SLICE, n - start)
        slice_add(x, n, start, x, n, start, rows, d, y[start : start + rows], tile, gram)


@kernel
def gram_add_rows(x, n, d, y, w, weighted, chosen, scratch, gram):
    """``gram += [1 y X]' diag(w) [1 y X]`` for the rows `chosen` of n; scratch ((2 d + 3) * SLICE,)."""
    tile = np.empty(12)
    plain, scaled = scratch[: d * SLICE], scratch[d * SLICE : 2 * d * SLICE]
    ys = scratch[2 * d * SLICE : (2 * d + 1) * SLICE]
    ws = scratch[(2 * d + 1) * SLICE : (2 * d + 2) * SLICE]
    for start in range(0, chosen.shape[0], SLICE):
        part = chosen[start : start + SLICE]
        rows = part.shape[0]
        for i in range(rows):
            ys[i] = y[part[i]]
            ws[i] = w[part[i]] if weighted else 1.0
        for j in range(d):
            column, into = x[j * n : (j + 1) * n], plain[j * SLICE : (j + 1) * SLICE]
            for i in range(rows):
                into[i] = column[part[i]]
            if weighted:
                times = scaled[j * SLICE : (j + 1) * SLICE]
                for i in range(rows):
                    times[i] = into[i] * ws[i]
        target_add(ys[:rows], ws, weighted, gram)
        left = scaled if weighted else plain
        slice_add(left, SLICE, 0, plain, SLICE, 0, rows, d, ys[:rows], tile, gram)
