"""Partitions of a table: fixed runs of row numbers, and whether rows that lie together are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbml.data.chunked import ROW_GROUP
from dbml.data.source import Source
from dbml.passes.block import Block
from dbml.passes.engine import Workspace
from dbml.passes.plan import Partition

if TYPE_CHECKING:
    from dbml.data.chunked import ChunkedData

_RUNS, _RUN = 16, 2_048
_AT_ONCE = 64  # columns: what is made of them stays in the cache
_SHARE = 0.01  # of the variance that lies between runs; 15 / 32,768 is what chance gives


def partitions_of(source: Source) -> tuple[Partition, ...]:
    """Return runs of 122,880 row numbers of the base table: its row groups, unless small inserts left shorter ones.

    Of Parquet files: their row groups.
    """
    if source.files is not None:
        return source.files.partitions
    if source.extent is None:
        return ()
    end = source.extent.end
    return tuple(
        Partition(number, start, min(ROW_GROUP, end - start)) for number, start in enumerate(range(0, end, ROW_GROUP))
    )


def is_exact(source: Source) -> bool:
    """Return whether a row's number is its position in a pass: no row was deleted or is filtered out."""
    if source.files is not None:
        return source.files.exact and not source.filters
    filters = () if source.base is None else source.base.filters
    return source.extent is not None and source.extent.dense and not source.filters and not filters


def merged_ranges(partitions: Sequence[Partition]) -> list[tuple[int, int]]:
    """Return the row numbers of partitions as ranges, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for partition in partitions:
        end = partition.start + partition.n_rows
        if ranges and ranges[-1][1] == partition.start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((partition.start, end))
    return ranges


def compare_runs(data: ChunkedData, end: int) -> tuple[bool, str]:
    """Return whether the rows lie clustered, and why.

    16 runs of 2,048 rows from all over the table are read. If more than 1 % of the variance of the target or of a term
    lies between runs rather than within, rows that lie together are alike (chance gives 0.05 %).
    """
    if end <= 2 * _RUN:
        return True, "a small table is shuffled at little cost"
    starts = np.linspace(0, end - _RUN, min(_RUNS, end // _RUN)).astype(int)
    space = Workspace()
    moments: list[NDArray[np.float64]] = []
    centre = np.zeros(data.n_dense)
    for start in starts.tolist():
        for chunk in data.chunks([Partition(0, start, _RUN)]):
            if chunk.n_rows >= _RUN // 8:
                block = chunk.encode(space)
                centre = centre if moments else _centre(block.X)
                moments.append(block_moments(block, data.n_terms, centre))
    if len(moments) < 2:
        return True, "filters leave too few rows to compare parts of the table"
    means, squares = np.stack(moments, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        total = squares.mean(axis=0) - means.mean(axis=0) ** 2
        between = means.var(axis=0)
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 1e-12 * (1 + squares.mean(axis=0)))
    worst = int(share.argmax())
    name = "the target" if worst == data.n_terms else data.schema.encoding.terms[worst]
    found = f"{share[worst]:.1%} of the variance of {name} lies between {len(moments)} runs of {_RUN:,} rows"
    return bool(share[worst] > _SHARE), found


def _centre(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a value near those of each column: squares of plain values far from 0 say nothing of their spread."""
    centre = np.empty(X.shape[1])
    for first in range(0, X.shape[1], _AT_ONCE):
        some = X[:, first : first + _AT_ONCE]
        present = np.isfinite(some)
        if not present.all():
            some = np.where(present, some, 0.0)
        # The sum of what was divided before does not overflow.
        centre[first : first + _AT_ONCE] = np.sum(some / np.maximum(1, present.sum(axis=0)), axis=0)
    return centre


def block_moments(block: Block, n_terms: int, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means and mean squares of all terms, less `centre`, and of the target: shape (2, n_terms + 1).

    A missing value is as good as the centre.
    """
    n_dense, n = block.X.shape[1], block.n_rows
    moments = np.zeros((2, n_terms + 1))
    # What overflows has no spread that could be compared.
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, n_dense, _AT_ONCE):
            some = slice(first, min(first + _AT_ONCE, n_dense))
            X = block.X[:, some] - centre[some]
            if np.isnan(X).any():
                X[np.isnan(X)] = 0.0
            moments[0, some] = X.mean(axis=0)
            moments[1, some] = np.einsum("ij,ij->j", X, X) / n
    if block.sparse is not None:
        indices, values = block.sparse.indices, block.sparse.values
        moments[0, :n_terms] += np.bincount(indices, values, n_terms) / n
        moments[1, :n_terms] += np.bincount(indices, values**2, n_terms) / n
    if block.y is not None:
        moments[:, n_terms] = block.y.mean(), np.mean(block.y**2)
    return moments
