"""Shards: arrays that an estimator made from the rows, kept where the rows lie for the many passes that follow.

The access pattern `Data.derive`: bins of trees, bounds of distances. Kept arrays are read only, in memory or spilled;
resident arrays belong to the estimator, which updates them in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Arrays = dict[str, NDArray]


class Shard(ABC):
    """A run of consecutive rows. One thread at a time works on a shard.

    Attributes
    ----------
    number : int
        Position among the shards.
    start, n_rows : int
        First row in the order of a sequential pass, and number of rows.
    resident : dict of ndarray
        Arrays in memory that belong to the estimator: it may change them, and add or drop some. Those that `derive`
        knew of are counted in the memory limit, so let `finish` make all of them that take memory by the row.
    """

    number: int
    start: int
    n_rows: int
    resident: Arrays

    @abstractmethod
    def read(self, name: str) -> NDArray:
        """Return a kept array as a whole, C contiguous and read only.

        A spilled one is read into a buffer of the calling thread: valid until this thread reads this name again, of
        any shard.
        """

    @abstractmethod
    def read_parts(self, name: str, indices: NDArray[np.int64]) -> tuple[NDArray, NDArray[np.int64]]:
        """Return an array that holds some entries along the first axis of a kept one, and where in it they are.

        Of a spilled array only these entries are read, each once, into another buffer than that of `read`: valid until
        this thread reads parts of this name again.
        """


class Shards(ABC):
    """All rows, cut into shards. Their geometry is taken from the data alone, never from threads or memory.

    Attributes
    ----------
    n_rows : int
        Rows of all shards.
    """

    n_rows: int

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether nothing is spilled."""

    @property
    @abstractmethod
    def spare(self) -> int:
        """Bytes that the memory limit leaves for further arrays of the estimator; 0 where something is spilled."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of shards; data without rows have none."""

    @abstractmethod
    def __getitem__(self, number: int) -> Shard:
        """Return a shard."""

    @abstractmethod
    def each(self, function: Callable[[Shard], T], purpose: str = "", only: Sequence[int] | None = None) -> list[T]:
        """Return `function(shard)` of all shards in order, or of those that `only` lists, worked on by all cores.

        Made for thousands of short calls. An error in one shard is raised here, and no other shard is begun. `purpose`
        names the passes in the plan, which counts them when the shards are closed.
        """

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many threads may work on shards at the same time."""

    @abstractmethod
    def together(self, function: Callable[[int], T], purpose: str = "") -> list[T]:
        """Return ``function(rank)`` of all workers, at the same time where they are free; rank 0 begins first.

        For kernels whose threads share the work among themselves, over all shards. Others may begin when 0 has ended,
        and 0 must not wait for them. An error in one is raised here; `purpose` as in `each`.
        """

    @abstractmethod
    def close(self) -> None:
        """Free memory, disk and threads; reading afterwards is an error."""

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
