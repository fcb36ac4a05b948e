"""Bins: every term of the rows as a byte, once, for all trees."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from dbml_kernels.radix_sort import finite_sort
from dbml_kernels.tree_split import BINS, CATEGORY, COLUMN, FIRST, MISSED, ZERO
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.estimators.trees.bundles import find_bundles, least_entries
from dbml.passes.block import Block, Floats
from dbml.passes.engine import current

# That edges are learned from. Of 50,000 rows a bin of 255 holds what it should to a tenth or so, and to sort them costs
# a small table little.
_SAMPLE_ROWS, _FEWEST_SAMPLE_ROWS = 50_000, 10_000
_SAMPLE_CELLS = 1 << 24  # 128 MiB
MOST_BINS = 255  # and one for missing values


@dataclass(frozen=True)
class Binning:
    """How terms become bins.

    Attributes
    ----------
    edges : tuple of ndarray
        Ascending edges of each number: bin k holds the values above ``edges[k - 1]`` and at most ``edges[k]``.
        Empty for categories, whose bins are their codes.
    n_bins : ndarray of shape (n_terms,), int64
        Bins of each term, besides that of missing values.
    categorical : ndarray of shape (n_terms,), bool
        Which terms are categories.
    n_dense : int
        Terms that are dense; the others are sparse ones.
    layout : ndarray of shape (n_terms, 6), int64
        Where the bins of each term lie, see `dbml_kernels.tree_split`.
    n_columns : int
        Columns of the bins: first those of one term each, then the shared ones.
    n_shared : int
        Columns that several terms share.
    """

    edges: tuple[Floats, ...]
    n_bins: NDArray[np.int64]
    categorical: NDArray[np.bool_]
    n_dense: int
    layout: NDArray[np.int64]
    n_columns: int
    n_shared: int

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return len(self.edges)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Column of each term, shape (n_terms,)."""
        return self.layout[:, COLUMN].copy()

    @classmethod
    def learn(cls, sample: Block, encoding: Encoding, max_bins: int, share: bool = False) -> Binning:
        """Learn the edges from a sample of rows: quantiles, or all gaps between values where these are few.

        With `share` terms that few rows have together share columns; else column c is term c.
        """
        codes = code_counts(encoding)
        edges = [*_dense_edges(sample, codes, max_bins), *_sparse_edges(sample, encoding, max_bins)]
        n_bins = np.array(
            [codes[term] if codes.get(term) else own.size + 1 for term, own in enumerate(edges)], np.int64
        )
        categorical = np.array([bool(codes.get(term)) for term in range(len(edges))], bool)
        layout = np.full((len(edges), 6), -1, np.int64)
        layout[:, BINS], layout[:, CATEGORY] = n_bins, categorical
        bundles = find_bundles(sample, edges, codes) if share else []
        shared = {member.term for bundle in bundles for member in bundle}
        alone = [term for term in range(len(edges)) if term not in shared]
        layout[alone, COLUMN] = np.arange(len(alone))
        for column, bundle in enumerate(bundles, len(alone)):
            first = 1
            for member in bundle:
                own = member.width - member.missing
                layout[member.term, [COLUMN, FIRST, ZERO]] = column, first, member.zero
                layout[member.term, MISSED] = first + own if member.missing else -1
                first += member.width
        n_columns = len(alone) + len(bundles)
        return cls(tuple(edges), n_bins, categorical, encoding.n_dense, layout, n_columns, len(bundles))

    def bins_of(self, block: Block) -> NDArray[np.uint8]:
        """Return the bins of a block, shape (n, n_columns)."""
        from dbml_kernels.tree_bundles import shared_dense, shared_sparse
        from dbml_kernels.tree_codes import code_column, rank_column

        width = self.n_columns
        bins = np.empty((block.n_rows, width), np.uint8)
        bins[:, self._zeros[0]] = self._zeros[1]
        flat = bins.reshape(-1)
        for term in range(self.n_dense):
            values, place = block.X[:, term], self.layout[term]
            if place[FIRST] >= 0:
                shared_dense(values, self.edges[term], place, width, flat)
            elif self.categorical[term]:
                code_column(values, width, int(place[COLUMN]), flat)
            else:
                rank_column(values, self.edges[term], width, int(place[COLUMN]), flat)
        if block.sparse is not None and self.n_terms > self.n_dense:
            shared_sparse(*block.sparse, *self._sparse_edges, self.n_dense, self.layout, width, flat)
        return bins

    @cached_property
    def _zeros(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The columns that sparse terms are in, and the bin of rows without entries there."""
        shared = np.arange(self.n_columns - self.n_shared, self.n_columns)
        alone = np.flatnonzero(self.layout[self.n_dense :, FIRST] < 0) + self.n_dense
        zeros = [np.searchsorted(self.edges[term], 0.0, side="left") for term in alone]
        columns = np.concatenate([self.columns[alone], shared])
        return columns, np.concatenate([zeros, np.zeros(shared.size)]).astype(np.uint8)

    @cached_property
    def _sparse_edges(self) -> tuple[Floats, NDArray[np.int64]]:
        """The edges of all sparse terms in one array, and where those of each begin."""
        own = self.edges[self.n_dense :]
        return np.concatenate(own), np.cumsum([0, *(edges.size for edges in own)])


def sample_rows(encoding: Encoding) -> int:
    """Return how many rows edges are learned from: 50,000, fewer where rows are wide, but 10,000."""
    return min(_SAMPLE_ROWS, max(_FEWEST_SAMPLE_ROWS, _SAMPLE_CELLS // max(1, encoding.n_dense)))


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
    known = finite_sort(values.copy(), np.empty_like(values))
    if not known.size:
        return np.empty(0)
    first = np.flatnonzero(np.diff(known) > 0.0)  # the last row of each value but the largest
    if first.size >= max_bins:
        wanted = np.arange(1, max_bins) * (known.size / max_bins) - 1.0
        places = np.searchsorted(first, wanted).clip(max=first.size - 1)
        first = first[places[np.diff(places, prepend=-1) > 0]]
    low, high = known[first], known[first + 1]
    middle = low + 0.5 * (high - low)
    return np.where(middle < high, middle, low)


def _dense_edges(sample: Block, codes: dict[int, int], max_bins: int) -> list[Floats]:
    """Return the edges of the dense terms, none of categories; the cores share the terms."""

    def find(terms: NDArray[np.int64]) -> list[Floats]:
        return [np.empty(0) if codes[term] else quantile_edges(sample.X[:, term], max_bins) for term in terms.tolist()]

    n_terms = len(codes)
    with closing(current().crew(max(1, n_terms))) as crew:
        found = crew.each(find, np.array_split(np.arange(n_terms), max(1, min(n_terms, 4 * crew.size))))
    return [edges for some in found for edges in some]


def _sparse_edges(sample: Block, encoding: Encoding, max_bins: int) -> Sequence[Floats]:
    """Return the edges of the sparse terms; the entries that rows do not have are 0."""
    n_sparse = encoding.n_terms - encoding.n_dense
    if not n_sparse:
        return []
    assert sample.sparse is not None
    _, indices, values = sample.sparse
    by_term = np.argsort(indices, kind="stable")
    bounds = np.searchsorted(indices[by_term], np.arange(encoding.n_dense, encoding.n_terms + 1))
    found, least = [], least_entries(encoding)
    for low, high in pairwise(bounds):
        own = values[by_term[low:high]]
        absent = np.zeros(min(sample.n_rows - own.size, max(1, own.size)))
        most = min(max_bins - 1, max(2, own.size // least))  # one less: a shared column has 254 bins besides 0
        found.append(quantile_edges(np.concatenate([own, absent]), max(2, most)))
    return found
