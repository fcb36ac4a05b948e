"""The `Data` an estimator reads: six access patterns over rows that live anywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Block
from dbml.passes.plan import ExpectedPasses, Plan
from dbml.passes.schema import Schema, Statistics
from dbml.passes.shards import Arrays, Shards
from dbml.passes.step import Order, Sequential, State, Step

T = TypeVar("T")


class Data(ABC):
    """Encoded rows of one source, for one estimator.

    Attributes
    ----------
    schema : Schema
        Encoding and target.
    plan : Plan
        What is read and why; grows with every pass. Estimators add decisions: ``data.plan = data.plan.decide(…)``.
    """

    schema: Schema
    plan: Plan

    def decide_solver(self, solver: str, reason: str, passes: ExpectedPasses | None = None) -> None:
        """Write into the plan by which solver the estimator goes on from here, and why.

        `passes` are for a plan that is shown before the training; a training writes down those that it runs.
        """
        self.plan = self.plan.decide("solver", solver, reason)

    @property
    @abstractmethod
    def statistics(self) -> Statistics:
        """Statistics of the terms; computed on first use from the cheapest place that has them."""

    @property
    def n_rows(self) -> int:
        """Rows of a full pass where that is known without reading, else -1."""
        return -1

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """About what an encoded row takes."""

    @abstractmethod
    def clustering(self) -> tuple[bool, str]:
        """Return whether the rows lie clustered by target or features, and the reason in words."""

    @abstractmethod
    def fold(self, *steps: Step, order: Order = Sequential(), purpose: str = "") -> tuple[State, ...]:  # noqa: B008
        """Run one pass over all rows and return the final state of each step.

        `purpose` names the pass in the plan and in the progress display.
        """

    @abstractmethod
    def map(self, function: Callable[[Block], T], purpose: str = "") -> Iterator[T]:
        """Apply `function` to every block, on all cores; yield the results in row order."""

    @abstractmethod
    def sample(self, n: int, seed: int) -> Block:
        """Return about `n` rows (all of them if there are fewer) as one block that the caller owns.

        Reads only the row groups it needs, spread over the source.
        """

    def sampled(self, function: Callable[[Block], T], n: int, seed: int) -> list[T]:
        """Apply `function` to blocks of a sample of about `n` rows, on all cores; return the results in row order.

        For samples that are large as blocks of doubles, and smaller as what is made of them.
        """
        return [function(self.sample(n, seed))]

    @abstractmethod
    def take(self, terms: Sequence[int] | NDArray[np.intp]) -> Data:
        """Return the data restricted to some terms (ascending numbers); only the columns they need are scanned.

        The restricted data renumbers its terms 0, 1, … in the given order, dense ones first as ever.
        """

    @abstractmethod
    def materialise(self) -> Data:
        """Return the data with its encoded blocks kept: in memory within the budget, else spilled to Arrow files.

        For solvers that pass many times. Close it (context manager) to free memory and files.
        """

    @abstractmethod
    def derive(
        self,
        make: Callable[[Block], Arrays],
        *,
        finish: Callable[[Arrays], Arrays] | None = None,
        resident: Collection[str] = (),
        shard_rows: int | None = None,
        purpose: str = "",
    ) -> Shards:
        """Return arrays of the estimator's own making, kept where the rows lie, in memory or spilled.

        One pass over the data. For trees and many-pass solvers; close it (context manager) to free memory and files.

        Parameters
        ----------
        make : callable
            Returns the arrays of a block, the rows along the first axis, as copies. The same names, types and trailing
            shapes for every block; called on all cores.
        finish : callable, optional
            Returns the arrays to keep of a shard from those that `make` returned of its rows; may add some of any shape
            (a transposed copy, zeros for scores) and drop others. Called on all cores, once for a shard.
        resident : collection of str
            Arrays that become `Shard.resident`: they stay in memory, and may be changed.
        shard_rows : int, optional
            Rows of a shard, the last one is shorter; left out, a sixteenth of the rows, from 4,096 to 262,144, fewer
            where rows are very wide.
        purpose : str
            Name of the pass.

        Raises
        ------
        ExhaustedMemory
            The resident arrays alone do not fit in the memory limit, or there is no room left to spill.
        """

    @abstractmethod
    def lookup(self, keys: NDArray, column: str) -> Block:
        """Return the rows whose `column` is one of `keys`, by an index or a pruned zone, in the order of the source."""

    def close(self) -> None:  # noqa: B027 - data that holds nothing has nothing to free
        """Free what this object holds; reading from it afterwards is an error."""

    def __enter__(self) -> Data:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
