"""One split for all nodes of a level: the sums of what it gains in each of them.

A node in which the split is not allowed (too few rows, values in the wrong order) gains nothing by it.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_histogram import N_BINS
from dbml_kernels.tree_split import BINS, CATEGORY, GAIN, MISSING, category_split, order_kept, side_gain, term_sums


@kernel
def level_gains_add(sums, steps, terms, layout, monotonic, node, rule, without, scratch, gains):
    """``gains[i, side, b] += `` what a node gains where the bins of ``terms[i]`` up to b go left; side 1: missing too.

    Shapes: `gains` (n, 2, 256), `scratch` (2, 256); the others as in `tree_split.split_find`, whose `without` is the
    gain of no split. Categories are left out.
    """
    g, h = scratch[0], scratch[1]
    gradient, hessian, per_hessian, low, high = node
    l2, least_rows, least_hessian = rule
    least = max(least_hessian, least_rows / per_hessian)
    for i in range(terms.shape[0]):
        place, way = layout[terms[i]], monotonic[terms[i]]
        if place[CATEGORY]:
            continue
        term_sums(sums, steps, place, node, g, h)
        for side in range(2):
            left_gradient, left_hessian = (g[MISSING], h[MISSING]) if side == 1 else (0.0, 0.0)
            for b in range(place[BINS]):
                left_gradient += g[b]
                left_hessian += h[b]
                right_gradient, right_hessian = gradient - left_gradient, hessian - left_hessian
                if (left_hessian < least) | (right_hessian < least):
                    continue
                if way != 0 and not order_kept(way, left_gradient, left_hessian, gradient, hessian, l2, low, high):
                    continue
                gain = side_gain(left_gradient, left_hessian, l2, low, high)
                gain += side_gain(right_gradient, right_hessian, l2, low, high)
                gains[i, side, b] += gain - without


@kernel
def level_category_split(sums, place, nodes, rule, category_l2, goes_left):
    """Find the set of levels of a category that gains most over the nodes of a level; return its gain, 0 if none does.

    The candidates are the best sets of the single nodes. Shapes: `sums` (n_nodes, 2, 256) in units of 1, of the
    category, `nodes` (n_nodes, 6): gradient, hessian, rows per hessian, low, high, gain of no split; `goes_left` (256,)
    uint8 gets the set.
    """
    n_nodes = sums.shape[0]
    best, chosen, candidate = np.zeros(6), 0.0, np.empty(N_BINS, np.uint8)
    for own in range(n_nodes):
        about = nodes[own]
        best[:] = 0.0
        best[GAIN] = about[5]
        node = (about[0], about[1], about[2], about[3], about[4])
        if not category_split(sums[own, 0], sums[own, 1], place[BINS], node, rule, best, candidate):
            continue
        total = 0.0
        for other in range(n_nodes):
            total += set_gain(sums[other], nodes[other], rule, category_l2, candidate)
        if total > chosen:
            chosen = total
            goes_left[:] = candidate
    return chosen


@kernel
def set_gain(sums, about, rule, category_l2, goes_left):
    """Return what a node gains where the levels of a set go left; shapes of `sums` (2, 256), of `about` (6,)."""
    l2, least_rows, least_hessian = rule
    left_gradient = left_hessian = 0.0
    for b in range(N_BINS):
        if goes_left[b]:
            left_gradient += sums[0, b]
            left_hessian += sums[1, b]
    right_hessian = about[1] - left_hessian
    least = max(least_hessian, least_rows / about[2])
    if left_hessian < least or right_hessian < least:
        return 0.0
    gain = side_gain(left_gradient, left_hessian, l2 + category_l2, about[3], about[4])
    gain += side_gain(about[0] - left_gradient, right_hessian, l2 + category_l2, about[3], about[4])
    return gain - about[5]
