"""Trees as a form that SQL can score, and whether that is worth it."""

from __future__ import annotations

import numpy as np
from dbml_sql.features import Encoding
from dbml_sql.forms import Branch, Node, Split, Tree, TreeForm, TreeLink
from dbml_sql.trees import most_splits
from numpy.typing import NDArray

from dbml.estimators.trees.ensemble import Trees
from dbml.passes.block import Floats

# Nanoseconds a row and thread, 28 columns of numbers, 1 to 100 trees of 8 to 64 leaves. A leaf of a CASE costs more
# where there are many, as each part of an expression has memory of its own, which leaves the cache; planning it is
# spread over a quarter of a million rows. 10 trees of 31 leaves: SQL 462, function 646; 20: 1,330 and 1,086; 100: 8,440
# and 4,903. 100 symmetric trees of depth 6: 3,032 and 4,047.
_CASE_CACHED, _CASE, _PLAN_LEAF, _ADD = 1.1, 2.4, 0.4, 3.0
_TABLE, _TABLE_SPLIT = 4.0, 2.5
_CALL, _CALL_COLUMN, _STEP = 50.0, 7.0, 7.5
# Entries of all tables: 4 MB of text, which takes half a second to plan.
_MOST_ENTRIES = 200_000


def tree_form(trees: Trees, baseline: Floats, link: TreeLink) -> TreeForm:
    """Return trees as plain data; of two probabilities only the second, as they sum to 1."""
    values = trees.value
    if link == "probability" and baseline.size == 2 and values.shape[1] == 2:
        values, baseline = values[:, 1:], baseline[1:]
    roots = _roots(trees, values)
    return TreeForm(tuple(map(Tree, trees.outputs.tolist(), roots)), tuple(baseline.tolist()), link)


def _roots(trees: Trees, values: Floats) -> list[Node]:
    sets = [frozenset(np.flatnonzero(codes).tolist()) for codes in trees.category_sets]
    leaves = list(map(tuple, values.tolist()))
    columns = (trees.term, trees.threshold, trees.category_set, trees.missing_left, trees.left)
    nodes: list[Node] = [()] * trees.term.size
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for number in range(len(rows) - 1, -1, -1):  # children before their parents
        term, threshold, category_set, missing_left, left = rows[number]
        if left < 0:
            nodes[number] = leaves[number]
            continue
        by_set = category_set >= 0
        split = Split(term, None if by_set else threshold, sets[category_set] if by_set else None, missing_left)
        nodes[number] = Branch(split, nodes[left], nodes[left + 1])
    return [nodes[root] for root in trees.roots[:-1].tolist()]


def worth_sql(trees: Trees, encoding: Encoding) -> bool:
    """Return whether native SQL scores trees about as fast as the kernels in a function do, by measured costs."""
    inner = trees.left >= 0
    if (trees.term[inner] >= encoding.n_dense).any():
        return False
    n_leaves = np.add.reduceat(~inner, trees.roots[:-1]) if trees.n_trees else np.zeros(0, int)
    n_splits = _different_splits(trees, inner)
    tables = n_splits <= np.fromiter(map(most_splits, n_leaves.tolist()), int, n_leaves.size)
    entries = int((1 << n_splits[tables]).sum()) * trees.value.shape[1]
    if entries > _MOST_ENTRIES:
        return False
    if tables.all():
        return True
    written = int(n_leaves[~tables].sum()) * trees.value.shape[1]
    case = min(_CASE, max(_CASE_CACHED, _CASE_CACHED + (written - 320) * 0.0022))
    native = (case + _PLAN_LEAF) * written + _ADD * int((~tables).sum())
    native += (_TABLE + _TABLE_SPLIT * n_splits[tables]).sum()
    n_columns = np.unique(trees.term[inner]).size
    function = _CALL + _CALL_COLUMN * n_columns + (_STEP * (1.0 + np.log2(n_leaves))).sum()
    return bool(native <= function)


def _different_splits(trees: Trees, inner: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many different questions each tree asks."""
    _, same_set = np.unique(trees.category_sets, axis=0, return_inverse=True)
    nodes = np.flatnonzero(inner)
    tree = np.searchsorted(trees.roots, nodes, side="right") - 1
    by_set = trees.category_set[nodes] >= 0
    bound = np.where(by_set, 0.0, trees.threshold[nodes])
    bound[by_set] = same_set.ravel()[trees.category_set[nodes[by_set]]]
    questions = np.column_stack([tree, trees.term[nodes], trees.missing_left[nodes], bound])
    found = np.unique(questions, axis=0)[:, 0].astype(np.int64)
    return np.bincount(found, minlength=trees.n_trees)
