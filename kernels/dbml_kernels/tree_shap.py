"""Exact Shapley values of trees; an absent feature is averaged by the shares of training rows on each side.

A leaf of value v is reached with weight ``prod_j f_j``, j over the features of its path. f_j is o_j: 1 where the row
meets all conditions of the path on j, else 0; or, where j is absent, z_j: the share of training rows that meet them.
The Shapley value of j is ``v (o_j - z_j) sum_S |S|! (d - |S| - 1)! / d! prod_{k in S} o_k prod_{k not in S} z_k``, S
over the sets of the other features (Lundberg et al. 2020, algorithm 2). These weights are integrals, ``s! (d - s -
1)! / d! = int_0^1 t^s (1 - t)^(d - s - 1) dt``, so that the sum is ``int_0^1 prod_{k != j} f_k(t) dt`` with ``f_k(t)
= z_k (1 - t) + o_k t``: a polynomial, for which Gauss-Legendre quadrature at d / 2 points is exact. At each point a
tree is walked once down, for products, and once up, for sums over leaves, as in Linear TreeSHAP (Yu et al. 2022),
where polynomials are interpolated instead; here all factors are positive and nothing cancels. Where a feature is
tested again on a path, its former factor is divided out.

Inner nodes of a tree are numbered 0, 1, …, parents first. Arrays over them, in all of the kernels:

former : 2 m + side of the last test m of the same feature above and the side taken there, else -1
share : (…, 3), z of the feature before the test, and on its left and its right
child : (…, 2), number of the inner node on either side, or ``~node`` of a leaf among all nodes
way : (…, ROWS), where a row goes: 1 left, -1 right; 0 where it fails a former condition on the feature
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_predict import following

ROWS = 64  # rows side by side: a tile, whose products and sums stay in the cache

_COLUMN, _CATEGORY, _BOUND, _ONE = (np.uint64(mask) for mask in (0x3FFF, 1 << 14, 0xFFFF, 1))
_MISSING_LEFT, _BOUND_AT, _LEFT_AT = (np.uint64(place) for place in (15, 16, 32))


@kernel
def paths_merge(root, end, term, left, weight, inner, former, share, child, reach):
    """Fill the arrays over the inner nodes of the tree at `root`, and the share of rows that `reach` each node.

    Shapes: `term`, `left`, `weight`, `reach` (n_nodes,); `inner`, `former`, `share`, `child` of this tree. Returns the
    most features on a path. A node that no row reached sends halves of none both ways.
    """
    size = end - root
    number = np.full(size, -1, np.int64)
    above = np.full(size, -1, np.int64)  # 2 m + side by which a node is reached
    n_features = np.zeros(size, np.int64)
    reach[root] = 1.0
    m, most = 0, 0
    for node in range(root, end):
        most = max(most, n_features[node - root])
        if left[node] < 0:
            continue
        number[node - root] = m
        inner[m] = node
        if above[node - root] >= 0:
            child[above[node - root] // 2, above[node - root] % 2] = m
        at = above[node - root]
        while at >= 0 and term[inner[at // 2]] != term[node]:
            at = above[inner[at // 2] - root]
        former[m] = at
        share[m, 0] = 1.0 if at < 0 else share[at // 2, 1 + at % 2]
        for side in range(2):
            to = left[node] + side
            part = weight[to] / weight[node] if weight[node] > 0.0 else 0.5
            reach[to] = reach[node] * part
            share[m, 1 + side] = share[m, 0] * part
            child[m, side] = ~to
            above[to - root] = 2 * m + side
            n_features[to - root] = n_features[node - root] + (at < 0)
        m += 1
    return most


@kernel
def rows_test(codes, n, first, nodes, sets, inner, former, way):
    """Set `way` for rows ``first`` to ``first + ROWS`` at the inner nodes of a tree; rows beyond the last go left.

    Shapes: `codes` (n_columns * n,) uint16, column by column; `nodes` (n_nodes,), packed as in `tree_predict`.
    """
    size = min(ROWS, n - first)
    for m in range(inner.shape[0]):
        node = nodes[inner[m]]
        start = np.int64(node & _COLUMN) * n + first
        mine, to = codes[start : start + size], way[m]
        if node & _CATEGORY != np.uint64(0):
            left = node >> _LEFT_AT
            for r in range(size):
                to[r] = 1.0 if following(node, np.uint64(mine[r]), sets) == left else -1.0
        else:
            missing_left = np.uint16((node >> _MISSING_LEFT) & _ONE)
            bound = np.uint16((node >> _BOUND_AT) & _BOUND)
            for r in range(size):
                to[r] = 1.0 if np.uint16(mine[r] + missing_left) <= bound else -1.0
        for r in range(size, ROWS):
            to[r] = 1.0
        if former[m] >= 0:
            before, side = way[former[m] // 2], 1.0 - 2.0 * (former[m] % 2)
            for r in range(ROWS):
                to[r] = to[r] if before[r] == side else 0.0


@kernel
def products_go_down(t, share, former, child, way, products):
    """``products[c] = products[m] f_c(t) / f_former(t)`` for the inner children c of all m; ``products[0]`` is given.

    Shape of `products`: (m, ROWS).
    """
    for m in range(child.shape[0]):
        before, went, whole = share[m, 0] * (1.0 - t), way[m], products[m]
        for side in range(2):
            if child[m, side] < 0:
                continue
            z, here, to = share[m, 1 + side] * (1.0 - t), 1.0 - 2.0 * side, products[child[m, side]]
            if former[m] < 0:
                met = z + t
                for r in range(ROWS):
                    to[r] = whole[r] * (met if went[r] == here else z)
            else:
                met, lost = (z + t) / (before + t), z / (before + t)
                never = share[m, 1 + side] / share[m, 0] if share[m, 0] > 0.0 else 0.0
                for r in range(ROWS):
                    factor = met if went[r] == here else lost
                    to[r] = whole[r] * (factor if went[r] != 0.0 else never)


@kernel
def _side_add(below, went, here, met, lost, never, if_met, if_lost, total, phi):
    """``total += below f`` and ``phi += below f d`` for one side of a node, where f and d depend on where a row goes.

    f is `met`, `lost` or `never` where a row meets the conditions on the side, fails the last, or failed one before; d
    is `if_met`, `if_lost` or 0.
    """
    for r in range(ROWS):
        factor = met if went[r] == here else lost
        total[r] += below[r] * (factor if went[r] != 0.0 else never)
    add_met, add_lost = met * if_met, lost * if_lost
    for r in range(ROWS):
        effect = add_met if went[r] == here else add_lost
        phi[r] += below[r] * (effect if went[r] != 0.0 else 0.0)


@kernel
def sums_go_up(t, share, former, child, column, value, way, products, sums, phi):
    """Add the Shapley values at one point of the quadrature to `phi`.

    ``sums[m]``: products times values, over the leaves below m. What m adds to the feature that it tests is
    ``sum_sides sums[side] ((o - z) / f(t) of the side - the same of its former test)``. Shapes: `value` (n_nodes,),
    `column` (m,), `products` and `sums` (m, ROWS), `phi` (n_columns, ROWS).
    """
    fails = -1.0 / (1.0 - t)
    for m in range(child.shape[0] - 1, -1, -1):
        before = share[m, 0]
        over = 1.0 / (before * (1.0 - t) + t)
        was = (1.0 - before) * over
        sums[m] = 0.0
        for side in range(2):
            z, c, here = share[m, 1 + side], child[m, side], 1.0 - 2.0 * side
            if_met, if_lost = (1.0 - z) / (z * (1.0 - t) + t) - was, fails - was
            if c >= 0:
                _side_add(sums[c], way[m], here, 1.0, 1.0, 1.0, if_met, if_lost, sums[m], phi[column[m]])
            else:
                v = value[~c]
                met, lost, never = v * (z * (1.0 - t) + t) * over, v * z * (1.0 - t) * over, 0.0
                if former[m] >= 0 and before > 0.0:
                    never = v * z / before
                _side_add(products[m], way[m], here, met, lost, never, if_met, if_lost, sums[m], phi[column[m]])


@kernel
def trees_explain(
    codes, n, nodes, sets, starts, outputs, n_points, points, weights, inner, former, share, child, column, values, out
):
    """Add the Shapley values of all trees to ``out[row, column, output]``.

    Shapes: `starts` (n_trees + 1,): first inner node of each tree; `n_points` (n_trees,): points of the quadrature for
    each tree; `points` and `weights` (k, k): row q - 1 for q points on [0, 1]; `values` (n_values, n_nodes); `out` (n,
    n_columns, n_outputs).
    """
    most = 1
    for tree in range(outputs.shape[0]):
        most = max(most, starts[tree + 1] - starts[tree])
    way, products, sums = np.empty((most, ROWS)), np.empty((most, ROWS)), np.empty((most, ROWS))
    phi = np.empty((out.shape[2], out.shape[1], ROWS))
    for first in range(0, n, ROWS):
        phi[:] = 0.0
        for tree in range(outputs.shape[0]):
            a, b = starts[tree], starts[tree + 1]
            if a == b:
                continue
            rows_test(codes, n, first, nodes, sets, inner[a:b], former[a:b], way)
            for q in range(n_points[tree]):
                t = points[n_points[tree] - 1, q]
                products[0] = weights[n_points[tree] - 1, q]
                products_go_down(t, share[a:b], former[a:b], child[a:b], way, products)
                for k in range(values.shape[0]):
                    sums_go_up(
                        t,
                        share[a:b],
                        former[a:b],
                        child[a:b],
                        column[a:b],
                        values[k],
                        way,
                        products,
                        sums,
                        phi[outputs[tree] + k],
                    )
        for r in range(min(ROWS, n - first)):
            for j in range(out.shape[1]):
                for k in range(out.shape[2]):
                    out[first + r, j, k] += phi[k, j, r]
