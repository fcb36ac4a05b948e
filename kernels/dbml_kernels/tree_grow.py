"""A whole tree, best split first, grown by a team of threads over the shards of its rows.

One thread leads and takes all decisions; the work on rows, sums and candidates is done in rounds of tasks (`team`):

    SPLIT    a shard: its rows of the node are split, and those of the smaller child added to a histogram of the thread
    WIDEN    some columns: the threads' histograms become the sums of the smaller child, and leave the node's the larger
    SEARCH   some terms: the best splits of both children, or of the root, by these

Sums are whole numbers, and the best of the parts is chosen in their order, so the tree is the same for any threads and
shards, to the bit.

Groups of arrays, of which every function here takes what it needs:

    rows     `shards` (n_shards, 6) int64: addresses of the order of rows (int32), their bins by row and by column (uint8)
             and their words (int32), the number of rows, and how far apart columns are; `runs` (n_nodes, 2, n_shards):
             where a node's run of the order begins and ends; three arrays of the types of order, bins and words
    room     of each thread: `moved` (most rows of a shard,) int32, `histograms` (256 n_columns,) int64 of zeros,
             `earlier` (2, 256 n_columns) of zeros, for sums of more rows than words can hold, `added` (8,) int64:
             rows in the histogram, rows in `earlier`; `scratch` (5, 256)
    search   `steps` (2,), `terms`, `layout`, `monotonic`, `rules` as in `tree_split.part_search`, `column_of` (n_terms,);
             of each part of the terms: `part_bests` (2, 6), `part_sides` (2, 256) of both children, `part_without` (2,)
    tree     `sums` (most leaves, 2, 256 n_columns), of each node: `places` (4,), `known` (6,), `bests` (6,), `sides`
             (256,) uint8 of the bins of the column that it is split by: 1 goes left
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

# A row of `places`: the left child of a node (the right one follows) or -1, its depth, where its sums are, and how many
# rows lie to the left of it.
LEFT, DEPTH, SUMS, PLACE = range(4)
# Of `progress`, kept between calls: nodes and leaves of the tree so far, and whether it is grown.
NODES, LEAVES, GROWN = range(3)
JOB_SIZE, ADDED_SIZE = 16, 8

_ORDER, _BINS, _COLUMNS, _WORDS, _N_ROWS, _STRIDE = range(6)  # of `shards`
_PENDING, _EARLIER = range(2)  # of `added`
_SPLIT, _WIDEN, _SEARCH = range(3)
# Of `job`: the kind of the round, its tasks, the node that is split, its first child, whether that is the smaller one,
# whether sums are added, where the sums of both are; the nodes to search, which follow each other.
_KIND, _N_TASKS, _NODE, _CHILD, _SMALL_LEFT, _ADDS, _SMALL, _LARGE, _LOOKED, _N_LOOKED = range(10)
_COLUMNS_A_TASK, _TERMS_A_TASK = 64, 14  # some 20 us each


def parts_of(n_terms):
    """Return in how many parts the splits by so many terms are searched."""
    return max(1, min(16, n_terms // _TERMS_A_TASK))


# tasks ---------------------------------------------------------------------------------------------------------------


@kernel
def _split_rows(shard, rank, job, rows, room, search, tree, most_rows):
    """Split the rows of a node in a shard, and add those of the smaller child to the histogram of this thread."""
    shards, runs, like_order, like_bins, like_words = rows
    moved, histograms, earlier, added = room[0], room[1], room[2], room[3]
    node, child, own = job[_NODE], job[_CHILD], shards[shard]
    begin, last = runs[node, 0, shard], runs[node, 1, shard]
    order = array_at(own[_ORDER], own[_N_ROWS], like_order)
    column_number = search[5][np.int64(tree[3][node, TERM])]
    column = array_at(own[_COLUMNS] + column_number * own[_STRIDE], own[_N_ROWS], like_bins)
    middle = rows_split(order, begin, last, column, tree[4][node], moved[rank])
    runs[child, 0, shard], runs[child, 1, shard] = begin, middle
    runs[child + 1, 0, shard], runs[child + 1, 1, shard] = middle, last
    if job[_ADDS] == 0:
        return
    n_columns = histograms.shape[1] // N_BINS
    bins = array_at(own[_BINS], own[_N_ROWS] * n_columns, like_bins)
    words = array_at(own[_WORDS], own[_N_ROWS], like_words)
    first, last = (begin, middle) if job[_SMALL_LEFT] else (middle, last)
    while first < last:
        if added[rank, _PENDING] == most_rows:
            histogram_widen(histograms[rank], earlier[rank])
            added[rank, _EARLIER] += most_rows
            added[rank, _PENDING] = 0
        until = min(last, first + most_rows - added[rank, _PENDING])
        histogram_add_rows(bins, n_columns, words, order, first, until, histograms[rank])
        added[rank, _PENDING] += until - first
        first = until


@kernel
def _widen_columns(task, n_tasks, job, room, tree):
    """Take some columns of the threads' histograms over as sums of the smaller child; leave the larger one the rest."""
    histograms, earlier, added = room[1], room[2], room[3]
    small, large = tree[0][job[_SMALL]], tree[0][job[_LARGE]]
    n_columns = histograms.shape[1] // N_BINS
    first, last = N_BINS * (task * n_columns // n_tasks), N_BINS * ((task + 1) * n_columns // n_tasks)
    for k in range(2):
        for i in range(first, last):
            small[k, i] = 0.0
    for rank in range(histograms.shape[0]):
        if added[rank, _PENDING] > 0:
            histogram_widen(histograms[rank, first:last], small[:, first:last])
        if added[rank, _EARLIER] > 0:
            for k in range(2):
                for i in range(first, last):
                    small[k, i] += earlier[rank, k, i]
                    earlier[rank, k, i] = 0.0
    for k in range(2):
        for i in range(first, last):
            large[k, i] -= small[k, i]


@kernel(exact=True)
def _search_terms(task, n_tasks, rank, job, room, search, tree):
    """Find the best splits of some nodes that follow each other, by some terms."""
    steps, terms, layout, monotonic, rules = search[0], search[1], search[2], search[3], search[4]
    part_bests, part_sides, part_without = search[6], search[7], search[8]
    sums, places, known = tree[0], tree[1], tree[2]
    some = terms[task * terms.size // n_tasks : (task + 1) * terms.size // n_tasks]
    for i in range(job[_N_LOOKED]):
        node = job[_LOOKED] + i
        part_bests[task, i, TERM] = -1.0
        if known[node, ROWS] >= 2.0 * known[node, LEAST_ROWS]:
            part_without[task, i] = part_search(
                sums[places[node, SUMS]], steps, some, layout, monotonic, known[node], rules, room[4][rank],
                part_bests[task, i], part_sides[task, i],
            )  # fmt: skip


@kernel
def _round(n_tasks, team, rank, job, rows, room, search, tree, most_rows):
    """Do the `n_tasks` of the round that `job` tells of, with whoever helps; as a helper, those of all rounds."""
    alone = rank == 0 and n_tasks == 1
    task = np.int64(0)
    if rank > 0:
        task = wait_to_help(team)
    elif not alone:
        job[_N_TASKS] = n_tasks
        publish(team, n_tasks)
        task = take(team)
    while task >= 0:
        if job[_KIND] == _SPLIT:
            _split_rows(task, rank, job, rows, room, search, tree, most_rows)
        elif job[_KIND] == _WIDEN:
            _widen_columns(task, n_tasks if rank == 0 else job[_N_TASKS], job, room, tree)
        else:
            _search_terms(task, n_tasks if rank == 0 else job[_N_TASKS], rank, job, room, search, tree)
        if alone:
            return
        tell_done(team)
        task = wait_to_help(team) if rank > 0 else take(team)
    if rank == 0:
        wait_for(team, n_tasks)


# decisions -----------------------------------------------------------------------------------------------------------


@kernel(exact=True)
def _largest_gain(places, bests, n_nodes):
    """Return the leaf of the largest gain, the leftmost one of several, or -1."""
    found = -1
    for node in range(n_nodes):
        if places[node, LEFT] >= 0 or bests[node, TERM] < 0.0:
            continue
        more = 1.0 if found < 0 else bests[node, GAIN] - bests[found, GAIN]
        if more > 0.0 or (more == 0.0 and places[node, PLACE] < places[found, PLACE]):
            found = node
    return found


@kernel(exact=True)
def _choose(job, search, tree):
    """Choose the best splits of the nodes that were searched, the first one of several parts that gain the same."""
    part_bests, part_sides, part_without = search[6], search[7], search[8]
    bests, sides = tree[3], tree[4]
    for i in range(job[_N_LOOKED]):
        node, found = job[_LOOKED] + i, -1
        bests[node, TERM] = -1.0
        for part in range(part_bests.shape[0]):
            if part_bests[part, i, TERM] >= 0.0:
                if found < 0 or part_bests[part, i, GAIN] > part_bests[found, i, GAIN]:
                    found = part
        if found < 0:
            continue
        for k in range(bests.shape[1]):
            bests[node, k] = part_bests[found, i, k]
        bests[node, GAIN] -= part_without[found, i]
        for k in range(sides.shape[1]):
            sides[node, k] = part_sides[found, i, k]


@kernel(exact=True)
def _forget_sums(room):
    """Clear the sums of children that will not be."""
    histograms, earlier, added = room[1], room[2], room[3]
    for rank in range(histograms.shape[0]):
        for i in range(histograms.shape[1]):
            if added[rank, _PENDING] > 0:
                histograms[rank, i] = 0
            if added[rank, _EARLIER] > 0:
                earlier[rank, 0, i] = earlier[rank, 1, i] = 0.0


@kernel(exact=True)
def tree_grow(team, rank, job, rows, room, search, tree, limits, progress, patience):
    """Grow a tree, given what is known of its root; return when it is grown, or after splits of `patience` rows.

    The thread of rank 0 leads; those of other ranks, which have room of their own, help until `team.end`. `limits` are
    the most leaves, the most depth, the least rows of a side, and the most rows of a histogram. Of the root, node 0,
    are given: its runs, its sums, `places` and `known`. `progress` (3,) says where to go on: 1 node, 1 leaf, not grown
    at first. `job` (`JOB_SIZE`,) is the team's.
    """
    most_leaves, most_depth, least_rows, most_rows = limits
    if rank > 0:
        _round(rank, team, rank, job, rows, room, search, tree, most_rows)  # a constant would be another type
        return
    runs, histograms, added = rows[1], room[1], room[3]
    monotonic, l2, n_parts = search[3], search[4][0], search[6].shape[0]
    places, known, bests = tree[1], tree[2], tree[3]
    n_shards, n_columns = runs.shape[2], histograms.shape[1] // N_BINS
    n_widened = max(1, n_columns // _COLUMNS_A_TASK)
    n_nodes, leaves = progress[NODES], progress[LEAVES]
    job[_LOOKED], job[_N_LOOKED] = 0, n_nodes == 1
    worked = 0.0
    while leaves < most_leaves:
        if job[_N_LOOKED] > 0:
            job[_KIND] = _SEARCH
            _round(n_parts, team, rank, job, rows, room, search, tree, most_rows)
            _choose(job, search, tree)
            job[_N_LOOKED] = 0
        if worked >= patience:
            break
        node = _largest_gain(places, bests, n_nodes)
        if node < 0:
            progress[GROWN] = 1
            break
        worked += known[node, ROWS]
        child = n_nodes
        small_left = 2.0 * bests[node, LEFT_HESSIAN] <= known[node, HESSIAN]
        looks = leaves + 1 < most_leaves and places[node, DEPTH] + 1 < most_depth
        job[_NODE], job[_CHILD], job[_SMALL_LEFT], job[_ADDS] = node, child, small_left, looks
        job[_SMALL], job[_LARGE] = leaves, places[node, SUMS]
        for thread in range(added.shape[0]):
            added[thread, _PENDING] = added[thread, _EARLIER] = 0
        job[_KIND] = _SPLIT
        _round(n_shards, team, rank, job, rows, room, search, tree, most_rows)
        left_rows = 0
        for shard in range(n_shards):
            left_rows += runs[child, 1, shard] - runs[child, 0, shard]
        if min(left_rows, known[node, ROWS] - left_rows) < least_rows:
            # Rows were estimated from hessians; ask for more of them.
            _forget_sums(room)
            known[node, LEAST_ROWS] *= 1.5
            job[_LOOKED], job[_N_LOOKED] = node, 1
            continue
        way = monotonic[np.int64(bests[node, TERM])]
        children_know(known[node], bests[node], left_rows, way, l2, least_rows, known[child : child + 2])
        for side in range(2):
            number = child + side
            places[number, LEFT], places[number, DEPTH] = -1, places[node, DEPTH] + 1
            places[number, SUMS] = job[_SMALL] if small_left == (side == 0) else job[_LARGE]
            places[number, PLACE] = places[node, PLACE] + side * left_rows
            bests[number, TERM] = -1.0
        places[node, LEFT] = child
        if looks:
            job[_KIND] = _WIDEN
            _round(n_widened, team, rank, job, rows, room, search, tree, most_rows)
            job[_LOOKED], job[_N_LOOKED] = child, 2
        n_nodes += 2
        leaves += 1
    progress[NODES], progress[LEAVES] = n_nodes, leaves
    if leaves == most_leaves:
        progress[GROWN] = 1
