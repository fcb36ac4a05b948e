"""Trees of a dump -> `Trees`: nodes in the order that prediction needs, missing values and zeros where they belong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.estimators.trees.ensemble import Trees
from dbml.imports.dump import DumpTree
from dbml.passes.block import Floats

# Within it LightGBM takes a number for zero: a float constant there.
_ZERO = float(np.float32(1e-35))
_BELOW_ZERO = float(np.nextafter(-_ZERO, -np.inf))
_MOST_NODES = 1 << 18  # of a tree whose zeros have ways of their own
_CODES = 256

# From the codes that a node lists (None: those at most its threshold, which follows) to the codes that go left.
GoesLeft = Callable[[frozenset[int] | None, float], NDArray[np.bool_]]


def flat_trees(source: str, dumped: Sequence[DumpTree], goes_left: Sequence[GoesLeft | None]) -> Trees:
    """Return the trees.

    Parameters
    ----------
    source : str
        The file, for errors.
    dumped : sequence of DumpTree
        At least one.
    goes_left : sequence of callable or None
        Of each feature, which is a dense term: which codes a node that tests it sends left; None for a number.

    Raises
    ------
    InvalidData
        Nodes that are no tree, features that do not exist, values that are not finite.
    """
    sets, parts = _Sets(goes_left), []
    for number, tree in enumerate(dumped):
        where = f"tree {number} of {source}"
        _check(where, tree, len(goes_left))
        parts.append(_flat(where, _without_zeros(tree), sets))
    whole = replace(Trees.joined(parts), category_sets=sets.rows())
    weight, value = _with_inner(whole)
    return replace(whole, weight=weight, value=value)


def _check(where: str, tree: DumpTree, n_features: int) -> None:
    n = tree.left.size
    inner = tree.left >= 0
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    if n == 0 or np.any(children <= 0) or np.any(children >= n) or np.bincount(children, minlength=n).max() > 1:
        raise InvalidData(f"{where} is damaged: its nodes do not lead to each other as those of a tree do")
    if np.any(tree.feature[inner] < 0) or np.any(tree.feature[inner] >= n_features):
        raise InvalidData(f"{where} is damaged: it tests a feature beyond the {n_features:,} of the model")
    if not np.isfinite(tree.value[~inner]).all() or not np.isfinite(tree.weight).all():
        raise InvalidData(f"{where} is damaged: the values and weights of its leaves must be finite")


class _Sets:
    """The sets of codes that go left, each once."""

    def __init__(self, goes_left: Sequence[GoesLeft | None]) -> None:
        self.goes_left = goes_left
        self.categories = np.array([one is not None for one in goes_left], bool)
        self._number: dict[bytes, int] = {}

    def add(self, codes: NDArray[np.bool_]) -> int:
        row = np.zeros(_CODES, bool)
        row[: codes.size] = codes
        return self._number.setdefault(row.tobytes(), len(self._number))

    def rows(self) -> NDArray[np.bool_]:
        return np.frombuffer(b"".join(self._number), bool).reshape(-1, _CODES).copy()


def _without_zeros(tree: DumpTree) -> DumpTree:
    """Return a tree in which zeros go the way of missing values by their thresholds alone.

    Mostly that way is theirs anyway. Where it is not, numbers below zero, zeros and numbers above are told apart by
    three nodes, whose ends are the same subtrees.
    """
    left, right, threshold = tree.left.copy(), tree.right.copy(), tree.threshold.copy()
    nodes = np.flatnonzero(tree.zero_missing & (tree.left >= 0))
    default_left = tree.missing_left[nodes]
    kept, added = threshold[nodes], np.zeros(nodes.size, bool)
    added[default_left] = kept[default_left] < -_ZERO
    added[~default_left] = kept[~default_left] > _ZERO
    simple = ~added
    kept[default_left & simple] = np.maximum(kept[default_left & simple], _ZERO)
    kept[~default_left & simple] = np.minimum(kept[~default_left & simple], _BELOW_ZERO)
    threshold[nodes] = kept
    split = nodes[added]
    if not split.size:
        return replace(tree, threshold=threshold)
    n, m = left.size, split.size
    second, third = np.arange(n, n + m), np.arange(n + m, n + 2 * m)
    lefts, rights, to_left = left[split], right[split], tree.missing_left[split]
    # Default left: x <= t L, x < 0 R, x <= 0 L, else R. Default right: x < 0 L, x <= 0 R, x <= t L, else R.
    first = np.where(to_left, threshold[split], _BELOW_ZERO)
    middle = np.where(to_left, _BELOW_ZERO, _ZERO)
    last = np.where(to_left, _ZERO, threshold[split])
    threshold[split], right[split] = first, second
    grown = {
        "feature": np.tile(tree.feature[split], 2),
        "threshold": np.concatenate([middle, last]),
        "missing_left": np.ones(2 * m, bool),
        "zero_missing": np.zeros(2 * m, bool),
        "value": np.zeros((2 * m, tree.value.shape[1])),
        "gain": np.zeros(2 * m),
        "weight": np.zeros(2 * m),
    }
    of = {"threshold": threshold}
    joined = {name: np.concatenate([of.get(name, getattr(tree, name)), more]) for name, more in grown.items()}
    return replace(
        tree,
        left=np.concatenate([left, rights, lefts]),
        right=np.concatenate([right, third, rights]),
        **joined,  # type: ignore[arg-type]
    )


def _flat(where: str, tree: DumpTree, sets: _Sets) -> Trees:
    left, right = tree.left.tolist(), tree.right.tolist()
    most = max(_MOST_NODES, len(left))
    source, to = [0], []
    for node in source:
        to.append(len(source) if left[node] >= 0 else -1)
        if left[node] >= 0:
            source += (left[node], right[node])
        if len(source) > most:
            raise InvalidData(
                f"{where}: zeros that count as missing (zero_as_missing) take more than {_MOST_NODES:,} nodes to "
                "write; train on NULL in place of zero, with zero_as_missing=false"
            )
    take, children = np.array(source), np.array(to, np.int32)
    inner = children >= 0
    category_set = np.full(take.size, -1, np.int32)
    missing_left = np.where(inner, tree.missing_left[take], False)
    threshold = np.where(inner, tree.threshold[take], np.nan)
    for k in np.flatnonzero(inner & sets.categories[np.where(inner, tree.feature[take], 0)]).tolist():
        node = source[k]
        codes = sets.goes_left[tree.feature[node]]
        assert codes is not None
        row = codes(tree.listed.get(node), float(tree.threshold[node]))
        category_set[k], threshold[k] = sets.add(row), np.nan
    return Trees(
        roots=np.array([0, take.size], np.int64),
        outputs=np.array([tree.output], np.int64),
        term=np.where(inner, tree.feature[take], -1).astype(np.int32),
        threshold=threshold,
        category_set=category_set,
        category_sets=np.zeros((0, _CODES), bool),
        missing_left=missing_left,
        left=children,
        value=tree.value[take],
        gain=np.where(inner, tree.gain[take], 0.0),
        weight=tree.weight[take] / np.bincount(take)[take],
    )


def _with_inner(trees: Trees) -> tuple[Floats, Floats]:
    """Return weights and values with those of inner nodes: the sum of the children's, and their weighted mean."""
    weight, value = trees.weight.copy(), trees.value.copy()
    levels = [trees.roots[:-1]]
    while levels[-1].size:
        left = trees.left[levels[-1]]
        left = left[left >= 0]
        levels.append(np.concatenate([left, left + 1]))
    for nodes in reversed(levels):
        inner = nodes[trees.left[nodes] >= 0]
        left, right = trees.left[inner], trees.left[inner] + 1
        weight[inner] = weight[left] + weight[right]
        share = np.divide(weight[left], weight[inner], out=np.full(inner.size, 0.5), where=weight[inner] > 0.0)
        value[inner] = share[:, None] * value[left] + (1.0 - share[:, None]) * value[right]
    return weight, value
