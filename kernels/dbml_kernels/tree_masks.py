"""Leaves of small trees by bit masks: every question of a tree is asked of a run of rows at once, none is walked to.

The leaves of a tree, from left to right, are the bits of a word. A row that goes right at a node cannot end in the
leaves below its left child: `masks` has those bits cleared. Of all masks of its questions ANDed, the lowest bit is the
row's leaf. The questions are compared for many rows by one instruction (Lucchese et al. 2015, QuickScorer; 2016,
exploiting CPU SIMD extensions to speed-up document scoring with tree ensembles). Words are kept in planes as wide as
the codes that are compared, so that comparisons become masks as they are; most questions touch one plane.
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
def _ask(codes, top, bound, shift, goes):
    """``goes[r] = top if (codes[r] + shift) mod (top + 1) <= bound else 0``."""
    narrow = codes.dtype.type  # all in the type of the codes, for as many in an instruction as there can be
    for r in range(codes.shape[0]):
        goes[r] = top if narrow(codes[r] + shift) <= bound else narrow(0)


@kernel
def _ask_set(codes, top, goes_left, missing_left, goes):
    """As `_ask`, of the set of codes that go left."""
    narrow = codes.dtype.type
    for r in range(codes.shape[0]):
        left = missing_left if codes[r] == 0xFFFF else goes_left[min(codes[r], 255)]
        goes[r] = top if left else narrow(0)


@kernel
def masked_trees_add(
    codes, top, n, columns, questions, category, sets, masks, planes, starts, leaves, outputs, values, alive, out
):
    """``out[i, outputs[t] + k] += values[leaf of row i in tree t, k]`` over all trees.

    Shapes: `codes` (n_columns * n,), column by column, unsigned of a type whose largest number is `top`, uint16 or
    uint8; `columns` (n_questions,) int64; `questions` (n_questions, 2), of that type, of bound and shift: a row goes
    left where ``(code + shift) mod (top + 1) <= bound``. Where ``category[q] >= 0``, that row of `sets` (n_sets, 256)
    says which codes go left, and of uint16 `bound` is 1 where a missing one does (all bits set). `masks`
    (n_questions, n_planes) of that type has the planes of each word, the lowest first, and `planes` (n_questions, 2)
    from which plane to which some of its bits are cleared; `alive` (n_planes + 1, TILE) of that type is scratch. Tree t
    has the questions from ``starts[t]`` and the leaves from ``leaves[t]``, (n_trees + 1,) each.
    """
    n_planes = masks.shape[1]
    bits = np.uint64(8 if top == 255 else 16)
    goes = alive[n_planes]
    words = np.empty(TILE, np.uint64)
    for begin in range(0, n, TILE):
        size = min(TILE, n - begin)
        for tree in range(outputs.shape[0]):
            alive[:n_planes, :size] = top
            for q in range(starts[tree], starts[tree + 1]):
                column = columns[q] * n + begin
                own = codes[column : column + size]
                bound, shift = questions[q, 0], questions[q, 1]
                if category[q] < 0:
                    _ask(own, top, bound, shift, goes)
                else:
                    _ask_set(own, top, sets[category[q]], bound == 1, goes)
                for plane in range(planes[q, 0], planes[q, 1]):
                    mask, kept = masks[q, plane], alive[plane]
                    for r in range(size):
                        kept[r] &= goes[r] | mask
            output, first = outputs[tree], leaves[tree]
            words[:size] = 0
            for plane in range(n_planes):
                kept, place = alive[plane], np.uint64(plane) * bits
                for r in range(size):
                    words[r] |= np.uint64(kept[r]) << place
            for r in range(size):
                lowest = words[r] & (~words[r] + np.uint64(1))
                leaf = first + np.int64(_PLACES[(lowest * _SEQUENCE) >> np.uint64(58)])
                for k in range(values.shape[1]):
                    out[begin + r, output + k] += values[leaf, k]
