"""Squared distances of rows to centres, the nearest centre of each row, and the sums of the rows of each centre.

    |x - c|^2 = sum_j (x_j - c_j)^2 + sum_s v_s (v_s - 2 c_s) + sum_s c_s^2

over dense terms j and sparse entries s: differences are taken before they are squared, so that no digits cancel where
rows lie far from 0. X is the flat memory of a column-major (n, d) matrix; sparse rows are compressed, with term numbers
from d on, `indptr` of one entry where there are none. Centres (k, n_terms) are row-major; `squares` (k,) are the sums
of the squares of their sparse terms. A slice of 256 rows stays in cache; 4 columns meet 4 centres in registers.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

SLICE = 256


@kernel
def four_by_four(x0, x1, x2, x3, a0, a1, a2, a3, o0, o1, o2, o3):
    """``o_r[i] += sum_c (x_c[i] - a_r[c])^2`` for 4 columns of a slice and 4 centres."""
    a00, a01, a02, a03 = a0[0], a0[1], a0[2], a0[3]
    a10, a11, a12, a13 = a1[0], a1[1], a1[2], a1[3]
    a20, a21, a22, a23 = a2[0], a2[1], a2[2], a2[3]
    a30, a31, a32, a33 = a3[0], a3[1], a3[2], a3[3]
    for i in range(x0.shape[0]):
        v0, v1, v2, v3 = x0[i], x1[i], x2[i], x3[i]
        o0[i] += (v0 - a00) ** 2 + (v1 - a01) ** 2 + (v2 - a02) ** 2 + (v3 - a03) ** 2
        o1[i] += (v0 - a10) ** 2 + (v1 - a11) ** 2 + (v2 - a12) ** 2 + (v3 - a13) ** 2
        o2[i] += (v0 - a20) ** 2 + (v1 - a21) ** 2 + (v2 - a22) ** 2 + (v3 - a23) ** 2
        o3[i] += (v0 - a30) ** 2 + (v1 - a31) ** 2 + (v2 - a32) ** 2 + (v3 - a33) ** 2


@kernel
def one_by_four(column, a0, a1, a2, a3, o0, o1, o2, o3):
    """``o_r[i] += (x[i] - a_r)^2`` for one column of a slice and 4 centres."""
    for i in range(column.shape[0]):
        v = column[i]
        o0[i] += (v - a0) ** 2
        o1[i] += (v - a1) ** 2
        o2[i] += (v - a2) ** 2
        o3[i] += (v - a3) ** 2


@kernel
def dense_distances(x, n, start, stop, d, centres, squares, out):
    """Write `squares` plus the dense part of the squared distances of some rows to all centres; out (k + 1, SLICE).

    The last row of `out` takes what is counted twice where k is no multiple of 4.
    """
    k, rows = centres.shape[0], stop - start
    for q in range(k):
        out[q, :rows] = squares[q]
    for q0 in range(0, k, 4):
        q1, q2, q3 = min(q0 + 1, k), min(q0 + 2, k), min(q0 + 3, k)
        o0, o1, o2, o3 = out[q0, :rows], out[q1, :rows], out[q2, :rows], out[q3, :rows]
        a0, a1 = centres[q0], centres[min(q1, k - 1)]
        a2, a3 = centres[min(q2, k - 1)], centres[min(q3, k - 1)]
        for j in range(0, d - 3, 4):
            p0, p1, p2, p3 = j * n + start, (j + 1) * n + start, (j + 2) * n + start, (j + 3) * n + start
            x0, x1, x2, x3 = x[p0 : p0 + rows], x[p1 : p1 + rows], x[p2 : p2 + rows], x[p3 : p3 + rows]
            b0, b1, b2, b3 = a0[j : j + 4], a1[j : j + 4], a2[j : j + 4], a3[j : j + 4]
            four_by_four(x0, x1, x2, x3, b0, b1, b2, b3, o0, o1, o2, o3)
        for j in range(d - d % 4, d):
            column = x[j * n + start : j * n + stop]
            one_by_four(column, a0[j], a1[j], a2[j], a3[j], o0, o1, o2, o3)


@kernel
def sparse_distances(row, place, centres, indptr, indices, values, out):
    """Add the sparse part of the squared distances of one row to column `place` of `out`."""
    for e in range(indptr[row], indptr[row + 1]):
        value, term = values[e], indices[e]
        for q in range(centres.shape[0]):
            out[q, place] += value * (value - 2.0 * centres[q, term])
    for q in range(centres.shape[0]):
        out[q, place] = max(out[q, place], 0.0)


@kernel
def slice_distances(x, n, start, stop, d, centres, squares, indptr, indices, values, out):
    """Write the squared distances of the rows from `start` to `stop` to all centres; out (k + 1, SLICE)."""
    dense_distances(x, n, start, stop, d, centres, squares, out)
    if indptr.shape[0] > 1:
        for i in range(start, stop):
            sparse_distances(i, i - start, centres, indptr, indices, values, out)


@kernel
def centres_nearest(x, n, from_row, to_row, d, centres, squares, indptr, indices, values, out, label, best):
    """Write the number of the nearest centre of some rows, the first of equals, and the squared distance to it.

    Shapes: label (n,) int32, best (n,), out (k + 1, SLICE) scratch.
    """
    for start in range(from_row, to_row, SLICE):
        stop = min(to_row, start + SLICE)
        slice_distances(x, n, start, stop, d, centres, squares, indptr, indices, values, out)
        nearest, number = best[start:stop], label[start:stop]
        first = out[0]
        for i in range(stop - start):
            nearest[i] = first[i]
            number[i] = 0
        for q in range(1, centres.shape[0]):
            other = out[q]
            for i in range(stop - start):
                closer = other[i] < nearest[i]
                nearest[i] = other[i] if closer else nearest[i]
                number[i] = q if closer else number[i]


@kernel
def centre_distances(x, n, d, centres, squares, indptr, indices, values, out, found):
    """Write the squared distance of each row to each centre; found (k, n), out (k + 1, SLICE) scratch."""
    for start in range(0, n, SLICE):
        stop = min(n, start + SLICE)
        slice_distances(x, n, start, stop, d, centres, squares, indptr, indices, values, out)
        for q in range(centres.shape[0]):
            found[q, start:stop] = out[q, : stop - start]


@kernel
def centre_sums_add(
    x, n, from_row, to_row, d, label, best, weight, weighted, indptr, indices, values, sums, totals
):  # fmt: skip
    """Add some rows to the sums of their centres: ``sums[j, l_i] += w_i x_ij``, sums (n_terms, k).

    ``totals[0, l] += w``, ``totals[1, l] += w best``, ``totals[2, l] += w sqrt(best)``; totals (3, k).
    """
    for i in range(from_row, to_row):
        w, q = weight[i] if weighted else 1.0, label[i]
        totals[0, q] += w
        totals[1, q] += w * best[i]
        totals[2, q] += w * np.sqrt(best[i])
    for start in range(from_row, to_row, SLICE):
        stop = min(to_row, start + SLICE)
        for j in range(0, d - 3, 4):
            x0, x1 = x[j * n : (j + 1) * n], x[(j + 1) * n : (j + 2) * n]
            x2, x3 = x[(j + 2) * n : (j + 3) * n], x[(j + 3) * n : (j + 4) * n]
            s0, s1, s2, s3 = sums[j], sums[j + 1], sums[j + 2], sums[j + 3]
            for i in range(start, stop):
                w, q = weight[i] if weighted else 1.0, label[i]
                s0[q] += w * x0[i]
                s1[q] += w * x1[i]
                s2[q] += w * x2[i]
                s3[q] += w * x3[i]
        for j in range(d - d % 4, d):
            column, into = x[j * n : (j + 1) * n], sums[j]
            for i in range(start, stop):
                into[label[i]] += (weight[i] if weighted else 1.0) * column[i]
    if indptr.shape[0] > 1:
        for i in range(from_row, to_row):
            w, q = weight[i] if weighted else 1.0, label[i]
            for e in range(indptr[i], indptr[i + 1]):
                sums[indices[e], q] += w * values[e]
