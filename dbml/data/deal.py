"""Rows of kept blocks in random order: runs of many blocks, dealt out like cards into shuffled blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbml.data.sampling import join_sparse, take_sparse
from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import Chunk, Workspace

_RUN, _PACKET = 64, 8  # as in the kernel
_GROUP = 32  # blocks that rows are drawn from at a time: from everywhere, the addresses would miss their cache


class Deck:
    """The runs of some blocks: every 64 rows, and what is left at the end of each block.

    Parameters
    ----------
    blocks : sequence of Block
        Rows in memory, with arrays of their own that stay where they are.
    block_rows : int
        Most rows of a shuffled block.
    """

    def __init__(self, blocks: Sequence[Block], block_rows: int) -> None:
        self.blocks, self.block_rows = blocks, block_rows
        starts = [np.arange(0, block.n_rows, _RUN) for block in blocks]
        rows = np.array([block.n_rows for block in blocks], np.int64)
        self.block = np.repeat(np.arange(len(blocks)), [start.size for start in starts])
        self.start = np.concatenate([np.empty(0, np.int64), *starts])
        self.stride = rows[self.block]
        self.length = np.minimum(_RUN, self.stride - self.start)

    def chunks(self, generator: np.random.Generator) -> Iterator[Chunk]:
        """Yield all rows in random order: blocks in random groups, runs at random inside a group."""
        size = max(1, self.block_rows // _RUN)
        group = generator.permutation(len(self.blocks))[self.block] // _GROUP
        shuffled = generator.permutation(self.block.size)
        order = shuffled[np.argsort(group[shuffled], kind="stable")]
        for first in range(0, order.size, size):
            runs = order[first : first + size]
            # Whole runs come first: they are dealt out, the others follow in one piece each.
            runs = np.concatenate([runs[self.length[runs] == _RUN], runs[self.length[runs] < _RUN]])
            yield DealtChunk(self, runs, int(self.length[runs].sum()))

    def positions(self, runs: NDArray[np.intp]) -> tuple[NDArray[np.int64], int]:
        """Return where the first row of each run goes, and the rows between packets of a run."""
        length = self.length[runs]
        whole = int((length == _RUN).sum())
        rest = whole * _RUN + np.cumsum(length[whole:]) - length[whole:]
        return np.concatenate([np.arange(whole) * _PACKET, rest]).astype(np.int64), whole * _PACKET

    def sparse(self, runs: NDArray[np.intp]) -> SparseRows | None:
        """Return the sparse rows of runs, in the order in which the dense ones are dealt."""
        if not self.blocks or self.blocks[0].sparse is None:
            return None
        rows = join_sparse([self._sparse_run(run) for run in runs])
        whole = int((self.length[runs] == _RUN).sum())
        # Row r of run k stands at packet r // 8 of the run, in the order packets are dealt: (packet, run, row).
        dealt = np.arange(whole * _RUN).reshape(whole, _RUN // _PACKET, _PACKET).transpose(1, 0, 2).ravel()
        return take_sparse(rows, np.concatenate([dealt, np.arange(dealt.size, rows.indptr.size - 1)]))

    def _sparse_run(self, run: int) -> SparseRows:
        rows = self.blocks[self.block[run]].sparse
        assert rows is not None
        start = self.start[run]
        indptr = rows.indptr[start : start + self.length[run] + 1]
        entries = slice(indptr[0], indptr[-1])
        return SparseRows(indptr, rows.indices[entries], rows.values[entries])


@dataclass(frozen=True, slots=True)
class DealtChunk:
    """Some runs of a deck."""

    deck: Deck
    runs: NDArray[np.intp]
    n_rows: int

    @property
    def start(self) -> int:
        return -1

    def encode(self, workspace: Workspace) -> Block:
        """Gather the runs."""
        deck, n = self.deck, self.n_rows
        where = (deck.stride[self.runs], deck.length[self.runs], *deck.positions(self.runs))
        first = deck.blocks[0]
        n_dense = first.X.shape[1]
        X = workspace.dense(n, n_dense)
        self._gather([block.X for block in deck.blocks], where, n_dense, X.reshape(-1, order="F"))
        y = None if first.y is None else self._values([block.y for block in deck.blocks], where, workspace, "y")
        weight = None
        if first.weight is not None:
            weight = self._values([block.weight for block in deck.blocks], where, workspace, "weight")
        return Block(X, deck.sparse(self.runs), y, weight, -1)

    def _values(self, arrays: Sequence[NDArray | None], where: tuple, workspace: Workspace, name: str) -> NDArray:
        out = workspace.array(name, self.n_rows)
        self._gather([array for array in arrays if array is not None], where, 1, out)
        return out

    def _gather(self, arrays: Sequence[NDArray], where: tuple, n_columns: int, out: NDArray) -> None:
        from dbml_kernels.run_gather import run_gather

        bases = np.array([array.ctypes.data for array in arrays], np.int64)
        addresses = bases[self.deck.block[self.runs]] + 8 * self.deck.start[self.runs]
        run_gather(addresses, *where, n_columns, self.n_rows, out)
