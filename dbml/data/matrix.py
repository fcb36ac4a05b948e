"""What arrays and sparse matrices share: rows in memory that can be read in any order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dbml.data.chunked import ROW_GROUP, Chunk, ChunkedData
from dbml.data.shuffle import shuffled_runs
from dbml.passes.memory import memory_budget
from dbml.passes.plan import Partition, Plan
from dbml.passes.schema import Schema
from dbml.passes.step import Shuffled

_RUN = 16  # rows that stay near each other in a shuffled block of a large matrix: two cache lines of a column

Index = slice | NDArray[np.intp]


class MatrixData(ChunkedData):
    """Rows of a matrix in memory. Shuffled passes see a full permutation of up to 122,880 rows, of short runs beyond.

    Parameters
    ----------
    n_rows : int
        Rows of the matrix.
    schema : Schema
        Encoding and target.
    y, weight : ndarray of shape (n_rows,), float64, or None
        Encoded target and weights.
    """

    seekable = divisible = True

    def __init__(self, n_rows: int, schema: Schema, y: NDArray | None, weight: NDArray | None) -> None:
        self._n_rows, self.schema, self.y, self.weight = n_rows, schema, y, weight
        starts = range(0, n_rows, ROW_GROUP)
        self.partitions = tuple(Partition(i, s, min(ROW_GROUP, n_rows - s)) for i, s in enumerate(starts))

    @abstractmethod
    def chunk(self, index: Index, start: int, n_rows: int) -> Chunk:
        """Return the chunk of the rows `index`: a slice, or row numbers in any order."""

    def _first_plan(self, source: str) -> Plan:
        columns, memory = self.schema.encoding.columns, memory_budget().blocks
        return Plan(source, columns, partitions=self.partitions, block_rows=self.block_rows, memory_bytes=memory)

    @property
    def n_rows(self) -> int:
        """Rows of the matrix."""
        return self._n_rows

    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield runs of rows; see `ChunkedData.chunks`."""
        return (self.chunk(*rows) for rows in self.runs(partitions, self.block_rows))

    def runs(self, partitions: Sequence[Partition] | None, size: int) -> Iterator[tuple[slice, int, int]]:
        """Yield runs of at most `size` rows of some partitions, or of all: slice, first row, number."""
        for partition in self.partitions if partitions is None else partitions:
            end = partition.start + partition.n_rows
            for start in range(partition.start, end, size):
                stop = min(start + size, end)
                yield slice(start, stop), start, stop - start

    def _shuffled(self, order: Shuffled, reason: str) -> tuple[Iterator[Chunk], Callable[[], None]]:
        self.plan = self.plan.decide("order", "shuffled", reason)
        generator = np.random.default_rng([order.seed, order.epoch])
        run = 1 if self.n_rows <= ROW_GROUP else _RUN
        indexes = shuffled_runs(self.n_rows, self.block_rows, run, generator)
        return (self.chunk(index, -1, index.size) for index in indexes), self.interrupt

    def clustering(self) -> tuple[bool, str]:
        """Shuffle always: rows in memory are permuted at little cost."""
        return True, "rows in memory are permuted at little cost"

    def target_of(self, index: Index) -> tuple[NDArray | None, NDArray | None]:
        """Return target and weights of the rows `index`."""
        return tuple(None if array is None else array[index] for array in (self.y, self.weight))  # type: ignore[return-value]
