"""Data made from other data: some of its terms, or its encoded blocks kept in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbml.data.arena import Arena
from dbml.data.chunked import ChunkedData, rows_per_block
from dbml.data.deal import Deck
from dbml.data.loan import LendingRoom, Loan
from dbml.data.selection import Selection
from dbml.data.spill import SpilledBlocks
from dbml.errors import InvalidData
from dbml.passes.block import Block
from dbml.passes.engine import Chunk, Workspace
from dbml.passes.memory import memory_budget
from dbml.passes.plan import Partition, Plan
from dbml.passes.plan_text import size_text
from dbml.passes.schema import Statistics
from dbml.passes.step import Shuffled


class DerivedData(ChunkedData):
    """Base of data made from `source`: its schema, and its plan, which the passes of both are written into."""

    def __init__(self, source: ChunkedData) -> None:
        self.source, self.schema, self.temp_directory = source, source.schema, source.temp_directory

    @property
    def plan(self) -> Plan:
        """The plan of the source."""
        return self.source.plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self.source.plan = plan

    @property
    def n_dense(self) -> int:
        return self.source.n_dense

    @property
    def n_terms(self) -> int:
        return self.source.n_terms

    def borrow(self) -> Loan | None:
        return self.source.borrow()

    @property
    def n_rows(self) -> int:
        return self.source.n_rows

    @property
    def block_rows(self) -> int:
        return self.source.block_rows

    @property
    def statistics(self) -> Statistics:
        return self.source.statistics

    def clustering(self) -> tuple[bool, str]:
        return self.source.clustering()

    def interrupt(self) -> None:
        self.source.interrupt()

    def lookup(self, keys: NDArray, column: str) -> Block:
        return self.source.lookup(keys, column)


class TakenData(DerivedData):
    """Some terms of other data."""

    def __init__(self, source: ChunkedData, selection: Selection) -> None:
        super().__init__(source)
        self.selection = selection
        self.partitions, self.seekable, self.divisible = source.partitions, source.seekable, source.divisible
        self._read = source.reader(selection)

    @property
    def n_dense(self) -> int:
        return self.selection.dense.size

    @property
    def n_terms(self) -> int:
        return self.selection.terms.size

    @property
    def block_rows(self) -> int:
        return max(self.source.block_rows, rows_per_block(self.n_dense))

    @property
    def statistics(self) -> Statistics:
        return self.selection.statistics(self.source.statistics)

    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield the chunks of the source, with the chosen terms."""
        return self._read(partitions)

    def lookup(self, keys: NDArray, column: str) -> Block:
        return self.selection.rows(self.source.lookup(keys, column), Workspace())


@dataclass(frozen=True, slots=True)
class MemoryChunk:
    """A block in memory."""

    block: Block

    @property
    def start(self) -> int:
        return self.block.start

    @property
    def n_rows(self) -> int:
        return self.block.n_rows

    def encode(self, workspace: Workspace) -> Block:
        """Return the block itself: steps only read it."""
        return self.block


@dataclass(frozen=True, slots=True)
class SpilledChunk:
    """A block on disk."""

    blocks: SpilledBlocks
    number: int
    start: int
    n_rows: int
    n_dense: int

    def encode(self, workspace: Workspace) -> Block:
        """Read the block."""
        return self.blocks.read(self.number, self.n_dense, workspace)


class MaterialisedData(DerivedData):
    """The encoded blocks of `source`, read once: in memory while the budget lasts, the rest spilled.

    Every block is a partition. Close it to free memory and disk.
    """

    seekable = True

    def __init__(self, source: ChunkedData) -> None:
        super().__init__(source)
        self._chunks: list[MemoryChunk | SpilledChunk] = []
        self._spilled: SpilledBlocks | None = None
        self._room = LendingRoom(memory_budget().kept, source.borrow)
        self._deck: Deck | None = None
        self._closed = False
        try:
            self._keep()
        except BaseException:
            self.close()
            raise
        self.partitions = tuple(Partition(i, c.start, c.n_rows) for i, c in enumerate(self._chunks))
        self._n_rows = sum(chunk.n_rows for chunk in self._chunks)
        self._describe()

    def _keep(self) -> None:
        kept = 0
        for block in self.source.map(Arena().keep, purpose="materialise"):
            size = block_bytes(block)
            if self._spilled is None and self._room.has(kept + size):
                kept += size
                self._chunks.append(MemoryChunk(block))
                continue
            if self._spilled is None:
                self._spilled = SpilledBlocks(self.temp_directory)
            number = len(self._spilled)
            self._spilled.append(block)
            self._chunks.append(SpilledChunk(self._spilled, number, block.start, block.n_rows, self.n_dense))

    def _describe(self) -> None:
        kept = sum(block_bytes(chunk.block) for chunk in self._chunks if isinstance(chunk, MemoryChunk))
        if self._spilled is None:
            choice, reason = "in memory", f"{size_text(kept)} of at most {size_text(self._room.nbytes)}"
        else:
            choice = "in memory and spilled"
            spilled = size_text(self._spilled.nbytes)
            reason = f"{size_text(kept)} within the memory limit, {spilled} in {self._spilled.directory}"
        self.plan = self.plan.decide("encoded blocks", choice, reason)

    @property
    def n_rows(self) -> int:
        return self._n_rows

    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield blocks; see `ChunkedData.chunks`."""
        if self._closed:
            raise InvalidData("materialised rows were closed; materialise the data again")
        if partitions is None:
            return iter(self._chunks)
        return iter([self._chunks[partition.number] for partition in partitions])

    def _shuffled(self, order: Shuffled, reason: str) -> tuple[Iterator[Chunk], Callable[[], None]]:
        if self._spilled is not None:
            return super()._shuffled(order, reason)
        if self._deck is None:
            self._deck = Deck([c.block for c in self._chunks if isinstance(c, MemoryChunk)], self.block_rows)
        self.plan = self.plan.decide("order", "shuffled in memory: short runs from many blocks", reason)
        return self._deck.chunks(np.random.default_rng([order.seed, order.epoch])), self.interrupt

    def materialise(self) -> ChunkedData:
        """Return the data itself: its blocks are kept already."""
        return self

    def close(self) -> None:
        """Free the blocks."""
        self._closed = True
        self._chunks, self._deck = [], None
        if self._spilled is not None:
            self._spilled.close()
        self._room.give_back()


def block_bytes(block: Block) -> int:
    """Return the bytes of the arrays of a block."""
    arrays = [block.X, block.y, block.weight, *(block.sparse or ())]
    return sum(array.nbytes for array in arrays if array is not None)
