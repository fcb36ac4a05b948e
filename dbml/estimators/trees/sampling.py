"""Which rows a tree grows from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dbml_kernels.tree_rows import rows_number
from dbml_kernels.tree_sample import (
    N_RANKS,
    SLICES,
    WHOLE,
    held_find,
    ranks_count,
    rows_draw,
    rows_draw_ranked,
)
from numpy.typing import NDArray

from dbml.estimators.trees.derivatives import Derivatives
from dbml.passes.shards import Shard, Shards


@dataclass(frozen=True)
class Sampling:
    """How the rows of a tree are drawn, anew in each round.

    Attributes
    ----------
    uniform : float
        Share of the rows, each drawn by a hash of its position.
    top : float or None
        Gradient-based one-side sampling: share of the rows, those of the largest gradients; None: not so.
    other : float
        With `top`: share of the rows drawn from the others, whose derivatives make up for those left out.
    """

    uniform: float = 1.0
    top: float | None = None
    other: float = 0.0

    @property
    def share(self) -> float:
        """Share of the rows that are drawn."""
        return self.uniform if self.top is None else self.top + self.other

    @property
    def factor(self) -> float:
        """What the derivatives of the rows drawn from the others are multiplied by."""
        return 1.0 if self.top is None or self.other <= 0.0 else (1.0 - self.top) / self.other

    def __str__(self) -> str:
        if self.top is None:
            return f"a share of {self.uniform:g}, drawn anew for each"
        return f"the {self.top:.3g} of largest gradients, and {self.other:.3g} of all rows from the others"

    @property
    def whole(self) -> bool:
        """Whether every tree sees all rows."""
        return self.top is None and self.uniform >= 1.0


@dataclass(frozen=True)
class Held:
    """Rows that no tree grows from: those whose hash lies in a run of all hashes.

    Attributes
    ----------
    share, begin : float
        How much of the rows, and from which share of them on: folds are runs that follow each other.
    seed : int
        Of the hash.
    """

    share: float = 0.0
    begin: float = 0.0
    seed: int = 0

    @property
    def slices(self) -> tuple[int, int, int]:
        """Seed, first slice, and slice after the last, as kernels take them."""
        return self.seed, round(self.begin * SLICES), round((self.begin + self.share) * SLICES)

    def find(self, shard: Shard) -> NDArray[np.int32]:
        """Return the rows of a shard that are held out."""
        rows = np.empty(shard.n_rows, np.int32)
        return rows[: held_find(shard.start, self.slices, rows)].copy()

    def others(self, shard: Shard) -> slice | NDArray[np.bool_]:
        """Return which rows of a shard trees may learn from."""
        if self.share <= 0.0:
            return slice(None)
        kept = np.ones(shard.n_rows, bool)
        kept[self.find(shard)] = False
        return kept


ALL_ROWS, NO_ROWS = Sampling(), Held()


class Draw:
    """The draw of one round.

    Parameters
    ----------
    sampling : Sampling
        How.
    held : Held
        What is never drawn.
    seed : int
        Of the round.
    """

    def __init__(self, sampling: Sampling, held: Held, seed: int) -> None:
        self.sampling, self.held, self.seed = sampling, held, seed
        self._threshold, self._tied = 0, 0.0

    def rank(self, shards: Shards, derivatives: Derivatives, purpose: str) -> None:
        """Find the rank from which on gradients are large."""
        assert self.sampling.top is not None

        def count(shard: Shard) -> NDArray[np.int64]:
            counts = np.zeros(N_RANKS, np.int64)
            ranks_count(shard.start, self.held.slices, derivatives.rank(shard), counts)
            return counts

        counts = np.sum(shards.each(count, purpose), axis=0)
        reached = np.cumsum(counts[::-1])[::-1]  # rows of a rank and above
        wanted = self.sampling.top * reached[0]
        at = int(np.flatnonzero(reached >= wanted)[-1])
        self._threshold, self._tied = at, float((wanted - reached[at] + counts[at]) / max(1, counts[at]))

    def write(self, shard: Shard, derivatives: Derivatives) -> int:
        """Put the drawn rows first in the order of a shard; return their number."""
        order, held = shard.resident["order"], self.held.slices
        if self.sampling.top is None:
            if self.sampling.whole and self.held.share == 0.0:
                rows_number(order)
                return order.size
            return int(rows_draw(shard.start, held, self.seed, round(self.sampling.uniform * WHOLE), order))
        ranks, sampling = derivatives.rank(shard), self.sampling
        other = round(sampling.other / (1.0 - self.sampling.top) * WHOLE) if self.sampling.top < 1.0 else 0
        shares = round(self._tied * WHOLE), min(other, WHOLE)
        drawn = int(rows_draw_ranked(shard.start, held, self.seed, self._threshold, *shares, ranks, order))
        derivatives.multiply(shard, ranks, self.seed)
        return drawn
