"""Trees made ready for rows: codes of values among the thresholds of the trees, and two ways from codes to leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.passes.block import Block, Floats

if TYPE_CHECKING:
    from dbml.estimators.trees.ensemble import Trees
    from dbml.estimators.trees.leaf_masks import LeafMasks

_BLOCK = 8_192  # rows scored at once: their codes stay in the cache


def _masks_of(trees: Trees, column: NDArray, bound: NDArray) -> LeafMasks | None:
    """Return the masks of some trees, None where one of them has too many leaves."""
    from dbml.estimators.trees.leaf_masks import LeafMasks, Questions

    if not LeafMasks.suit(trees.roots):
        return None
    inner = trees.left >= 0
    by_set = trees.category_set[inner] >= 0
    missing_left = trees.missing_left[inner].astype(np.int64)
    asked = np.stack([np.where(by_set, missing_left, bound[inner]), np.where(by_set, 0, missing_left)], axis=1)
    category = np.where(by_set, trees.category_set[inner], -1)
    questions = Questions(column[inner], asked.astype(np.uint16), category, trees.category_sets)
    return LeafMasks(trees.left, trees.roots, questions, trees.value, trees.outputs)


class Walk:
    """Trees made ready for rows: packed nodes, and the thresholds of each column that they test.

    Trees of up to 64 leaves are scored by masks, ten times as fast as rows walk down.
    """

    def __init__(self, trees: Trees) -> None:
        from dbml_kernels.tree_predict import MOST_CODES, MOST_COLUMNS

        inner = trees.left >= 0
        self.terms = np.unique(trees.term[inner])
        column = np.searchsorted(self.terms, trees.term)
        by_set = trees.category_set >= 0
        self.categorical = np.isin(self.terms, trees.term[by_set])
        bound = np.zeros(trees.term.size, np.int64)
        bound[by_set] = trees.category_set[by_set]
        self.edges: list[Floats] = []
        for number, term in enumerate(self.terms):
            mine = inner & (trees.term == term) & ~by_set
            edges = np.unique(trees.threshold[mine])
            bound[mine] = np.searchsorted(edges, trees.threshold[mine]) + trees.missing_left[mine]
            self.edges.append(edges)
            if edges.size > MOST_CODES or number >= MOST_COLUMNS:
                raise InvalidData(
                    f"trees test at most {MOST_COLUMNS:,} terms with at most {MOST_CODES:,} thresholds each; these "
                    f"test {self.terms.size:,} terms, one of them with {edges.size:,} thresholds"
                )
        column[~inner], bound[~inner] = 0, 0xFFFF
        to = np.where(inner, trees.left, np.arange(trees.term.size))
        packed = (to.astype(np.int64) << 32) | (bound << 16) | (trees.missing_left.astype(np.int64) << 15)
        self.nodes = (packed | (by_set.astype(np.int64) << 14) | column).astype(np.uint64)
        # A missing value leaves a leaf's bound as the others do.
        self.nodes[~inner] &= ~np.uint64(1 << 15)
        self.sets = trees.category_sets
        self.roots, self.outputs, self.values = trees.roots[:-1], trees.outputs, trees.value
        self._masks = _masks_of(trees, column, bound)
        self._by_term: tuple[NDArray[np.int64], Floats, NDArray[np.int64]] | None = None

    def codes(self, block: Block, first: int, n: int, by_column: bool = False) -> NDArray[np.uint16]:
        """Return the codes of rows of a block, row by row or column by column."""
        from dbml_kernels.tree_codes import code_column, rank_column, rank_entries

        width, n_dense = self.terms.size, block.X.shape[1]
        sparse = block.sparse is not None and bool(width) and self.terms[-1] >= n_dense
        codes = np.empty(max(1, n * width), np.uint16)[: n * width]  # leaves look at the first, if there is none too
        step, across = (1, n) if by_column and not sparse else (width, 1)
        for number, (term, edges) in enumerate(zip(self.terms, self.edges, strict=True)):
            if term >= n_dense:
                codes[number::width] = np.searchsorted(edges, 0.0, side="left")
                continue
            values = block.X[first : first + n, term]
            if self.categorical[number]:
                code_column(values, step, number * across, codes)
            else:
                rank_column(values, edges, step, number * across, codes)
        if sparse:
            assert block.sparse is not None
            rank_entries(*block.sparse, first, *self._entries(block.sparse.indices), width, codes)
            return np.ascontiguousarray(codes.reshape(n, width).T).reshape(-1) if by_column else codes
        return codes

    def _entries(self, indices: NDArray[np.int32]) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
        """Return the place of each term in the codes, -1 of those not tested; the edges of all; where each's begin."""
        n_terms = max(int(self.terms[-1]), int(indices.max(initial=0))) + 1
        found = self._by_term
        if found is None or found[0].size < n_terms:
            places, sizes = np.full(n_terms, -1), np.zeros(n_terms, np.int64)
            places[self.terms] = np.arange(self.terms.size)
            sizes[self.terms] = [edges.size for edges in self.edges]
            found = self._by_term = places, np.concatenate(self.edges), np.concatenate([[0], np.cumsum(sizes)])
        return found

    def add_to(self, block: Block, out: Floats) -> None:
        """Add the values of each row's leaves to `out`, shape (n, n_outputs), C order."""
        from dbml_kernels.tree_predict import trees_add

        for first in range(0, block.n_rows, _BLOCK):
            n = min(_BLOCK, block.n_rows - first)
            part = out[first : first + n]
            if self._masks is not None:
                self._masks.add_to(self.codes(block, first, n, by_column=True), part)
                continue
            codes = self.codes(block, first, n)
            trees_add(codes, self.terms.size, self.nodes, self.sets, self.roots, self.outputs, self.values, part)

    def leaves(self, block: Block) -> NDArray[np.int32]:
        """Return the node that each row ends in, shape (n, n_trees)."""
        from dbml_kernels.tree_predict import trees_leaves

        out = np.empty((block.n_rows, self.roots.size), np.int32)
        for first in range(0, block.n_rows, _BLOCK):
            n = min(_BLOCK, block.n_rows - first)
            codes = self.codes(block, first, n)
            trees_leaves(codes, self.terms.size, self.nodes, self.sets, self.roots, out[first : first + n])
        return out
