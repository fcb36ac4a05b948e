"""A whole tree, best split first, grown by a team of threads over the shards of its rows.

One thread leads and takes all decisions; the work on rows, sums and candidates is done in rounds of tasks (`team`):

    SPLIT    a shard: the rows of some nodes are split, and those of their smaller children added to histograms of the
             thread; several of the best leaves at a time, so that a row that comes from far away serves them all
    WIDEN    some columns of a node: the threads' histograms become the sums of its smaller child, and leave its own to
             the larger one
    SEARCH   some terms, for a node: its best split by these

Sums are whole numbers, and the best of the parts is chosen in their order, so the tree is the same for any threads and
shards, to the bit. A leaf that is split ahead of its turn becomes a node when its gain is the largest, or never.

Groups of arrays, of which every function here takes what it needs:

    rows     `shards` (n_shards, 6) int64: addresses of the order of rows (int32), their bins by row and by column
             (uint8) and their words (int32), the number of rows, and how far apart columns are; `runs` (n_nodes, 2,
             n_shards): where a node's run of the order begins and ends; three arrays of the types of order, bins, words
    room     of each thread: `moved` (most rows of a shard,) int32, `scratch` (5, 256), and for each of the nodes that
             are split at a time `histograms` (256 n_columns,) int64 of zeros, `earlier` (2, 256 n_columns) of zeros,
             for sums of more rows than words can hold, `added` (8,) int64: rows in the histogram, rows in `earlier`
    search   `steps` (2,), `terms`, `layout`, `monotonic`, `rules` as in `tree_split.part_search`, `column_of`
             (n_terms,); of each part of the terms: `part_bests` (`MOST_LOOKED`, 6), `part_sides` (…, 256) uint8,
             `part_without` (…,)
    tree     `sums` (`most_sums`, 2, 256 n_columns), and of each of at most `most_nodes`: `places` (5,), `known`
             (6,), `bests` (6,), `sides` (256,) uint8 of the bins of the column that it is split by: 1 goes left
    orders   what the leader tells the others: `job` (4,), `batch` (`AHEAD`, 6), `looked` (`MOST_LOOKED`,), and for
             itself `free` (`AHEAD`, 2), children and sums that were not needed; all int64
"""

from __future__ import annotations

import numpy as np

from dbml_kernels.addresses import array_at
from dbml_kernels.jit import kernel
from dbml_kernels.team import publish, take, tell_done, wait_for, wait_to_help
from dbml_kernels.tree_histogram import N_BINS, histogram_add_rows, histogram_widen
from dbml_kernels.tree_rows import rows_split
from dbml_kernels.tree_split import (
    GAIN,
    HESSIAN,
    LEAST_ROWS,
    LEFT_HESSIAN,
    ROWS,
    TERM,
    children_know,
    part_search,
)

# A row of `places`: the left child (the right one follows) of a node whose rows were split or -1, its depth, where its
# sums are, how many rows lie to the left of it, and what it is.
LEFT, DEPTH, SUMS, PLACE, STATE = range(5)
UNBORN, LEAF, NODE = range(3)  # UNBORN: the child of a leaf that was split ahead
# Of `progress`, kept between calls: nodes and sums that were handed out, of these the free ones, leaves so far, and
# whether the tree is grown.
NODES, N_SUMS, N_FREE, LEAVES, GROWN = range(5)
AHEAD = 4  # nodes that are split at a time
MOST_LOOKED = 2 * AHEAD  # nodes to search then
ORDERS = (4,), (AHEAD, 6), (MOST_LOOKED,), (AHEAD, 2)  # shapes
ADDED_SIZE = 8  # a cache line

_ORDER, _BINS, _COLUMNS, _WORDS, _N_ROWS, _STRIDE = range(6)  # of `shards`
_PENDING, _EARLIER = range(2)  # of `added`
_SPLIT, _WIDEN, _SEARCH = range(3)
_KIND, _N_TASKS, _N_BATCH, _N_LOOKED = range(4)  # of `job`
# Of `batch`: a node, its first child, whether that is the smaller one, whether sums are added, those of both children.
_WHICH, _CHILD, _SMALL_LEFT, _ADDS, _SMALL, _LARGE = range(6)
_COLUMNS_A_TASK, _TERMS_A_TASK = 64, 14  # some 20 us each


def most_sums(max_leaves):
    """Return how many sums there are at most: one of each leaf, as many of those split ahead, and free ones."""
    return 2 * max_leaves + AHEAD


def most_nodes(max_leaves):
    """Return how many nodes there are at most, with those split ahead."""
    return 2 * most_sums(max_leaves)


def parts_of(n_terms):
    """Return in how many parts the splits by so many terms are searched."""
    return max(1, min(16, n_terms // _TERMS_A_TASK))


# tasks ---------------------------------------------------------------------------------------------------------------


@kernel(part=True)
def _split_rows(shard, rank, order_of, rows, room, search, tree, most_rows):
    """Split the rows of a node in a shard, and add those of the smaller child to the histogram of this thread."""
    shards, runs, like_order, like_bins, like_words = rows
    moved, histograms, earlier, added = room[0], room[2], room[3], room[4]
    batch, b = order_of
    node, child, own = batch[b, _WHICH], batch[b, _CHILD], shards[shard]
    begin, last = runs[node, 0, shard], runs[node, 1, shard]
    order = array_at(own[_ORDER], own[_N_ROWS], like_order)
    column_number = search[5][np.int64(tree[3][node, TERM])]
    column = array_at(own[_COLUMNS] + column_number * own[_STRIDE], own[_N_ROWS], like_bins)
    middle = rows_split(order, begin, last, column, tree[4][node], moved[rank])
    runs[child, 0, shard], runs[child, 1, shard] = begin, middle
    runs[child + 1, 0, shard], runs[child + 1, 1, shard] = middle, last
    if batch[b, _ADDS] == 0:
        return
    n_columns = histograms.shape[2] // N_BINS
    bins = array_at(own[_BINS], own[_N_ROWS] * n_columns, like_bins)
    words = array_at(own[_WORDS], own[_N_ROWS], like_words)
    first, last = (begin, middle) if batch[b, _SMALL_LEFT] else (middle, last)
    while first < last:
        if added[rank, b, _PENDING] == most_rows:
            histogram_widen(histograms[rank, b], earlier[rank, b])
            added[rank, b, _EARLIER] += most_rows
            added[rank, b, _PENDING] = 0
        until = min(last, first + most_rows - added[rank, b, _PENDING])
        histogram_add_rows(bins, n_columns, words, order, first, until, histograms[rank, b])
        added[rank, b, _PENDING] += until - first
        first = until


@kernel(part=True)
def _widen_columns(first, last, order_of, room, tree):
    """Take some bins of the threads' histograms over as sums of the smaller child; leave the larger one the rest."""
    histograms, earlier, added = room[2], room[3], room[4]
    batch, b = order_of
    small, large = tree[0][batch[b, _SMALL]], tree[0][batch[b, _LARGE]]
    for k in range(2):
        for i in range(first, last):
            small[k, i] = 0.0
    for rank in range(histograms.shape[0]):
        if added[rank, b, _PENDING] > 0:
            histogram_widen(histograms[rank, b, first:last], small[:, first:last])
        if added[rank, b, _EARLIER] > 0:
            for k in range(2):
                for i in range(first, last):
                    small[k, i] += earlier[rank, b, k, i]
                    earlier[rank, b, k, i] = 0.0
    for k in range(2):
        for i in range(first, last):
            large[k, i] -= small[k, i]


@kernel(part=True)
def _search_terms(part, i, rank, looked, room, search, tree):
    """Find the best split of a node by a part of the terms."""
    steps, terms, layout, monotonic, rules = search[0], search[1], search[2], search[3], search[4]
    part_bests, part_sides, part_without = search[6], search[7], search[8]
    sums, places, known, node = tree[0], tree[1], tree[2], looked[i]
    n_parts = part_bests.shape[0]
    some = terms[part * terms.size // n_parts : (part + 1) * terms.size // n_parts]
    part_bests[part, i, TERM] = -1.0
    if known[node, ROWS] >= 2.0 * known[node, LEAST_ROWS]:
        part_without[part, i] = part_search(
            sums[places[node, SUMS]], steps, some, layout, monotonic, known[node], rules, room[1][rank],
            part_bests[part, i], part_sides[part, i],
        )  # fmt: skip


@kernel(part=True)
def _work(task, rank, orders, rows, room, search, tree, most_rows):
    """Do a task of the round."""
    job, batch, looked, _ = orders
    if job[_KIND] == _SPLIT:
        for b in range(job[_N_BATCH]):
            _split_rows(task, rank, (batch, b), rows, room, search, tree, most_rows)
    elif job[_KIND] == _WIDEN:
        n_columns = room[2].shape[2] // N_BINS
        n_slices = job[_N_TASKS] // job[_N_BATCH]
        b, part = task // n_slices, task % n_slices
        if batch[b, _ADDS]:
            first, last = part * n_columns // n_slices, (part + 1) * n_columns // n_slices
            _widen_columns(N_BINS * first, N_BINS * last, (batch, b), room, tree)
    else:
        _search_terms(task // job[_N_LOOKED], task % job[_N_LOOKED], rank, looked, room, search, tree)


@kernel(part=True)
def _round(kind, n_tasks, team, rank, orders, rows, room, search, tree, most_rows):
    """Do the tasks of a round with whoever helps; as a helper, whatever tasks there are until the end."""
    task, job = np.int64(0), orders[0]
    alone = n_tasks == 1 and rank == 0
    if rank > 0:
        task = wait_to_help(team)
    else:
        job[_KIND], job[_N_TASKS] = kind, n_tasks
        if not alone:
            publish(team, n_tasks)
            task = take(team)
    while task >= 0:
        _work(task, rank, orders, rows, room, search, tree, most_rows)
        if alone:
            return
        tell_done(team)
        task = wait_to_help(team) if rank > 0 else take(team)
    if rank == 0:
        wait_for(team, n_tasks)


# decisions -----------------------------------------------------------------------------------------------------------


@kernel(exact=True)
def _largest_gain(places, bests, n_nodes, whole):
    """Return the leaf of the largest gain, the leftmost one of several, or -1; with `whole`, of those not split yet."""
    found = -1
    for node in range(n_nodes):
        if places[node, STATE] != LEAF or bests[node, TERM] < 0.0 or (whole and places[node, LEFT] != -1):
            continue
        more = 1.0 if found < 0 else bests[node, GAIN] - bests[found, GAIN]
        if more > 0.0 or (more == 0.0 and places[node, PLACE] < places[found, PLACE]):
            found = node
    return found


@kernel(part=True)
def _choose_batch(progress, limits, orders, room, tree):
    """Choose the best leaves that were not split yet: one, and those that are nearly sure to be split, too."""
    job, batch, _, free = orders
    places, known, bests, added = tree[1], tree[2], tree[3], room[4]
    left = limits[0] - progress[LEAVES]
    n = min(AHEAD, 1 + left // AHEAD)
    job[_N_BATCH] = 0
    for b in range(n):
        node = _largest_gain(places, bests, progress[NODES], True)
        if node < 0:
            break
        places[node, LEFT] = -2  # chosen
        if progress[N_FREE] > 0:
            progress[N_FREE] -= 1
            batch[b, _CHILD], batch[b, _SMALL] = free[progress[N_FREE], 0], free[progress[N_FREE], 1]
        else:
            batch[b, _CHILD], batch[b, _SMALL] = progress[NODES], progress[N_SUMS]
            places[progress[NODES], STATE] = places[progress[NODES] + 1, STATE] = UNBORN
            progress[NODES] += 2
            progress[N_SUMS] += 1
        batch[b, _WHICH], batch[b, _LARGE] = node, places[node, SUMS]
        batch[b, _SMALL_LEFT] = 2.0 * bests[node, LEFT_HESSIAN] <= known[node, HESSIAN]
        batch[b, _ADDS] = left > 1 and places[node, DEPTH] + 1 < limits[1]
        for rank in range(added.shape[0]):
            added[rank, b, _PENDING] = added[rank, b, _EARLIER] = 0
        job[_N_BATCH] = b + 1


@kernel(part=True)
def _forget_sums(b, room):
    """Clear the sums of a child that will not be."""
    histograms, earlier, added = room[2], room[3], room[4]
    for rank in range(histograms.shape[0]):
        for i in range(histograms.shape[2]):
            if added[rank, b, _PENDING] > 0:
                histograms[rank, b, i] = 0
            if added[rank, b, _EARLIER] > 0:
                earlier[rank, b, 0, i] = earlier[rank, b, 1, i] = 0.0


@kernel(part=True)
def _make_children(progress, limits, orders, rows, room, search, tree):
    """Make the children of the batch, and list the nodes to search: these, or a leaf with too few rows on a side."""
    job, batch, looked, free = orders
    runs, monotonic, l2, least_rows = rows[1], search[3], search[4][0], limits[2]
    places, known, bests = tree[1], tree[2], tree[3]
    job[_N_LOOKED] = 0
    for b in range(job[_N_BATCH]):
        node, child = batch[b, _WHICH], batch[b, _CHILD]
        left_rows = 0
        for shard in range(runs.shape[2]):
            left_rows += runs[child, 1, shard] - runs[child, 0, shard]
        if min(left_rows, known[node, ROWS] - left_rows) < least_rows:
            # Rows were estimated from hessians; ask for more of them.
            _forget_sums(b, room)
            batch[b, _ADDS] = 0
            known[node, LEAST_ROWS] *= 1.5
            places[node, LEFT] = -1
            free[progress[N_FREE], 0], free[progress[N_FREE], 1] = child, batch[b, _SMALL]
            progress[N_FREE] += 1
            looked[job[_N_LOOKED]] = node
            job[_N_LOOKED] += 1
            continue
        way = monotonic[np.int64(bests[node, TERM])]
        children_know(known[node], bests[node], left_rows, way, l2, least_rows, known[child : child + 2])
        places[node, LEFT] = child
        for side in range(2):
            number = child + side
            places[number, LEFT], places[number, DEPTH] = -1, places[node, DEPTH] + 1
            places[number, SUMS] = batch[b, _SMALL if batch[b, _SMALL_LEFT] == (side == 0) else _LARGE]
            places[number, PLACE], places[number, STATE] = places[node, PLACE] + side * left_rows, UNBORN
            bests[number, TERM] = -1.0
            if batch[b, _ADDS]:
                looked[job[_N_LOOKED]] = number
                job[_N_LOOKED] += 1


@kernel(part=True)
def _choose_splits(orders, search, tree):
    """Choose the best splits of the nodes that were searched, the first one of several parts that gain the same."""
    part_bests, part_sides, part_without = search[6], search[7], search[8]
    job, looked = orders[0], orders[2]
    bests, sides = tree[3], tree[4]
    for i in range(job[_N_LOOKED]):
        node, found = looked[i], -1
        bests[node, TERM] = -1.0
        for part in range(part_bests.shape[0]):
            better = found < 0 or part_bests[part, i, GAIN] > part_bests[found, i, GAIN]
            if part_bests[part, i, TERM] >= 0.0 and better:
                found = part
        if found < 0:
            continue
        for k in range(bests.shape[1]):
            bests[node, k] = part_bests[found, i, k]
        bests[node, GAIN] -= part_without[found, i]
        for k in range(sides.shape[1]):
            sides[node, k] = part_sides[found, i, k]


@kernel(part=True)
def _take_splits(progress, most_leaves, tree):
    """Make nodes of the leaves whose turn it is and whose rows were split; return whether another must be split."""
    places, bests = tree[1], tree[3]
    while progress[LEAVES] < most_leaves:
        node = _largest_gain(places, bests, progress[NODES], False)
        if node < 0:
            break
        child = places[node, LEFT]
        if child < 0:
            return True
        places[node, STATE] = NODE
        places[child, STATE] = places[child + 1, STATE] = LEAF
        progress[LEAVES] += 1
    progress[GROWN] = 1
    return False


@kernel(exact=True)
def tree_grow(team, rank, orders, rows, room, search, tree, limits, progress, patience):
    """Grow a tree, given what is known of its root; return when it is grown, or after splits of `patience` rows.

    The thread of rank 0 leads; those of other ranks, which have room of their own, help until `team.end`. `limits` are
    the most leaves, the most depth, the least rows of a side, and the most rows of a histogram. Of the root, node 0,
    are given: its runs, its sums, `places` and `known`. `progress` (5,) says where to go on: 1 node, 1 sum, none free,
    1 leaf, not grown at first.
    """
    job, batch, looked = orders[0], orders[1], orders[2]
    n_parts, n_widened = search[6].shape[0], max(1, room[2].shape[2] // N_BINS // _COLUMNS_A_TASK)
    kind, n_tasks, worked = np.int64(_SEARCH), n_parts, 0.0
    if rank == 0:
        job[_N_LOOKED], looked[0] = progress[NODES] == 1, 0
        n_tasks *= job[_N_LOOKED]
    while True:  # with one call of `_round`, which is much code
        if n_tasks > 0:
            _round(kind, n_tasks, team, rank, orders, rows, room, search, tree, limits[3])
        if rank > 0:
            return
        if kind == _SPLIT:
            _make_children(progress, limits, orders, rows, room, search, tree)
            kind, n_tasks = _WIDEN, n_widened * job[_N_BATCH]
        elif kind == _WIDEN:
            kind, n_tasks = _SEARCH, n_parts * job[_N_LOOKED]
        else:
            _choose_splits(orders, search, tree)
            if not _take_splits(progress, limits[0], tree) or worked >= patience:
                return
            _choose_batch(progress, limits, orders, room, tree)
            for b in range(job[_N_BATCH]):
                worked += tree[2][batch[b, _WHICH], ROWS]
            kind, n_tasks = _SPLIT, rows[0].shape[0]
