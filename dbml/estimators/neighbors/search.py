"""Searching kept rows: all of them in tiles, or only the cells that can hold an answer.

By cells: the nearest ones first, which bounds how far neighbours can be; then every cell that the bound does not
exclude (exact), or none (`nprobe`). Where too many cells are left, comparing all rows in tiles costs less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from dbml_kernels.cell_search import bounds_measure, cells_search, cells_within, centres_measure
from dbml_kernels.cell_search import reach as reach_of
from dbml_kernels.nearest_heap import heaps_sort
from dbml_kernels.vector_distance import EUCLIDEAN, INNER_PRODUCT
from dbml_kernels.vector_tile import GROUP, queries_pack, tile_search
from numpy.typing import NDArray

from dbml.estimators.neighbors.metric import Metric
from dbml.estimators.neighbors.tiles import Tiles
from dbml.passes.block import Floats
from dbml.passes.engine import Crew, current
from dbml.passes.memory import memory_budget
from dbml.passes.vectors import Reading, Rows, Vectors

R = TypeVar("R")

_TILED_SHARE = 0.3  # of all pairs in the cells that are left: radii exclude most of them one by one
_FEW = 8  # queries that are not worth packing all rows into tiles
_PART_BYTES = 8 << 20
_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Found:
    """Neighbours of m queries, nearest first: what they are ordered by (infinite where there are fewer than k), their
    positions (-1) and labels, each (m, k)."""

    distance: Floats
    position: NDArray[np.int64]
    label: Floats

    @classmethod
    def none(cls, m: int, k: int) -> Found:
        """Return heaps without rows."""
        return cls(np.full((m, k), np.inf), np.full((m, k), _NOWHERE, np.int64), np.zeros((m, k)))

    def clear(self) -> None:
        """Forget all rows."""
        self.distance[:], self.position[:], self.label[:] = np.inf, _NOWHERE, 0.0

    def finish(self) -> Found:
        """Sort the heaps."""
        heaps_sort(self.distance, self.position, self.label)
        self.position[self.position == _NOWHERE] = -1
        return self

    @classmethod
    def joined(cls, parts: list[Found]) -> Found:
        """Return the neighbours of all batches."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("distance", "position", "label")))


@dataclass(frozen=True, slots=True)
class Lists:
    """Cells that are to be searched for each query: those of query i are entries starts[i] to starts[i + 1]."""

    starts: NDArray[np.int64]
    cells: NDArray[np.int64]
    to_centre: Floats

    @classmethod
    def of(cls, mask: NDArray[np.bool_], to_centre: Floats) -> Lists:
        """Return the cells that a mask (m, n_cells) marks."""
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask.sum(axis=1))])
        return cls(starts, np.nonzero(mask)[1].astype(np.int64), to_centre[mask])

    @classmethod
    def of_each(cls, cells: NDArray[np.int64], to_centre: Floats) -> Lists:
        """Return the cells (m, n) that are listed for each query; -1 stands for none."""
        there = cells >= 0
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(there.sum(axis=1))])
        return cls(starts, cells[there], to_centre[there])


@dataclass(frozen=True, slots=True)
class Index:
    """What is searched.

    Attributes
    ----------
    metric : Metric
        Metric.
    centres : ndarray of shape (n_cells, d), or None
        Centres of the cells; None: there is one cell, and all rows are compared.
    shift : ndarray of shape (d,)
        About the mean of the rows.
    vectors : Vectors
        The rows.
    """

    metric: Metric
    centres: Floats | None
    shift: Floats
    vectors: Vectors

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return 1 if self.centres is None else len(self.centres)

    def nearest(
        self,
        queries: Floats,
        k: int,
        nprobe: int | None = None,
        check: Callable[[int], None] = lambda n_rows: None,
    ) -> Found:
        """Return the k nearest rows of each query (m, d); of its `nprobe` nearest cells, or exact.

        `check` is called with the number of the rows before they are searched, and may refuse.
        """
        with self.vectors.reading() as reading:
            check(int(reading.sizes.counts.sum()))
            parts = [search.nearest(k, nprobe) for search in self._batches(queries, reading, k)]
        return Found.joined(parts) if parts else Found.none(0, k)

    def within(self, queries: Floats, radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """Return the rows within a distance of each query: query, position, and what they are ordered by; in order."""
        farthest = self.metric.ordered(radius)
        with self.vectors.reading() as reading:
            parts = [search.within(farthest) for search in self._batches(queries, reading, 1)]
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        query, position, distance = (np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True))
        order = np.lexsort((position, distance, query))
        return query[order], position[order], distance[order]

    def _batches(self, queries: Floats, reading: Reading, k: int) -> Iterator[_Search]:
        """Yield the searches of runs of queries: as many as the memory of a pass lets compare with all centres."""
        row_bytes = 40 * self.n_cells + 24 * k + 16 * len(self.shift)
        size = int(min(65_536, max(64, memory_budget().blocks // 4 // row_bytes)))
        crew = current().crew(64)
        try:
            for start in range(0, len(queries), size):
                yield _Search(self, np.ascontiguousarray(queries[start : start + size]), start, reading, crew)
        finally:
            crew.close()


class _Search:
    """One batch of queries."""

    def __init__(self, index: Index, queries: Floats, start: int, reading: Reading, crew: Crew) -> None:
        self.index, self.queries, self.start, self.reading, self.crew = index, queries, start, reading, crew
        self.code, self.m = index.metric.code, len(queries)
        self.lengths = np.sqrt((queries * queries).sum(axis=1))
        self.n_rows = int(reading.sizes.counts.sum())
        run = max(16, -(-self.m // (4 * crew.size)))
        self.runs = [(first, min(first + run, self.m)) for first in range(0, self.m, run)]

    def _each(self, function: Callable[[tuple[int, int]], R], kind: str) -> list[R]:
        return self.crew.each(function, self.runs, kind)

    # k nearest -------------------------------------------------------------------------------------------------

    def nearest(self, k: int, nprobe: int | None) -> Found:
        found = Found.none(self.m, k)
        if self.index.centres is None:
            self._compare_all(found)
            return found.finish()
        counts = self.reading.sizes.counts
        filled = np.flatnonzero(counts)
        wanted = nprobe or max(1, -(-2 * k * len(filled) // max(1, self.n_rows)))
        probed, to_probed = self._nearest_cells(filled, min(wanted, len(filled)))
        # Queries of one cell one after the other, while its rows are in the cache.
        lists = Lists.of_each(probed, to_probed)
        self._visit(lists, found, np.argsort(probed[:, 0], kind="stable"))
        done = np.isfinite(found.distance[:, 0])
        if nprobe is not None and done.all():
            return found.finish()
        to_centre = self._measured()
        left = self._left(to_centre, found)
        left[np.repeat(np.arange(self.m), np.diff(lists.starts)), lists.cells] = False
        if nprobe is not None:  # only queries whose cells have fewer than k rows
            left[done] = False
        pairs = int(left.sum(axis=0) @ counts)
        if pairs > _TILED_SHARE * self.n_rows * self.m and self.m >= _FEW:
            found.clear()
            self._compare_all(found)
        elif pairs:
            self._visit(Lists.of(left, to_centre), found)
        return found.finish()

    def _all(self) -> Lists:
        """Return lists of the one cell there is, which no bound excludes."""
        bound = -np.inf if self.code == INNER_PRODUCT else 0.0
        return Lists(np.arange(self.m + 1), np.zeros(self.m, np.int64), np.full(self.m, bound))

    @property
    def _centre_code(self) -> int:
        """The metric in which queries are compared with centres."""
        return INNER_PRODUCT if self.code == INNER_PRODUCT else self.index.metric.cell_code

    @cached_property
    def _placed(self) -> Floats:
        return self.index.metric.placed(self.queries)

    def _measured(self) -> Floats:
        """Return the distances of queries and centres, (m, n_cells)."""
        out = np.empty((self.m, self.index.n_cells))
        code, centres, placed = self._centre_code, self.index.centres, self._placed
        self._each(lambda run: centres_measure(code, centres, placed, *run, out), "centres")
        return out

    def _nearest_cells(self, filled: NDArray[np.intp], wanted: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the nearest of the cells that have rows, the nearest first, and how near: each (m, wanted)."""
        assert self.index.centres is not None
        code, near = self._centre_code, Found.none(self.m, wanted)
        none = np.zeros(len(filled))
        centres = Rows(self.index.centres[filled], filled, filled.astype(np.int32), none, none).sealed()
        self._offer(code, centres, self._placed, centres.vectors.mean(axis=0), near)
        near.finish()
        return near.position, np.sqrt(near.distance) if code == EUCLIDEAN else near.distance

    def _left(self, to_centre: Floats, found: Found) -> NDArray[np.bool_]:
        """Mark the cells that may hold rows nearer than those found."""
        within = np.array([reach_of(self.code, farthest, len(self.index.shift)) for farthest in found.distance[:, 0]])
        return self._inside(to_centre, within)

    def _inside(self, to_centre: Floats, within: Floats) -> NDArray[np.bool_]:
        """Mark the cells that may hold rows within a reach of each query."""
        sizes, bounds = self.reading.sizes, np.empty(to_centre.shape)
        d = len(self.index.shift)
        measure = lambda run: bounds_measure(  # noqa: E731
            self.code, to_centre, sizes.low, sizes.high, self.lengths, d, *run, bounds
        )
        self._each(measure, "bounds")
        return (bounds <= within[:, None]) & (sizes.counts > 0)

    def _visit(self, lists: Lists, found: Found, order: NDArray[np.intp] | None = None) -> None:
        """Search the cells of lists, for one query after the other in an order."""
        order = np.arange(self.m) if order is None else order
        for piece, offsets in self._pieces(lists):

            def search(run: tuple[int, int], piece: Rows = piece, offsets: NDArray[np.int64] = offsets) -> None:
                kept = piece.vectors, piece.radius, piece.position, piece.label, offsets
                asked = self.queries, self._small, self.lengths, order, lists.starts, lists.cells, lists.to_centre
                cells_search(self.code, *kept, *asked, *run, found.distance, found.position, found.label)

            self._each(search, "cells")

    def _pieces(self, lists: Lists) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
        for piece in self.reading.pieces(np.unique(lists.cells)):
            yield piece, piece.offsets(self.index.n_cells)

    @cached_property
    def _small(self) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return self.queries.astype(np.float32)

    def _compare_all(self, found: Found) -> None:
        """Compare all rows, in tiles."""
        size = max(512, _PART_BYTES // (4 * len(self.index.shift)) // 512 * 512)
        for piece in self.reading.pieces():
            for begin in range(0, piece.n_rows, size):
                part = piece.part(begin, min(begin + size, piece.n_rows))
                self._offer(self.code, part, self.queries, self.index.shift, found)

    def _offer(self, code: int, rows: Rows, queries: Floats, about: Floats, found: Found) -> None:
        """Offer rows to the heaps of all queries: in tiles, about a point where distances do not depend on it."""
        if self.m < _FEW:
            self._offer_to_few(code, rows, queries, found)
            return
        d = queries.shape[1]
        shift = about if Metric(code).shifts else np.zeros(d)
        small, sizes = np.empty((self.m, d), np.float32), np.empty(self.m)
        queries_pack(code, queries, shift, small, sizes)
        tiles = self._packed(code, rows.vectors, shift)
        width = tiles.packed.shape[2]

        def search(run: tuple[int, int]) -> None:
            sums = np.empty((GROUP, width), np.float32)
            heaps = found.distance, found.position, found.label
            for tile in range(len(tiles.packed)):
                packed = tiles.packed[tile], tiles.half[tile], tiles.largest[tile]
                offered = rows.vectors, tile * width, rows.position, rows.label
                tile_search(code, *packed, *offered, queries, small, sizes, *run, sums, *heaps)

        self._each(search, "tiles")

    def _offer_to_few(self, code: int, rows: Rows, queries: Floats, found: Found) -> None:
        """Offer rows of radius 0 one by one, as those of one cell: they are not packed for so few."""
        kept = rows.vectors, rows.radius, rows.position, rows.label, np.array([0, rows.n_rows])
        with np.errstate(over="ignore"):
            asked = queries, queries.astype(np.float32), np.sqrt((queries * queries).sum(axis=1)), np.arange(self.m)
        every, heaps = self._all(), (found.distance, found.position, found.label)
        lists = every.starts, every.cells, every.to_centre
        self._each(lambda run: cells_search(code, *kept, *asked, *lists, *run, *heaps), "rows")

    def _packed(self, code: int, vectors: NDArray[Any], shift: Floats) -> Tiles:
        tiles = Tiles.empty(*vectors.shape)
        n_tiles = len(tiles.packed)
        runs = [range(first, min(first + 8, n_tiles)) for first in range(0, n_tiles, 8)]
        self.crew.each(lambda run: tiles.fill(code, vectors, shift, run), runs, "pack")
        return tiles

    # all within a distance -------------------------------------------------------------------------------------

    def within(self, farthest: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """Return query, position and distance of all rows that are as near as `farthest`, in no order."""
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        if farthest < 0.0 and self.code != INNER_PRODUCT:
            return nothing
        lists = self._all()
        if self.index.centres is not None:
            to_centre = self._measured()
            reach = np.full(self.m, reach_of(self.code, farthest, len(self.index.shift)))
            lists = Lists.of(self._inside(to_centre, reach), to_centre)
        parts = [nothing]
        for piece, offsets in self._pieces(lists):
            kept = piece.vectors, piece.radius, piece.position, offsets
            asked = self.queries, self.lengths, lists.starts, lists.cells, lists.to_centre
            parts += self._each(lambda run: _collect(self.code, kept, asked, run, farthest), "within")  # noqa: B023
        query, position, distance = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return query + self.start, position, distance


def _collect(
    code: int, kept: tuple[Any, ...], asked: tuple[Any, ...], run: tuple[int, int], farthest: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return what `cells_within` finds, however much that is."""
    room = 1024
    while True:
        out = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
        count = cells_within(code, *kept, *asked, *run, farthest, *out)
        if count <= room:
            return out[0][:count], out[1][:count], out[2][:count]
        room = count
