"""Neighbours among rows that lie in cells: only rows that the triangle inequality does not exclude are compared.

A row x of the cell with centre c, and a query q:

    distances      |d(q, c) - d(x, c)| <= d(q, x)
    products       q.x <= q.c + |q| |x - c|

Rows of a cell lie in the order of d(x, c), their radius. Bounds are compared with a slack for rounding, so that what is
found is what comparing all rows finds. For the cosine, distances to centres are those of vectors of length 1.
"""

from __future__ import annotations

import math

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.nearest_heap import heap_offer
from dbml_kernels.vector_distance import (
    COSINE,
    EUCLIDEAN,
    INNER_PRODUCT,
    MANHATTAN,
    distance,
    distance_bound,
    single_bound,
)

ROUNDING = 1e-15
RUN = 16  # rows of a cell that are looked at together


@kernel
def centre_distance(metric, x, q):
    """What bounds are made of: the distance to a centre, or the opposite of the product with it."""
    total = 0.0
    if metric == INNER_PRODUCT:
        for j in range(q.shape[0]):
            total -= x[j] * q[j]
        return total
    if metric == MANHATTAN:
        for j in range(q.shape[0]):
            total += abs(x[j] - q[j])
        return total
    for j in range(q.shape[0]):
        total += (x[j] - q[j]) * (x[j] - q[j])
    return math.sqrt(total)


@kernel(exact=True)
def centres_measure(metric, centres, queries, first, last, out):
    """Fill rows `first` to `last` of out (m, n_cells) with what bounds are made of."""
    for query in range(first, last):
        for cell in range(centres.shape[0]):
            out[query, cell] = centre_distance(metric, centres[cell], queries[query])


@kernel(exact=True)
def radii_measure(metric, rows, centres, cell, out):
    """Fill out (n,) with the distance of each row to the centre of its cell."""
    for i in range(rows.shape[0]):
        out[i] = centre_distance(metric, rows[i], centres[cell[i]])


@kernel(exact=True)
def reach(metric, farthest, d):
    """The distance, as that to centres, within which rows may be as near as `farthest`."""
    if metric == EUCLIDEAN:
        return math.sqrt(farthest)
    if metric == COSINE:
        return math.sqrt(2.0 * (farthest + (d + 8) * ROUNDING))
    return farthest


@kernel(exact=True)
def lower_bound(metric, to_centre, low, high, size, d):
    """A bound of how near rows can be whose radius is between low and high, on the scale of `reach`, with slack."""
    slack = (d + 8) * ROUNDING
    if metric == INNER_PRODUCT:
        return to_centre - size * high - slack * (abs(to_centre) + size * high)
    return max(to_centre - high, low - to_centre) - slack * (to_centre + high)


@kernel(exact=True)
def bounds_measure(metric, to_centre, low, high, sizes, d, first, last, out):
    """Fill rows `first` to `last` of out (m, n_cells) with the bounds of cells; infinite for empty ones."""
    for query in range(first, last):
        for cell in range(low.shape[0]):
            near, far = low[cell], high[cell]
            out[query, cell] = (
                np.inf if near > far else lower_bound(metric, to_centre[query, cell], near, far, sizes[query], d)
            )


@kernel
def single_bounds(rows, start, stop, q, out):
    """Fill `out` with `single_bound` of rows `start` to `stop`."""
    for i in range(start, stop):
        out[i - start] = single_bound(rows[i], q)


@kernel
def distance_bounds(metric, rows, start, stop, q, size, out):
    """Fill `out` with `distance_bound` of rows `start` to `stop`."""
    for i in range(start, stop):
        out[i - start] = distance_bound(metric, rows[i], q, size)


@kernel(exact=True)
def cells_search(
    metric, rows, radius, positions, labels, offsets, queries, small, sizes, order, starts, cells, to_centre,
    first, last, heap_distance, heap_position, heap_label,
):  # fmt: skip
    """Offer rows of some cells to the heaps of queries order[first] to order[last - 1].

    rows (n, d), radius, positions, labels (n,), of which cell c has those from offsets[c] to offsets[c + 1]; queries
    (m, d) float64, the same as float32 `small`, with lengths `sizes` (m,); the cells of query i, and what bounds are
    made of, are entries starts[i] to starts[i + 1] of cells and to_centre. Rows of float32 have queries that float32
    holds.
    """
    d = rows.shape[1]
    single, bounds = metric == EUCLIDEAN and rows.itemsize == 4, np.empty(RUN)
    for number in range(first, last):
        query = order[number]
        q, size = queries[query], sizes[query]
        distances, taken, tags = heap_distance[query], heap_position[query], heap_label[query]
        within = reach(metric, distances[0], d)
        for entry in range(starts[query], starts[query + 1]):
            begin, end = offsets[cells[entry]], offsets[cells[entry] + 1]
            centre = to_centre[entry]
            if begin == end or lower_bound(metric, centre, radius[begin], radius[end - 1], size, d) > within:
                continue
            for run in range(begin, end, RUN):
                stop = min(run + RUN, end)
                if lower_bound(metric, centre, radius[run], radius[stop - 1], size, d) > within:
                    continue
                if single:
                    single_bounds(rows, run, stop, small[query], bounds)
                else:
                    distance_bounds(metric, rows, run, stop, q, size, bounds)
                for i in range(run, stop):
                    if not bounds[i - run] > distances[0]:  # also where it overflowed
                        found = distance(metric, rows[i], q)
                        heap_offer(distances, taken, tags, found, positions[i], labels[i])
                        within = reach(metric, distances[0], d)


@kernel(exact=True)
def cells_within(
    metric, rows, radius, positions, offsets, queries, sizes, starts, cells, to_centre, first, last,
    farthest, out_query, out_position, out_distance,
):  # fmt: skip
    """Write the rows of some cells that are as near as `farthest`; return how many, also those past the end of out."""
    d, count = rows.shape[1], 0
    within = reach(metric, farthest, d)
    for query in range(first, last):
        for entry in range(starts[query], starts[query + 1]):
            begin, end = offsets[cells[entry]], offsets[cells[entry] + 1]
            for i in range(begin, end):
                if lower_bound(metric, to_centre[entry], radius[i], radius[i], sizes[query], d) > within:
                    continue
                if distance_bound(metric, rows[i], queries[query], sizes[query]) > farthest:
                    continue
                found = distance(metric, rows[i], queries[query])
                if found <= farthest:
                    if count < out_query.shape[0]:
                        out_query[count], out_position[count], out_distance[count] = query, positions[i], found
                    count += 1
    return count
