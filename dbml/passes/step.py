"""Steps: aggregates in the database sense, and the orders in which they can ask for rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dbml.passes.block import Block

State = dict[str, np.ndarray]


class Step(Protocol):
    """An aggregate over the rows: start, update, merge.

    Merge law: folding any split of the rows (empty parts included) and merging in order gives the state of one fold,
    exactly or within `tolerance`. States are flat dicts of arrays, so that they can travel and be stored.

    Attributes
    ----------
    tolerance : float
        Relative tolerance of the merge law; 0 means bit for bit. A step that declares one explains it.
    chained : bool
        True when one state must see the blocks one after the other (stochastic gradient descent): the engine then
        reads ahead but updates on one thread. False: one state per block, merged in block order.
    """

    tolerance: float
    chained: bool

    def start(self) -> State:
        """Return the state of no rows."""

    def update(self, state: State, block: Block) -> None:
        """Add a block to `state`, in place. Runs on any thread; kernels release the GIL."""

    def merge(self, into: State, other: State) -> State:
        """Add `other` (later rows) to `into` (earlier rows) and return it."""


@dataclass(frozen=True, slots=True)
class Sequential:
    """Rows in the order of the source."""


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Row groups in random order, rows shuffled in a buffer of several groups; plain where the table is not clustered.

    `epoch` changes the permutation: the same (seed, epoch) gives the same order.
    """

    seed: int
    epoch: int = 0


Order = Sequential | Shuffled
