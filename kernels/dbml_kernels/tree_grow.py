"""A whole tree, best split first, grown by a team of threads over the shards of its rows.

One thread leads and takes all decisions; the work on rows, sums and candidates is done in rounds of tasks (`team`):

    SPLIT    a shard: the rows of some nodes are split, and those of their smaller children added to histograms of the
             thread; several of the best leaves at a time, so that a row that comes from far away serves them all
    WIDEN    some columns of a node: the threads' histograms become the sums of its smaller child, and leave its own to
             the larger one
    SEARCH   some terms, for a node: its best split by these

Sums are whole numbers, and the best of the parts is chosen in their order, so the tree is the same for any threads and
shards, to the bit. A leaf that is split ahead of its turn becomes a node when its gain is the largest, or never.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from dbml_kernels.column_gather import pointer
from dbml_kernels.jit import kernel
from dbml_kernels.team import publish, take, tell_done, wait_for, wait_to_help
from dbml_kernels.tree_arrays import (
    ADDS,
    AHEAD,
    BINS,
    CHILD,
    COLUMNS,
    DEPTH,
    EARLIER,
    GROWN,
    KIND,
    LARGE,
    LEAF,
    LEAVES,
    LEFT,
    N_BATCH,
    N_FREE,
    N_LOOKED,
    N_ROWS,
    N_SUMS,
    N_TASKS,
    NODE,
    NODES,
    ORDER,
    PENDING,
    PLACE,
    SMALL,
    SMALL_LEFT,
    STATE,
    STRIDE,
    SUMS,
    UNBORN,
    WHICH,
    WORDS,
)
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

_SPLIT, _WIDEN, _SEARCH = range(3)  # kinds of rounds
_COLUMNS_A_TASK = 64  # of WIDEN: some 20 us


# tasks ---------------------------------------------------------------------------------------------------------------


@kernel(part=True)
def _split_rows(shard, b, rank, orders, rows, room, search, tree, most_rows):
    """Split the rows of node `b` of the batch in a shard; add those of the smaller child to the thread's histogram."""
    batch, runs, added = orders.batch, rows.runs, room.added
    node, child, own = batch[b, WHICH], batch[b, CHILD], rows.shards[shard]
    begin, last = runs[node, 0, shard], runs[node, 1, shard]
    order = carray(pointer(own[ORDER]), own[N_ROWS], np.int32)
    number = search.column_of[np.int64(tree.bests[node, TERM])]
    column = carray(pointer(own[COLUMNS] + number * own[STRIDE]), own[N_ROWS], np.uint8)
    middle = rows_split(order, begin, last, column, tree.sides[node], room.moved[rank])
    runs[child, 0, shard], runs[child, 1, shard] = begin, middle
    runs[child + 1, 0, shard], runs[child + 1, 1, shard] = middle, last
    if batch[b, ADDS] == 0:
        return
    n_columns, histogram = room.histograms.shape[2] // N_BINS, room.histograms[rank, b]
    bins = carray(pointer(own[BINS]), own[N_ROWS] * n_columns, np.uint8)
    words = carray(pointer(own[WORDS]), own[N_ROWS], np.int32)
    first, last = (begin, middle) if batch[b, SMALL_LEFT] else (middle, last)
    while first < last:
        if added[rank, b, PENDING] == most_rows:
            histogram_widen(histogram, room.earlier[rank, b])
            added[rank, b, EARLIER] += most_rows
            added[rank, b, PENDING] = 0
        until = min(last, first + most_rows - added[rank, b, PENDING])
        histogram_add_rows(bins, n_columns, words, order, first, until, histogram)
        added[rank, b, PENDING] += until - first
        first = until


@kernel(part=True)
def _widen_columns(first, last, b, orders, room, tree):
    """Take some bins of the threads' histograms over as sums of the smaller child; leave the larger one the rest."""
    small, large = tree.sums[orders.batch[b, SMALL]], tree.sums[orders.batch[b, LARGE]]
    for k in range(2):
        for i in range(first, last):
            small[k, i] = 0.0
    for rank in range(room.added.shape[0]):
        if room.added[rank, b, PENDING] > 0:
            histogram_widen(room.histograms[rank, b, first:last], small[:, first:last])
        if room.added[rank, b, EARLIER] > 0:
            for k in range(2):
                for i in range(first, last):
                    small[k, i] += room.earlier[rank, b, k, i]
                    room.earlier[rank, b, k, i] = 0.0
    for k in range(2):
        for i in range(first, last):
            large[k, i] -= small[k, i]


@kernel(part=True)
def _search_terms(part, i, rank, orders, room, search, tree):
    """Find the best split of a node by a part of the terms."""
    node, known, n_parts = orders.looked[i], tree.known, search.part_bests.shape[0]
    n_terms = search.terms.size
    terms = search.terms[part * n_terms // n_parts : (part + 1) * n_terms // n_parts]
    search.part_bests[part, i, TERM] = -1.0
    if known[node, ROWS] >= 2.0 * known[node, LEAST_ROWS]:
        search.part_without[part, i] = part_search(
            tree.sums[tree.places[node, SUMS]], search.steps, terms, search.layout, search.monotonic, known[node],
            search.rules, room.scratch[rank], search.part_bests[part, i], search.part_sides[part, i],
        )  # fmt: skip


@kernel(part=True)
def _work(task, rank, orders, rows, room, search, tree, most_rows):
    """Do a task of the round."""
    job = orders.job
    if job[KIND] == _SPLIT:
        for b in range(job[N_BATCH]):
            _split_rows(task, b, rank, orders, rows, room, search, tree, most_rows)
    elif job[KIND] == _WIDEN:
        n_columns, n_slices = room.histograms.shape[2] // N_BINS, job[N_TASKS] // job[N_BATCH]
        b, part = task // n_slices, task % n_slices
        if orders.batch[b, ADDS]:
            first, last = part * n_columns // n_slices, (part + 1) * n_columns // n_slices
            _widen_columns(N_BINS * first, N_BINS * last, b, orders, room, tree)
    else:
        _search_terms(task // job[N_LOOKED], task % job[N_LOOKED], rank, orders, room, search, tree)


@kernel(part=True)
def _round(kind, n_tasks, team, rank, orders, rows, room, search, tree, most_rows):
    """Do the tasks of a round with whoever helps; as a helper, whatever tasks there are until the end."""
    task, job = np.int64(0), orders.job
    alone = n_tasks == 1 and rank == 0
    if rank > 0:
        task = wait_to_help(team)
    else:
        job[KIND], job[N_TASKS] = kind, n_tasks
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
    job, batch, free = orders.job, orders.batch, orders.free
    places, known, bests, added = tree.places, tree.known, tree.bests, room.added
    left = limits[0] - progress[LEAVES]
    n = min(AHEAD, 1 + left // AHEAD)
    job[N_BATCH] = 0
    for b in range(n):
        node = _largest_gain(places, bests, progress[NODES], True)
        if node < 0:
            break
        places[node, LEFT] = -2  # chosen
        if progress[N_FREE] > 0:
            progress[N_FREE] -= 1
            batch[b, CHILD], batch[b, SMALL] = free[progress[N_FREE], 0], free[progress[N_FREE], 1]
        else:
            batch[b, CHILD], batch[b, SMALL] = progress[NODES], progress[N_SUMS]
            places[progress[NODES], STATE] = places[progress[NODES] + 1, STATE] = UNBORN
            progress[NODES] += 2
            progress[N_SUMS] += 1
        batch[b, WHICH], batch[b, LARGE] = node, places[node, SUMS]
        batch[b, SMALL_LEFT] = 2.0 * bests[node, LEFT_HESSIAN] <= known[node, HESSIAN]
        batch[b, ADDS] = left > 1 and places[node, DEPTH] + 1 < limits[1]
        for rank in range(added.shape[0]):
            added[rank, b, PENDING] = added[rank, b, EARLIER] = 0
        job[N_BATCH] = b + 1


@kernel(part=True)
def _forget_sums(b, room):
    """Clear the sums of a child that will not be."""
    for rank in range(room.added.shape[0]):
        for i in range(room.histograms.shape[2]):
            if room.added[rank, b, PENDING] > 0:
                room.histograms[rank, b, i] = 0
            if room.added[rank, b, EARLIER] > 0:
                room.earlier[rank, b, 0, i] = room.earlier[rank, b, 1, i] = 0.0


@kernel(part=True)
def _make_children(progress, limits, orders, rows, room, search, tree):
    """Make the children of the batch, and list the nodes to search: these, or a leaf with too few rows on a side."""
    job, batch, looked, free = orders.job, orders.batch, orders.looked, orders.free
    runs, places, known, bests = rows.runs, tree.places, tree.known, tree.bests
    l2, least_rows = search.rules[0], limits[2]
    job[N_LOOKED] = 0
    for b in range(job[N_BATCH]):
        node, child = batch[b, WHICH], batch[b, CHILD]
        left_rows = 0
        for shard in range(runs.shape[2]):
            left_rows += runs[child, 1, shard] - runs[child, 0, shard]
        if min(left_rows, known[node, ROWS] - left_rows) < least_rows:
            # Rows were estimated from hessians; ask for more of them.
            _forget_sums(b, room)
            batch[b, ADDS] = 0
            known[node, LEAST_ROWS] *= 1.5
            places[node, LEFT] = -1
            free[progress[N_FREE], 0], free[progress[N_FREE], 1] = child, batch[b, SMALL]
            progress[N_FREE] += 1
            looked[job[N_LOOKED]] = node
            job[N_LOOKED] += 1
            continue
        way = search.monotonic[np.int64(bests[node, TERM])]
        children_know(known[node], bests[node], left_rows, way, l2, least_rows, known[child : child + 2])
        places[node, LEFT] = child
        for side in range(2):
            number = child + side
            places[number, LEFT], places[number, DEPTH] = -1, places[node, DEPTH] + 1
            places[number, SUMS] = batch[b, SMALL if batch[b, SMALL_LEFT] == (side == 0) else LARGE]
            places[number, PLACE], places[number, STATE] = places[node, PLACE] + side * left_rows, UNBORN
            bests[number, TERM] = -1.0
            if batch[b, ADDS]:
                looked[job[N_LOOKED]] = number
                job[N_LOOKED] += 1


@kernel(part=True)
def _choose_splits(orders, search, tree):
    """Choose the best splits of the nodes that were searched, the first one of several parts that gain the same."""
    part_bests, part_sides, part_without = search.part_bests, search.part_sides, search.part_without
    bests, sides = tree.bests, tree.sides
    for i in range(orders.job[N_LOOKED]):
        node, found = orders.looked[i], -1
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
    places, bests = tree.places, tree.bests
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
    job, n_parts = orders.job, search.part_bests.shape[0]
    n_widened = max(1, room.histograms.shape[2] // N_BINS // _COLUMNS_A_TASK)
    kind, n_tasks, worked = np.int64(_SEARCH), n_parts, 0.0
    if rank == 0:
        job[N_LOOKED], orders.looked[0] = progress[NODES] == 1, 0
        n_tasks *= job[N_LOOKED]
    while True:  # with one call of `_round`, which is much code
        if n_tasks > 0:
            _round(kind, n_tasks, team, rank, orders, rows, room, search, tree, limits[3])
        if rank > 0:
            return
        if kind == _SPLIT:
            _make_children(progress, limits, orders, rows, room, search, tree)
            kind, n_tasks = _WIDEN, n_widened * job[N_BATCH]
        elif kind == _WIDEN:
            kind, n_tasks = _SEARCH, n_parts * job[N_LOOKED]
        else:
            _choose_splits(orders, search, tree)
            if not _take_splits(progress, limits[0], tree) or worked >= patience:
                return
            _choose_batch(progress, limits, orders, room, tree)
            for b in range(job[N_BATCH]):
                worked += tree.known[orders.batch[b, WHICH], ROWS]
            kind, n_tasks = _SPLIT, rows.shards.shape[0]
