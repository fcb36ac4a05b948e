"""Exclusive feature bundling: which terms share a column of bins, found on the sample that edges are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.passes.block import Block, Floats

CAPACITY = 254  # bins of a shared column besides 0
_MOST = 4_096  # bundles that terms are tried in
_ROWS = 20_000  # of the sample, that conflicts are counted in
_MOST_CONFLICTS = 1e-4  # of these rows
_RARE = 0.5  # a dense number is bundled where at most this share of the rows is not 0


@dataclass(frozen=True)
class Member:
    """A term that may share a column: bins, the bin of 0, whether missing values have a bin, rows that have it."""

    term: int
    width: int
    zero: int
    missing: bool
    rows: NDArray[np.int64]


def find_bundles(sample: Block, edges: Sequence[Floats], codes: dict[int, int]) -> list[list[Member]]:
    """Return the bundles of two terms and more: of sparse ones, and of dense numbers that are mostly 0.

    Parameters
    ----------
    sample : Block
        Rows.
    edges : sequence of ndarray
        Of each term.
    codes : dict
        Number of codes of dense terms that are categories, else 0.
    """
    n = min(sample.n_rows, _ROWS)
    rows = np.arange(n) * (sample.n_rows - 1) // max(1, n - 1)
    members = [*_dense(sample, rows, edges, codes), *_sparse(sample, rows, edges)]
    if not members:
        return []
    return [bundle for bundle in _pack(members, rows.size) if len(bundle) > 1]


def _dense(sample: Block, rows: NDArray[np.int64], edges: Sequence[Floats], codes: dict[int, int]) -> list[Member]:
    found = []
    too_many = rows[: int(_RARE * rows.size) + 1]
    for term in range(sample.X.shape[1]):
        if codes[term] or not edges[term].size or (sample.X[too_many, term] != 0.0).all():
            continue
        column = sample.X[rows, term]
        present = np.flatnonzero(column != 0.0)  # missing ones too
        zero = int(np.searchsorted(edges[term], 0.0, side="left"))
        width = edges[term].size + 1
        if present.size <= _RARE * rows.size and width <= CAPACITY:
            found.append(Member(term, width, zero, True, present))
    return found


def _sparse(sample: Block, rows: NDArray[np.int64], edges: Sequence[Floats]) -> list[Member]:
    if sample.sparse is None:
        return []
    indptr, indices, values = sample.sparse
    n_dense = sample.X.shape[1]
    taken = np.zeros(sample.n_rows, np.int64) - 1
    taken[rows] = np.arange(rows.size)
    row = taken[np.repeat(np.arange(sample.n_rows), np.diff(indptr))]
    kept = (row >= 0) & (values != 0.0)
    by_term = np.argsort(indices[kept], kind="stable")
    terms, row = indices[kept][by_term], row[kept][by_term]
    bounds = np.searchsorted(terms, np.arange(n_dense, len(edges) + 1))
    found = []
    for term, (low, high) in enumerate(pairwise(bounds), n_dense):
        zero = int(np.searchsorted(edges[term], 0.0, side="left"))
        found.append(Member(term, edges[term].size, zero, False, row[low:high]))
    return found


def _pack(members: Sequence[Member], n_rows: int) -> list[list[Member]]:
    """Return the bundles: the most frequent terms first, each into the first bundle where it fits."""
    from dbml_kernels.tree_bundles import bundles_find

    sizes = np.array([member.rows.size for member in members])
    widths = np.array([member.width for member in members])
    order = np.argsort(-sizes, kind="stable")
    order = order[widths[order] > 0]  # without bins of its own a term needs no room
    most = min(_MOST, len(members))
    taken, free = np.zeros((most, n_rows // 64 + 1), np.uint64), np.zeros(most, np.int64)
    numbers = np.zeros(len(members), np.int64)
    indptr, rows = np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([member.rows for member in members])
    conflicts = np.zeros(most, np.int64)
    most_conflicts = int(_MOST_CONFLICTS * n_rows)
    n = bundles_find(indptr, rows, order, widths, CAPACITY, most_conflicts, taken, free, conflicts, numbers)
    bundles: list[list[Member]] = [[] for _ in range(max(1, n))]
    for member, number in zip(members, numbers, strict=True):
        bundles[number].append(member)
    return bundles


def least_entries(encoding: Encoding) -> int:
    """Return how many entries of the sample a bin of a sparse term has at least: bins of many terms must find room."""
    return 3 if encoding.n_terms - encoding.n_dense <= 1_000 else 20
