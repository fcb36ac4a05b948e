"""Bins for trees that test one order of each column: levels of a category are ranked by their targets, once.

A category is then a number like the others. Wright & König 2019, splitting on categorical predictors in random forests:
as accurate as looking for the best set of levels in every node; of several classes the order is that of the first
principal component of their shares (Coppersmith et al. 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.forest_split import Columns
from dbml_kernels.forest_sums import MISSING, N_BINS
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.estimators.trees.binning import Binning
from dbml.passes.block import Block, Floats

_SMOOTH = 1.0  # rows of the average that a level begins with: rare levels lie in the middle


@dataclass(frozen=True)
class ForestBins:
    """How terms become bins, a column of bins each.

    Attributes
    ----------
    binning : Binning
        Bins of numbers, codes of categories.
    ranks : ndarray of shape (n_terms, 256), uint8
        Bin of each code of a category, by the order of its levels; of numbers, of each bin itself.
    centres, edges : ndarray of shape (n_terms, 256)
        A value for each bin, and the edge above it; of a category, ranks.
    """

    binning: Binning
    ranks: NDArray[np.uint8]
    centres: Floats
    edges: Floats

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.ranks)

    @classmethod
    def learn(cls, sample: Block, encoding: Encoding, max_bins: int, n_classes: int) -> ForestBins:
        """Learn edges and orders from a sample of rows; `n_classes` is 0 for numbers."""
        binning = Binning.learn(sample, encoding, max_bins)
        bins = binning.bins_of(sample)
        width = binning.n_terms
        ranks = np.tile(np.arange(N_BINS, dtype=np.uint8), (width, 1))
        centres = np.tile(np.arange(N_BINS, dtype=float), (width, 1))
        edges = centres + 0.5
        for column in range(width):
            if binning.categorical[column]:
                n = int(binning.n_bins[column])
                ranks[column, :n] = level_ranks(bins[:, column], n, sample, n_classes)
                continue
            own = binning.edges[column]
            edges[column] = np.inf
            edges[column, : own.size] = own
            if column < binning.n_dense:
                centres[column] = bin_centres(sample.X[:, column], bins[:, column], own)
            else:
                around = np.concatenate([own[:1], own, own[-1:]])
                centres[column, : own.size + 1] = 0.5 * (around[1:] + around[:-1]) if own.size else 0.0
        return cls(binning, ranks, centres, edges)

    def bins_of(self, block: Block) -> NDArray[np.uint8]:
        """Return the bins of a block, shape (n, n_columns)."""
        bins = self.binning.bins_of(block)
        for column in np.flatnonzero(self.binning.categorical):
            bins[:, column] = self.ranks[column][bins[:, column]]
        return bins

    def columns(self, ways: NDArray[np.int64]) -> Columns:
        """Return what kernels must know of the columns; `ways` are monotonic constraints."""
        return Columns(self.centres, self.edges, ways)

    def tests(
        self, column: NDArray[np.int64], bound: NDArray[np.int64], missing_left: NDArray[np.bool_]
    ) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_]]:
        """Return the thresholds, numbers of category sets and category sets of nodes, as in `Trees`.

        A node sends bins up to its `bound` left; `column` is -1 in leaves. Nodes that send the same levels the same way
        share a set.
        """
        inner = column >= 0
        by_set = inner & self.binning.categorical[column]
        threshold = np.where(inner & ~by_set, self.edges[column, bound], np.nan)
        category_set = np.full(column.size, -1, np.int32)
        keys = (column[by_set] * N_BINS + bound[by_set]) * 2 + missing_left[by_set]
        known, category_set[by_set] = np.unique(keys, return_inverse=True)
        sets = np.zeros((known.size, N_BINS), bool)
        for number, key in enumerate(known.tolist()):
            own, last, missing = key // (2 * N_BINS), key // 2 % N_BINS, key % 2
            sets[number] = self.ranks[own] <= last
            sets[number, MISSING] = missing
        return threshold, category_set, sets


def bin_centres(values: Floats, bins: NDArray[np.uint8], edges: Floats) -> Floats:
    """Return the mean value of each bin, shape (256,); of an empty one, a value between its edges."""
    known = bins != MISSING
    rows = np.bincount(bins[known], minlength=N_BINS)
    # Means are taken of differences to the least value of a bin, so that equal values are their own mean.
    least = np.full(N_BINS, np.inf)
    np.minimum.at(least, bins[known], values[known])
    least[rows == 0] = 0.0
    more = np.bincount(bins[known], values[known] - least[bins[known]], minlength=N_BINS)
    centres = least + more / np.maximum(rows, 1)
    empty = np.flatnonzero(rows[: edges.size + 1] == 0)
    if edges.size:
        centres[empty] = 0.5 * (edges[np.maximum(empty - 1, 0)] + edges[np.minimum(empty, edges.size - 1)])
    return centres


def level_ranks(codes: NDArray[np.uint8], n_levels: int, sample: Block, n_classes: int) -> NDArray[np.uint8]:
    """Return the rank of each level of a category by the targets of its rows, shape (n_levels,)."""
    assert sample.y is not None
    known = codes < n_levels
    y, own = sample.y[known], codes[known].astype(np.intp)
    weight = np.ones(y.size) if sample.weight is None else sample.weight[known]
    total = max(float(weight.sum()), 1e-300)
    rows = np.bincount(own, weight, n_levels)
    if n_classes > 2:
        shares = np.bincount(own * n_classes + y.astype(np.intp), np.asarray(weight), n_levels * n_classes)
        shares = shares.reshape(n_levels, n_classes)
        average = shares.sum(axis=0) / total
        shares = (shares + _SMOOTH * average) / (rows + _SMOOTH)[:, None]
        spread = (shares - average) * np.sqrt(rows + 1e-9)[:, None]
        _, vectors = np.linalg.eigh(spread.T @ spread)
        first = vectors[:, -1]
        score = shares @ (first * np.sign(first[np.argmax(np.abs(first))]))
    else:
        average = float(weight @ y) / total
        score = (np.bincount(own, weight * y, n_levels) + _SMOOTH * average) / (rows + _SMOOTH)
    ranks = np.empty(n_levels, np.uint8)
    ranks[np.argsort(score, kind="stable")] = np.arange(n_levels)
    return ranks
