"""Bounds on distances spare most of them when centres move a little: Hamerly 2010.

For each row, ``upper >= |x - own centre|`` and ``lower <= |x - any other|``. When centres move by `drift`, the bounds
move with them; only where they meet, distances are taken again. Sums change by the rows that changed their centre.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.centre_distance import SLICE, dense_distances, sparse_distances
from dbml_kernels.jit import kernel

SLACK = 1.0 + 1e-10  # for the rounding of bounds that were moved many times


@kernel
def bounds_move(drift, farthest, most, second, label, upper, lower, chosen):
    """Move the bounds of all rows; write the rows whose bounds meet, return their number.

    `most` is how far centre `farthest` moved, the one that moved most, `second` the most of the others.
    """
    m = 0
    for i in range(label.shape[0]):
        q = label[i]
        upper[i] += drift[q]
        lower[i] -= second if q == farthest else most
        chosen[m] = i
        m += upper[i] * SLACK >= lower[i]
    return m


@kernel
def nearest_two(out, m, number, first, second):
    """Write the number of the nearest centre of `m` rows, the first of equals, and the two smallest squares."""
    for t in range(m):
        number[t] = 0
        first[t] = out[0, t]
        second[t] = np.inf
    for q in range(1, out.shape[0] - 1):
        other = out[q]
        for t in range(m):
            value, smallest = other[t], first[t]
            closer = value < smallest
            second[t] = min(second[t], max(value, smallest))
            first[t] = value if closer else smallest
            number[t] = q if closer else number[t]


@kernel
def change_add(row, place, d, old, new, w, tile, indptr, indices, values, sums, totals):
    """Move a row from the sums of centre `old` (-1: from none) to those of `new`."""
    for j in range(d):
        value = w * tile[j * SLICE + place]
        sums[j, new] += value
        if old >= 0:
            sums[j, old] -= value
    totals[0, new] += w
    totals[1, new] += 1.0
    if old >= 0:
        totals[0, old] -= w
        totals[1, old] -= 1.0
    if indptr.shape[0] > 1:
        for e in range(indptr[row], indptr[row + 1]):
            value = w * values[e]
            sums[indices[e], new] += value
            if old >= 0:
                sums[indices[e], old] -= value


@kernel
def centres_follow(
    x, n, d, centres, squares, weight, weighted, indptr, indices, values, drift, farthest, most, second,
    label, upper, lower, chosen, tile, out, sums, totals,
):  # fmt: skip
    """Bring labels and bounds up to centres that moved; write the changes of the sums of the centres.

    Shapes: label (n,) int32, -1 at first, with upper infinite; upper, lower (n,); chosen (n,) int64, tile (d * SLICE,)
    and out (k + 1, SLICE) scratch; sums (n_terms, k), totals (2, k): weight and rows.
    """
    number, first, next_one = np.empty(SLICE, np.int32), np.empty(SLICE), np.empty(SLICE)
    sums[:] = 0.0
    totals[:] = 0.0
    meeting = bounds_move(drift, farthest, most, second, label, upper, lower, chosen)
    for start in range(0, meeting, SLICE):
        rows = chosen[start : min(start + SLICE, meeting)]
        m = rows.shape[0]
        for j in range(d):
            column, into = x[j * n : (j + 1) * n], tile[j * SLICE : j * SLICE + m]
            for t in range(m):
                into[t] = column[rows[t]]
        dense_distances(tile, SLICE, 0, m, d, centres, squares, out)
        if indptr.shape[0] > 1:
            for t in range(m):
                sparse_distances(rows[t], t, centres, indptr, indices, values, out)
        nearest_two(out, m, number, first, next_one)
        for t in range(m):
            i, new = rows[t], number[t]
            upper[i] = np.sqrt(first[t])
            lower[i] = np.sqrt(next_one[t])
            old = label[i]
            if new != old:
                label[i] = new
                w = weight[i] if weighted else 1.0
                change_add(i, t, d, old, new, w, tile, indptr, indices, values, sums, totals)
