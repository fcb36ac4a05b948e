"""Trees without the branches that no row of a query can reach: what its conditions say of the columns, applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dbml_sql.features import Encoding, Feature
from dbml_sql.forms import Branch, Node, Split, Tree, TreeForm


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a column in all rows.

    Attributes
    ----------
    low, high : float
        Bounds of its number; NaN, which DuckDB orders above all others, is within an infinite upper one.
    above : bool
        Whether the lower bound itself is excluded.
    texts : frozenset of str or None
        The texts that it may be, None for any.
    excluded : frozenset of str
        Texts that it is not.
    null : bool or None
        True where it is NULL in all rows, False where in none, None where it may be.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    texts: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    null: bool | None = None

    def and_(self, other: Known) -> Known:
        """Return what is known where both hold."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        both = None
        if self.texts is not None or other.texts is not None:
            sets = [texts for texts in (self.texts, other.texts) if texts is not None]
            both = frozenset.intersection(*sets)
        return Known(
            low,
            high,
            any(known.above for known in (self, other) if known.low == low),
            both,
            self.excluded | other.excluded,
            self.null if other.null is None else other.null if self.null is None else self.null and other.null,
        )


def prune(form: TreeForm, encoding: Encoding, known: Mapping[str, Known]) -> TreeForm:
    """Return a form that gives the same scores for the rows of which something is known.

    Parameters
    ----------
    form, encoding
        The model.
    known : mapping of str to Known
        By input column, as the encoding spells it. Of columns that are read in parts (dates) it is not used.
    """
    features = [feature for feature in encoding.features for _ in feature.dense_terms]
    by_term = {
        term: (feature, known[feature.column])
        for term, feature in enumerate(features)
        if feature.column in known and feature.part is None and feature.kind in ("number", "category")
    }
    kept: dict[int, Node] = {}
    return replace(form, trees=tuple(Tree(tree.output, _pruned(tree.root, by_term, kept)) for tree in form.trees))


def _pruned(node: Node, by_term: Mapping[int, tuple[Feature, Known]], kept: dict[int, Node]) -> Node:
    if not isinstance(node, Branch):
        return node
    if id(node) in kept:
        return kept[id(node)]
    ways = _ways(node.split, *by_term[node.split.term]) if node.split.term in by_term else {True, False}
    if len(ways) == 1:
        found = _pruned(node.left if True in ways else node.right, by_term, kept)
    else:
        left, right = _pruned(node.left, by_term, kept), _pruned(node.right, by_term, kept)
        found = node if left is node.left and right is node.right else Branch(node.split, left, right)
    kept[id(node)] = found
    return found


def _ways(split: Split, feature: Feature, known: Known) -> set[bool]:
    """Return the ways that rows may go: True is left."""
    if known.null:
        return {split.missing_left}
    if split.threshold is not None:
        return _number_ways(split.threshold, split.missing_left, known)
    assert split.codes is not None
    ways = {split.missing_left} if known.null is None else set()
    seen = feature.levels if known.texts is None else [level for level in feature.levels if level in known.texts]
    ways |= {feature.levels.index(level) in split.codes for level in seen if level not in known.excluded}
    if known.texts is None or not known.texts <= set(feature.levels):
        ways.add(len(feature.levels) in split.codes if feature.other_level else split.missing_left)
    return ways or {True, False}


def _number_ways(threshold: float, missing_left: bool, known: Known) -> set[bool]:
    ways = set()
    if known.null is None or math.isinf(known.low) or math.isinf(known.high):  # infinities and NaN are missing
        ways.add(missing_left)
    if known.low < threshold or (known.low == threshold and not known.above):
        ways.add(True)
    if known.high > threshold:
        ways.add(False)
    return ways or {True, False}
