"""Leaves of small trees by bit masks: every question of a tree is asked of a run of rows at once, none is walked to.

The leaves of a tree, from left to right, are the bits of a word. A row that goes right at a node cannot end in the
leaves below its left child: `mask` has those bits cleared. Of all masks of its questions ANDed, the lowest bit is the
row's leaf. The questions are compared for many rows by one instruction (Lucchese et al. 2015, QuickScorer; 2016,
exploiting CPU SIMD extensions to speed-up document scoring with tree ensembles).
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.jit import kernel

MOST_LEAVES = 64  # bits of the widest word
TILE = 256  # rows whose words and codes stay in the nearest cache

# The place of a single bit: the top six bits of its product with a sequence in which all runs of six bits differ.
_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)
_PLACES = np.empty(64, np.uint8)
for _place in range(64):
    _PLACES[((int(_SEQUENCE) << _place) & 0xFFFFFFFFFFFFFFFF) >> 58] = _place


@kernel
def leaves_number(left, roots, below, first):
    """Count the leaves below each node, and those of its tree to the left of them.

    Shapes: (n_nodes,), `roots` (n_trees + 1,). ``left[i]`` is the left child of node i, -1 of a leaf; the right child
    follows it, and both follow their parent.
    """
    for tree in range(roots.shape[0] - 1):
        for node in range(roots[tree + 1] - 1, roots[tree] - 1, -1):
            below[node] = 1 if left[node] < 0 else below[left[node]] + below[left[node] + 1]
        first[roots[tree]] = 0
        for node in range(roots[tree], roots[tree + 1]):
            if left[node] >= 0:
                first[left[node]] = first[node]
                first[left[node] + 1] = first[node] + below[left[node]]


@kernel
def masked_trees_add(codes, n, questions, masks, category, sets, starts, leaves, outputs, values, alive, full, out):
    """``out[i, outputs[t] + k] += values[leaf of row i in tree t, k]`` over all trees.

    Shapes: `codes` (n_columns * n,) uint16, column by column; `questions` (n_questions, 3) uint16 of column, bound and
    shift: a row goes left where ``(code + shift) mod 65536 <= bound``. Where ``category[q] >= 0``, that row of `sets`
    (n_sets, 256) bool says which codes go left, and `bound` is 1 where a missing one does (all bits set). `masks`
    (n_questions,) and `alive` (TILE,), scratch, are words of one type, `full` one with all bits set. Tree t has the
    questions from ``starts[t]`` and the leaves from ``leaves[t]``, (n_trees + 1,) each.
    """
    for begin in range(0, n, TILE):
        size = min(TILE, n - begin)
        for tree in range(outputs.shape[0]):
            alive[:size] = full
            for q in range(starts[tree], starts[tree + 1]):
                column = np.int64(questions[q, 0]) * n + begin
                own = codes[column : column + size]
                bound, shift, mask = questions[q, 1], questions[q, 2], masks[q]
                if category[q] < 0:
                    for r in range(size):
                        alive[r] &= full if np.uint16(own[r] + shift) <= bound else mask
                else:
                    goes_left = sets[category[q]]
                    for r in range(size):
                        code = own[r]
                        left = bound == 1 if code == 0xFFFF else goes_left[min(code, 255)]
                        alive[r] &= full if left else mask
            output, first = outputs[tree], leaves[tree]
            for r in range(size):
                word = np.uint64(alive[r])
                lowest = word & (~word + np.uint64(1))
                leaf = first + np.int64(_PLACES[(lowest * _SEQUENCE) >> np.uint64(58)])
                for k in range(values.shape[1]):
                    out[begin + r, output + k] += values[leaf, k]
