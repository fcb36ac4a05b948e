"""Rows in random order from a source that is fast in order only: two levels, block and buffer (CorgiPile).

Pieces of the table are read in random order into a buffer of many pieces; rows are shuffled inside it. While one
buffer is handed out, a thread of its own fills the other with encoded blocks. An output block deals out short runs of
neighbouring rows from all over the buffer, straight from where they were encoded.

Reference: Xu et al., "Stochastic gradient descent without full data shuffle" (VLDB Journal, 2024).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbml.data.deal import Deck
from dbml.errors import DbmlError
from dbml.passes.block import Block
from dbml.passes.engine import Chunk, Workspace
from dbml.passes.plan import Partition

PIECE = 24_576  # rows read in one place: 1.2 x the time of a scan in order, half of that costs 1.5 x
_BUFFER_SHARE = 0.1  # of the rows; the first buffer is filled before the first row comes out
_FEWEST = 2


def cut_pieces(partitions: Sequence[Partition], rows: int) -> list[Partition]:
    """Return the partitions cut into pieces of at most `rows` rows."""
    pieces: list[Partition] = []
    for partition in partitions:
        for start in range(partition.start, partition.start + partition.n_rows, rows):
            size = min(rows, partition.start + partition.n_rows - start)
            pieces.append(Partition(len(pieces), start, size, partition.place, partition.replicas))
    return pieces


def buffer_rows(n_rows: int, largest_piece: int, row_bytes: int, memory: int) -> int:
    """Return the rows of a buffer: a tenth of the table, at least two pieces, two buffers within `memory` bytes."""
    wanted = max(_FEWEST * largest_piece, int(_BUFFER_SHARE * n_rows))
    return max(largest_piece, min(wanted, memory // (2 * max(1, row_bytes))))


def group_pieces(pieces: Sequence[Partition], rows: int, generator: np.random.Generator) -> list[list[Partition]]:
    """Return the pieces in random order, in groups of at most `rows` rows, ascending inside a group."""
    groups: list[list[Partition]] = []
    room = 0
    for number in generator.permutation(len(pieces)):
        piece = pieces[number]
        if not groups or piece.n_rows > room:
            groups.append([])
            room = rows
        groups[-1].append(piece)
        room -= piece.n_rows
    return [sorted(group, key=lambda piece: piece.start) for group in groups]


def shuffled_runs(n: int, size: int, run: int, generator: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Yield the numbers below `n` in random order, `size` at a time.

    Each time, runs of `run` neighbours from random places are dealt out like cards: the first row of every run, then
    the second of every run, …. A column is then gathered at 1 ns a value; in an order without such locality at 3 ns.
    """
    starts = generator.permutation(-(-n // run)) * run
    per_block = max(1, size // run)
    for first in range(0, starts.size, per_block):
        index = (np.arange(run)[:, None] + starts[first : first + per_block]).ravel()
        yield index[index < n]


class RowBuffer:
    """The blocks of one group of pieces, and how many of its chunks are still to be dealt out.

    Every block stays where it was encoded, in a workspace of its own that the next group uses again: rows are copied
    once, when they are dealt.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.waiting = 0
        self._spaces: list[Workspace] = []

    def clear(self) -> None:
        """Forget the rows."""
        self.blocks = []

    def append(self, chunk: Chunk) -> None:
        """Encode a chunk and keep its block."""
        if len(self.blocks) == len(self._spaces):
            self._spaces.append(Workspace())
        self.blocks.append(chunk.encode(self._spaces[len(self.blocks)]))

    def deal(self, block_rows: int, generator: np.random.Generator) -> list[Chunk]:
        """Return the rows in random order, as chunks that copy them."""
        chunks = list(Deck(self.blocks, block_rows).chunks(generator))
        self.waiting = len(chunks)
        return chunks


@dataclass(frozen=True, slots=True)
class ShuffledChunk:
    """Rows of a buffer, in random order."""

    shuffle: Shuffle
    buffer: RowBuffer
    dealt: Chunk

    @property
    def start(self) -> int:
        return -1

    @property
    def n_rows(self) -> int:
        return self.dealt.n_rows

    def encode(self, workspace: Workspace) -> Block:
        """Copy the rows, and give the buffer back with its last chunk."""
        block = self.dealt.encode(workspace)
        self.shuffle.gathered(self.buffer)
        return block


class Shuffle:
    """One epoch over pieces of a source.

    Parameters
    ----------
    read : callable
        From pieces (ascending) to their chunks.
    pieces : sequence of Partition
        All rows, cut so that any subset can be read.
    rows : int
        Rows of a buffer, see `buffer_rows`.
    block_rows : int
        Most rows of a block.
    generator : numpy.random.Generator
        Decides the order.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Partition]], Iterator[Chunk]],
        pieces: Sequence[Partition],
        *,
        rows: int,
        block_rows: int,
        generator: np.random.Generator,
    ) -> None:
        self.read, self.block_rows, self.generator = read, block_rows, generator
        self.groups = group_pieces(pieces, rows, generator)
        most = max((sum(piece.n_rows for piece in group) for group in self.groups), default=0)
        # The engine takes three chunks before it encodes one: buffers of a single block must be more than two.
        self._buffers = [RowBuffer() for _ in self.groups[: 2 if most > block_rows else 4]]
        self._changed = threading.Condition()
        self._interrupted = False

    def chunks(self) -> Iterator[Chunk]:
        """Yield shuffled chunks; a thread of its own fills a buffer while the other is gathered."""
        with ThreadPoolExecutor(1, "dbml-shuffle") as filler:
            try:
                filled = filler.submit(self._fill, 0)
                for following in range(1, len(self.groups) + 1):
                    chunks = filled.result()
                    if following < len(self.groups):
                        filled = filler.submit(self._fill, following)
                    yield from chunks
            finally:
                self.interrupt()

    def _fill(self, number: int) -> list[ShuffledChunk]:
        """Read a group of pieces into its buffer, once that is free; return its rows as chunks."""
        buffer = self._buffers[number % len(self._buffers)]
        self._wait_for(buffer)
        buffer.clear()
        for chunk in self.read(self.groups[number]):
            buffer.append(chunk)
        return [ShuffledChunk(self, buffer, dealt) for dealt in buffer.deal(self.block_rows, self.generator)]

    def _wait_for(self, buffer: RowBuffer) -> None:
        with self._changed:
            while buffer.waiting and not self._interrupted:
                self._changed.wait()
        if self._interrupted:
            raise DbmlError("the pass was given up")

    def gathered(self, buffer: RowBuffer) -> None:
        """Note that one more chunk of `buffer` was gathered."""
        with self._changed:
            buffer.waiting -= 1
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Wake the thread that fills, with an error."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()
