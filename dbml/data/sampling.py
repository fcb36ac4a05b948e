"""Samples of rows as blocks that the caller owns, and the statistics estimated from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Block, SparseRows
from dbml.passes.plan import Partition
from dbml.passes.schema import Statistics

T = TypeVar("T")

_VECTOR = 2_048


def take_sparse(rows: SparseRows, index: NDArray[np.intp]) -> SparseRows:
    """Return the rows numbered `index`, in that order, as new arrays."""
    lengths = np.diff(rows.indptr)[index]
    indptr = np.zeros(index.size + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    position = np.arange(indptr[-1]) + np.repeat(rows.indptr[index] - indptr[:-1], lengths)
    return SparseRows(indptr, rows.indices[position], rows.values[position])


def join_sparse(parts: Sequence[SparseRows]) -> SparseRows:
    """Return runs of sparse rows as one."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    return SparseRows(
        indptr, np.concatenate([part.indices for part in parts]), np.concatenate([part.values for part in parts])
    )


def take_columns(X: NDArray, index: NDArray[np.intp], out: NDArray) -> NDArray:
    """Write the rows of X numbered `index` to `out`, column by column: both are column-major, of one type."""
    for column in range(X.shape[1]):
        np.take(X[:, column], index, out=out[:, column], mode="clip")
    return out


def copy_rows(block: Block, index: NDArray[np.intp] | None = None) -> Block:
    """Return a copy of the block, or of its rows numbered `index`, that outlives the block."""
    sparse = block.sparse
    if index is None:
        y, weight = (None if array is None else array.copy() for array in (block.y, block.weight))
        rows = None if sparse is None else sparse.copied()
        return Block(block.X.copy(order="F"), rows, y, weight, block.start)
    X = take_columns(block.X, index, np.empty((index.size, block.X.shape[1]), block.X.dtype, order="F"))
    y, weight = (None if array is None else array[index] for array in (block.y, block.weight))
    return Block(X, None if sparse is None else take_sparse(sparse, index), y, weight, -1)


def join_blocks(blocks: Sequence[Block], n_dense: int) -> Block:
    """Return owned blocks as one, rows in the order given."""
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        return Block(np.empty((0, n_dense), order="F"), None, None, None, 0)
    X = np.empty((sum(block.n_rows for block in blocks), n_dense), order="F")
    np.concatenate([block.X for block in blocks], out=X)
    first = blocks[0]
    sparse = y = weight = None
    if first.sparse is not None:
        sparse = join_sparse([block.sparse for block in blocks if block.sparse is not None])
    if first.y is not None:
        y = np.concatenate([block.y for block in blocks])
    if first.weight is not None:
        weight = np.concatenate([block.weight for block in blocks])
    return Block(X, sparse, y, weight, -1)


def spread(items: Sequence[T], n: int, generator: np.random.Generator) -> list[T]:
    """Return at most `n` items, one drawn at random from each of `n` equal runs, in order."""
    if len(items) <= n:
        return list(items)
    edges = np.linspace(0, len(items), n + 1).astype(int)
    return [items[int(generator.integers(low, high))] for low, high in itertools.pairwise(edges)]


def piece_inside(partition: Partition, rows: int, generator: np.random.Generator) -> Partition:
    """Return a run of about `rows` rows at a random place inside a partition, at a multiple of 2,048 if there is room.

    DuckDB reads 2,048 rows at a time.
    """
    rows = min(rows, partition.n_rows)
    places = (partition.n_rows - rows) // _VECTOR + 1
    start = partition.start + _VECTOR * int(generator.integers(places))
    return replace(partition, start=start, n_rows=rows)


class Reservoir:
    """A uniform sample of `n` rows of a stream of unknown length: the rows with the smallest random keys.

    Holds at most about three times as many rows.
    """

    def __init__(self, n: int, n_dense: int, generator: np.random.Generator) -> None:
        self.n, self.n_dense, self.generator = n, n_dense, generator
        self.blocks: list[Block] = []
        self.keys = np.empty(0)
        self.limit = np.inf

    def add(self, block: Block) -> None:
        """Offer the rows of a block; it is copied as far as needed."""
        keys = self.generator.random(block.n_rows)
        kept = np.flatnonzero(keys < self.limit)
        if kept.size:
            self.blocks.append(copy_rows(block, kept))
            self.keys = np.concatenate([self.keys, keys[kept]])
        if self.keys.size > 2 * self.n:
            self._shrink()

    def _shrink(self) -> None:
        if self.keys.size > self.n:
            self.limit = np.partition(self.keys, self.n)[self.n]
            kept = np.flatnonzero(self.keys < self.limit)
            self.blocks = [copy_rows(join_blocks(self.blocks, self.n_dense), kept)]
            self.keys = self.keys[kept]

    def rows(self) -> Block:
        """Return the sample, in the order of the stream."""
        self._shrink()
        return join_blocks(self.blocks, self.n_dense)


def describe_terms(block: Block, n_terms: int, n_rows: int, exact: bool = True) -> Statistics:
    """Return the statistics of the terms estimated from a sample; `n_rows` is the length of a full pass."""
    n, n_dense = block.X.shape
    mean, square = np.zeros(n_terms), np.zeros(n_terms)
    filled = n * n_dense
    if n:
        # Plain values may be missing, and so large that a sum or a square overflows.
        with np.errstate(over="ignore", invalid="ignore"):
            mean[:n_dense] = block.X.mean(axis=0)
            square[:n_dense] = block.X.var(axis=0)
            for term in np.flatnonzero(~np.isfinite(mean)):
                present = block.X[~np.isnan(block.X[:, term]), term]
                mean[term] = (present / max(1, present.size)).sum()
                square[term] = np.square(present - mean[term]).sum() / max(1, present.size)
    if block.sparse is not None and n:
        indices, values = block.sparse.indices, block.sparse.values
        mean += np.bincount(indices, values, n_terms) / n
        raw = np.bincount(indices, values * values, n_terms) / n
        square[n_dense:] = np.maximum(raw[n_dense:] - mean[n_dense:] ** 2, 0.0)
        filled += values.size
    tiny = 1e-12 * (np.abs(mean) + 1e-300)
    scale = np.sqrt(square)
    scale[~(scale > tiny)] = 1.0
    return Statistics(mean, scale, filled / max(1, n * n_terms), n_rows, exact)
