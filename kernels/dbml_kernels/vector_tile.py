"""Rows against queries in tiles of single precision: which rows can be among the nearest, all others left out.

Euclidean, cosine and inner product come down to ``s = h - x.q``, with ``h = |x|^2 / 2`` or 0; Manhattan to
``s = sum |x - q|``. Rows of a tile lie term by term (d, TILE rows), so that sums of many rows are made at once. A sum
is off by at most a bound that is known from the norms: what might be nearer than the bound allows is computed anew, in
double precision (`dbml_kernels.vector_distance`). So the result is exact.
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.nearest_heap import heap_offer
from dbml_kernels.vector_distance import (
    COSINE,
    EUCLIDEAN,
    MANHATTAN,
    SINGLE_LARGEST,
    SINGLE_TINY,
    SINGLE_UNIT,
    distance,
)

RUN = 16  # rows that are looked at together
GROUP = 4  # queries that are computed together


@kernel
def norm_scale(metric, x):
    """What a vector is multiplied by before its products are made: 1 / |x| for the cosine, else 1."""
    if metric != COSINE:
        return 1.0
    largest = 0.0
    for j in range(x.shape[0]):
        largest = max(largest, abs(float(x[j])))
    if largest == 0.0:
        return 0.0
    square = 0.0
    for j in range(x.shape[0]):
        square += (x[j] / largest) ** 2
    return 1.0 / (largest * math.sqrt(square))


@kernel
def size_of(metric, x):
    """The norm that errors are measured by: the sum of |x| for Manhattan, else the length."""
    total = 0.0
    for j in range(x.shape[0]):
        total += abs(x[j]) if metric == MANHATTAN else x[j] * x[j]
    return total if metric == MANHATTAN else math.sqrt(total)


@kernel
def rows_pack(metric, rows, start, stop, shift, packed, half, row):
    """Write rows `start` to `stop` as a tile: packed (d, TILE) float32, half (TILE,); return the largest norm.

    Rows past the last are 0, with an infinite half. row (d,) float64 is scratch.
    """
    d, width = packed.shape
    largest = 0.0
    for i in range(width):
        if start + i >= stop:
            packed[:, i] = 0.0
            half[i] = np.inf
            continue
        x = rows[start + i]
        scale = norm_scale(metric, x)
        for j in range(d):
            row[j] = (x[j] - shift[j]) * scale
            packed[j, i] = row[j]
        size = size_of(metric, row)
        half[i] = 0.5 * size * size if metric == EUCLIDEAN else 0.0
        largest = max(largest, size)
    return largest


@kernel
def queries_pack(metric, queries, shift, packed, sizes):
    """Write queries as (m, d) float32, and their norms, in double precision, to `sizes` (m,)."""
    m, d = packed.shape
    row = np.empty(d)
    for i in range(m):
        scale = norm_scale(metric, queries[i])
        for j in range(d):
            row[j] = (queries[i, j] - shift[j]) * scale
            packed[i, j] = row[j]
        sizes[i] = size_of(metric, row)


@kernel
def add_products(x, q0, q1, q2, q3, s0, s1, s2, s3):
    """``s_i -= q_i . x`` for four queries and the rows of a tile, four terms at a time."""
    d, width = x.shape
    whole = d - d % 4
    for j in range(0, whole, 4):
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        a0, a1, a2, a3 = q0[j], q0[j + 1], q0[j + 2], q0[j + 3]
        b0, b1, b2, b3 = q1[j], q1[j + 1], q1[j + 2], q1[j + 3]
        c0, c1, c2, c3 = q2[j], q2[j + 1], q2[j + 2], q2[j + 3]
        e0, e1, e2, e3 = q3[j], q3[j + 1], q3[j + 2], q3[j + 3]
        for i in range(width):
            y0, y1, y2, y3 = x0[i], x1[i], x2[i], x3[i]
            s0[i] -= (a0 * y0 + a1 * y1) + (a2 * y2 + a3 * y3)
            s1[i] -= (b0 * y0 + b1 * y1) + (b2 * y2 + b3 * y3)
            s2[i] -= (c0 * y0 + c1 * y1) + (c2 * y2 + c3 * y3)
            s3[i] -= (e0 * y0 + e1 * y1) + (e2 * y2 + e3 * y3)
    for j in range(whole, d):
        x0, a0, b0, c0, e0 = x[j], q0[j], q1[j], q2[j], q3[j]
        for i in range(width):
            s0[i] -= a0 * x0[i]
            s1[i] -= b0 * x0[i]
            s2[i] -= c0 * x0[i]
            s3[i] -= e0 * x0[i]


@kernel
def add_absolutes(x, q, s):
    """``s += sum |x - q|`` for one query and the rows of a tile, four terms at a time."""
    d, width = x.shape
    whole = d - d % 4
    for j in range(0, whole, 4):
        x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
        a0, a1, a2, a3 = q[j], q[j + 1], q[j + 2], q[j + 3]
        for i in range(width):
            s[i] += (abs(x0[i] - a0) + abs(x1[i] - a1)) + (abs(x2[i] - a2) + abs(x3[i] - a3))
    for j in range(whole, d):
        x0, a0 = x[j], q[j]
        for i in range(width):
            s[i] += abs(x0[i] - a0)


@kernel
def tile_sums(metric, x, half, queries, first, sums):
    """Fill sums (GROUP, TILE) with s of four queries from `first` on (the last one again past the end)."""
    last = queries.shape[0] - 1
    for g in range(GROUP):
        sums[g] = half
    if metric == MANHATTAN:
        for g in range(min(GROUP, last - first + 1)):
            add_absolutes(x, queries[first + g], sums[g])
        return
    q1, q2, q3 = min(first + 1, last), min(first + 2, last), min(first + 3, last)
    add_products(x, queries[first], queries[q1], queries[q2], queries[q3], sums[0], sums[1], sums[2], sums[3])


@kernel
def highest_sum(metric, farthest, size, largest, d):
    """The s above which no row of a tile is as near as `farthest`, whatever was lost in single precision."""
    if not (size + largest) * (1.0 if metric == MANHATTAN else size + largest) < SINGLE_LARGEST:
        return math.inf
    if metric == MANHATTAN:
        lost = (d + 8) * SINGLE_UNIT * (size + largest + farthest)
        return farthest + lost + SINGLE_TINY * d
    if metric == EUCLIDEAN:
        bound = 0.5 * (farthest - size * size)
    elif metric == COSINE:
        bound = farthest - 1.0
    else:
        bound = farthest
    lost = (d + 8) * SINGLE_UNIT * (size + largest) * (size + largest)
    return bound + lost + SINGLE_UNIT * abs(bound) + SINGLE_TINY * d * (1.0 + size + largest)


@kernel
def tile_search(
    metric, packed, half, largest, rows, start, positions, labels, queries, small, sizes, first, last,
    sums, heap_distance, heap_position, heap_label,
):  # fmt: skip
    """Offer the rows of a tile to the heaps of queries `first` to `last`.

    rows (n, d) as they are, of which the tile holds those from `start` on; positions, labels (n,); queries (m, d)
    float64, small (m, d) float32 and sizes (m,) of `queries_pack`; heaps (m, k).
    """
    d, width = packed.shape
    n = min(width, rows.shape[0] - start)
    for group in range(first, last, GROUP):
        tile_sums(metric, packed, half, small[:last], group, sums)
        for g in range(min(GROUP, last - group)):
            query, line = group + g, sums[g]
            distances, taken, tags = heap_distance[query], heap_position[query], heap_label[query]
            highest = np.float32(highest_sum(metric, distances[0], sizes[query], largest, d))
            for run in range(0, n, RUN):
                above = 0
                for i in range(run, run + RUN):
                    above += line[i] > highest
                if above == RUN:
                    continue
                for i in range(run, min(run + RUN, n)):
                    if line[i] > highest:
                        continue
                    at = start + i
                    exact = distance(metric, rows[at], queries[query])
                    heap_offer(distances, taken, tags, exact, positions[at], labels[at])
                highest = np.float32(highest_sum(metric, distances[0], sizes[query], largest, d))


@kernel
def tile_nearest(metric, packed, half, start, small, sums, best, number):
    """Keep in best and number (m,) the smallest s of each query and its row: nearest up to rounding."""
    m, width = small.shape[0], packed.shape[1]
    for group in range(0, m, GROUP):
        tile_sums(metric, packed, half, small, group, sums)
        for g in range(min(GROUP, m - group)):
            line, lowest = sums[g], np.float32(np.inf)
            for i in range(width):
                lowest = min(lowest, line[i])
            if lowest < best[group + g]:
                best[group + g] = lowest
                for i in range(width):
                    if line[i] == lowest:
                        number[group + g] = start + i
                        break
