"""Tables of many columns within little memory: read in stretches of rows, and of those some columns at a time.

DuckDB pins the page (256 KiB) of every column that a thread reads, and two where a page ends among the rows at hand:
2,000 columns take 1 GiB on one thread, whatever is asked of their rows. Where that is more than DuckDB's memory, a
stretch of rows is read by one query for each group of columns, and the groups are put side by side.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbml.data import duck
from dbml.data.chunked import ROW_GROUP
from dbml.data.source import Source
from dbml.passes.memory import memory_budget, parse_memory
from dbml.passes.plan_text import size_text

if TYPE_CHECKING:
    import pyarrow as pa

_PINNED = 2 * (256 << 10)  # bytes of a column and thread
_FEW = 32  # columns that the smallest memory has room for
_VECTOR = 2_048  # rows that DuckDB reads at once
_VALUE = 8  # bytes of a number
_LEAST = 64  # rows of a stretch, however little memory there is

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ScanRoom:
    """What DuckDB has for a scan.

    Attributes
    ----------
    memory : int
        Bytes.
    threads : int
        Threads that it reads with.
    """

    memory: int
    threads: int

    @classmethod
    def of(cls, source: Source) -> ScanRoom:
        """Return the room that the connection of a source has: its own settings, or the share of `memory_limit`."""
        ((threads, limit),) = source.fetch("SELECT current_setting('threads'), current_setting('memory_limit')")
        return cls(min(memory_budget().database, parse_memory(limit, least=0)), int(threads))

    def columns(self, threads: int) -> int:
        """Return how many columns are read at once by so many threads, in half of the memory."""
        return max(1, self.memory // 2 // (_PINNED * max(1, min(threads, self.threads))))

    def rows(self, n_columns: int) -> int:
        """Return the rows of a stretch that takes a quarter of the memory: one is made while one is used."""
        most = self.memory // 4 // (_VALUE * n_columns)
        return min(ROW_GROUP, max(_LEAST, most // _VECTOR * _VECTOR or most))

    def described(self, n_columns: int) -> tuple[str, str]:
        """Return how so many columns are read, and why, for the plan."""
        return (
            f"{self.columns(1):,} columns of {self.rows(n_columns):,} rows at a time",
            f"all {n_columns:,} at once take more than the {size_text(self.memory)} that DuckDB has; "
            "a higher memory_limit saves time",
        )


def room_if_wide(source: Source, n_columns: int) -> ScanRoom | None:
    """Return the room of a scan of so many columns that needs more than there is; None where it may be one query."""
    if n_columns < _FEW or source.extent is None:
        return None
    room = ScanRoom.of(source)
    groups = -(-source.extent.end // ROW_GROUP)
    pinned = min(_PINNED, 2 * _VALUE * max(_VECTOR, source.extent.end))  # a short table has short pages
    return room if n_columns * pinned * min(room.threads, groups) > room.memory else None


def columns_at_once(source: Source, n_columns: int, most: int) -> int:
    """Return how many of some columns an aggregate over all rows reads at once: `most`, or fewer in little memory."""
    room = room_if_wide(source, min(n_columns, most))
    return most if room is None else min(most, room.columns(room.threads))


def stream_wide(
    source: Source, expressions: Sequence[str], ranges: Ranges | None, room: ScanRoom
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the rows of a table, or of ranges of its row numbers, one batch a stretch."""
    import pyarrow as pa

    assert source.extent is not None
    names = [f"c{number}" for number in range(len(expressions))]
    asked = [(0, source.extent.end)] if ranges is None else ranges
    for number, stretch in enumerate(stretches(asked, room.rows(len(expressions)))):
        size = room.columns(len({low // ROW_GROUP for low, _ in stretch}))
        groups = range(0, len(expressions), size)
        read: dict[int, list[pa.Array]] = {}
        # To and fro: a page holds the rows of several stretches, and those that were read last are still in memory.
        for first in reversed(groups) if number % 2 else groups:
            sql = source.select(expressions[first : first + size], stretch)
            read[first] = list(_arrays(duck.fetch_table(source.relation, sql)))
        yield pa.RecordBatch.from_arrays([array for first in groups for array in read[first]], names)


def _arrays(table: pa.Table) -> Iterable[pa.Array]:
    """Return each column as one array."""
    import pyarrow as pa

    for column in table.columns:
        yield column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [_none(column)])


def _none(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return pa.array([], column.type)


def stretches(ranges: Ranges, rows: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the ranges in order, cut and put together to at most `rows` rows; cuts are at multiples of a vector.

    No range crosses the end of a row group, so that one thread reads it.
    """
    held: list[tuple[int, int]] = []
    room = rows
    for first, high in ranges:
        low = first
        while low < high:
            end = min(high, (low // ROW_GROUP + 1) * ROW_GROUP, low + room)
            if end < high and end % _VECTOR and end - end % _VECTOR > low:
                end -= end % _VECTOR
            held.append((low, end))
            room -= end - low
            low = end
            if room < min(rows, _VECTOR):
                yield held
                held, room = [], rows
    if held:
        yield held
