"""Cutting texts into words: plain ones by a kernel, others by DuckDB, which scores them in SQL too."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.expressions import words
from numpy.typing import NDArray

from dbml.data import duck

_LEAST_SLOTS = 1 << 12


class WordCutter:
    """Cuts texts as `dbml_sql.expressions.words` does, in a database of our own. Any thread may call it."""

    def __init__(self) -> None:
        self._lock, self._local = threading.Lock(), threading.local()
        self._connection: Any = None

    def cut(self, texts: pa.Array) -> pa.ListArray:
        """Return the words of each text."""
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            with self._lock:
                self._connection = self._connection or duck.private_connection()
                cursor = self._local.cursor = self._connection.cursor()
        rows = cursor.from_arrow(pa.table([texts], names=["c0"]))
        table = duck.query(rows, f"SELECT {words('c0')} AS c0 FROM {duck.VIEW}").to_arrow_table()
        return table.column(0).combine_chunks()

    def words_of(self, texts: pa.Array, cut: pa.Array | None, rows: NDArray[np.intp]) -> pa.ListArray:
        """Return the words of some texts: as `cut` has them, where it holds words."""
        chosen = pa.array(rows)
        if cut is None or not pa.types.is_string(cut.type.value_type):
            return self.cut(texts.take(chosen))
        return cut.take(chosen)


def buffers_of(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int32], NDArray[np.uint8]]:
    """Return texts without NULL (they are empty), and their offsets and bytes."""
    if not pa.types.is_string(texts.type):
        texts = pc.cast(texts, pa.string())
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    if not len(texts):  # its buffers may be absent
        return texts, np.zeros(1, np.int32), np.zeros(1, np.uint8)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return texts, ends, np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)


class WordTable:
    """A hash table of words for the kernels of `dbml_kernels.plain_words`.

    Attributes
    ----------
    slots, bounds, words : ndarray
        See there.
    """

    def __init__(self, n_words: int = 0, n_bytes: int = 0) -> None:
        self.bounds = np.zeros(n_words + 1, np.int64)
        self.words = np.zeros(n_bytes, np.uint8)
        size = _LEAST_SLOTS
        while size < 2 * n_words:
            size *= 2
        self.slots = np.full(size, -1, np.int64)

    @classmethod
    def of(cls, levels: Sequence[str]) -> WordTable:
        """Return the table of some words, numbered in their order."""
        from dbml_kernels.plain_words import words_place

        encoded = [level.encode() for level in levels]
        table = cls(len(levels), sum(map(len, encoded)))
        np.cumsum([len(word) for word in encoded], out=table.bounds[1:])
        table.words[:] = np.frombuffer(b"".join(encoded), np.uint8)
        words_place(table.bounds, table.words, np.int64(len(levels)), table.slots)
        return table

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.slots.nbytes + self.bounds.nbytes + self.words.nbytes

    def grown(self, used: int, n_words: int, n_bytes: int) -> WordTable:
        """Return a table with the first `used` words and room for more."""
        from dbml_kernels.plain_words import words_place

        table = WordTable(n_words, n_bytes)
        table.bounds[: used + 1] = self.bounds[: used + 1]
        held = int(self.bounds[used])
        table.words[:held] = self.words[:held]
        words_place(table.bounds, table.words, np.int64(used), table.slots)
        return table

    def texts(self, used: int) -> list[str]:
        """Return the first `used` words."""
        data, ends = self.words.tobytes(), self.bounds[: used + 1].tolist()
        return [data[begin:end].decode("ascii") for begin, end in pairwise(ends)]
