"""The plan of a training that does not run: what would be read, how, with which solver, and why.

The estimator's own code runs up to its first pass over the rows, on data that let nothing be read but statistics and a
few rows. So what is planned is what a training does.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from dbml.estimators.base import Estimator
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.memory import memory_budget
from dbml.passes.plan import ExpectedPasses, Plan
from dbml.passes.plan_text import size_text
from dbml.passes.schema import Statistics
from dbml.passes.shards import Arrays, Shards
from dbml.passes.step import Order, Sequential, State, Step

T = TypeVar("T")

_FEW_ROWS = 1_000  # of which estimators see where to start


class PassWanted(Exception):
    """The estimator has decided what to do, or wants a pass over all rows."""


class PlanningData(Data):
    """Data that are not read: statistics and a few rows are there, a pass is refused, and so is a chosen solver.

    Parameters
    ----------
    source : Data
        The data of the training.

    Attributes
    ----------
    wanted : int
        Rows of the largest sample that the estimator asked for.
    first : str
        Purpose of the pass that it asked for, "" where it asked for none.
    expected : ExpectedPasses or None
        What it says of the solver that it chose; None where a pass comes first.
    """

    def __init__(self, source: Data) -> None:
        self._source, self.plan, self.schema = source, source.plan, source.schema
        self.wanted, self.first = 0, ""
        self.expected: ExpectedPasses | None = None

    def decide_solver(self, solver: str, reason: str, passes: ExpectedPasses | None = None) -> None:
        """Remember the choice: with it the planning ends."""
        super().decide_solver(solver, reason, passes)
        self.expected = passes
        raise PassWanted

    @property
    def statistics(self) -> Statistics:
        """Statistics of the source."""
        return self._source.statistics

    @property
    def n_rows(self) -> int:
        """Rows of a full pass, -1 where unknown."""
        return self._source.n_rows

    @property
    def row_bytes(self) -> int:
        """About what an encoded row takes."""
        return self._source.row_bytes

    def clustering(self) -> tuple[bool, str]:
        """Return whether the rows lie clustered, and the reason."""
        return self._source.clustering()

    def sample(self, n: int, seed: int) -> Block:
        """Return a few rows, and remember how many were wanted."""
        self.wanted = max(self.wanted, n)
        return self._source.sample(min(n, _FEW_ROWS), seed)

    def fold(self, *steps: Step, order: Order = Sequential(), purpose: str = "") -> tuple[State, ...]:  # noqa: B008
        """Refuse."""
        return self._refuse(purpose)

    def map(self, function: Callable[[Block], T], purpose: str = "") -> Iterator[T]:
        """Refuse."""
        return self._refuse(purpose)

    def take(self, terms: Sequence[int] | NDArray[np.intp]) -> Data:
        """Refuse."""
        return self._refuse("some columns")

    def materialise(self) -> Data:
        """Refuse."""
        return self._refuse("materialise")

    def derive(
        self,
        make: Callable[[Block], Arrays],
        *,
        finish: Callable[[Arrays], Arrays] | None = None,
        resident: Collection[str] = (),
        shard_rows: int | None = None,
        purpose: str = "",
    ) -> Shards:
        """Refuse."""
        return self._refuse(purpose)

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Refuse."""
        return self._refuse(f"lookup by {column}")

    def _refuse(self, purpose: str) -> NoReturn:
        self.first = purpose
        raise PassWanted


def plan_training(estimator: Estimator, data: Data) -> Plan:
    """Return the plan of fitting `estimator` to `data`, which is not run: what is read, order, solver, passes, bytes.

    Raises
    ------
    InvalidData
        The estimator cannot learn from these rows.
    InvalidParameter
        Hyperparameters that do not go together.
    """
    planned = PlanningData(data)
    unfitted: Any = copy.copy(estimator)
    unfitted._check_params()
    unfitted._check_target(data)
    unfitted._check_range(data)
    unfitted._began, unfitted._best, unfitted.training_ = time.perf_counter(), {}, []
    with suppress(PassWanted):  # as far as planning goes
        unfitted._fit(planned)
    plan = planned.plan
    if planned.expected is None:
        plan = plan.decide("solver", "not known yet", f"a pass comes first, for {planned.first}")
    plan = plan.decide("order", *_order(estimator, data))
    plan = plan.decide("passes", *_passes(planned))
    plan = _sized(plan, data)
    return plan if plan.memory_bytes else replace(plan, memory_bytes=memory_budget().blocks)


def _order(estimator: Estimator, data: Data) -> tuple[str, str]:
    if not estimator.get_params().get("shuffle"):
        return "as the rows lie", "sums over all rows do not depend on their order"
    clustered, reason = data.clustering()
    return ("shuffled" if clustered else "as the rows lie"), reason


def _passes(planned: PlanningData) -> tuple[str, str]:
    expected = planned.expected
    if 0 <= planned.n_rows <= planned.wanted and not (expected and expected.however_few):
        return "1", "the rows are few: they are read once and solved in memory"
    if expected is None:
        return "2 or more", f"the first one is for {planned.first}"
    return expected.number, expected.reason


def _sized(plan: Plan, data: Data) -> Plan:
    if data.n_rows < 0:
        return plan.decide("bytes", f"{data.row_bytes:,} a row", "encoded; how many rows there are is not known yet")
    reason = f"{data.n_rows:,} rows of {data.row_bytes:,} bytes, encoded"
    return plan.decide("bytes", f"about {size_text(data.n_rows * data.row_bytes)} a pass", reason)
