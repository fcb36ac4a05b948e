"""Data restricted to some terms: blocks keep only those columns of the design, renumbered 0, 1, …"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbml.errors import InvalidParameter
from dbml.passes.block import Block, SparseRows
from dbml.passes.engine import Chunk, Workspace
from dbml.passes.schema import Statistics


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen terms of a design.

    Attributes
    ----------
    terms : ndarray of intp
        Chosen term numbers, ascending.
    n_dense, n_terms : int
        Terms of the whole design.
    dense : ndarray of intp
        The dense ones among `terms`.
    renumbered : ndarray of shape (n_terms,), int32
        New number of each term, -1 where it was left out.
    """

    terms: NDArray[np.intp]
    n_dense: int
    n_terms: int
    dense: NDArray[np.intp]
    renumbered: NDArray[np.int32]

    @classmethod
    def of(cls, terms: Sequence[int] | NDArray[np.intp], n_dense: int, n_terms: int) -> Selection:
        """Return the selection of `terms`.

        Raises
        ------
        InvalidParameter
            Not ascending, or outside the design.
        """
        terms = np.asarray(terms, np.intp)
        if terms.ndim != 1 or ((terms.size and (np.diff(terms) <= 0).any()) or terms[0] < 0 or terms[-1] >= n_terms):
            raise InvalidParameter(f"terms must be ascending numbers in [0, {n_terms}); got {terms[:10]}")
        renumbered = np.full(n_terms, -1, np.int32)
        renumbered[terms] = np.arange(terms.size, dtype=np.int32)
        return cls(terms, n_dense, n_terms, terms[terms < n_dense], renumbered)

    def rows(self, block: Block, workspace: Workspace) -> Block:
        """Return the block with the chosen terms; its arrays lie in `workspace` under names of their own."""
        n = block.n_rows
        X = workspace.array("taken X", n * self.dense.size).reshape((n, self.dense.size), order="F")
        for number, term in enumerate(self.dense):
            X[:, number] = block.X[:, term]
        sparse = None
        if block.sparse is not None and self.terms.size > self.dense.size:
            sparse = self._sparse(block.sparse)
        return Block(X, sparse, block.y, block.weight, block.start)

    def _sparse(self, rows: SparseRows) -> SparseRows:
        renumbered = self.renumbered[rows.indices]
        kept = renumbered >= 0
        before = np.zeros(kept.size + 1, np.int64)
        np.cumsum(kept, out=before[1:])
        return SparseRows(before[rows.indptr], renumbered[kept], rows.values[kept])

    def statistics(self, whole: Statistics) -> Statistics:
        """Return the statistics of the chosen terms; the density stays that of the whole design."""
        return replace(whole, mean=whole.mean[self.terms], scale=whole.scale[self.terms])


@dataclass(frozen=True, slots=True)
class TakenChunk:
    """A chunk of which some terms are kept."""

    whole: Chunk
    selection: Selection

    @property
    def start(self) -> int:
        return self.whole.start

    @property
    def n_rows(self) -> int:
        return self.whole.n_rows

    def encode(self, workspace: Workspace) -> Block:
        return self.selection.rows(self.whole.encode(workspace), workspace)
