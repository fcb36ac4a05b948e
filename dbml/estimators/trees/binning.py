"""Bins: every term of the rows as a byte, once, for all trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.passes.block import Block, Floats

SAMPLE_ROWS = 100_000  # that edges are learned from
MOST_BINS = 255  # and one for missing values


@dataclass(frozen=True)
class Binning:
    """How terms become bins: column c of the bins is term c.

    Attributes
    ----------
    edges : tuple of ndarray
        Ascending edges of each number: bin k holds the values above ``edges[k - 1]`` and at most ``edges[k]``.
        Empty for categories, whose bins are their codes.
    n_bins : ndarray of shape (n_columns,), int64
        Bins of each column, besides that of missing values.
    categorical : ndarray of shape (n_columns,), bool
        Which columns are categories.
    n_dense : int
        Columns that are dense terms; the others are sparse ones.
    """

    edges: tuple[Floats, ...]
    n_bins: NDArray[np.int64]
    categorical: NDArray[np.bool_]
    n_dense: int

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return len(self.edges)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.edges)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Column of each term, shape (n_terms,)."""
        return np.arange(self.n_terms)

    @cached_property
    def layout(self) -> NDArray[np.int64]:
        """Where the bins of each term lie, shape (n_terms, 6), see `dbml_kernels.tree_split`."""
        none = np.full(self.n_terms, -1)
        return np.column_stack([self.n_bins, self.categorical, self.columns, none, none, none]).astype(np.int64)

    @classmethod
    def learn(cls, sample: Block, encoding: Encoding, max_bins: int) -> Binning:
        """Learn the edges from a sample of rows: quantiles, or all gaps between values where these are few."""
        levels = code_counts(encoding)
        edges: list[Floats] = []
        for term in range(encoding.n_dense):
            edges.append(np.empty(0) if levels[term] else quantile_edges(sample.X[:, term], max_bins))
        edges += _sparse_edges(sample, encoding, max_bins)
        n_bins = [levels[term] if levels.get(term) else own.size + 1 for term, own in enumerate(edges)]
        categorical = [bool(levels.get(term)) for term in range(len(edges))]
        return cls(tuple(edges), np.array(n_bins, np.int64), np.array(categorical, bool), encoding.n_dense)

    def bins_of(self, block: Block) -> NDArray[np.uint8]:
        """Return the bins of a block, shape (n, n_columns)."""
        from dbml_kernels.tree_codes import code_column, rank_column

        width = self.n_columns
        bins = np.empty((block.n_rows, width), np.uint8)
        flat = bins.reshape(-1)
        for column in range(self.n_dense):
            if self.categorical[column]:
                code_column(block.X[:, column], width, column, flat)
            else:
                rank_column(block.X[:, column], self.edges[column], width, column, flat)
        if width > self.n_dense:
            self._sparse_bins(block, bins)
        return bins

    def _sparse_bins(self, block: Block, bins: NDArray[np.uint8]) -> None:
        from dbml_kernels.tree_codes import rank_sparse

        own = self.edges[self.n_dense :]
        bins[:, self.n_dense :] = [np.searchsorted(edges, 0.0, side="left") for edges in own]
        if block.sparse is not None:
            bounds = np.cumsum([0, *(edges.size for edges in own)])
            flat = bins.reshape(-1)
            rank_sparse(*block.sparse, np.concatenate(own), bounds, self.n_dense, self.n_columns, self.n_dense, flat)


def code_counts(encoding: Encoding) -> dict[int, int]:
    """Return the number of codes of each dense term, 0 for those that are numbers."""
    counts: dict[int, int] = {}
    for feature, (first, _) in zip(encoding.features, encoding.offsets(), strict=True):
        n = len(feature.levels) + feature.other_level if feature.kind == "category" else 0
        counts |= {first + i: n for i in range(len(feature.dense_terms))}
    return counts


def quantile_edges(values: Floats, max_bins: int) -> Floats:
    """Return at most ``max_bins - 1`` ascending edges between values: quantiles, or all gaps where values are few.

    Edges are half way between two neighbouring values, so that rounding never moves a row.
    """
    known = np.sort(values[np.isfinite(values)])
    if not known.size:
        return np.empty(0)
    first = np.flatnonzero(np.diff(known) > 0.0)  # the last row of each value but the largest
    if first.size >= max_bins:
        wanted = np.arange(1, max_bins) * (known.size / max_bins) - 1.0
        first = first[np.unique(np.searchsorted(first, wanted).clip(max=first.size - 1))]
    low, high = known[first], known[first + 1]
    middle = low + 0.5 * (high - low)
    return np.where(middle < high, middle, low)


def _sparse_edges(sample: Block, encoding: Encoding, max_bins: int) -> Sequence[Floats]:
    """Return the edges of the sparse terms; the entries that rows do not have are 0."""
    n_sparse = encoding.n_terms - encoding.n_dense
    if not n_sparse:
        return []
    assert sample.sparse is not None
    _, indices, values = sample.sparse
    by_term = np.argsort(indices, kind="stable")
    bounds = np.searchsorted(indices[by_term], np.arange(encoding.n_dense, encoding.n_terms + 1))
    found = []
    for low, high in pairwise(bounds):
        own = values[by_term[low:high]]
        absent = np.zeros(min(sample.n_rows - own.size, max(1, own.size)))
        found.append(quantile_edges(np.concatenate([own, absent]), max_bins))
    return found
