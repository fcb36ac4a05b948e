"""Fitted trees as flat arrays, and their prediction: the one form that growing, importing, explaining and SQL share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.estimators.trees.walk import Walk
from dbml.passes.block import Block, Floats
from dbml.passes.engine import current

_MOST_CATEGORIES = 256


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
        """Return the trees of several ensembles, in order.

        Threads join an array each: where trees are large, most of it is the system handing over memory.
        """
        nodes = np.cumsum([0, *(part.term.size for part in parts)])
        sets = np.cumsum([0, *(len(part.category_sets) for part in parts)])
        moved = {"left": nodes, "category_set": sets}

        def join(name: str) -> NDArray:
            whole = np.concatenate([getattr(part, name) for part in parts])
            if name in moved:
                for first, last, more in zip(nodes[:-1], nodes[1:], moved[name][:-1].tolist(), strict=True):
                    own = whole[first:last]
                    np.add(own, more, out=own, where=own >= 0)
            return whole

        names = [field.name for field in fields(cls) if field.name != "roots"]
        crew = current().crew(len(names))
        try:
            whole = dict(zip(names, crew.each(join, names), strict=True))
        finally:
            crew.close()
        starts = [part.roots[:-1] + first for part, first in zip(parts, nodes[:-1], strict=True)]
        return cls(roots=np.append(np.concatenate(starts), nodes[-1]), **whole)

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
