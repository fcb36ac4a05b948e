"""Fitted trees as flat arrays, and their prediction: the one form that growing, importing, explaining and SQL share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.passes.block import Block, Floats

_MOST_CATEGORIES = 256
_BLOCK = 8_192  # rows scored at once: their codes stay in the cache


@dataclass(frozen=True)
class Trees:
    """Binary trees over the terms of an encoding by values, all their nodes in one list.

    Nodes of a tree follow each other, its root first, a parent before its children; the right child follows the left.

    Attributes
    ----------
    roots : ndarray of shape (n_trees + 1,), int64
        First node of each tree, and the number of all nodes.
    outputs : ndarray of shape (n_trees,), int64
        The output that the first value of a tree's leaves is added to.
    term : ndarray of shape (n_nodes,), int32
        Number of the term that a node tests, -1 in a leaf.
    threshold : ndarray of shape (n_nodes,), float64
        A number goes left where it is at most this. NaN in leaves and in nodes that test a category.
    category_set : ndarray of shape (n_nodes,), int32
        A category goes left where this row of `category_sets` says so; -1 in other nodes.
    category_sets : ndarray of shape (n_sets, 256), bool
        Which codes go left.
    missing_left : ndarray of shape (n_nodes,), bool
        Where a missing value (of a category: unseen too) goes.
    left : ndarray of shape (n_nodes,), int32
        Number of the left child, that of the right one is 1 more; -1 in a leaf.
    value : ndarray of shape (n_nodes, n_values), float64
        What a leaf adds to the prediction (shrinkage and averaging included). Of inner nodes: what they would add.
    gain : ndarray of shape (n_nodes,), float64
        Decrease of the loss by a node's split, 0 in a leaf.
    weight : ndarray of shape (n_nodes,), float64
        Training rows in a node, weighted.
    """

    roots: NDArray[np.int64]
    outputs: NDArray[np.int64]
    term: NDArray[np.int32]
    threshold: Floats
    category_set: NDArray[np.int32]
    category_sets: NDArray[np.bool_]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    value: Floats
    gain: Floats
    weight: Floats

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return self.outputs.size

    @property
    def n_outputs(self) -> int:
        """Number of outputs that leaves add to."""
        return int(self.outputs.max(initial=0)) + self.value.shape[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, for a model's state."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def joined(cls, parts: list[Trees]) -> Trees:
        """Return the trees of several ensembles, in order."""
        nodes = np.cumsum([0, *(part.term.size for part in parts)])
        sets = np.cumsum([0, *(len(part.category_sets) for part in parts)])

        def shifted(name: str, by: NDArray) -> NDArray:
            arrays = [getattr(part, name) for part in parts]
            return np.concatenate(
                [np.where(a >= 0, a + b, a).astype(a.dtype) for a, b in zip(arrays, by[:-1], strict=True)]
            )

        whole = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name not in ("roots", "left", "category_set")
        }
        starts = [part.roots[:-1] + first for part, first in zip(parts, nodes[:-1], strict=True)]
        roots = np.append(np.concatenate(starts), nodes[-1])
        return cls(roots=roots, left=shifted("left", nodes), category_set=shifted("category_set", sets), **whole)

    def take(self, trees: slice) -> Trees:
        """Return some trees, in order."""
        chosen = range(self.n_trees)[trees]
        kept = [np.arange(self.roots[t], self.roots[t + 1]) for t in chosen]
        nodes = np.concatenate([np.empty(0, np.int64), *kept]).astype(np.int64)
        sizes = np.array([part.size for part in kept], np.int64)
        roots = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        old = np.repeat(self.roots[:-1][trees], sizes)
        left = self.left[nodes]
        moved = np.where(left >= 0, left - old + np.repeat(roots[:-1], sizes), -1).astype(np.int32)
        by_node = ("term", "threshold", "category_set", "missing_left", "value", "gain", "weight")
        return Trees(
            roots=roots,
            outputs=self.outputs[trees],
            left=moved,
            category_sets=self.category_sets,
            **{name: getattr(self, name)[nodes] for name in by_node},
        )

    def nodes_of(self, tree: int) -> range:
        """Return the numbers of the nodes of a tree."""
        return range(int(self.roots[tree]), int(self.roots[tree + 1]))

    def levels(self) -> NDArray[np.int64]:
        """Return the depth of each node, 0 for a root."""
        depth = np.zeros(self.term.size, np.int64)
        for node in np.flatnonzero(self.left >= 0):
            depth[self.left[node] : self.left[node] + 2] = depth[node] + 1
        return depth

    def depths(self) -> Iterator[int]:
        """Yield the depth of each tree: the longest way from its root to a leaf."""
        depth = self.levels()
        for tree in range(self.n_trees):
            yield int(depth[self.roots[tree] : self.roots[tree + 1]].max(initial=0))

    # prediction ------------------------------------------------------------------------------------------------

    @cached_property
    def walk(self) -> Walk:
        """The trees made ready for rows."""
        return Walk(self)

    @cached_property
    def _walks(self) -> list[Walk]:
        """All trees made ready together, or in parts where they test too many thresholds for that."""
        try:
            return [self.walk]
        except InvalidData:
            if self.n_trees < 2:
                raise
        half = self.n_trees // 2
        return self.take(slice(half))._walks + self.take(slice(half, None))._walks

    def add_to(self, block: Block, out: Floats) -> None:
        """Add the values of each row's leaves to `out`, shape (n, n_outputs), C order."""
        for walk in self._walks:
            walk.add_to(block, out)

    def leaves(self, block: Block) -> NDArray[np.int32]:
        """Return the node that each row ends in, shape (n, n_trees)."""
        found = [walk.leaves(block) for walk in self._walks]
        firsts = np.cumsum([0, *(walk.nodes.size for walk in self._walks)])[:-1].astype(np.int32)
        return np.concatenate([part + first for part, first in zip(found, firsts, strict=True)], axis=1)


class Walk:
    """Trees made ready for rows: packed nodes, and the thresholds of each column that they test."""

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
        self._by_term: tuple[NDArray[np.int64], Floats, NDArray[np.int64]] | None = None

    def codes(self, block: Block, first: int, n: int) -> NDArray[np.uint16]:
        """Return the codes of rows of a block, row by row."""
        from dbml_kernels.tree_codes import code_column, rank_column, rank_entries

        width, n_dense = self.terms.size, block.X.shape[1]
        codes = np.empty(max(1, n * width), np.uint16)[: n * width]  # leaves look at the first, if there is none too
        for number, (term, edges) in enumerate(zip(self.terms, self.edges, strict=True)):
            if term >= n_dense:
                codes[number::width] = np.searchsorted(edges, 0.0, side="left")
                continue
            values = block.X[first : first + n, term]
            if self.categorical[number]:
                code_column(values, width, number, codes)
            else:
                rank_column(values, edges, width, number, codes)
        if block.sparse is not None and width and self.terms[-1] >= n_dense:
            rank_entries(*block.sparse, first, *self._entries(block.sparse.indices), width, codes)
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
        from dbml_kernels.tree_predict import trees_add

        for first in range(0, block.n_rows, _BLOCK):
            n = min(_BLOCK, block.n_rows - first)
            codes = self.codes(block, first, n)
            part = out[first : first + n]
            trees_add(codes, self.terms.size, self.nodes, self.sets, self.roots, self.outputs, self.values, part)

    def leaves(self, block: Block) -> NDArray[np.int32]:
        from dbml_kernels.tree_predict import trees_leaves

        out = np.empty((block.n_rows, self.roots.size), np.int32)
        for first in range(0, block.n_rows, _BLOCK):
            n = min(_BLOCK, block.n_rows - first)
            codes = self.codes(block, first, n)
            trees_leaves(codes, self.terms.size, self.nodes, self.sets, self.roots, out[first : first + n])
        return out
