"""The arrays in which `tree_grow` grows a tree, in groups, and what their columns are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# A row of `places`: the left child (the right one follows) of a node whose rows were split or -1, its depth, where its
# sums are, how many rows lie to the left of it, and what it is.
LEFT, DEPTH, SUMS, PLACE, STATE = range(5)
UNBORN, LEAF, NODE = range(3)  # UNBORN: the child of a leaf that was split ahead
# Of `progress`, kept between calls: nodes and sums that were handed out, of these the free ones, leaves so far, and
# whether the tree is grown.
NODES, N_SUMS, N_FREE, LEAVES, GROWN = range(5)
AHEAD = 4  # nodes that are split at a time
MOST_LOOKED = 2 * AHEAD  # nodes to search then

ORDER, BINS, COLUMNS, WORDS, N_ROWS, STRIDE = range(6)  # of `shards`
PENDING, EARLIER = range(2)  # of `added`
KIND, N_TASKS, N_BATCH, N_LOOKED = range(4)  # of `job`
# Of `batch`: a node, its first child, whether that is the smaller one, whether sums are added, those of both children.
WHICH, CHILD, SMALL_LEFT, ADDS, SMALL, LARGE = range(6)

_LINE = 8  # numbers in a cache line
_TERMS_A_TASK, _MOST_PARTS = 14, 16  # a task of some 20 us


class Rows(NamedTuple):
    """The rows of all shards.

    Attributes
    ----------
    shards : ndarray of shape (n_shards, 6), int64
        Addresses of the order of rows (int32), their bins by row and by column (uint8) and their words (int32), the
        number of rows, and how far apart columns are.
    runs : ndarray of shape (n_nodes, 2, n_shards), int64
        Where a node's run of the order begins and ends.
    """

    shards: NDArray[np.int64]
    runs: NDArray[np.int64]


class Room(NamedTuple):
    """What each thread has of its own; the last three for each of the `AHEAD` nodes that are split at a time.

    Attributes
    ----------
    moved : ndarray of shape (n_threads, most rows of a shard), int32
    scratch : ndarray of shape (n_threads, 5, 256)
    histograms : ndarray of shape (n_threads, AHEAD, 256 n_columns), int64
        Zeros between rounds.
    earlier : ndarray of shape (n_threads, AHEAD, 2, 256 n_columns)
        Zeros between rounds; sums of more rows than words can hold.
    added : ndarray of shape (n_threads, AHEAD, 8), int64
        Rows in the histogram, and rows in `earlier`.
    """

    moved: NDArray[np.int32]
    scratch: NDArray[np.float64]
    histograms: NDArray[np.int64]
    earlier: NDArray[np.float64]
    added: NDArray[np.int64]


class Search(NamedTuple):
    """How splits are searched, see `tree_split.part_search`, and what each part of the terms found.

    Attributes
    ----------
    steps, terms, layout, monotonic, rules
        As there.
    column_of : ndarray of shape (n_terms,), int64
    part_bests, part_sides, part_without : ndarray of shape (n_parts, MOST_LOOKED, 6 or 256 or none)
        Of each node that is looked at: its best split, the side of each bin (uint8), its gain without a split.
    """

    steps: NDArray[np.float64]
    terms: NDArray[np.int64]
    layout: NDArray[np.int64]
    monotonic: NDArray[np.int64]
    rules: tuple[float, float, float]
    column_of: NDArray[np.int64]
    part_bests: NDArray[np.float64]
    part_sides: NDArray[np.uint8]
    part_without: NDArray[np.float64]


class Tree(NamedTuple):
    """The nodes, at most `most_nodes`, in the order in which they were made.

    Attributes
    ----------
    sums : ndarray of shape (most_sums, 2, 256 n_columns)
    places : ndarray of shape (n_nodes, 5), int64
        From `LEFT` on.
    known, bests : ndarray of shape (n_nodes, 6)
    sides : ndarray of shape (n_nodes, 256), uint8
        Of the bins of the column that a node is split by: 1 goes left.
    """

    sums: NDArray[np.float64]
    places: NDArray[np.int64]
    known: NDArray[np.float64]
    bests: NDArray[np.float64]
    sides: NDArray[np.uint8]


class Orders(NamedTuple):
    """What the leader tells the others, all int64.

    Attributes
    ----------
    job : ndarray of shape (4,)
        From `KIND` on.
    batch : ndarray of shape (AHEAD, 6)
        The nodes to split, from `WHICH` on.
    looked : ndarray of shape (MOST_LOOKED,)
        The nodes to search.
    free : ndarray of shape (AHEAD, 2)
        For itself: children and sums that were not needed.
    """

    job: NDArray[np.int64]
    batch: NDArray[np.int64]
    looked: NDArray[np.int64]
    free: NDArray[np.int64]


def most_sums(max_leaves: int) -> int:
    """Return how many sums there are at most: one of each leaf, as many of those split ahead, and free ones."""
    return 2 * max_leaves + AHEAD


def most_nodes(max_leaves: int) -> int:
    """Return how many nodes there are at most, with those split ahead."""
    return 2 * most_sums(max_leaves)


def new_orders() -> Orders:
    """Return orders that tell nothing yet."""
    return Orders(*(np.zeros(shape, np.int64) for shape in ((4,), (AHEAD, 6), (MOST_LOOKED,), (AHEAD, 2))))


def new_room(n_threads: int, n_columns: int) -> Room:
    """Return room for so many threads, none for rows yet."""
    each, size = (n_threads, AHEAD), 256 * n_columns
    return Room(
        np.empty((n_threads, 0), np.int32),
        np.empty((n_threads, 5, 256)),
        np.zeros((*each, size), np.int64),
        np.zeros((*each, 2, size)),
        np.zeros((*each, _LINE), np.int64),
    )


def new_parts(n_terms: int) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """Return what the parts of so many terms write to: the last three of `Search`."""
    shape = max(1, min(_MOST_PARTS, n_terms // _TERMS_A_TASK)), MOST_LOOKED
    return np.empty((*shape, 6)), np.empty((*shape, 256), np.uint8), np.empty(shape)
