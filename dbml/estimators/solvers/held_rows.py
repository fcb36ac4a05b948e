"""Rows held in memory as one block, as a source of passes: samples, and data small enough to be one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import Crew, current
from dbml.passes.step import State, Step

_BYTES = 2 << 20


class HeldRows:
    """Folds steps over one block, cut into column-major pieces that stay in the cache; all cores share the pieces.

    Parameters
    ----------
    block : Block
        Rows that the caller owns.
    piece_bytes : int
        Most bytes of the dense terms of a piece.
    """

    def __init__(self, block: Block, piece_bytes: int = _BYTES) -> None:
        rows = max(256, piece_bytes // (8 * max(1, block.X.shape[1])))
        self.block = block
        self.blocks = list(pieces(block, rows))
        self._crew: Crew | None = None

    def fold(self, *steps: Step, purpose: str = "") -> tuple[State, ...]:
        """Return the final state of each step: every piece has one of its own, merged in order."""
        if len(self.blocks) == 1:
            return tuple(_folded(step, self.blocks[0]) for step in steps)
        if self._crew is None:
            self._crew = current().crew(len(self.blocks))
        parts = self._crew.each(lambda block: [_folded(step, block) for step in steps], self.blocks)
        return tuple(reduce(step.merge, states) for step, states in zip(steps, zip(*parts, strict=True), strict=True))


def _folded(step: Step, block: Block) -> State:
    state = step.start()
    step.update(state, block)
    return state


def pieces(block: Block, rows: int) -> Iterator[Block]:
    if block.n_rows <= rows:
        yield block
        return
    for start in range(0, block.n_rows, rows):
        part = slice(start, min(start + rows, block.n_rows))
        sparse = None
        if block.sparse is not None:
            first, last = block.sparse.indptr[part.start], block.sparse.indptr[part.stop]
            entries = slice(first, last)
            indptr = block.sparse.indptr[part.start : part.stop + 1] - first
            sparse = SparseRows(indptr, block.sparse.indices[entries], block.sparse.values[entries])
        y = None if block.y is None else block.y[part]
        weight = None if block.weight is None else block.weight[part]
        yield Block(np.asfortranarray(block.X[part]), sparse, y, weight, block.start)


def spread_rows(block: Block, most: int) -> Block:
    """Return at most `most` rows of the block, at even distances."""
    if block.n_rows <= most:
        return block
    return chosen_rows(block, np.arange(most) * block.n_rows // most)


def chosen_rows(block: Block, rows: NDArray[np.intp]) -> Block:
    """Return some rows of the block, in the given order, as a block of its own."""
    sparse = None
    if block.sparse is not None:
        first, counts = block.sparse.indptr[rows], np.diff(block.sparse.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        entries = np.arange(indptr[-1]) + np.repeat(first - indptr[:-1], counts)
        sparse = SparseRows(indptr, block.sparse.indices[entries], block.sparse.values[entries])
    y = None if block.y is None else block.y[rows]
    weight = None if block.weight is None else block.weight[rows]
    return Block(np.asfortranarray(block.X[rows]), sparse, y, weight, -1)


def chosen_terms(block: Block, terms: NDArray[np.intp]) -> Block:
    """Return the block with some terms (ascending), renumbered 0, 1, …."""
    n_dense = block.X.shape[1]
    dense = terms[terms < n_dense]
    sparse = None
    if block.sparse is not None:
        last = max(int(terms.max(initial=0)), int(block.sparse.indices.max(initial=0)))
        number = np.full(last + 1, -1, np.int32)
        number[terms] = np.arange(len(terms), dtype=np.int32)
        kept = number[block.sparse.indices] >= 0
        indptr = np.concatenate([[0], np.cumsum(kept)])[block.sparse.indptr]
        sparse = SparseRows(indptr, number[block.sparse.indices[kept]], block.sparse.values[kept])
    return Block(np.asfortranarray(block.X[:, dense]), sparse, block.y, block.weight, block.start)
