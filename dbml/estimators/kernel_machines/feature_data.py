"""Data whose terms are made from those of other data, block by block: what linear solvers see of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from dbml_sql.features import Encoding, Feature
from numpy.typing import NDArray

from dbml.estimators.kernel_machines.landmarks import NystroemFeatures
from dbml.estimators.solvers.held_rows import pieces
from dbml.estimators.solvers.loss_step import LossStep
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.plan import Plan
from dbml.passes.schema import Statistics
from dbml.passes.shards import Arrays, Shards
from dbml.passes.step import Order, Sequential, State, Step

T = TypeVar("T")

_PIECE_BYTES = 4 << 20  # of values that exist at a time on a thread
_DESCRIBED = 2_000  # rows whose features tell means and scales


class KernelStep:
    """A step of a linear solver over features, which reads values of the kernel instead.

    Features are ``N k`` of the values k at the landmarks. So ``w . N k = (N' w) . k``, and sums over rows are turned
    once, not row by row: gradients are ``N g``, Hessians ``N H N'``. State: that of the step, over values.
    """

    # That of the step.
    tolerance = 1e-9
    chained = False

    def __init__(self, step: LossStep, features: NystroemFeatures) -> None:
        coef = step.coef @ features.normalization
        self.step = LossStep(step.loss, step.reading, coef, step.intercept, step.scale, step.hessian)
        self.features = features

    def start(self) -> State:
        """Return the state of no rows."""
        return self.step.start()

    def update(self, state: State, block: Block) -> None:
        """Add a block."""
        most = max(64, _PIECE_BYTES // (8 * max(1, len(self.features.landmarks.rows))))
        for piece in pieces(block, most):
            values = self.features.landmarks.values(piece)
            self.step.update(state, Block(values, None, piece.y, piece.weight, -1))

    def merge(self, into: State, other: State) -> State:
        """Add later rows."""
        return self.step.merge(into, other)

    def turned(self, state: State) -> State:
        """Return the state as that of the step over features."""
        turn = self.features.normalization
        gradient = np.append(turn @ state["gradient"][:-1], state["gradient"][-1])
        found = {**state, "gradient": gradient}
        if "gram" in state:
            lower = np.tril(state["gram"])
            full = lower + np.tril(lower, -1).T
            sides = np.eye(2 + len(turn), 2)
            both = np.zeros((len(turn) + 2, len(full)))
            both[:, :2], both[2:, 2:] = sides, turn
            found["gram"] = both @ full @ both.T
        return found


class FeatureData(Data):
    """The features of the rows of `source`; made anew in every pass, which costs less than keeping them.

    Parameters
    ----------
    source : Data
    features : NystroemFeatures
    """

    def __init__(self, source: Data, features: NystroemFeatures) -> None:
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
        """Run one pass of steps of linear solvers."""
        seeing = []
        for step in steps:
            assert isinstance(step, LossStep), "only losses are summed over features"
            seeing.append(KernelStep(step, self.features))
        states = self.source.fold(*seeing, order=order, purpose=purpose)
        return tuple(step.turned(state) for step, state in zip(seeing, states, strict=True))

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
