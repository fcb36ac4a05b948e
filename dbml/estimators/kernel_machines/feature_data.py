"""Data whose terms are made from those of other data, block by block: what linear solvers see of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from dbml_sql.features import Encoding, Feature
from numpy.typing import NDArray

from dbml.estimators.solvers.held_rows import pieces
from dbml.passes.block import Block, Floats
from dbml.passes.data import Data
from dbml.passes.plan import Plan
from dbml.passes.schema import Statistics
from dbml.passes.shards import Arrays, Shards
from dbml.passes.step import Order, Sequential, State, Step

T = TypeVar("T")

_PIECE_BYTES = 4 << 20  # of features that exist at a time on a thread
_DESCRIBED = 2_000  # rows whose features tell means and scales


class FeatureMap(Protocol):
    """Features of rows.

    Attributes
    ----------
    n_out : int
        Number of features.
    """

    @property
    def n_out(self) -> int: ...

    def features(self, block: Block) -> Floats:
        """Return the features of the rows of a block, shape (n, n_out), column-major."""


def mapped(block: Block, features: FeatureMap) -> Iterator[Block]:
    """Yield the features of a block in pieces of some rows."""
    most = max(64, _PIECE_BYTES // (8 * max(1, features.n_out)))
    done = 0
    for piece in pieces(block, most):
        start = block.start + done if block.start >= 0 else -1
        yield Block(features.features(piece), None, piece.y, piece.weight, start)
        done += piece.n_rows


class MappedStep:
    """A step that sees features in place of terms."""

    # That of the steps of linear solvers, which it is made for.
    tolerance = 1e-9
    chained = False

    def __init__(self, step: Step, features: FeatureMap) -> None:
        self.step, self.features = step, features

    def start(self) -> State:
        """Return the state of no rows."""
        return self.step.start()

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        for piece in mapped(block, self.features):
            self.step.update(state, piece)

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        return self.step.merge(into, other)


class FeatureData(Data):
    """The features of the rows of `source`; made anew in every pass, which costs less than keeping them.

    Parameters
    ----------
    source : Data
    features : FeatureMap
    """

    def __init__(self, source: Data, features: FeatureMap) -> None:
        self.source, self.features = source, features
        numbers = tuple(Feature(f"feature{i}", "DOUBLE", "number") for i in range(features.n_out))
        self.schema = replace(source.schema, encoding=Encoding(numbers))

    @property
    def plan(self) -> Plan:
        """The plan of the source."""
        return self.source.plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self.source.plan = plan

    @cached_property
    def statistics(self) -> Statistics:
        """Statistics of the features, estimated from a sample."""
        known, X = self.source.statistics, self.sample(_DESCRIBED, seed=0).X
        mean, scale = (X.mean(axis=0), X.std(axis=0)) if len(X) else (np.zeros(X.shape[1]), np.ones(X.shape[1]))
        return Statistics(mean, np.where(scale > 0.0, scale, 1.0), 1.0, known.n_rows, known.exact_rows)

    @property
    def n_rows(self) -> int:
        """Rows of a full pass, -1 where unknown."""
        return self.source.n_rows

    @property
    def row_bytes(self) -> int:
        """What the features of a row take."""
        return 8 * (self.features.n_out + 2)

    def clustering(self) -> tuple[bool, str]:
        """Return whether the rows lie clustered, and the reason."""
        return self.source.clustering()

    def fold(self, *steps: Step, order: Order = Sequential(), purpose: str = "") -> tuple[State, ...]:  # noqa: B008
        """Run one pass of steps that see the features."""
        seeing = [MappedStep(step, self.features) for step in steps]
        return self.source.fold(*seeing, order=order, purpose=purpose)

    def map(self, function: Callable[[Block], T], purpose: str = "") -> Iterator[T]:
        """Apply `function` to the features of every block."""
        features = self.features
        return self.source.map(
            lambda block: function(Block(features.features(block), None, block.y, block.weight, block.start)), purpose
        )

    def sample(self, n: int, seed: int) -> Block:
        """Return the features of a sample of the source."""
        rows = self.source.sample(n, seed)
        return Block(self.features.features(rows), None, rows.y, rows.weight, rows.start)

    def take(self, terms: Sequence[int] | NDArray[np.intp]) -> Data:
        """Refuse: a feature depends on all terms."""
        raise NotImplementedError("features of a kernel are not taken apart")

    def materialise(self) -> Data:
        """Return these data themselves."""
        return self

    def derive(
        self,
        make: Callable[[Block], Arrays],
        *,
        finish: Callable[[Arrays], Arrays] | None = None,
        resident: Collection[str] = (),
        shard_rows: int | None = None,
        purpose: str = "",
    ) -> Shards:
        """Refuse: no solver of features derives arrays."""
        raise NotImplementedError("features of a kernel are not derived from")

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Return the features of rows found by key."""
        rows = self.source.lookup(keys, column)
        return Block(self.features.features(rows), None, rows.y, rows.weight, rows.start)
