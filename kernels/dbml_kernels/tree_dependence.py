"""The mean of trees over training rows, where one feature has a given value: partial dependence by weights."""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel
from dbml_kernels.tree_predict import following

_COLUMN = np.uint64(0x3FFF)


@kernel
def trees_depend(codes, column, nodes, sets, left, weight, roots, outputs, values, reach, out):
    """``out[g, outputs[t] + k] += sum_leaves reach(leaf | g) values[leaf, k]`` over all trees (Friedman 2001, 8.2).

    A row goes the way of ``codes[g]`` where `column` is tested, else both ways, in shares of `weight`; halves where no
    training row came by. Shapes: `codes` (n_grid,) uint16, `nodes` (n_nodes,) as in `tree_predict`, `roots` (n_trees +
    1,), `reach` (n_nodes,), which is overwritten, `out` (n_grid, n_outputs).
    """
    for g in range(codes.shape[0]):
        for tree in range(outputs.shape[0]):
            reach[roots[tree] : roots[tree + 1]] = 0.0
            reach[roots[tree]] = 1.0
            for node in range(roots[tree], roots[tree + 1]):
                if left[node] < 0:
                    for k in range(values.shape[1]):
                        out[g, outputs[tree] + k] += reach[node] * values[node, k]
                elif np.int64(nodes[node] & _COLUMN) == column:
                    reach[following(nodes[node], np.uint64(codes[g]), sets)] = reach[node]
                else:
                    part = weight[left[node]] / weight[node] if weight[node] > 0.0 else 0.5
                    reach[left[node]] = reach[node] * part
                    reach[left[node] + 1] = reach[node] * (1.0 - part)
