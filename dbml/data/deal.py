"""Rows of blocks in memory in random order: runs of many blocks, dealt out like cards into shuffled blocks."""

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
        # Asking an array for its address takes a microsecond, on the lock that the other thread's step waits for.
        self._bases = {name: addresses([getattr(block, name) for block in blocks]) for name in ("X", "y", "weight")}

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

    def addresses(self, name: str, runs: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return where runs begin in the first column of an array of their blocks."""
        return self._bases[name][self.block[runs]] + 8 * self.start[runs]

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
        deck, n, runs = self.deck, self.n_rows, self.runs
        where = (deck.stride[runs], deck.length[runs], *deck.positions(runs))
        first = deck.blocks[0]
        X = workspace.dense(n, first.X.shape[1])
        self._gather("X", where, first.X.shape[1], X.reshape(-1, order="F"))
        y, weight = (
            None if getattr(first, name) is None else self._values(name, where, workspace) for name in ("y", "weight")
        )
        return Block(X, deck.sparse(runs), y, weight, -1)

    def _values(self, name: str, where: tuple, workspace: Workspace) -> NDArray:
        out = workspace.array(name, self.n_rows)
        self._gather(name, where, 1, out)
        return out

    def _gather(self, name: str, where: tuple, n_columns: int, out: NDArray) -> None:
        from dbml_kernels.run_gather import run_gather

        run_gather(self.deck.addresses(name, self.runs), *where, n_columns, self.n_rows, out)


def addresses(arrays: Sequence[NDArray | None]) -> NDArray[np.int64]:
    """Return where each of some arrays begins in memory; of none where they are absent."""
    return np.array([array.ctypes.data for array in arrays if array is not None], np.int64)
