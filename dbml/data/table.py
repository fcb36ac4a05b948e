"""Data over a relation: a table, a query, files, frames, Arrow, streamed from DuckDB in Arrow batches."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from dbml_sql.encode import ScanColumn, scan_column, scan_columns
from dbml_sql.expressions import identifier, string
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.data import duck
from dbml.data.base_table import indexed_columns
from dbml.data.chunked import Chunk, ChunkedData, Workspace, rows_per_block
from dbml.data.gather import ExportedBatch, Gather, GatherValues, Rows, cut
from dbml.data.geometry import compare_runs, is_exact, merged_ranges, partitions_of
from dbml.data.loan import Loan, borrow
from dbml.data.pruning import count_pruned, count_pruned_groups
from dbml.data.sampling import copy_rows, join_blocks
from dbml.data.selection import Selection
from dbml.data.snapshot import Snapshot
from dbml.data.source import Source
from dbml.data.wide import ScanRoom, room_if_wide, stream_wide
from dbml.errors import InvalidData
from dbml.passes.block import Block
from dbml.passes.memory import memory_budget
from dbml.passes.plan import Partition, Plan
from dbml.passes.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa


_RANGES = 16  # runs of rows read by one query
_VECTOR = 2_048  # rows that DuckDB reads at once: smaller batches cost a quarter more where there are many columns
_BATCHES = 4  # that are there at the same time


@dataclass(frozen=True, slots=True)
class RowValues:
    """Target and weights: a column of the scan each, or an array in the order of the rows, or None.

    With `unseen`, labels of the column that the model does not know stay, as -1; else they are an error.
    """

    y: ScanColumn | NDArray[np.float64] | None = None
    weight: ScanColumn | NDArray[np.float64] | None = None
    unseen: bool = False

    def scanned(self) -> RowValues:
        """Return what is in columns: an array does not follow rows that are picked from all over the source."""
        y, weight = (value if isinstance(value, ScanColumn) else None for value in (self.y, self.weight))
        return RowValues(y, weight, self.unseen)


class Scan:
    """A training scan: SQL columns, and how its batches become blocks.

    Parameters
    ----------
    source : Source
        Rows.
    gather : Gather
        Design columns.
    values : RowValues
        Target and weights.
    labelled : bool
        The target is a class.
    snapshot : Snapshot or None
        Read from where it holds all columns.
    """

    def __init__(
        self,
        source: Source,
        gather: Gather,
        values: RowValues,
        labelled: bool = False,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.source, self.gather, self.values, self.labelled = source, gather, values, labelled
        scanned = [column for column in (values.y, values.weight) if isinstance(column, ScanColumn)]
        first = len(gather.expressions)
        self.expressions = [*gather.expressions, *(column.sql for column in scanned)]
        self.snapshot = snapshot if snapshot is not None and snapshot.covers(self.expressions) else None
        self._values = GatherValues([(first + number, column.layout) for number, column in enumerate(scanned)])

    @cached_property
    def room(self) -> ScanRoom | None:
        """What DuckDB has for the scan, if it is too wide for one query."""
        return room_if_wide(self.source, len(self.expressions))

    def batches(self, ranges: Sequence[tuple[int, int]] | None, size: int) -> Generator[pa.RecordBatch, None, None]:
        """Yield the batches of all rows, or of ranges of row numbers of the base table."""
        if self.snapshot is not None and (ranges is None or is_exact(self.source)):
            return self.snapshot.batches(self.expressions, ranges)
        if self.room is not None:
            return stream_wide(self.source, self.expressions, ranges, self.room)
        return duck.stream(self.source.relation, self.source.select(self.expressions, ranges), size)

    def encode(self, parts: Sequence[Rows], start: int, n: int, workspace: Workspace) -> Block:
        """Return runs of rows of batches as a block."""
        parts = self.gather.coded(parts)
        exported = [ExportedBatch(rows.batch) for rows in parts]
        X, sparse = self.gather.design(parts, exported, n, workspace)
        read = self._values.read(parts, exported, n, workspace)
        y, weight = self.values.y, self.values.weight
        column = 0
        if isinstance(y, ScanColumn):
            y = self._checked(read, 0, "the target")
            column = 1
        elif y is not None:
            y = y[start : start + n]
        if isinstance(weight, ScanColumn):
            weight = self._checked(read, column, "the weight")
        elif weight is not None:
            weight = weight[start : start + n]
        return Block(X, sparse, y, weight, start)

    def _checked(self, read: NDArray[np.float64], column: int, what: str) -> NDArray[np.float64]:
        values, missing = read[:, 2 * column], read[:, 2 * column + 1]
        if missing.any():
            raise InvalidData(
                f"{what} must be finite in every row of {self.source.name}; {int(missing.sum()):,} of these "
                f"{missing.size:,} rows hold NULL, NaN or infinity"
            )
        strict = what == "the weight" or (self.labelled and not self.values.unseen)
        if strict and values.size and values.min() < 0:
            wrong = int((values < 0).sum())
            why = "must not be negative" if what == "the weight" else "must be a class that the model knows"
            raise InvalidData(
                f"{what} {why}; in {wrong:,} of these {values.size:,} rows of {self.source.name} it is not"
            )
        return values


@dataclass(frozen=True, slots=True)
class TableChunk:
    """Rows of a scan."""

    scan: Scan
    parts: list[Rows]
    start: int
    n_rows: int

    def encode(self, workspace: Workspace) -> Block:
        """Copy the rows into the buffers of the workspace, centred."""
        return self.scan.encode(self.parts, self.start, self.n_rows, workspace)


class TableData(ChunkedData):
    """Rows of a source.

    Parameters
    ----------
    source : Source
        Rows, with the filters of the training.
    schema : Schema
        Encoding and target.
    values : RowValues
        Target and weights.
    n_rows : int
        Rows of a full pass, -1 where unknown.
    snapshot : Snapshot or None
        Columns that were read already.
    held : ExitStack or None
        What keeps the rows as they are while they are read (see `dbml.data.steady`): closed with the data.
    """

    _release: weakref.finalize | None = None

    def __init__(
        self,
        source: Source,
        schema: Schema,
        values: RowValues,
        n_rows: int = -1,
        snapshot: Snapshot | None = None,
        held: ExitStack | None = None,
    ) -> None:
        self._snapshot = snapshot
        self.source, self.schema, self._row_values, self._n_rows = source, schema, values, n_rows
        encoding = schema.encoding
        self.partitions = partitions_of(source)
        aligned = isinstance(values.y, np.ndarray) or isinstance(values.weight, np.ndarray)
        # Arrays are matched to rows by position, which a row's number is only where no row was deleted or filtered.
        self._exact = is_exact(source)
        self.seekable = bool(self.partitions) and (self._exact or not aligned)
        if source.files is not None:
            # A row group is read whole, and has to fit where rows are shuffled.
            largest = max(partition.n_rows for partition in self.partitions)
            self.seekable = self.seekable and largest * self.row_bytes <= memory_budget().shuffle
        self.divisible = self.seekable and source.files is None
        # The columns of the source under the names that the model knows.
        self._types, self._names = matched_types(source, encoding)
        self._scan_columns = scan_columns_of(encoding, self._types, self._names)
        self._scan = self._make_scan(None)
        columns = tuple(dict.fromkeys(self._names[name] for name in encoding.columns))
        pruned, under = 0, source.base or source.files
        if source.base is not None:
            pruned = count_pruned(source.relation, source.base)
        elif source.files is not None:
            pruned = count_pruned_groups(source.relation, source.files)
        filters = (*(() if under is None else under.filters), *source.filters)
        self.plan = Plan(source.name, columns, filters, self.partitions, pruned, self.block_rows)
        room = None if self._scan.snapshot is not None else self._scan.room
        if room is not None:
            choice, reason = room.described(len(self._scan.expressions))
            self.plan = self.plan.decide("reading", choice, reason)
        if held is not None:
            # Data that nobody closes let go of the rows when they are collected.
            self._release = weakref.finalize(self, held.pop_all().close)
            self._release.atexit = False

    def _make_scan(self, selection: Selection | None) -> Scan:
        gather = Gather(self.schema.encoding, self._scan_columns, selection)
        target = self.schema.target
        labelled = target is not None and target.classes is not None
        return Scan(self.source, gather, self._row_values, labelled, self._snapshot)

    def borrow(self) -> Loan | None:
        if self._scan.room is not None:
            return None  # what DuckDB has is how many columns it reads at once
        return borrow(self.source.relation, len(self._scan.expressions))

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def waits_to_read(self) -> bool:  # type: ignore[override]
        return self._scan.snapshot is None

    def chunks(self, partitions: Sequence[Partition] | None = None) -> Iterator[Chunk]:
        """Yield runs of rows; see `ChunkedData.chunks`."""
        return self._read(self._scan, self.block_rows, partitions)

    def reader(self, selection: Selection) -> Callable[[Sequence[Partition] | None], Iterator[Chunk]]:
        """Return `chunks` for some terms: only the columns that they need are scanned."""
        scan, size = self._make_scan(selection), rows_per_block(selection.dense.size)
        return lambda partitions: self._read(scan, size, partitions)

    def _read(self, scan: Scan, size: int, partitions: Sequence[Partition] | None) -> Iterator[TableChunk]:
        if partitions is None:
            yield from self._run(scan, size, None)
            return
        for first in range(0, len(partitions), _RANGES):
            yield from self._run(scan, size, partitions[first : first + _RANGES])

    @cached_property
    def _vectors_fit(self) -> bool:
        return _BATCHES * _VECTOR * self.row_bytes <= memory_budget().blocks

    def _run(self, scan: Scan, size: int, partitions: Sequence[Partition] | None) -> Iterator[TableChunk]:
        """Yield the chunks of one query. Rows have a known place only where no row was deleted or filtered."""
        starts: Iterator[tuple[int, int]] = iter(())
        ranges, ends, start, left = None, [], 0, -1
        if partitions is not None:
            ranges = merged_ranges(partitions)
            start = -1
            if self._exact:
                ends = list(itertools.accumulate(partition.n_rows for partition in partitions))
                starts = iter([(partition.start, partition.n_rows) for partition in partitions])
                start, left = next(starts)
        batches = scan.batches(ranges, max(size, _VECTOR) if self._vectors_fit else size)
        try:
            for parts in cut(batches, size, ends):
                n = sum(rows.n for rows in parts)
                yield TableChunk(scan, parts, start, n)
                left -= n
                if left == 0:
                    start, left = next(starts, (-1, -1))
                elif start >= 0:
                    start += n
        finally:
            batches.close()

    def close(self) -> None:
        """Free what was kept, and let go of the rows."""
        super().close()
        if self._release is not None:
            self._release()

    def interrupt(self) -> None:
        """End the query that is being read."""
        duck.interrupt(self.source.relation)

    @property
    def temp_directory(self) -> str | None:  # type: ignore[override]
        """Where DuckDB spills."""
        return duck.temp_directory(self.source.relation)

    def clustering(self) -> tuple[bool, str]:
        """Compare runs of rows from all over the table: means that differ more than rows do within a run."""
        if not self.seekable:
            return True, "the rows of a query can only be read in order"
        return compare_runs(self, self.partitions[-1].start + self.partitions[-1].n_rows)

    def lookup(self, keys: NDArray, column: str) -> Block:
        """Return the rows whose `column` is one of `keys`."""
        column = self.source.find(column)
        # Constants of the column's type, so that an index and zone maps are used, and the order is kept.
        kind = self.source.columns[column]
        listed = [f"TRY_CAST({string(str(key))} AS {kind})" for key in np.unique(np.asarray(keys)).tolist()] or ["NULL"]
        found = self.source.filtered(f"{identifier(column)} IN ({', '.join(listed)})")
        self._explain_lookup(found, column)
        scan = Scan(found, self._scan.gather, self._row_values.scanned(), self._scan.labelled)
        space = Workspace()
        blocks = [copy_rows(chunk.encode(space)) for chunk in self._read(scan, self.block_rows, None)]
        return join_blocks(blocks, self.n_dense)

    def _explain_lookup(self, found: Source, column: str) -> None:
        if found.base is None:
            choice, reason = "a filtered scan", "a query has no index"
        elif column.casefold() in indexed_columns(found.relation, found.base):
            choice, reason = "an index scan", f"{column} has an index"
        else:
            choice, reason = "a scan pruned by zone maps", f"{column} has no index"
        self.plan = self.plan.decide(f"lookup by {column}", choice, reason)


def matched_types(source: Source, encoding: Encoding) -> tuple[dict[str, str], dict[str, str]]:
    """Return the type now and the name in the source of each input column of an encoding."""
    names = {name: source.find(name) for name in encoding.columns}
    return {name: source.columns[found] for name, found in names.items()}, names


def scan_columns_of(encoding: Encoding, types: dict[str, str], names: dict[str, str]) -> list[ScanColumn]:
    """Return the scan columns of an encoding over columns that may be spelled in another case."""
    if all(name == found for name, found in names.items()):
        return scan_columns(encoding, types)
    spelled = [
        replace(f, column=names[f.column], values=None if f.values is None else names[f.values])
        for f in encoding.features
    ]
    return [scan_column(feature, types[f.column]) for feature, f in zip(spelled, encoding.features, strict=True)]
