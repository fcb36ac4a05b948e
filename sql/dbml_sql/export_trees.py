"""Sums over trees as CASE expressions that any database reads: comparisons, IN and IS NULL over prepared columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from dbml_sql.expressions import double, total
from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Branch, Node, Split, TreeForm

# Deeper trees are one WHEN a leaf: parsers and evaluators recurse.
_MOST_NESTED = 100

# The conditions on the way to a node, last first: nodes share their beginnings.
_Way = tuple["_Way", str] | None


class TreeWriter:
    """Writes the trees of a form over columns ``t.value_0``, …: NULL where a value is missing, text of a category.

    Parameters
    ----------
    form, encoding
        The model.
    text : callable
        From a text to its literal.
    nested : bool
        CASE in CASE; otherwise each leaf has a WHEN with all conditions on the way to it.
    """

    def __init__(self, form: TreeForm, encoding: Encoding, text: Callable[[str], str], nested: bool) -> None:
        self._form, self._text, self._nested = form, text, nested
        self._features = [feature for feature in encoding.features for _ in feature.dense_terms]
        self._features += [feature for feature in encoding.features for _ in feature.sparse_terms]
        self._used = sorted({node.split.term for node, _ in form.inner_nodes()})
        self._names = {term: f"value_{place}" for place, term in enumerate(self._used)}

    def values(self) -> Iterator[tuple[str, Feature]]:
        """Yield name and feature of each column that the trees ask about."""
        for term in self._used:
            yield self._names[term], self._features[term]

    def output(self, number: int) -> str:
        """Return the sum of the trees that add to an output, nothing where none does."""
        written = []
        for tree in self._form.trees:
            place = number - tree.output
            if 0 <= place < _n_values(tree.root):
                write = self._case if self._nested and _depth(tree.root) <= _MOST_NESTED else self._flat
                written.append(write(tree.root, place))
        return total(written) if written else ""

    def _case(self, node: Node, place: int) -> str:
        if not isinstance(node, Branch):
            return double(node[place])
        left, right = self._case(node.left, place), self._case(node.right, place)
        return f"CASE WHEN {self._way(node.split, True)} THEN {left} ELSE {right} END"

    def _flat(self, root: Node, place: int) -> str:
        leaves: list[tuple[list[str], str]] = []
        waiting: list[tuple[Node, _Way]] = [(root, None)]
        while waiting:
            node, way = waiting.pop()
            if isinstance(node, Branch):
                waiting.append((node.right, (way, self._way(node.split, False))))
                waiting.append((node.left, (way, self._way(node.split, True))))
            else:
                leaves.append((_conditions(way), double(node[place])))
        if len(leaves) == 1:
            return leaves[0][1]
        cases = " ".join(f"WHEN {' AND '.join(conditions)} THEN {value}" for conditions, value in leaves[:-1])
        return f"CASE {cases} ELSE {leaves[-1][1]} END"

    def _way(self, split: Split, left: bool) -> str:
        """Return the condition of going left, or of going right."""
        value, missing = f"t.{self._names[split.term]}", split.missing_left == left
        if split.threshold is not None:
            found = _compared(value, split.threshold, left)
            return f"({found} OR {value} IS NULL)" if missing else found
        feature = self._features[split.term]
        assert split.codes is not None
        sides: dict[bool, list[str]] = {True: [], False: []}
        for code, level in enumerate(feature.levels):
            sides[code in split.codes].append(self._text(level))
        unseen_left = len(feature.levels) in split.codes if feature.other_level else split.missing_left
        mine, others = sides[left], sides[not left]
        tests = [f"{value} IS NULL"] * missing
        if unseen_left == left:
            tests.append(f"{value} NOT IN ({', '.join(others)})" if others else f"{value} IS NOT NULL")
        elif mine:
            tests.append(f"{value} IN ({', '.join(mine)})")
        return f"({' OR '.join(tests)})" if tests else "1 = 0"


def _compared(value: str, threshold: float, left: bool) -> str:
    """Return the comparison of a finite value; no database reads infinity in the same way."""
    if math.isinf(threshold):
        return f"{value} IS NOT NULL" if (threshold > 0) == left else "1 = 0"
    return f"{value} {'<=' if left else '>'} {double(threshold)}"


def _conditions(way: _Way) -> list[str]:
    found: list[str] = []
    while way:
        way, condition = way
        found.append(condition)
    return found[::-1]


def _n_values(node: Node) -> int:
    while isinstance(node, Branch):
        node = node.left
    return len(node)


def _depth(root: Node) -> int:
    deepest, waiting = 0, [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(node, Branch):
            waiting += [(node.left, depth + 1), (node.right, depth + 1)]
    return deepest
