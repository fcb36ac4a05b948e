"""The words of texts as sparse rows: looked up, counted and weighted by kernels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.features import Feature
from numpy.typing import NDArray

from dbml.data.arrow_arrays import arrow_of, arrow_texts, numbers_of
from dbml.data.words import WordCutter, WordTable, buffers_of

WEIGHTINGS = ("count", "binary", "tfidf")

_Integers = NDArray[np.int64]


class WordCounts:
    """Turns texts, or lists of the buckets of their words, into pairs of term numbers and values.

    Parameters
    ----------
    feature : Feature
        The text.
    """

    def __init__(self, feature: Feature) -> None:
        self._levels = arrow_texts(feature.levels)
        self._table = WordTable.of(feature.levels) if feature.levels else None
        self._cutter = WordCutter()
        self._weighting = np.int64(WEIGHTINGS.index(feature.weighting))
        self._scale = np.array(feature.scale, np.float64)

    def coded(self, batch: pa.RecordBatch, place: int) -> pa.RecordBatch:
        """Return a batch with codes in the place of one column, and values in that of the next."""
        names = batch.schema.names
        codes, values = self.pairs(batch.column(place), batch.column(place + 1))
        return batch.set_column(place, names[place], codes).set_column(place + 1, names[place + 1], values)

    def pairs(self, column: pa.Array, cut: pa.Array | None = None) -> tuple[pa.ListArray, pa.ListArray]:
        """Return the terms of each row in ascending order, each once, and their values; none of a row that is NULL.

        Parameters
        ----------
        column : Array
            Texts, or lists of buckets.
        cut : Array, optional
            The words of texts that are not ASCII, where DuckDB has cut them.
        """
        from dbml_kernels.word_counts import words_count

        starts, stops, codes = self._listed(column) if self._table is None else self._found(column, cut)
        offsets = np.empty(len(starts) + 1, np.int32)
        terms, values = np.empty(len(codes), np.int64), np.empty(len(codes))
        words_count(starts, stops, codes, self._weighting, self._scale, offsets, terms, values)
        n, edges = int(offsets[-1]), arrow_of(offsets)
        made = (pa.ListArray.from_arrays(edges, arrow_of(array[:n])) for array in (terms, values))
        return next(made), next(made)

    def _listed(self, lists: pa.ListArray) -> tuple[_Integers, _Integers, _Integers]:
        """Return where the numbers of each row begin and end, and the numbers, of lists of numbers or of words."""
        lengths = numbers_of(pc.fill_null(pc.list_value_length(lists), 0))
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = lists.flatten()
        if not pa.types.is_integer(flat.type):
            if not pa.types.is_string(flat.type):
                flat = pc.cast(flat, pa.string())
            flat = pc.fill_null(pc.index_in(flat, value_set=self._levels), -1)
        return bounds[:-1].copy(), bounds[1:].copy(), numbers_of(flat).astype(np.int64)

    def _found(self, texts: pa.Array, cut: pa.Array | None) -> tuple[_Integers, _Integers, _Integers]:
        """Return the same of texts."""
        from dbml_kernels.plain_words import texts_look_up

        assert self._table is not None
        texts, offsets, data = buffers_of(texts)
        starts, stops = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
        codes = np.empty(int(offsets[-1] - offsets[0]) // 3 + len(texts) + 1, np.int64)
        table = self._table
        n = texts_look_up(offsets, data, table.slots, table.bounds, table.words, starts, stops, codes)
        others = np.flatnonzero(stops < 0)
        if not others.size:
            return starts, stops, codes[:n]
        begin, end, more = self._listed(self._cutter.words_of(texts, cut, others))
        starts[others], stops[others] = n + begin, n + end
        return starts, stops, np.concatenate([codes[:n], more])
