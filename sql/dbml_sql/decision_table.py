"""A tree of few different questions as a table: one bit a question, and the leaf of every combination of bits.

A symmetric tree asks one question a level, so that the table has as many entries as the tree has leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from dbml_sql.forms import Branch, Leaf, Node, Split


@dataclass(frozen=True, slots=True)
class DecisionTable:
    """Entry ``sum_b 2^b * (row goes right at splits[b])`` of `leaves` is the leaf of a row."""

    splits: tuple[Split, ...]
    leaves: tuple[Leaf, ...]


def decision_table(root: Node, most_splits: int) -> DecisionTable | None:
    """Return a tree as a table, None where it asks more than `most_splits` different questions."""
    splits = different_splits(root, most_splits)
    if splits is None:
        return None
    leaves: list[Leaf] = [()] * (1 << len(splits))
    _fill(root, splits, range(len(leaves)), leaves)
    return DecisionTable(tuple(splits), tuple(leaves))


def different_splits(root: Node, most: int) -> dict[Split, int] | None:
    """Return the different questions of a tree and their places, from the root down; None where there are more."""
    found: dict[Split, int] = {}
    waiting = [root]
    for node in waiting:
        if isinstance(node, Branch):
            found.setdefault(node.split, len(found))
            if len(found) > most:
                return None
            waiting += (node.left, node.right)
    return found


def _fill(node: Node, splits: dict[Split, int], entries: range | list[int], leaves: list[Leaf]) -> None:
    if not isinstance(node, Branch):
        for entry in entries:
            leaves[entry] = node
        return
    bit = 1 << splits[node.split]
    _fill(node.left, splits, [entry for entry in entries if not entry & bit], leaves)
    _fill(node.right, splits, [entry for entry in entries if entry & bit], leaves)
