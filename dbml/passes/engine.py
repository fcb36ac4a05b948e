"""The engine that runs passes: what `dbml.data` asks of it and what `dbml.engine` fulfils.

Data hand over chunks in order; the engine encodes them to blocks on its workers, runs the steps and merges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dbml.errors import DbmlError
from dbml.passes.block import Block, Floats
from dbml.passes.dispatch import load_providers
from dbml.passes.step import State, Step

T = TypeVar("T")
R = TypeVar("R")


_most_threads: ContextVar[int | None] = ContextVar("most_threads", default=None)


@contextmanager
def threads_limited(number: int | None) -> Iterator[None]:
    """Let passes of this context run on so many threads at most; None: on as many as the engine has."""
    token = _most_threads.set(number if number is not None else _most_threads.get())
    try:
        yield
    finally:
        _most_threads.reset(token)


def threads_limit() -> int | None:
    """Return what `threads_limited` allows here, None for no limit."""
    return _most_threads.get()


class Workspace:
    """Buffers that one block is encoded into, reused for the next block; they grow and never shrink."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray] = {}

    def array(self, name: str, size: int, dtype: DTypeLike = np.float64) -> NDArray:
        """Return the first `size` entries of the buffer `name`, not cleared. Names are the caller's own."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(max(size, 1), dtype)
        return buffer[:size]

    def dense(self, n_rows: int, n_terms: int) -> Floats:
        """Return the buffer of `Block.X`: (n_rows, n_terms), Fortran contiguous for any number of rows, not cleared."""
        return self.array("X", n_rows * n_terms).reshape((n_rows, n_terms), order="F")

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


class Chunk(Protocol):
    """A run of rows not yet encoded; cheap to read: one worker does at a time.

    Attributes
    ----------
    start : int
        Position of the first row in a sequential pass, -1 for shuffled rows.
    n_rows : int
        Number of rows, at least 1.
    """

    @property
    def start(self) -> int: ...

    @property
    def n_rows(self) -> int: ...

    def encode(self, workspace: Workspace) -> Block:
        """Return the rows as a block whose arrays lie in `workspace`. Runs once, on a worker thread."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the engine must know of a pass besides its chunks.

    Attributes
    ----------
    purpose : str
        Name of the pass for progress.
    n_rows : int
        Rows to come, -1 where unknown.
    chunk_bytes, block_bytes : int
        About what a chunk and an encoded block take.
    memory_bytes : int
        What batches, blocks and states may take together.
    interrupt : callable or None
        Makes a blocked read return soon with an error; called when the pass is given up.
    waits_to_read : bool
        Reading a chunk is waiting for threads that are not the engine's.
    """

    purpose: str = ""
    n_rows: int = -1
    chunk_bytes: int = 1 << 20
    block_bytes: int = 1 << 20
    memory_bytes: int = 1 << 28
    interrupt: Callable[[], None] | None = None
    waits_to_read: bool = False


class Crew(Protocol):
    """Workers that stay, for many short rounds of work over the same few items. Close it to end them."""

    @property
    def size(self) -> int:
        """Number of workers, the caller included."""

    def each(self, function: Callable[[T], R], items: Sequence[T], kind: str = "") -> list[R]:
        """Return `function(item)` of all items, in order; who takes which item is not fixed.

        The first error ends the round and is raised. Rounds of one `kind` are taken to last about as long as the one
        before: short ones wake nobody.
        """

    def close(self) -> None:
        """End the workers."""


class Engine(Protocol):
    """Runs passes. Results depend on chunks and steps alone, not on the number of workers."""

    def run(self, chunks: Iterator[Chunk], steps: Sequence[Step], work: Work) -> tuple[State, ...]:
        """Fold the chunks: one state per block merged in order; a chained step has one state that sees all blocks."""

    def map(self, chunks: Iterator[Chunk], function: Callable[[Block], T], work: Work) -> Iterator[T]:
        """Yield `function(block)` for every chunk, in order. The result must not keep arrays of the block."""

    def crew(self, at_most: int) -> Crew:
        """Return a crew of all workers, of `at_most` if there are more."""


_registered: list[Engine] = []
_chosen: ContextVar[Engine | None] = ContextVar("dbml_engine", default=None)


def register_engine(engine: Engine) -> None:
    """Make `engine` the one that runs passes where none was chosen by `using`."""
    _registered[:] = [engine]


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Run passes on `engine` for the duration of a block."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def current() -> Engine:
    """Return the engine that runs passes now."""
    chosen: Any = _chosen.get()
    if chosen is not None:
        return chosen
    if not _registered:
        load_providers()
    if not _registered:
        raise DbmlError("no engine is registered; import dbml")
    return _registered[0]
