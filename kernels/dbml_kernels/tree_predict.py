"""Rows of codes -> leaves and sums of leaf values, many rows down a tree side by side.

A node is one word, so that a step down is two loads: ``left << 32 | bound << 16 | missing left << 15 | category << 14 |
column``. A row goes left where ``(code + missing left) mod 65536 <= bound``; the code of a missing value has all bits
set, so that it is above every bound, or wraps to 0. The sibling of `left` follows it. In a categorical node `bound` is
a row of `sets`. A leaf leads to itself.
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

GROUP = 16  # rows that go down a tree side by side: their loads overlap
MOST_COLUMNS = 1 << 14
MOST_CODES = (1 << 16) - 2

_COLUMN, _CATEGORY, _MISSING_LEFT, _BOUND = (np.uint64(mask) for mask in (0x3FFF, 1 << 14, 15, 0xFFFF))
_BOUND_AT, _LEFT_AT = np.uint64(16), np.uint64(32)


@kernel
def following(node, code, sets):
    """Return the number of the node that a packed node leads a code to; shapes: `sets` (n_sets, 256) bool."""
    shifted = (code + ((node >> _MISSING_LEFT) & np.uint64(1))) & _BOUND
    bound = (node >> _BOUND_AT) & _BOUND
    goes_right = np.uint64(shifted > bound)
    if node & _CATEGORY != np.uint64(0) and code != _BOUND:
        goes_right = np.uint64(not sets[bound, min(code, np.uint64(255))])
    return (node >> _LEFT_AT) + goes_right


@kernel
def leaves_find(codes, n_columns, first, n, nodes, sets, root, at):
    """Set ``at[r]`` to the leaf of row ``first + r`` in the tree at `root`, for ``r < n <= GROUP``.

    Shapes: `codes` (n_rows * n_columns,) uint16, row by row, `nodes` (n_nodes,) uint64, `at` (GROUP,) uint32.
    """
    for r in range(n):
        at[r] = root
    moved = np.uint32(1)
    while moved != 0:
        moved = np.uint32(0)
        for r in range(np.uint64(n)):
            node = nodes[np.uint64(at[r])]
            code = np.uint64(codes[(np.uint64(first) + r) * np.uint64(n_columns) + (node & _COLUMN)])
            reached = np.uint32(following(node, code, sets))
            moved |= reached ^ at[r]
            at[r] = reached


@kernel
def trees_add(codes, n_columns, nodes, sets, roots, outputs, values, out):
    """``out[i, outputs[t] + k] += values[leaf of row i in tree t, k]`` over all trees.

    Shapes: `codes` (n * n_columns,) uint16, `nodes` (n_nodes,) uint64, `sets` (n_sets, 256) bool, `roots` and `outputs`
    (n_trees,) int64, `values` (n_nodes, n_values), `out` (n, n_outputs).
    """
    n = out.shape[0]
    at = np.empty(GROUP, np.uint32)
    for tree in range(roots.shape[0]):
        output = outputs[tree]
        for first in range(0, n, GROUP):
            size = min(GROUP, n - first)
            leaves_find(codes, n_columns, first, size, nodes, sets, np.uint32(roots[tree]), at)
            for r in range(size):
                for k in range(values.shape[1]):
                    out[first + r, output + k] += values[at[r], k]


@kernel
def trees_leaves(codes, n_columns, nodes, sets, roots, out):
    """``out[i, t]`` = the node that is the leaf of row i in tree t; shape of `out` (n, n_trees) int32."""
    at = np.empty(GROUP, np.uint32)
    for tree in range(roots.shape[0]):
        for first in range(0, out.shape[0], GROUP):
            size = min(GROUP, out.shape[0] - first)
            leaves_find(codes, n_columns, first, size, nodes, sets, np.uint32(roots[tree]), at)
            for r in range(size):
                out[first + r, tree] = at[r]
