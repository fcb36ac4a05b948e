"""Rows in memory, scaled like centres: all of them where they are few, else a sample, and smaller ones of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from dbml.errors import InvalidData
from dbml.estimators.clusters.centres import Centres
from dbml.passes.block import Block, Floats, SparseRows
from dbml.passes.data import Data
from dbml.passes.engine import Crew, current
from dbml.passes.memory import memory_budget
from dbml.passes.step import State, Step

T = TypeVar("T")

PART = 16_384  # rows of a part: what a thread works on
MOST_ROWS, _MOST_BYTES = 262_144, 48 << 20
_PIECES, _PIECE_ROWS = 4, 32_768  # samples that a large one is made of at most: rows of more places; fewest rows of one


@dataclass
class Rows:
    """Encoded rows in memory, scaled like centres, in parts, those of weight 0 left out.

    Attributes
    ----------
    parts : list of Block
        Runs of rows; `start` is the position among the rows.
    n_terms : int
        Terms of the design.
    whole : bool
        Whether they are all rows there are.
    room : int
        Rows that were asked for.
    """

    parts: list[Block]
    n_terms: int
    whole: bool
    room: int = 0
    _crew: Crew | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(part.n_rows for part in self.parts)

    def fold(self, *steps: Step) -> tuple[State, ...]:
        """Run steps over the rows, on all cores; the same bits for any number of them."""

        def states(number: int) -> list[State]:
            made = []
            for step in steps:
                state = step.start()
                step.update(state, self.parts[number])
                made.append(state)
            return made

        totals = [step.start() for step in steps]
        for of_part in self.each(states):
            totals = [step.merge(total, state) for step, total, state in zip(steps, totals, of_part, strict=True)]
        return tuple(totals)

    def each(self, function: Callable[[int], T]) -> list[T]:
        """Return `function` of the number of each part, in order, worked on by all cores."""
        if self._crew is None:
            self._crew = current().crew(max(1, len(self.parts)))
        return self._crew.each(function, range(len(self.parts)), "rows in memory")

    def drawn(self, n: int, seed: int) -> Rows:
        """Return `n` rows drawn at random, or these if there are no more."""
        if n >= self.n_rows:
            return self
        chosen = np.sort(np.random.default_rng(seed).permutation(self.n_rows)[:n])
        starts = np.cumsum([0, *(part.n_rows for part in self.parts)])
        within = np.searchsorted(chosen, starts)
        pieces = [
            (part, chosen[low:high] - start)
            for part, start, (low, high) in zip(self.parts, starts, pairwise(within), strict=False)
        ]
        return Rows(list(_cut(pieces)), self.n_terms, False)

    def weights(self) -> Floats:
        """Return the weight of each row."""
        return np.concatenate([part.weights for part in self.parts])

    def close(self) -> None:
        """End the threads."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


def rows_in_memory(data: Data, like: Centres, seed: int, most: int = MOST_ROWS, sample: int = MOST_ROWS) -> Rows:
    """Return all rows if they are few, else a sample.

    All are at most `most` rows, a sample `sample` rows, both 48 MiB and half of what may be kept. They are scaled as
    `like` says.

    Raises
    ------
    InvalidData
        There are no rows, or none of positive weight.
    """
    n_terms = data.schema.encoding.n_terms
    room = min(_MOST_BYTES, memory_budget().kept // 2)
    wanted = max(1_024, min(most, room // data.row_bytes))
    total = data.n_rows
    if total < 0 and data.statistics.exact_rows:
        total = data.statistics.n_rows
    if total > wanted:
        wanted = min(wanted, sample)
    calls = 1 if 0 <= total <= _PIECES * wanted else min(_PIECES, max(1, wanted // _PIECE_ROWS))
    parts: list[Block] = []
    for call in range(calls):
        block = data.sample(wanted if calls == 1 else -(-wanted // calls), seed + call)
        used = np.arange(block.n_rows) if block.weight is None else np.flatnonzero(block.weight)
        parts += [like.scaled(part) for part in _cut([(block, used)])]
        del block
    if not parts:
        raise InvalidData(f"{data.plan.source} has no rows of positive weight to learn from")
    return Rows(_numbered(parts), n_terms, 0 <= total <= wanted, wanted)


def told(rows: Rows, total: int) -> str:
    """Return what a plan says of rows in memory, of `total` rows or an unknown number, -1."""
    if rows.whole:
        return f"all {total:,} rows fit in memory" if total >= 0 else "all rows fit in memory"
    return f"{rows.room:,} rows of {total:,} are in memory" if total >= 0 else f"{rows.room:,} rows are in memory"


def _cut(pieces: Sequence[tuple[Block, np.ndarray]]) -> Iterator[Block]:
    """Yield the rows of each index into its block, in parts of at most `PART` rows."""
    waiting: list[tuple[Block, np.ndarray]] = []
    size = start = 0
    for block, index in pieces:
        done = 0
        while done < len(index):
            taken = index[done : done + PART - size]
            waiting.append((block, taken))
            done += len(taken)
            size += len(taken)
            if size == PART:
                yield _joined(waiting, size, start)
                start += size
                waiting, size = [], 0
    if size:
        yield _joined(waiting, size, start)


def _joined(pieces: Sequence[tuple[Block, np.ndarray]], size: int, start: int) -> Block:
    first = pieces[0][0]
    X = np.empty((size, first.X.shape[1]), order="F")
    weight = None if first.weight is None else np.empty(size)
    end = 0
    for block, index in pieces:
        begin, end = end, end + len(index)
        for column in range(X.shape[1]):
            np.take(block.X[:, column], index, out=X[begin:end, column], mode="clip")
        if weight is not None and block.weight is not None:
            weight[begin:end] = block.weight[index]
    sparse = None
    if first.sparse is not None:
        sparse = _sparse_rows([(block.sparse, index) for block, index in pieces if block.sparse is not None])
    return Block(X, sparse, None, weight, start)


def _sparse_rows(pieces: Sequence[tuple[SparseRows, np.ndarray]]) -> SparseRows:
    lengths = np.concatenate([np.diff(rows.indptr)[index] for rows, index in pieces])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = []
    for rows, index in pieces:
        own = np.diff(rows.indptr)[index]
        before = np.cumsum(own) - own
        places.append(np.arange(own.sum()) + np.repeat(rows.indptr[index] - before, own))
    indices = np.concatenate([rows.indices[place] for (rows, _), place in zip(pieces, places, strict=True)])
    values = np.concatenate([rows.values[place] for (rows, _), place in zip(pieces, places, strict=True)])
    return SparseRows(indptr, indices, values)


def _numbered(parts: list[Block]) -> list[Block]:
    start = 0
    for part in parts:
        part.start = start
        start += part.n_rows
    return parts
