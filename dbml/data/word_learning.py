"""Counting in how many texts each word stands: one pass over the texts, in a hash table that grows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.expressions import words_beyond_ascii

from dbml.data import duck
from dbml.data.arrow_arrays import arrow_of, numbers_of
from dbml.data.source import Source
from dbml.data.words import WordCutter, WordTable, buffers_of
from dbml.passes.memory import memory_budget

_BATCH_ROWS = 12_288
_WORDS, _BYTES = 1 << 14, 1 << 17
_MOST_OTHERS = 1_000_000  # different words of texts that are not plain


class TooManyWords(Exception):
    """The words do not fit in the memory of a training."""


class WordLearner:
    """Counts the texts that have each word.

    Attributes
    ----------
    n_texts : int
        Texts seen.
    """

    def __init__(self) -> None:
        self.n_texts = 0
        self._table = WordTable(_WORDS, _BYTES)
        self._rows, self._last = np.zeros(_WORDS, np.int64), np.zeros(_WORDS, np.int64)
        self._used = np.zeros(1, np.int64)
        self._cutter, self._others = WordCutter(), Counter[str]()

    def add(self, texts: pa.Array, cut: pa.Array | None = None) -> None:
        """Add texts; `cut` holds the words of those that are not ASCII, where DuckDB has cut them.

        Raises
        ------
        TooManyWords
            The table would outgrow its share of memory.
        """
        from dbml_kernels.plain_words import texts_count

        texts, offsets, data = buffers_of(texts)
        n, first = len(texts), 0
        others = np.zeros(n, bool)
        while first < n:
            table = self._table
            kept = (table.slots, table.bounds, table.words, self._rows, self._last, self._used)
            first = int(texts_count(offsets, data, np.int64(first), np.int64(self.n_texts), *kept, others))
            if first < n:
                self._grow(int(offsets[first + 1] - offsets[first]))
        self.n_texts += n
        if others.any():
            self._count(self._cutter.words_of(texts, cut, np.flatnonzero(others)))

    def _grow(self, n_bytes: int) -> None:
        """Make room for a text of so many bytes."""
        used = int(self._used[0])
        n_words = max(2 * used, used + n_bytes // 3 + 1, _WORDS)
        self._table = self._table.grown(used, n_words, 2 * int(self._table.bounds[used]) + n_bytes + _BYTES)
        self._rows, self._last = (np.resize(array[:used], n_words) for array in (self._rows, self._last))
        if self._table.nbytes + 16 * n_words > memory_budget().blocks:
            raise TooManyWords

    def _count(self, lists: pa.ListArray) -> None:
        """Add the words of texts that DuckDB cut."""
        rows = np.repeat(np.arange(len(lists)), numbers_of(pc.list_value_length(lists)))
        pairs = pa.table([arrow_of(rows), lists.flatten()], names=["row", "word"])
        counted = pc.value_counts(pairs.group_by(["row", "word"]).aggregate([]).column("word"))
        self._others.update(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
        if len(self._others) > _MOST_OTHERS:
            raise TooManyWords

    def counts(self) -> list[tuple[str, int]]:
        """Return each word and the number of texts that have it, in no particular order."""
        used = int(self._used[0])
        counted = Counter(dict(zip(self._table.texts(used), self._rows[:used].tolist(), strict=True)))
        counted.update(self._others)
        return list(counted.items())


def count_words(source: Source, text: str) -> list[tuple[str, int]]:
    """Return each word of a text, an expression over the columns of a source, and the number of rows that have it.

    Raises
    ------
    TooManyWords
        They do not fit in memory.
    """
    learner = WordLearner()
    batches = duck.stream(source.relation, source.select([text, words_beyond_ascii(text)]), _BATCH_ROWS)
    try:
        for batch in batches:
            learner.add(batch.column(0), batch.column(1))
    finally:
        batches.close()
    return learner.counts()
