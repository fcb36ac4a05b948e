"""Small trees as masks of their leaves; see `dbml_kernels.tree_masks`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from dbml_kernels.tree_masks import MOST_LEAVES, TILE, leaves_number, masked_trees_add
from numpy.typing import NDArray

from dbml.passes.block import Floats

Codes = NDArray[Any]  # uint16 or uint8


class Questions(NamedTuple):
    """What the inner nodes of trees ask, in their order.

    Attributes
    ----------
    column : ndarray of shape (n_questions,), int64
    bound_shift : ndarray of shape (n_questions, 2)
        Of the type of the codes: left where ``(code + shift) mod (largest + 1) <= bound``.
    category : ndarray of shape (n_questions,), int64
        Row of `sets` that says which codes go left, -1 where bound and shift do.
    sets : ndarray of shape (n_sets, 256)
    """

    column: NDArray[np.int64]
    bound_shift: Codes
    category: NDArray[np.int64]
    sets: NDArray


class LeafMasks:
    """The questions of small trees, and the leaves that each one rules out.

    Parameters
    ----------
    left : ndarray of shape (n_nodes,)
        Left child of each node, -1 of leaves; the right one follows it.
    roots : ndarray of shape (n_trees + 1,)
    questions : Questions
    values : ndarray of shape (n_nodes, n_values)
    outputs : ndarray of shape (n_trees,)
        First output of each tree.
    """

    def __init__(
        self, left: NDArray, roots: NDArray, questions: Questions, values: Floats, outputs: NDArray[Any]
    ) -> None:
        below, before = np.zeros(left.size, np.int64), np.zeros(left.size, np.int64)
        leaves_number(left, roots, below, before)
        inner = left >= 0
        lefts, leaf = left[inner], np.flatnonzero(~inner)
        gone = ((np.uint64(1) << below[lefts].astype(np.uint64)) - np.uint64(1)) << before[lefts].astype(np.uint64)
        code = questions.bound_shift.dtype
        n_planes = -(-int(below.max(initial=1)) // (8 * code.itemsize))
        self._masks = (~gone[:, None]).astype("<u8").view(code.newbyteorder("<")).astype(code)[:, :n_planes]
        cleared = self._masks != np.iinfo(code).max
        self._planes = np.stack([cleared.argmax(axis=1), n_planes - cleared[:, ::-1].argmax(axis=1)], axis=1)
        self._starts = np.append(np.cumsum(inner) - inner, inner.sum())[roots]
        self._leaves = roots - self._starts  # every node is a question or a leaf
        tree_of = np.searchsorted(roots, leaf, side="right") - 1
        self._values = np.empty((leaf.size, values.shape[1]))
        self._values[self._leaves[tree_of] + before[leaf]] = values[leaf]
        self._questions, self._outputs = questions, outputs
        self._top = code.type(np.iinfo(code).max)

    @staticmethod
    def suit(roots: NDArray) -> bool:
        """Return whether all trees are small enough; shape of `roots` (n_trees + 1,)."""
        return bool((np.diff(roots).max(initial=0) + 1) // 2 <= MOST_LEAVES)

    def add_to(self, codes: Codes, out: Floats) -> None:
        """Add the values of leaves to `out`, shape (n, n_outputs), for codes column by column."""
        asked = self._questions
        masked_trees_add(
            codes, self._top, len(out), asked.column, asked.bound_shift, asked.category, asked.sets, self._masks,
            self._planes, self._starts, self._leaves, self._outputs, self._values,
            np.empty((self._masks.shape[1] + 1, TILE), self._masks.dtype), out,
        )  # fmt: skip
