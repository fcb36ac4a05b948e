"""The pass that makes shards.

    blocks ─► make, on the engine's workers ─► copied into the arrays of their shard ─► finish ─► memory or disk

Each shard is filled where it stays: nothing is held twice but the blocks that are being read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from dbml.data.arena import Arena
from dbml.data.shards import LocalShards
from dbml.errors import InvalidData
from dbml.passes.block import Block
from dbml.passes.shards import Arrays, Shards

if TYPE_CHECKING:
    from dbml.data.chunked import ChunkedData

_MOST_SHARDS = 16  # of tables that fit in memory; a power of two, as are fewer
_WORTH_A_SHARD = 16_384  # rows: a shard that is worked on in less than some 50 us costs more than it brings
_WORTH_BYTES = 8 << 20  # of the encoded rows: so does one of few columns, where there are two already
_MOST_ROWS, _FEWEST_ROWS, _ROWS_OF_A_STREAM = 262_144, 4_096, 65_536
_ENCODED_BYTES = 256 << 20  # of the rows of a shard: arrays of bytes take an eighth


def rows_of_a_shard(n_rows: int, row_bytes: int) -> int:
    """Return the rows of a shard: a sixteenth of the rows, within bounds; from the data alone, never from the machine.

    Few rows make fewer shards. Wide rows make shards of fewer rows, so that one that is read back is small beside the
    smallest limits.
    """
    most = max(_FEWEST_ROWS, min(_MOST_ROWS, _ENCODED_BYTES // max(1, row_bytes)))
    if n_rows < 0:
        return min(most, _ROWS_OF_A_STREAM)
    worth = max(_WORTH_A_SHARD, _WORTH_BYTES // max(1, row_bytes))
    shards = max(min(2, n_rows // _WORTH_A_SHARD), 1 << max(0, (n_rows // worth).bit_length() - 1))
    shards = min(_MOST_SHARDS, shards)
    return min(most, max(_FEWEST_ROWS, -(-n_rows // shards)))


def derive(
    data: ChunkedData,
    make: Callable[[Block], Arrays],
    finish: Callable[[Arrays], Arrays] | None,
    resident: Collection[str],
    shard_rows: int | None,
    purpose: str,
) -> Shards:
    """Return the shards of `Data.derive`."""
    if shard_rows is not None and shard_rows < 1:
        raise ValueError(f"shard_rows must be at least 1; got {shard_rows}")
    size = shard_rows or rows_of_a_shard(data.n_rows, data.row_bytes)
    filling = _Filling(data.n_rows, size, finish, frozenset(resident))
    shards = LocalShards(data)
    try:
        done = 0
        for n in data.map(lambda block: filling.take(block, make(block)), purpose=purpose or "derive"):
            done += n
            # What comes before a block in the order of the rows is there when its turn comes.
            while shards.n_rows < filling.end_of(len(shards)) <= done:
                shards.add(*filling.finished(len(shards)))
        filling.check_rows(done, data.plan.source)
        if done > shards.n_rows:
            filling.end(len(shards), done - shards.n_rows)
            shards.add(*filling.finished(len(shards)))
        shards.complete()
    except BaseException:
        shards.close()
        raise
    return shards


class _Part:
    """The arrays of a shard that is being filled."""

    def __init__(self, layout: dict[str, tuple[np.dtype, tuple[int, ...]]], size: int, arena: Arena) -> None:
        self.arrays = {name: arena.empty((size, *shape), dtype) for name, (dtype, shape) in layout.items()}
        self.size, self.filled = size, 0


class _Filling:
    """Shards that are being filled, by all workers at once.

    Parameters
    ----------
    n_rows : int
        Rows to come, -1 where unknown.
    size : int
        Rows of a shard.
    finish : callable or None
        See `Data.derive`.
    resident : frozenset of str
        Names of the resident arrays.
    """

    def __init__(
        self, n_rows: int, size: int, finish: Callable[[Arrays], Arrays] | None, resident: frozenset[str]
    ) -> None:
        self.n_rows, self.size, self.finish, self.resident = n_rows, size, finish, resident
        self._lock, self._arena = threading.Lock(), Arena()
        self._layout: dict[str, tuple[np.dtype, tuple[int, ...]]] | None = None
        self._parts: dict[int, _Part] = {}
        self._finished: dict[int, tuple[Arrays, Arrays, int]] = {}

    def end_of(self, number: int) -> int:
        """Return the row after the last one of a full shard."""
        end = (number + 1) * self.size
        return min(end, self.n_rows) if self.n_rows >= 0 else end

    def take(self, block: Block, arrays: Arrays) -> int:
        """Copy the arrays of a block to where they stay; finish shards that are full. Return the rows of the block."""
        n = block.n_rows
        self._check(arrays, n)
        done = 0
        while done < n:
            number, offset = divmod(block.start + done, self.size)
            count = min(n - done, self.size - offset)
            part = self._part(number, offset + count)
            for name, array in arrays.items():
                part.arrays[name][offset : offset + count] = array[done : done + count]
            with self._lock:
                part.filled += count
                full = part.filled == part.size
            if full:
                self.end(number, part.size)
            done += count
        return n

    def _check(self, arrays: Arrays, n: int) -> None:
        for name, array in arrays.items():
            if array.ndim < 1 or len(array) != n:
                raise ValueError(
                    f"derive: make must return arrays with a row for each of the {n:,} rows of its block; {name!r} "
                    f"has shape {array.shape}"
                )
        layout = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
        with self._lock:
            if self._layout is None:
                self._layout = layout
        if layout != self._layout:
            raise ValueError(f"derive: make must return the same arrays for every block; {self._layout}, then {layout}")

    def _part(self, number: int, rows: int) -> _Part:
        with self._lock:
            part = self._parts.get(number)
            if part is None:
                assert self._layout is not None
                size = self.end_of(number) - number * self.size
                part = self._parts[number] = _Part(self._layout, size if size > 0 else self.size, self._arena)
        if rows > part.size:
            raise InvalidData(f"rows were added while they were read: {self.n_rows:,} were there when training began")
        return part

    def check_rows(self, found: int, source: str) -> None:
        """Raise `InvalidData` if there were fewer rows than known, or more."""
        if self.n_rows not in (-1, found):
            raise InvalidData(
                f"the rows of {source} changed while they were read: {self.n_rows:,} when training began, {found:,} now"
            )

    def end(self, number: int, n_rows: int) -> None:
        """Finish a shard of which `n_rows` rows came."""
        with self._lock:
            part = self._parts.pop(number)
        arrays = part.arrays if n_rows == part.size else {name: a[:n_rows] for name, a in part.arrays.items()}
        del part
        if self.finish is not None:
            arrays = self.finish(arrays)
        missing = self.resident - arrays.keys()
        if missing:
            raise ValueError(f"derive: resident must name arrays of {sorted(arrays)}; got {sorted(missing)}")
        kept: Arrays = {}
        own: Arrays = {}
        for name, array in arrays.items():
            if name in self.resident:
                own[name] = np.require(array, requirements=["C", "W"])
            else:
                kept[name] = np.ascontiguousarray(array).view()
                kept[name].flags.writeable = False
        self._finished[number] = kept, own, n_rows

    def finished(self, number: int) -> tuple[Arrays, Arrays, int]:
        """Hand over a finished shard: kept arrays, resident arrays, rows."""
        return self._finished.pop(number)
