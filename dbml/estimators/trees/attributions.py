"""What each term adds to the prediction of trees: exact Shapley values, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbml.estimators.attributions import Attributions, term_columns
from dbml.passes.block import Block, Floats

if TYPE_CHECKING:
    from dbml_sql.features import Encoding

    from dbml.estimators.trees.ensemble import Trees

_BLOCK = 4_096  # rows whose codes and values stay in the cache


class TreeAttributions(Attributions):
    """Trees made ready for Shapley values; see `dbml_kernels.tree_shap`.

    Parameters
    ----------
    trees : Trees
        The trees. An absent feature is averaged by `Trees.weight`, the training rows on each side of a split.
    baseline : ndarray of shape (n_outputs,)
        What the sum over trees starts with. The baseline of the attributions has the trees' mean over training rows
        besides: their sum where every feature is absent.
    encoding : Encoding
        The columns behind the terms.
    """

    def __init__(self, trees: Trees, baseline: Floats, encoding: Encoding) -> None:
        self._trees, self._walk, self._start = trees, trees.walk, baseline
        self._columns, self._n_columns = term_columns(encoding), len(encoding.columns)
        self._n_terms = encoding.n_terms
        reach = self._prepare()
        self.baseline = baseline + self._mean(reach)

    def _prepare(self) -> Floats:
        """Merge the conditions of every path by feature; return the share of rows that reaches each node."""
        from dbml_kernels.tree_shap import paths_merge

        trees = self._trees
        is_inner = trees.left >= 0
        n_inner = int(is_inner.sum())
        starts = np.concatenate([[0], np.cumsum(is_inner)])[trees.roots].astype(np.int64)
        inner, former = np.empty(n_inner, np.int64), np.empty(n_inner, np.int64)
        share, child = np.empty((n_inner, 3)), np.empty((n_inner, 2), np.int64)
        reach = np.zeros(trees.term.size)
        most = np.empty(trees.n_trees, np.int64)
        for tree in range(trees.n_trees):
            a, b = starts[tree], starts[tree + 1]
            ends = int(trees.roots[tree]), int(trees.roots[tree + 1])
            arrays = trees.term, trees.left, trees.weight
            most[tree] = paths_merge(*ends, *arrays, inner[a:b], former[a:b], share[a:b], child[a:b], reach)
        column = np.searchsorted(self._walk.terms, trees.term[inner]).astype(np.int64)
        n_points = (most + 1) // 2
        points, weights = _quadratures(int(n_points.max(initial=1)))
        values = np.ascontiguousarray(trees.value.T)
        self._tables = (starts, trees.outputs, n_points, points, weights, inner, former, share, child, column, values)
        return reach

    def _mean(self, reach: Floats) -> Floats:
        trees = self._trees
        mean = np.zeros(self._start.size)
        leaf_values = (trees.value.T * (reach * (trees.left < 0))).T
        for tree, output in enumerate(trees.outputs):
            nodes = trees.nodes_of(tree)
            mean[output : output + trees.value.shape[1]] += leaf_values[nodes.start : nodes.stop].sum(axis=0)
        return mean

    def by_term(self, block: Block) -> Floats:
        """Return what each term adds, shape (n, n_terms, n_outputs)."""
        from dbml_kernels.tree_shap import trees_explain

        walk, n_outputs = self._walk, self.baseline.size
        out = np.zeros((block.n_rows, self._n_terms, n_outputs))
        for first in range(0, block.n_rows, _BLOCK):
            n = min(_BLOCK, block.n_rows - first)
            codes = np.ascontiguousarray(walk.codes(block, first, n).reshape(n, -1).T).ravel()
            part = np.zeros((n, walk.terms.size, n_outputs))
            trees_explain(codes, n, walk.nodes, walk.sets, *self._tables, part)
            out[first : first + n, walk.terms] = part
        return out

    def by_term_block(self, block: Block) -> Floats:
        """Return what each term adds, shape (n, n_terms) where there is one output."""
        by_term = self.by_term(block)
        return by_term[:, :, 0] if by_term.shape[2] == 1 else by_term

    def by_column(self, block: Block) -> Floats:
        by_term = self.by_term(block)
        if np.array_equal(self._columns, np.arange(self._n_columns)):
            return by_term
        out = np.zeros((block.n_rows, self._n_columns, self.baseline.size))
        for term in self._walk.terms:
            out[:, self._columns[term]] += by_term[:, term]
        return out

    def raw(self, block: Block) -> Floats:
        raw = np.tile(self._start, (block.n_rows, 1))
        self._trees.add_to(block, raw)
        return raw


def _quadratures(most: int) -> tuple[Floats, Floats]:
    """Return the points and weights of Gauss-Legendre quadrature on [0, 1], row q - 1 for q points."""
    points, weights = np.zeros((most, most)), np.zeros((most, most))
    for q in range(1, most + 1):
        x, w = np.polynomial.legendre.leggauss(q)
        points[q - 1, :q], weights[q - 1, :q] = (x + 1.0) / 2.0, w / 2.0
    return points, weights
