"""Data that come in chunks: the policy of every access pattern, written once over a few primitive operations."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dbml.data.loan import Loan
from dbml.data.sampling import Reservoir, copy_rows, describe_terms, join_blocks, piece_inside, spread
from dbml.data.selection import Selection, TakenChunk
from dbml.data.shuffle import PIECE, Shuffle, buffer_rows, cut_pieces
from dbml.passes.block import Block
from dbml.passes.data import Data
from dbml.passes.engine import Chunk, Work, Workspace, current
from dbml.passes.memory import memory_budget
from dbml.passes.plan import Partition, Pass, Plan
from dbml.passes.progress import listeners
from dbml.passes.schema import Schema, Statistics
from dbml.passes.shards import Arrays, Shards
from dbml.passes.step import Order, Sequential, Shuffled, State, Step

__all__ = ["Chunk", "ChunkedData", "Workspace", "rows_per_block"]

T = TypeVar("T")

ROW_GROUP = 122_880  # rows of a row group in DuckDB
_SIZES = (12_288, 6_144, 3_072, 1_536)  # each divides a row group
_BLOCK_BYTES = 8 << 20
_TEXT_ROWS = 3_072  # of texts, whose length is not known: some hundred words a row take as much
_TEXT_BYTES = 2_048  # about what words and terms of a text take
_SAMPLE_PIECES = 16
_SAMPLE_ROWS = 50_000
_SAMPLE_BYTES = 64 << 20


def rows_per_block(n_terms: int) -> int:
    """Return the rows of a block for a design of `n_terms` dense terms: from the data alone, never from the machine.

    12,288 rows while they take at most 8 MiB, then fewer, so that a block stays near the cache.
    """
    for size in _SIZES:
        if size * max(1, n_terms) * 8 <= _BLOCK_BYTES:
            return size
    return max(64, min(1_024, _BLOCK_BYTES * 8 // (8 * n_terms)))


class ChunkedData(Data, ABC):
    """Base of every `Data`: subclasses read chunks, this class folds, maps, samples, shuffles and keeps them.

    Attributes
    ----------
    partitions : tuple of Partition
        Fixed geometry; empty where unknown (batches of a query).
    seekable : bool
        `chunks(partitions)` reads only these partitions.
    divisible : bool
        `chunks(partitions)` also takes runs of rows inside partitions, at proportionate cost.
    waits_to_read : bool
        Reading all rows in order is waiting for threads of DuckDB.
    temp_directory : str or None
        Where kept blocks are spilled: DuckDB's temp directory; None: the system's.
    """

    schema: Schema
    plan: Plan
    partitions: tuple[Partition, ...] = ()
    seekable: bool = False
    divisible: bool = False
    waits_to_read: bool = False
    temp_directory: str | None = None
    _kept: ChunkedData | None = None  # the encoded blocks that shuffled passes over an unseekable source read

    # primitive operations ----------------------------------------------------------------------------------------

    @abstractmethod
    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield the rows of some partitions (ascending); None: all rows, in order.

        At most `block_rows` rows each, cut inside partitions only. Closing the iterator ends the read.
        """

    @property
    def n_dense(self) -> int:
        """Dense terms of the blocks."""
        return self.schema.encoding.n_dense

    @property
    def n_terms(self) -> int:
        """Terms of the blocks."""
        return self.schema.encoding.n_terms

    def clustering(self) -> tuple[bool, str]:
        """Return whether the rows lie clustered by target or features, and the reason in words."""
        return True, "nothing is known about the order of the rows"

    def interrupt(self) -> None:
        """Make a read that blocks another thread return soon with an error. Nothing to do where reads are short."""

    def borrow(self) -> Loan | None:
        """Borrow memory for kept rows from the database that they come from; None where there is none to lend."""
        return None

    @property
    def n_rows(self) -> int:
        """Rows of a full pass where that is known without reading, else -1."""
        return -1

    # sizes -------------------------------------------------------------------------------------------------------

    @property
    def block_rows(self) -> int:
        """Most rows of a block."""
        size = rows_per_block(self.n_dense)
        return min(size, _TEXT_ROWS) if self._sparse_and_texts[1] else size

    @cached_property
    def _sparse_and_texts(self) -> tuple[int, int]:
        """Features with sparse terms, and texts among them."""
        features = self.schema.encoding.features
        return sum(bool(feature.sparse_terms) for feature in features), sum(f.kind == "text" for f in features)

    @property
    def row_bytes(self) -> int:
        """About what an encoded row takes."""
        sparse, texts = self._sparse_and_texts
        return 8 * (self.n_dense + 2) + 12 * sparse + _TEXT_BYTES * texts

    def _work(self, purpose: str, interrupt: Callable[[], None], in_order: bool = True) -> Work:
        size = self.block_rows * self.row_bytes
        waits = self.waits_to_read and in_order
        return Work(purpose, self.n_rows, size, size, memory_budget().blocks, interrupt, waits)

    # passes ------------------------------------------------------------------------------------------------------

    def fold(self, *steps: Step, order: Order = Sequential(), purpose: str = "") -> tuple[State, ...]:  # noqa: B008
        """Run one pass over all rows; see `Data.fold`."""
        chunks, interrupt = self._ordered(order)
        with _Recorded(self, purpose, order, chunks) as counted:
            work = self._work(purpose, interrupt, isinstance(order, Sequential))
            return current().run(counted, steps, work)

    def map(self, function: Callable[[Block], T], purpose: str = "") -> Iterator[T]:
        """Apply `function` to every block; see `Data.map`."""
        with _Recorded(self, purpose, Sequential(), self.chunks()) as counted:
            yield from current().map(counted, function, self._work(purpose, self.interrupt))

    def _ordered(self, order: Order) -> tuple[Iterator[Chunk], Callable[[], None]]:
        """Return the chunks in the order asked for, and what interrupts them."""
        if isinstance(order, Sequential):
            return self.chunks(), self.interrupt
        clustered, reason = self._clustering
        if not clustered:
            self.plan = self.plan.decide("order", "plain", reason)
            return self.chunks(), self.interrupt
        if not (self.seekable and self.partitions):
            if self._kept is None:
                self._kept = self.materialise()
            return self._kept._ordered(order)
        return self._shuffled(order, reason)

    def _shuffled(self, order: Shuffled, reason: str) -> tuple[Iterator[Chunk], Callable[[], None]]:
        pieces = cut_pieces(self.partitions, PIECE) if self.divisible else list(self.partitions)
        total, largest = sum(piece.n_rows for piece in pieces), max(piece.n_rows for piece in pieces)
        rows = buffer_rows(total, largest, self.row_bytes, memory_budget().shuffle)
        generator = np.random.default_rng([order.seed, order.epoch])
        shuffle = Shuffle(self.chunks, pieces, rows=rows, block_rows=self.block_rows, generator=generator)
        choice = f"shuffled: {len(pieces):,} pieces of the table, in {len(shuffle.groups):,} buffers of {rows:,} rows"
        self.plan = self.plan.decide("order", choice, reason)

        def interrupt() -> None:
            shuffle.interrupt()
            self.interrupt()

        return shuffle.chunks(), interrupt

    @cached_property
    def _clustering(self) -> tuple[bool, str]:
        return self.clustering()

    # samples -----------------------------------------------------------------------------------------------------

    def sample(self, n: int, seed: int) -> Block:
        """Return about `n` rows; see `Data.sample`. Where these are all rows, it is a pass of the plan."""
        started = time.perf_counter()
        rows = self._sample(n, seed)
        if 0 < rows.n_rows == self.n_rows:
            columns, size = len(self.plan.columns), rows.n_rows * self.row_bytes
            seconds = time.perf_counter() - started
            self.plan = self.plan.ran(Pass("all rows into memory", "sequential", columns, rows.n_rows, size, seconds))
        return rows

    def sampled(self, function: Callable[[Block], T], n: int, seed: int) -> list[T]:
        """Apply `function` to blocks of about `n` rows; see `Data.sampled`."""
        if not self.divisible or 0 <= self.n_rows <= n:
            return super().sampled(function, n, seed)
        chunks = self.chunks(self._pieces(n, np.random.default_rng(seed)))
        work = self._work("sample", self.interrupt)
        made = list(current().map(chunks, lambda block: (block.n_rows, function(block)), work))
        if sum(rows for rows, _ in made) < n // 4:
            return super().sampled(function, n, seed)
        return [result for _, result in made]

    def _sample(self, n: int, seed: int) -> Block:
        generator = np.random.default_rng(seed)
        n_dense = self.n_dense
        if 0 <= self.n_rows <= n:
            return join_blocks([copy_rows(block) for block in self._encoded()], n_dense)
        if self.seekable and self.partitions:
            rows = join_blocks(list(self._sampled(n, generator)), n_dense)
            if rows.n_rows >= n // 4:
                return rows
        # Read in order only, or filters leave few rows where the sample looked: all rows pass by.
        reservoir = Reservoir(n, n_dense, generator)
        for block in self._encoded():
            reservoir.add(block)
        return reservoir.rows()

    def _pieces(self, n: int, generator: np.random.Generator) -> list[Partition]:
        """Return runs of about `n` rows together, at random places in partitions spread evenly over the source."""
        chosen = spread(self.partitions, _SAMPLE_PIECES, generator)
        return [piece_inside(partition, -(-n // len(chosen)), generator) for partition in chosen]

    def _encoded(self, partitions: Sequence[Partition] | None = None) -> Generator[Block]:
        space = Workspace()
        for chunk in self.chunks(partitions):
            yield chunk.encode(space)

    def _sampled(self, n: int, generator: np.random.Generator) -> Iterator[Block]:
        """Yield rows of partitions spread evenly over the source: of a piece of each, or of their first blocks."""
        if self.divisible:
            yield from map(copy_rows, self._encoded(self._pieces(n, generator)))
            return
        chosen = spread(self.partitions, _SAMPLE_PIECES, generator)
        for number, partition in enumerate(chosen):
            wanted = n // len(chosen) + (number < n % len(chosen))
            blocks = self._encoded([partition])
            while wanted > 0 and (block := next(blocks, None)) is not None:
                kept = np.sort(generator.permutation(block.n_rows)[:wanted])
                wanted -= kept.size
                yield copy_rows(block, kept)
            blocks.close()

    @cached_property
    def _statistics(self) -> Statistics:
        wanted = self.statistics_rows
        rows = self._sample(wanted, seed=0)
        if self.n_rows >= 0:
            return describe_terms(rows, self.n_terms, self.n_rows)
        if rows.n_rows < wanted and not self.seekable:  # then they are all there are
            return describe_terms(rows, self.n_terms, rows.n_rows)
        listed = sum(max(0, partition.n_rows) for partition in self.partitions)
        return describe_terms(rows, self.n_terms, max(rows.n_rows, listed), exact=False)

    @property
    def statistics_rows(self) -> int:
        """Rows of the sample that statistics are estimated from."""
        return max(1_000, min(_SAMPLE_ROWS, _SAMPLE_BYTES // self.row_bytes))

    @property
    def statistics(self) -> Statistics:
        """Statistics of the terms; see `Data.statistics`."""
        return self._statistics

    def take(self, terms: Sequence[int] | NDArray[np.intp]) -> Data:
        """Return the data restricted to some terms; see `Data.take`. `schema` stays that of the whole."""
        from dbml.data.derived import TakenData

        return TakenData(self, Selection.of(terms, self.n_dense, self.n_terms))

    def reader(self, selection: Selection) -> Callable[[Sequence[Partition] | None], Iterator[Chunk]]:
        """Return `chunks` for some terms only. Here rows are encoded as a whole; override it where less is needed."""
        return lambda partitions: (TakenChunk(chunk, selection) for chunk in self.chunks(partitions))

    def materialise(self) -> ChunkedData:
        """Return the data with its encoded blocks kept; see `Data.materialise`."""
        from dbml.data.derived import MaterialisedData

        return MaterialisedData(self)

    def derive(
        self,
        make: Callable[[Block], Arrays],
        *,
        finish: Callable[[Arrays], Arrays] | None = None,
        resident: Collection[str] = (),
        shard_rows: int | None = None,
        purpose: str = "",
    ) -> Shards:
        """Return arrays of the estimator's own making, kept; see `Data.derive`."""
        from dbml.data.shard_filling import derive

        return derive(self, make, finish, resident, shard_rows, purpose)

    def close(self) -> None:
        """Free what a shuffled pass kept. Subclasses that free more call this too."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


class _Recorded:
    """Counts the rows of a pass, tells the listeners, and writes it into the plan."""

    def __init__(self, data: ChunkedData, purpose: str, order: Order, chunks: Iterator[Chunk]) -> None:
        self.data, self.purpose, self.chunks, self.rows = data, purpose, chunks, 0
        self.order = "sequential" if isinstance(order, Sequential) else "shuffled"

    def __enter__(self) -> _Recorded:
        self.started = time.perf_counter()
        for listener in listeners():
            listener.pass_started(self.purpose, self.data.n_rows)
        return self

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        chunk = next(self.chunks)
        self.rows += chunk.n_rows
        return chunk

    def close(self) -> None:
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()

    def __exit__(self, *raised: object) -> None:
        seconds = time.perf_counter() - self.started
        size = self.rows * self.data.row_bytes
        columns = len(self.data.plan.columns)
        done = Pass(self.purpose, self.order, columns, self.rows, size, seconds)
        self.data.plan = self.data.plan.ran(done)
        for listener in listeners():
            listener.pass_ended(seconds)
