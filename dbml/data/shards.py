"""Shards of this process: kept arrays in memory or spilled, passes by a crew of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dbml.data.loan import LendingRoom
from dbml.data.shard_passes import ShardPasses
from dbml.data.spill_file import SpillFile
from dbml.errors import ExhaustedMemory, InvalidData, UnknownName, listing, nearest
from dbml.passes.engine import Crew, Workspace, current
from dbml.passes.memory import memory_budget
from dbml.passes.plan_text import size_text
from dbml.passes.shards import Arrays, Shard, Shards

if TYPE_CHECKING:
    from dbml.data.chunked import ChunkedData

T = TypeVar("T")

_NO_LIMIT = 1 << 16  # workers


class _Place(NamedTuple):
    """Where a spilled array lies."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def part(self, index: int) -> _Place:
        """Return where entry `index` of the first axis lies."""
        if not -self.shape[0] <= index < self.shape[0]:
            raise IndexError(f"index {index} is out of bounds for axis 0 with size {self.shape[0]}")
        made = _Place(self.begin, self.shape[1:], self.dtype)
        return made._replace(begin=self.begin + made.nbytes * (index % self.shape[0]))

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        size = self.dtype.itemsize
        for n in self.shape:
            size *= n
        return size


class KeptShard(Shard):
    """A shard whose kept arrays are all in memory or all spilled; see `Shard`.

    Parameters
    ----------
    number, start, n_rows : int
        See `Shard`.
    kept : dict of ndarray
        C contiguous and read only.
    resident : dict of ndarray
        C contiguous and writable.

    Attributes
    ----------
    handed_out : int
        Bytes of kept arrays that a pass read.
    """

    def __init__(self, number: int, start: int, n_rows: int, kept: Arrays, resident: Arrays) -> None:
        self.number, self.start, self.n_rows, self.resident = number, start, n_rows, resident
        self._kept = kept
        self._places: dict[str, _Place] = {}
        self._disk: _Disk | None = None
        self._closed = False
        self.handed_out = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the kept arrays in memory."""
        return sum(array.nbytes for array in self._kept.values())

    def read(self, name: str) -> NDArray:
        array = self._kept.get(name)
        if array is None:
            disk, place = self._spilled(name)
            array = disk.read(name, place)
            disk.expect(self, name)
        self.handed_out += array.nbytes
        return array

    def read_parts(self, name: str, indices: NDArray[np.int64]) -> tuple[NDArray, NDArray[np.int64]]:
        array, places = self._kept.get(name), indices
        if array is None:
            disk, place = self._spilled(name)
            wanted, places = np.unique(indices, return_inverse=True)
            array = disk.read_parts(f"{name} parts", place, wanted)
            for index in wanted:
                disk.expect(self, name, int(index))
        self.handed_out += indices.size * array[:1].nbytes
        return array, places

    def _spilled(self, name: str) -> tuple[_Disk, _Place]:
        if self._closed:
            raise InvalidData("derived rows were closed; derive them again")
        known = [*self._kept, *self._places]
        if self._disk is None or name not in self._places:
            raise UnknownName(f"no kept array {name!r} in the shards{nearest(name, known)} (arrays: {listing(known)})")
        return self._disk, self._places[name]

    def spill(self, disk: _Disk) -> None:
        """Move the kept arrays to disk."""
        for name, array in self._kept.items():
            self._places[name] = disk.append(array)
        self._disk, self._kept = disk, {}

    def place_of(self, name: str, index: int | None) -> _Place | None:
        """Return where a kept array or an entry of it lies on disk, None where it does not."""
        place = self._places.get(name)
        if place is None or index is None:
            return place
        return place.part(index) if -place.shape[0] <= index < place.shape[0] else None

    def close(self) -> None:
        """Forget all arrays."""
        self._closed = True
        self._kept, self._places, self.resident = {}, {}, {}


class _Disk:
    """The spilled arrays of all shards, and the buffers that they are read into."""

    def __init__(self, directory: str | None, shards: Sequence[KeptShard]) -> None:
        self.file = SpillFile(directory, "derived rows")
        self.shards = shards
        self.ahead = 1  # shards from the one that is read to the one that is read next
        self._of_thread = threading.local()

    def append(self, array: NDArray) -> _Place:
        place = _Place(self.file.nbytes, array.shape, array.dtype)
        if array.nbytes:
            with self.file.writing():
                self.file.write(array.reshape(-1).view(np.uint8))
        return place

    def read(self, buffer_name: str, place: _Place) -> NDArray:
        """Return an array in a buffer of this thread, read only as the ones in memory: kernels are compiled once."""
        return self._view(self._fill(buffer_name, [place]), place.dtype, place.shape)

    def read_parts(self, buffer_name: str, place: _Place, indices: NDArray[np.int64]) -> NDArray:
        """Return some entries of an array along its first axis, one after the other; see `read`."""
        buffer = self._fill(buffer_name, [place.part(int(index)) for index in indices])
        return self._view(buffer, place.dtype, (indices.size, *place.shape[1:]))

    def _fill(self, buffer_name: str, places: Sequence[_Place]) -> NDArray[np.uint8]:
        space = getattr(self._of_thread, "space", None)
        if space is None:
            space = self._of_thread.space = Workspace()
        buffer, begin = space.array(buffer_name, sum(place.nbytes for place in places), np.uint8), 0
        for place in places:
            self.file.read_into(buffer.data[begin : begin + place.nbytes], place.begin)
            begin += place.nbytes
        return buffer

    @staticmethod
    def _view(buffer: NDArray[np.uint8], dtype: np.dtype, shape: tuple[int, ...]) -> NDArray:
        array = buffer.view(dtype).reshape(shape)
        array.flags.writeable = False
        return array

    def expect(self, shard: KeptShard, name: str, index: int | None = None) -> None:
        """Let the system fetch the same array of the shard that comes next."""
        if shard.number + self.ahead < len(self.shards):
            place = self.shards[shard.number + self.ahead].place_of(name, index)
            if place is not None:
                self.file.expect(place.begin, place.nbytes)

    def close(self) -> None:
        self.file.close()
        self._of_thread = threading.local()


class LocalShards(Shards):
    """Shards in this process.

    Parameters
    ----------
    data : ChunkedData
        What the arrays are made from; its plan is written into.
    """

    def __init__(self, data: ChunkedData) -> None:
        self.n_rows = 0
        self._data, self._directory = data, data.temp_directory
        self._room = LendingRoom(memory_budget().shards, data.borrow)
        self._shards: list[KeptShard] = []
        self._in_memory: list[KeptShard] = []
        self._kept_bytes = self._resident_bytes = 0
        self._largest = 1
        self._disk: _Disk | None = None
        self._crew: Crew | None = None
        self._passes = ShardPasses()
        self._closed = False

    # made by `derive` --------------------------------------------------------------------------------------------

    def add(self, kept: Arrays, resident: Arrays, n_rows: int) -> None:
        """Take the next shard. If all will not fit, DuckDB lends memory; what is too much then is spilled.

        Raises
        ------
        ExhaustedMemory
            Resident arrays do not fit in the memory limit, or the disk is full.
        """
        shard = KeptShard(len(self._shards), self.n_rows, n_rows, kept, resident)
        self._shards.append(shard)
        self._in_memory.append(shard)
        self.n_rows += n_rows
        self._kept_bytes += shard.nbytes
        self._largest = max(self._largest, shard.nbytes)
        self._resident_bytes += sum(array.nbytes for array in resident.values())
        self._room.has(self._expected(self._kept_bytes + self._resident_bytes))
        self._check_resident()
        while self._kept_bytes + self._resident_bytes > self._room.nbytes and self._in_memory:
            self._spill(self._in_memory.pop())

    def _expected(self, nbytes: int) -> int:
        """Return what all rows will take if those that are here take so much."""
        return nbytes * max(self.n_rows, self._data.n_rows) // max(1, self.n_rows)

    def _check_resident(self) -> None:
        """Refuse resident arrays that will not fit, as soon as that is known."""
        needed = self._expected(self._resident_bytes)
        if needed > self._room.nbytes:
            budget, total = memory_budget(), max(self.n_rows, self._data.n_rows)
            room = size_text(self._room.nbytes)
            raise ExhaustedMemory(
                f"arrays that training updates in place must fit in memory; those of {total:,} rows take "
                f"{size_text(needed)}, and {room} of memory_limit = {size_text(budget.total)} are for "
                f"kept rows. Raise memory_limit to {size_text(needed * (budget.total / max(1, budget.shards)))} or "
                "more, or train on fewer rows"
            )

    def _spill(self, shard: KeptShard) -> None:
        if self._disk is None:
            self._disk = _Disk(self._directory, self._shards)
        self._kept_bytes -= shard.nbytes
        shard.spill(self._disk)

    def complete(self) -> None:
        """Say in the plan where the shards are, and hire the crew."""
        most = _NO_LIMIT
        resident = f", {size_text(self._resident_bytes)} more are updated in place" if self._resident_bytes else ""
        if self._disk is None:
            choice = "in memory"
            most_kept = self._room.nbytes - self._resident_bytes
            reason = f"{size_text(self._kept_bytes)} of at most {size_text(most_kept)}{resident}"
        else:
            # Every thread reads into buffers of its own.
            most = max(1, min(len(self._shards), memory_budget().blocks // self._largest))
            choice = "in memory and spilled" if self._in_memory else "spilled"
            reason = (
                f"{size_text(self._kept_bytes)} within the memory limit, {size_text(self._disk.file.nbytes)} in "
                f"{self._disk.file.directory}{resident}"
            )
        self._data.plan = self._data.plan.decide("derived blocks", choice, reason)
        self._crew = current().crew(most)
        if self._disk is not None:
            self._disk.ahead = self._crew.size

    # used by the estimator ---------------------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        return self._disk is None

    @property
    def spare(self) -> int:
        return max(0, self._room.nbytes - self._kept_bytes - self._resident_bytes) if self.in_memory else 0

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, number: int) -> Shard:
        self._check_open()
        return self._shards[number]

    def each(self, function: Callable[[Shard], T], purpose: str = "", only: Sequence[int] | None = None) -> list[T]:
        crew = self._check_open()
        chosen = self._shards if only is None else [self._shards[number] for number in only]
        return self._passes.run(crew, function, chosen, chosen, purpose)

    @property
    def n_workers(self) -> int:
        return self._check_open().size

    def together(self, function: Callable[[int], T], purpose: str = "") -> list[T]:
        crew = self._check_open()
        return self._passes.run(crew, function, range(crew.size), self._shards, purpose)

    def _check_open(self) -> Crew:
        if self._crew is None or self._closed:
            raise InvalidData("derived rows were closed; derive them again")
        return self._crew

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._crew is not None:
            self._crew.close()
        for shard in self._shards:
            shard.close()
        if self._disk is not None:
            self._disk.close()
        self._room.give_back()
        self._in_memory = []
        for done in self._passes.end(len(self._data.plan.columns)):
            self._data.plan = self._data.plan.ran(done)
