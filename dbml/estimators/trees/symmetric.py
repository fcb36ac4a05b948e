"""Symmetric (oblivious) trees: one split for all nodes of a level, the one that gains most in all of them together.

A node in which the split leaves a side with too few rows gains nothing by it: that side has the value of the node.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np
from dbml_kernels.tree_level import level_category_split, level_gains_add
from dbml_kernels.tree_split import (
    BIN,
    BINS,
    CATEGORY,
    CATEGORY_L2,
    FIRST,
    GAIN,
    LEFT_GRADIENT,
    LEFT_HESSIAN,
    MISSED,
    MISSING,
    MISSING_LEFT,
    ONE_BY_ONE,
    TERM,
    side_gain,
    sides_write,
)
from numpy.typing import NDArray

from dbml.estimators.trees.growth import Grower, Rules
from dbml.estimators.trees.nodes import Node
from dbml.passes.block import Floats

_DEPTH = 6  # where nothing limits it


def symmetric_depth(rules: Rules) -> int:
    """Return the depth of symmetric trees: the whole number nearest to log2 of `max_leaves`, at most `max_depth`."""
    limits = [] if rules.max_leaves is None else [max(1, round(log2(rules.max_leaves)))]
    limits += [] if rules.max_depth is None else [rules.max_depth]
    return min(limits, default=_DEPTH)


class SymmetricGrower(Grower):
    """Grows symmetric trees; see `Grower`."""

    def _grow(self, root: Node) -> None:
        level, depth = [root], symmetric_depth(self.rules)
        for number in range(depth):
            if not self._search_level(level):
                return
            self._split(level, last=number + 1 == depth)
            below: list[Node] = []
            for node in level:
                assert node.children is not None
                node.split = True
                below += node.children
            level = below

    def values(self, nodes: Sequence[Node]) -> Floats:
        values = super().values(nodes)
        for number, node in enumerate(nodes):
            if node.inherited is not None:
                values[number] = node.inherited
        return values

    # the split of a level --------------------------------------------------------------------------------------

    def _search_level(self, level: list[Node]) -> bool:
        """Set the best split of a level in all its nodes; return whether there is one."""
        rules, layout = self.rules, self.binning.layout
        terms = self._allowed(level[0])
        gains, scratch = np.zeros((terms.size, 2, 256)), self._scratch[:2]
        rule = (rules.l2, float(rules.least_rows), rules.least_hessian)
        abouts = np.array([self._about(node) for node in level])
        for node, about in zip(level, abouts, strict=True):
            if node.rows >= 2 * rules.least_rows:
                level_gains_add(
                    node.sums, self._steps, terms, layout, rules.monotonic, tuple(about[:5]), rule, about[5],
                    scratch, gains,
                )  # fmt: skip
        place, side, bin = np.unravel_index(int(gains.argmax()), gains.shape)
        least = 2.0 * rules.least_gain + 1e-12 * abs(float(abouts[:, 5].sum()))
        gain, term, goes_left = float(gains[place, side, bin]), int(terms[place]), np.zeros(256, np.uint8)
        found = self._category(level, abouts, terms[layout[terms, CATEGORY] == 1], rule, gain, goes_left)
        gain, term = found if found is not None else (gain, term)
        if gain <= least:
            return False
        missing_left = float(goes_left[MISSING])
        if found is None:
            missing_left = float(side if self._any_missing(level, term) else self._larger_left(level, term, int(bin)))
            sides_write(layout[term], float(bin), missing_left > 0.0, goes_left)
        for node in level:
            node.best[:] = 0.0
            node.best[[TERM, BIN, MISSING_LEFT]] = term, (bin if found is None else -1.0), missing_left
            node.goes_left = goes_left
            self._sides(node, rule)
        return True

    def _about(self, node: Node) -> tuple[float, ...]:
        """Return gradient, hessian, rows per hessian, bounds of a node, and the gain of no split."""
        without = side_gain(node.gradient, node.hessian, self.rules.l2, node.low, node.high) if node.rows else 0.0
        per_hessian = node.rows / max(node.hessian, 1e-300)
        return node.gradient, node.hessian, per_hessian, node.low, node.high, float(without)

    def _column(self, node: Node, term: int) -> Floats:
        """Return the sums of the column of a term in a node, shape (2, 256)."""
        assert node.sums is not None
        begin = 256 * int(self.binning.columns[term])
        return node.sums[:, begin : begin + 256] * self._steps[:, None]

    def _category(
        self,
        level: list[Node],
        abouts: Floats,
        terms: NDArray[np.int64],
        rule: tuple[float, float, float],
        least: float,
        goes_left: NDArray[np.uint8],
    ) -> tuple[float, int] | None:
        """Return gain and term of the best split by a category that gains more than `least`, None if none does."""
        found, candidate = None, np.zeros(256, np.uint8)
        nodes = [number for number, node in enumerate(level) if node.rows >= 2 * self.rules.least_rows]
        for term in terms if nodes else ():
            sums = np.array([self._column(level[number], term) for number in nodes])
            place = self.binning.layout[term]
            l2 = CATEGORY_L2 if place[BINS] > ONE_BY_ONE else 0.0
            gain = float(level_category_split(sums, place, abouts[nodes], rule, l2, candidate))
            if gain > least:
                least, found = gain, (gain, int(term))
                goes_left[:] = candidate
        return found

    def _any_missing(self, level: list[Node], term: int) -> bool:
        place = self.binning.layout[term]
        at = MISSING if place[FIRST] < 0 else int(place[MISSED])
        return at >= 0 and any(self._column(node, term)[1, at] > 0.0 for node in level)

    def _larger_left(self, level: list[Node], term: int, bin: int) -> bool:
        """Return whether most of the hessians of a level go left of a number's split."""
        goes_left = np.zeros(256, np.uint8)
        sides_write(self.binning.layout[term], float(bin), False, goes_left)
        left = sum(self._column(node, term)[1] @ goes_left for node in level)
        return bool(2.0 * left > sum(node.hessian for node in level))

    def _sides(self, node: Node, rule: tuple[float, float, float]) -> None:
        """Write gradient, hessian and gain of the level's split in a node."""
        assert node.goes_left is not None
        sums = self._column(node, int(node.best[TERM])) @ node.goes_left.astype(float)
        node.best[[LEFT_GRADIENT, LEFT_HESSIAN]] = sums
        l2, _, least = rule
        rest = node.gradient - sums[0], node.hessian - sums[1]
        if node.rows and min(sums[1], rest[1]) >= max(least, 1e-300):
            bounds = l2, node.low, node.high
            gain = side_gain(sums[0], sums[1], *bounds) + side_gain(*rest, *bounds)
            node.best[GAIN] = max(0.0, gain - side_gain(node.gradient, node.hessian, *bounds))

    # children --------------------------------------------------------------------------------------------------

    def _finish(self, node: Node, middles: NDArray[np.int64], sums: Floats | None, small_left: bool) -> None:
        left_rows = int((middles - node.begins).sum())
        left, right = self._children(node, middles, left_rows)
        if sums is not None:
            assert node.sums is not None
            small, large = (left, right) if small_left else (right, left)
            small.sums, large.sums = sums, node.sums
            large.sums -= sums
        node.sums, node.children = None, (left, right)

    def _children(self, node: Node, middles: NDArray[np.int64], left_rows: int) -> tuple[Node, Node]:
        left, right = super()._children(node, middles, left_rows)
        poor = [
            child.rows < self.rules.least_rows or child.hessian < self.rules.least_hessian for child in (left, right)
        ]
        if not any(poor):
            return left, right
        node.best[GAIN], value = 0.0, float(self.values([node])[0])
        for child, few in zip((left, right), poor, strict=True):
            child.inherited = value if few else None
        way = int(self.rules.monotonic[int(node.best[TERM])])
        if way:
            left.low, right.low = (node.low, value) if way > 0 else (value, node.low)
            left.high, right.high = (value, node.high) if way > 0 else (node.high, value)
        return left, right
