"""What a model file says, whoever wrote it: plain data that the readers make and `dbml.imports.model` builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidData
from dbml.passes.block import Floats

DumpLink = Literal["identity", "log", "logistic", "softmax", "one_vs_rest"]
Level = str | bool | int | float


@dataclass(frozen=True, slots=True)
class DumpTree:
    """One tree, node by node; node 0 is the root.

    Attributes
    ----------
    output : int
        The output that it adds to.
    feature : ndarray of shape (n_nodes,), int64
        What a node tests; leaves have any.
    threshold : ndarray of shape (n_nodes,)
        A number goes left where it is at most this.
    listed : dict of int to frozenset of int
        Of a node that tests a category: the codes that its file lists, see `Dump.listed_left`.
    missing_left : ndarray of shape (n_nodes,), bool
        Where a missing value goes.
    zero_missing : ndarray of shape (n_nodes,), bool
        Whether a zero goes the way of missing values.
    left, right : ndarray of shape (n_nodes,), int64
        The children; left is -1 in a leaf.
    value : ndarray of shape (n_nodes, n_values)
        What a leaf adds; inner nodes have any.
    gain, weight : ndarray of shape (n_nodes,)
        Gain of the splits of inner nodes, training rows (or their hessians) of leaves.
    """

    output: int
    feature: NDArray[np.int64]
    threshold: Floats
    listed: Mapping[int, frozenset[int]]
    missing_left: NDArray[np.bool_]
    zero_missing: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Floats
    gain: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class DumpFeature:
    """A column that the model was trained on.

    Attributes
    ----------
    name : str
        Its name in the file.
    categorical : bool
        Whether its values are codes of categories.
    levels : tuple or None
        The values that codes 0, 1, … stand for; None: not known, or the values are the codes.
    """

    name: str
    categorical: bool = False
    levels: tuple[Level, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dump:
    """A model file.

    Attributes
    ----------
    library, version, objective : str
        Who wrote it, and what was minimised.
    link : {"identity", "log", "logistic", "softmax", "one_vs_rest"}
        From the sums to the prediction.
    n_classes : int
        0: the model predicts a number.
    features : tuple of DumpFeature
        In the order of their numbers.
    trees : tuple of DumpTree
        In the order of training.
    rounds : tuple of int
        Trees up to the end of each iteration.
    baseline : tuple of float
        What each sum starts with.
    listed_left : bool
        Whether the listed codes of a category go left (and all others, unseen ones too, right) or right.
    scale : float
        What sums are multiplied by before the link.
    average : bool
        Whether sums are divided by the number of iterations.
    best_round : int or None
        Iterations that early stopping chose, where the file says so.
    levels_unknown : str or None
        Why the levels of some features are not known; the values of others without `levels` are the codes.
    n_levels_unknown : int
        How many features these are.
    """

    library: str
    version: str
    objective: str
    link: DumpLink
    n_classes: int
    features: tuple[DumpFeature, ...]
    trees: tuple[DumpTree, ...]
    rounds: tuple[int, ...]
    baseline: tuple[float, ...]
    listed_left: bool
    scale: float = 1.0
    average: bool = False
    best_round: int | None = None
    levels_unknown: str | None = None
    n_levels_unknown: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file that holds names and values; what is missing or of another kind is an error with words.

    Attributes
    ----------
    source : str
        The file, for errors.
    place : str
        The part, for errors.
    values : mapping
        What it holds.
    """

    source: str
    place: str
    values: Mapping[str, Any] = field(repr=False)

    def damaged(self, what: str) -> InvalidData:
        """Return the error of a part that is not what it must be."""
        return InvalidData(f"{self.source} is damaged: {self.place} {what}; save the model again")

    def get(self, name: str) -> Any:
        """Return a value that must be there."""
        if name not in self.values:
            raise self.damaged(f"has no {name!r}")
        return self.values[name]

    def part(self, name: str) -> Part:
        """Return the part of that name inside this one."""
        found = self.get(name)
        if not isinstance(found, Mapping):
            raise self.damaged(f"must have names and values in {name!r}, and has {type(found).__name__}")
        return Part(self.source, f"{self.place}.{name}", found)

    def text(self, name: str) -> str:
        """Return a value that must be text."""
        found = self.get(name)
        if not isinstance(found, str):
            raise self.damaged(f"must have a text in {name!r}, and has {found!r}")
        return found

    def integer(self, name: str) -> int:
        """Return a value that must be an integer, or the text of one."""
        found = self.get(name)
        try:
            return int(found)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.damaged(f"must have an integer in {name!r}, and has {found!r}") from error

    def floats(self, name: str, size: int | None = None) -> Floats:
        """Return numbers (a list, or text with blanks between), NaN refused."""
        found = self.get(name)
        try:
            numbers = np.asarray(found.split() if isinstance(found, str) else found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.damaged(f"must have numbers in {name!r}") from error
        if numbers.ndim != 1 or (size is not None and numbers.size != size):
            expected = "a list of numbers" if size is None else f"{size:,} numbers"
            raise self.damaged(f"must have {expected} in {name!r}, and has {numbers.size:,}")
        if np.isnan(numbers).any():
            raise self.damaged(f"must not have NaN in {name!r}")
        return numbers

    def integers(self, name: str, size: int | None = None) -> NDArray[np.int64]:
        """Return integers, as `floats` does."""
        numbers = self.floats(name, size)
        if not np.all(np.isfinite(numbers)) or np.any(numbers != np.floor(numbers)) or np.any(abs(numbers) > 2**53):
            raise self.damaged(f"must have integers in {name!r}")
        return numbers.astype(np.int64)

    def names(self, name: str) -> Sequence[str]:
        """Return a list of texts."""
        found = self.get(name)
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.damaged(f"must have a list of names in {name!r}")
        return found
