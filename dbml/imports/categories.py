"""The categories of an imported model: the texts of its levels, and the library's code of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.imports.dump import Dump, DumpFeature, DumpTree, Level

_MOST = 254  # codes of a category, the shared one included


@dataclass(frozen=True, slots=True)
class Categories:
    """One categorical feature.

    Attributes
    ----------
    texts : tuple of str
        Text of each code here.
    codes : ndarray of shape (n_codes,)
        The library's code of each; infinite for the shared code of all other texts, where there is one.
    type : str
        DuckDB type of the column.
    listed_left : bool
        Whether nodes list the codes that go left.
    """

    texts: tuple[str, ...]
    codes: NDArray[np.float64]
    type: str
    listed_left: bool

    @property
    def has_other(self) -> bool:
        """Whether texts that are no level share a code: they are what no node lists. Else they are missing."""
        return not self.listed_left


def categories_of(
    source: str, number: int, feature: DumpFeature, trees: Sequence[DumpTree], dump: Dump
) -> Categories | None:
    """Return the categories of a feature, None for a number.

    Levels that no node lists are left out where all of them are too many: they go the way of unseen ones.

    Raises
    ------
    InvalidData
        Too many levels, or codes without a level.
    """
    listed, compared = _tested(number, trees)
    if not feature.categorical and not listed:
        return None
    if feature.levels is None:
        if compared:
            raise InvalidData(f"{source} is damaged: nodes test {feature.name!r} as a number and as a category")
        if not listed:
            return None
        levels: dict[int, Level] = {code: code for code in sorted(listed)}
    else:
        levels = dict(enumerate(feature.levels))
    beyond = [code for code in listed if code not in levels]
    if beyond:
        raise InvalidData(
            f"{source}: {feature.name!r} has {len(levels):,} levels, and nodes test code {max(beyond):,}: the levels "
            "must be all of those of the training, in order"
        )
    most = _MOST if dump.listed_left else _MOST - 1
    pairs = [(text, code) for code, level in levels.items() for text in _texts(level)]
    if len(pairs) > most:
        pairs = [(_texts(level)[0], code) for code, level in levels.items()]
    if len(pairs) > most and not compared:
        pairs = [(text, code) for text, code in pairs if code in listed]
    if len(pairs) > most:
        raise InvalidData(
            f"{source}: the trees tell {len(pairs):,} levels of {feature.name!r} apart; a model here holds "
            f"{most} a column. Train with rare levels pooled"
        )
    texts = tuple(text for text, _ in pairs)
    if len(set(texts)) < len(texts):
        raise InvalidData(f"{source}: two levels of {feature.name!r} are the same text")
    others = [] if dump.listed_left else [np.inf]
    codes = np.array([*(code for _, code in pairs), *others], np.float64)
    return Categories(texts, codes, _type(list(levels.values())), dump.listed_left)


def _tested(number: int, trees: Sequence[DumpTree]) -> tuple[set[int], bool]:
    """Return the codes that nodes list for a feature, and whether nodes compare it."""
    listed: set[int] = set()
    compared = False
    for tree in trees:
        nodes = np.flatnonzero((tree.feature == number) & (tree.left >= 0)).tolist()
        for node in nodes:
            listed |= tree.listed.get(node, frozenset())
            compared |= node not in tree.listed
    return listed, compared


def _texts(level: Level) -> list[str]:
    """Return the texts that DuckDB gives a level: that of a whole number as an integer, and as a DOUBLE too."""
    if isinstance(level, bool):
        return ["true" if level else "false"]
    if isinstance(level, str):
        return [level]
    if level == int(level):
        texts = [str(int(level)), f"{float(level)!r}"]
        return texts if isinstance(level, int) else texts[::-1]
    return [repr(level)]


def _type(levels: list[Level]) -> str:
    kinds = {type(level) for level in levels}
    return {frozenset({bool}): "BOOLEAN", frozenset({int}): "BIGINT", frozenset({float}): "DOUBLE"}.get(
        frozenset(kinds), "VARCHAR"
    )
