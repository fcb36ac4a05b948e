"""Folds of cross-validation: by a hash of the row's position, or as given; one pass serves all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dbml_kernels.folds import folds_assign

from dbml.errors import InvalidData, InvalidParameter
from dbml.estimators.base import ModelState
from dbml.estimators.row_counts import pass_rows
from dbml.params import Either, Integer, Options
from dbml.passes.block import Block
from dbml.passes.data import Data


@dataclass(frozen=True, slots=True)
class Splits:
    """Splits as given, as an iterator makes them, or a splitter of scikit-learn's."""

    def allows(self, value: Any) -> bool:
        """Whether the value can be asked for splits."""
        if isinstance(value, (str, bytes, dict, type)):
            return False
        return callable(getattr(value, "split", None)) or isinstance(value, Iterable)

    def describe(self) -> str:
        """Return the rule in words."""
        return "an iterable of (train, test) row positions, or an object whose method split gives them"

    def bad_values(self) -> list[Any]:
        """Return values that are not allowed."""
        return [object()]


CV_RULE = Either((Integer(ge=2), Options((None,)), Splits()))


@dataclass(frozen=True)
class Folds:
    """Which fold a row belongs to.

    Attributes
    ----------
    n_folds : int
        Number of folds.
    seed : int
        Rows are hashed by position and seed: the same folds for any block size, order or number of threads.
    assigned : ndarray of shape (n_rows,), int64, or None
        The fold of every row by position, instead of the hash.
    """

    n_folds: int
    seed: int = 0
    assigned: np.ndarray | None = None

    def of(self, block: Block) -> np.ndarray:
        """Return the fold of each row of a block, shape (n,)."""
        if self.assigned is None:
            folds = np.empty(block.n_rows, np.int64)
            folds_assign(block.start, self.n_folds, self.seed, folds)
            return folds
        stop = block.start + block.n_rows
        if stop > len(self.assigned):
            raise InvalidData(f"cv must have a fold for every row; it has {len(self.assigned):,}, there are more rows")
        return self.assigned[block.start : stop]


@dataclass(frozen=True)
class Held:
    """One fold that is held out; a step reads the other rows, or with `inside` those of the fold."""

    folds: Folds
    fold: int
    inside: bool = False

    def used(self, block: Block) -> np.ndarray:
        """Return whether each row of a block is read, shape (n,)."""
        return (self.folds.of(block) == self.fold) == self.inside


def folds_of(cv: Any, seed: int, owner: str, data: Data) -> Folds:
    """Return the folds that a parameter `cv` asks for.

    Parameters
    ----------
    cv : int, iterable of (train, test) pairs of row positions, or splitter
        A number of folds by hash; or splits whose test parts hold every row once and whose train parts are the rest, as
        one pass for the moments of every fold needs. Its method ``split`` is asked for those of the number of rows.
    seed : int
        Seed of the hash.
    owner : str
        Whom messages name.
    data : Data
        The rows, of which a splitter needs the number.
    """
    if isinstance(cv, (int, np.integer)):
        return Folds(int(cv), seed)
    given = _split(cv, data, owner) if callable(getattr(cv, "split", None)) else cv
    splits = [(np.asarray(a), np.asarray(b)) for a, b in given]
    return Folds(len(splits), seed, _assigned(splits, owner))


def _split(cv: Any, data: Data, owner: str) -> Iterable[Any]:
    n_rows, exact = pass_rows(data)
    if not exact:
        raise InvalidParameter(
            f"{owner}: cv={cv!r} needs the number of rows, which {data.plan.source} does not tell; give a number of "
            "folds, or (train, test) pairs of row positions"
        )
    try:
        return list(cv.split(np.zeros((n_rows, 1))))
    except (TypeError, ValueError) as error:
        raise InvalidParameter(f"{owner}: cv must split rows by their number alone; {cv!r} says: {error}") from error


def with_plain_cv(state: ModelState) -> ModelState:
    """Return the state of a model with None for splits that are no plain data: they served its training."""
    cv = state.params["cv"]
    return state if cv is None or isinstance(cv, (int, list)) else replace(state, params={**state.params, "cv": None})


def _assigned(splits: Sequence[tuple[np.ndarray, np.ndarray]], owner: str) -> np.ndarray:
    n_rows = sum(len(test) for _, test in splits)
    folds = np.full(n_rows, -1, np.int64)
    for fold, (_, test) in enumerate(splits):
        if len(test) and not 0 <= test.min() <= test.max() < n_rows:
            break
        folds[test] = fold
    whole = len(splits) >= 2 and (folds >= 0).all()
    others = all(
        len(train) == n_rows - len(test) and not (folds[train] == f).any() for f, (train, test) in enumerate(splits)
    )
    if not whole or not others:
        raise InvalidParameter(
            f"{owner}: cv must be a number of folds >= 2, or at least two (train, test) pairs whose test rows hold "
            "every row once and whose train rows are all others"
        )
    return folds
