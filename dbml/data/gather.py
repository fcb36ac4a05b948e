"""Record batches of the training scan -> blocks: which column goes to which terms, and the calls of the kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from dbml_sql.encode import Layout, ScanColumn
from dbml_sql.features import Encoding
from numpy.typing import NDArray

from dbml.data.selection import Selection
from dbml.passes.block import SparseRows
from dbml.passes.engine import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from dbml.data.category_codes import CategoryCodes
    from dbml.data.word_counts import WordCounts

_DENSE: dict[Layout, int] = {"DOUBLE": 0, "FLOAT": 1, "BIGINT": 2, "INTEGER": 3, "DOUBLE[]": 0, "FLOAT[]": 1}
_DENSE |= {"codes": 4, "text": 4}
_SPARSE: dict[Layout, int] = {"codes": 0, "text": 0, "pairs": 1, "words": 1}

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class ExportedBatch:
    """A record batch as the address of its C struct, valid as long as this object lives."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        _, self._capsule = batch.__arrow_c_array__()
        self.address: int = _capsule_pointer(self._capsule, b"arrow_array")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows ``first … first + n`` of a batch."""

    batch: pa.RecordBatch
    first: int
    n: int


def _integers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


class DenseColumns:
    """Where the dense columns of a scan go: arguments of `dense_gather`; see there."""

    def __init__(self) -> None:
        self.columns: list[int] = []
        self.layouts: list[int] = []
        self.widths: list[int] = []
        self.terms: list[int] = []
        self.flags: list[int] = []
        self.centres: list[float] = []

    def add(self, column: int, layout: Layout, terms: Sequence[int], flag: int, centres: Sequence[float]) -> None:
        """Add a column: output column of each of its values, of its flag (-1 for none), and what is subtracted."""
        self.columns.append(column)
        self.layouts.append(_DENSE[layout])
        self.widths.append(len(terms) if layout.endswith("[]") else 0)
        self.terms.extend(terms)
        self.flags.append(flag)
        self.centres.extend(centres)

    def arguments(self) -> tuple[NDArray, ...]:
        """Return the arrays that the kernel takes."""
        lists = (self.columns, self.layouts, self.widths, self.terms, self.flags)
        return (*map(_integers, lists), np.array(self.centres, np.float64))


class SparseColumns:
    """Where the sparse columns of a scan go: arguments of `sparse_gather`; see there."""

    def __init__(self) -> None:
        self.columns: list[int] = []
        self.layouts: list[int] = []
        self.lows: list[int] = []
        self.terms: list[NDArray[np.int64]] = []

    def add(self, column: int, layout: Layout, low: int, terms: NDArray[np.int64]) -> None:
        """Add a column: its first code, and the term number of each code."""
        self.columns.append(column)
        self.layouts.append(_SPARSE[layout])
        self.lows.append(low)
        self.terms.append(terms)

    def arguments(self) -> tuple[NDArray, ...]:
        """Return the arrays that the kernel takes."""
        bounds = np.cumsum([0, *(terms.size for terms in self.terms)])
        terms = np.concatenate([np.empty(0, np.int64), *self.terms])
        return (*map(_integers, (self.columns, self.layouts, self.lows)), bounds.astype(np.int64), terms)


class Gather:
    """How the batches of a scan become design blocks.

    Parameters
    ----------
    encoding : Encoding
        Features.
    scan : list of ScanColumn
        Scan column of each feature.
    selection : Selection or None
        Terms to keep; features without any are not scanned.

    Attributes
    ----------
    expressions : list of str
        SQL of the columns of the scan, in order; target and weights follow.
    """

    def __init__(self, encoding: Encoding, scan: Sequence[ScanColumn], selection: Selection | None = None) -> None:
        n_dense = encoding.n_dense
        numbers = np.arange(encoding.n_terms) if selection is None else selection.renumbered.astype(np.int64)
        self.n_dense = n_dense if selection is None else selection.dense.size
        self.has_sparse = (encoding.n_terms if selection is None else selection.terms.size) > self.n_dense
        self.expressions: list[str] = []
        self.input_columns: list[str] = []
        self.features: list[int] = []
        self._texts: list[tuple[int, CategoryCodes | WordCounts]] = []
        dense, sparse = DenseColumns(), SparseColumns()
        for number, (feature, column, at) in enumerate(zip(encoding.features, scan, encoding.offsets(), strict=True)):
            n_values, n_sparse = len(feature.dense_terms), len(feature.sparse_terms)
            own = numbers[at[0] : at[0] + n_values] if n_values else numbers[at[1] : at[1] + n_sparse]
            if not (own >= 0).any() and selection is not None:
                continue
            place = len(self.expressions)
            if n_values:
                values, flag = (own[:-1], int(own[-1])) if feature.flag else (own, -1)
                dense.add(place, column.layout, values.tolist(), flag, feature.centre[: values.size])
            else:
                sparse.add(place, column.layout, feature.first_index if feature.kind == "lists" else 0, own)
            if column.layout == "text":
                from dbml.data.category_codes import CategoryCodes

                self._texts.append((place, CategoryCodes(feature)))
            elif column.layout == "words":
                from dbml.data.word_counts import WordCounts

                self._texts.append((place, WordCounts(feature)))
            self.features.append(number)
            self.expressions.append(column.sql)
            self.input_columns.append(feature.column)
            if column.values is not None:
                self.expressions.append(column.values)
                self.input_columns.append(feature.values or feature.column)
        self._dense, self._sparse = dense.arguments(), sparse.arguments()
        self._missing = np.nan if encoding.style == "values" else 0.0

    def coded(self, parts: Sequence[Rows]) -> list[Rows]:
        """Return runs of rows with codes in the place of texts, which the kernels do not read."""
        if not self._texts:
            return list(parts)
        made = []
        for rows in parts:
            batch = rows.batch.slice(rows.first, rows.n)
            for place, codes in self._texts:
                batch = codes.coded(batch, place)
            made.append(Rows(batch, 0, rows.n))
        return made

    def design(self, parts: Sequence[Rows], exported: Sequence[ExportedBatch], n: int, space: Workspace) -> tuple:
        """Return the dense block and the sparse rows (or None) of runs of rows, in order."""
        from dbml_kernels.column_gather import dense_gather

        X = space.dense(n, self.n_dense)
        start = 0
        if n == 0:
            # The buffers of an empty column may be absent.
            empty = SparseRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0))
            return X, empty if self.has_sparse else None
        memory, scratch = X.reshape(-1, order="F"), space.array("scratch", n)
        for rows, batch in zip(parts, exported, strict=True):
            place = (memory, n, start, scratch)
            dense_gather(batch.address, rows.first, rows.n, *self._dense, self._missing, *place)
            start += rows.n
        return X, self._sparse_rows(parts, exported, n, space) if self.has_sparse else None

    def _sparse_rows(
        self, parts: Sequence[Rows], exported: Sequence[ExportedBatch], n: int, space: Workspace
    ) -> SparseRows:
        from dbml_kernels.column_gather import sparse_capacity, sparse_gather

        columns, layouts = self._sparse[:2]
        room = 0
        for rows, batch in zip(parts, exported, strict=True):
            room += sparse_capacity(batch.address, rows.first, rows.n, columns, layouts)
        indptr = space.array("indptr", n + 1, np.int64)
        indices, values = space.array("indices", room, np.int32), space.array("values", room)
        indptr[0] = start = 0
        for rows, batch in zip(parts, exported, strict=True):
            sparse_gather(batch.address, rows.first, rows.n, *self._sparse, indptr, start, indices, values)
            start += rows.n
        return SparseRows(indptr, indices[: indptr[-1]], values[: indptr[-1]])


class GatherValues:
    """Reads single numeric columns of a scan (target, weights): values and which of them are missing.

    Parameters
    ----------
    columns : sequence of (int, Layout)
        Position in the scan and layout.
    """

    def __init__(self, columns: Sequence[tuple[int, Layout]]) -> None:
        dense = DenseColumns()
        for number, (column, layout) in enumerate(columns):
            dense.add(column, layout, [2 * number], 2 * number + 1, [0.0])
        self.n_columns = len(columns)
        self._arguments = dense.arguments()

    def read(
        self, parts: Sequence[Rows], exported: Sequence[ExportedBatch], n: int, space: Workspace
    ) -> NDArray[np.float64]:
        """Return an array of shape (n, 2 * n_columns): value and missing flag of each column."""
        from dbml_kernels.column_gather import dense_gather

        memory, scratch = space.array("target", n * 2 * self.n_columns), space.array("scratch", n)
        start = 0
        for rows, batch in zip(parts, exported, strict=True):
            dense_gather(batch.address, rows.first, rows.n, *self._arguments, 0.0, memory, n, start, scratch)
            start += rows.n
        return memory.reshape((n, 2 * self.n_columns), order="F")


def cut(batches: Iterable[pa.RecordBatch], size: int, ends: Sequence[int] = ()) -> Iterator[list[Rows]]:
    """Yield runs of exactly `size` rows as lists of `Rows`, however the batches come; a run also ends at `ends`.

    `ends` are ascending numbers of rows from the first one; the last run may be shorter.
    """
    held: list[Rows] = []
    position, bounds = 0, iter(ends)
    end = next(bounds, -1)
    room = _room(size, position, end)
    for batch in batches:
        first, left = 0, batch.num_rows
        while left:
            n = min(left, room)
            held.append(Rows(batch, first, n))
            first, left, room, position = first + n, left - n, room - n, position + n
            if not room:
                yield held
                if position == end:
                    end = next(bounds, -1)
                held, room = [], _room(size, position, end)
    if held:
        yield held


def _room(size: int, position: int, end: int) -> int:
    return size if end < 0 else min(size, end - position)
