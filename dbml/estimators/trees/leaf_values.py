"""A grown tree's values on their way to the scores of all rows, also of those that it did not grow from."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from dbml_kernels.tree_rows import bins_leaves_add, leaves_add
from numpy.typing import NDArray

from dbml.estimators.trees.leaf_masks import LeafMasks, Questions
from dbml.estimators.trees.nodes import Flat
from dbml.passes.block import Floats
from dbml.passes.shards import Shard

_FEW = 8  # one row in so many: they walk down the tree, all others are where they grew


class LeafValues:
    """The values of the leaves of one tree.

    Parameters
    ----------
    flat : Flat
        The tree.
    values : ndarray of shape (n_nodes,)
        What a row's score rises by.
    output : int
        Which score.
    n_columns : int
        Columns of the bins.
    sizes : ndarray of shape (n_shards,), int64
        Rows of each shard that the tree grew from, the first ones of its order.
    copied : bool
        Whether these were copies: the order does not say where they lie.
    """

    def __init__(
        self, flat: Flat, values: Floats, output: int, n_columns: int, sizes: NDArray[np.int64], copied: bool
    ) -> None:
        self._flat, self._values, self._output = flat, values, output
        self._n_columns, self._sizes, self._copied = n_columns, sizes, copied
        self._leaves = flat.leaves
        self._begins, self._ends = flat.runs(self._leaves)

    # What only some ways to the scores need; threads may make one twice.

    @cached_property
    def _walk(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        return self._flat.walk()

    @cached_property
    def _masks(self) -> LeafMasks | None:
        roots = np.array([0, len(self._values)])
        if not LeafMasks.suit(roots):
            return None
        questions = bin_questions(self._flat)
        return LeafMasks(self._flat.left, roots, questions, self._values[:, None], np.zeros(1, np.int64))

    def add_to(self, shard: Shard) -> None:
        """Add the values to the resident scores of a shard."""
        own, grown = shard.resident, int(self._sizes[shard.number])
        scores, rest = own["scores"][self._output], shard.n_rows - grown
        if not self._copied and rest * _FEW <= shard.n_rows:
            runs = (np.ascontiguousarray(bounds[:, shard.number]) for bounds in (self._begins, self._ends))
            leaves_add(own["order"], *runs, self._values[self._leaves], scores)
            self._walk_down(shard, own["order"][grown:], scores)
        elif self._masks is not None:
            self._masks.add_to(shard.read("columns").reshape(-1), scores[:, None])
        else:
            self._walk_down(shard, np.arange(shard.n_rows, dtype=np.int32), scores)

    def _walk_down(self, shard: Shard, rows: NDArray[np.int32], scores: Floats) -> None:
        if rows.size:
            bins = shard.read("bins").reshape(-1)
            bins_leaves_add(bins, self._n_columns, rows, *self._walk, self._values, scores)


def bin_questions(flat: Flat) -> Questions:
    """Return what the inner nodes ask of bins: whether one lies in a run of them, from 255 on to 0; or in a set."""
    inner = np.flatnonzero(flat.left >= 0)
    goes_left = flat.goes_left[inner].astype(bool)
    begins = goes_left & ~np.roll(goes_left, 1, axis=1)
    runs, first, size = begins.sum(axis=1), begins.argmax(axis=1), goes_left.sum(axis=1)
    by_run = (runs == 1) | (size == 256)
    asked = np.stack([np.where(by_run, size - 1, 0), np.where(by_run, -first, 0)], axis=1)
    category = np.where(by_run, -1, np.cumsum(~by_run) - 1)
    return Questions(flat.column[inner], asked.astype(np.uint8), category, goes_left[~by_run])
