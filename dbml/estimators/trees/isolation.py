"""The trees of an isolation forest: the rows each is grown from, read in one pass, and the trees as `Trees`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.folds import hash_mix
from dbml_kernels.forest_isolate import BEGIN, COLUMN, END, LEFT, MISSING_LEFT, isolation_grow, path_length
from numpy.typing import NDArray

from dbml.estimators.trees.ensemble import Trees
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data

__all__ = ["Drawn", "grow_isolation", "path_length", "rows_of_trees"]


@dataclass(frozen=True)
class Drawn:
    """Rows of the trees.

    Attributes
    ----------
    positions : ndarray of shape (n,), int64
        Every row that some tree has, ascending.
    places : ndarray of shape (n_trees, size), int64
        Rows of each tree, as places in `positions`.
    """

    positions: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, weights: Floats, size: int, n_trees: int, bootstrap: bool, seed: int) -> Drawn:
        """Draw rows in proportion to their weights; without `bootstrap` no row twice for a tree."""
        rows = np.flatnonzero(weights > 0.0)
        even = bool((weights[rows] == weights[rows[0]]).all())
        share = None if even else weights[rows] / weights[rows].sum()
        found = [
            rows[np.random.default_rng([seed, tree]).choice(rows.size, size, bootstrap, share, shuffle=False)]
            for tree in range(n_trees)
        ]
        positions, places = np.unique(np.concatenate(found), return_inverse=True)
        return cls(positions, places.reshape(n_trees, size))

    def of_tree(self, tree: int) -> NDArray[np.int64]:
        """Return the rows of a tree, in the order of the table."""
        return np.sort(self.places[tree])


def rows_of_trees(data: Data, drawn: Drawn) -> Floats:
    """Return the values of all rows that trees have, shape (n, n_terms)."""
    n_terms = data.schema.encoding.n_terms

    def read(block: Block) -> Floats:
        first, last = np.searchsorted(drawn.positions, [block.start, block.start + block.n_rows])
        own = drawn.positions[first:last] - block.start
        values = np.zeros((own.size, n_terms))
        n_dense = block.X.shape[1]
        values[:, :n_dense] = block.X[own]
        if block.sparse is not None:
            indptr, indices, entries = block.sparse
            for place, row in enumerate(own):
                at = slice(indptr[row], indptr[row + 1])
                values[place, indices[at]] = entries[at]
        return values

    return np.concatenate(list(data.map(read, purpose="rows of trees")))


def grow_isolation(rows: Floats, own: NDArray[np.int64], width: int, seed: int, number: int) -> Trees:
    """Return a tree over some rows, and over `width` columns drawn for it; its values are lengths of paths."""
    rng = np.random.default_rng([seed, number, 1])
    n_terms = rows.shape[1]
    columns = np.arange(n_terms) if width >= n_terms else np.sort(rng.choice(n_terms, width, replace=False))
    X = np.ascontiguousarray(rows[own])
    size = len(X)
    nodes = np.empty((2 * size, 6), np.int32)
    thresholds, lengths = np.empty(2 * size), np.empty(2 * size)
    depth = int(np.ceil(np.log2(max(size, 2))))
    key = np.uint64(hash_mix(number, np.uint64(seed)))
    n = isolation_grow(X, columns, key, depth, nodes, thresholds, lengths)
    nodes = nodes[:n]
    return Trees(
        roots=np.array([0, n]),
        outputs=np.zeros(1, np.int64),
        term=nodes[:, COLUMN].copy(),
        threshold=thresholds[:n].copy(),
        category_set=np.full(n, -1, np.int32),
        category_sets=np.zeros((0, 256), bool),
        missing_left=nodes[:, MISSING_LEFT] != 0,
        left=nodes[:, LEFT].copy(),
        value=lengths[:n, None].copy(),
        gain=np.zeros(n),
        weight=(nodes[:, END] - nodes[:, BEGIN]).astype(float),
    )
