"""The code of a category's text, looked up in Arrow: a hash of the levels, whatever share of the rows is unseen."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.encode import rest_codes
from dbml_sql.features import Feature

from dbml.data.arrow_arrays import arrow_texts

_MANY = 4_096  # levels from which the table of a batch would cost more than the batch


class CategoryCodes:
    """Maps texts to the numbers of a category's sparse terms, -1 where they contribute nothing.

    Parameters
    ----------
    feature : Feature
        The category.
    """

    def __init__(self, feature: Feature) -> None:
        self._null, self._other = (pa.scalar(code, pa.int32()) for code in rest_codes(feature))
        self._known: dict[str, int] | None = None
        if len(feature.levels) > _MANY:
            self._known = {level: code for code, level in enumerate(feature.levels)}
        else:
            self._levels = arrow_texts(feature.levels)

    def coded(self, batch: pa.RecordBatch, place: int) -> pa.RecordBatch:
        """Return a batch with codes in the place of the texts in one column."""
        return batch.set_column(place, batch.schema.names[place], self.of_texts(batch.column(place)))

    def of_texts(self, column: pa.Array) -> pa.Array:
        """Return the code of each text of a column."""
        if not pa.types.is_string(column.type):
            column = pc.cast(column, pa.string())
        if self._known is not None:
            return self._of_many(column)
        found = pc.fill_null(pc.index_in(column, value_set=self._levels), self._other)
        return pc.if_else(pc.is_null(column), self._null, found) if column.null_count else found

    def _of_many(self, column: pa.Array) -> pa.Array:
        """Return codes from a table that is made once: Arrow makes its own for every batch."""
        coded = column.dictionary_encode()
        known, other = self._known, self._other.as_py()
        assert known is not None
        codes = pa.array([known.get(text, other) for text in coded.dictionary.to_pylist()], pa.int32())
        return pc.fill_null(codes.take(coded.indices), self._null)

    def of_dictionary(self, column: pa.DictionaryArray) -> pa.Array:
        """Return the code of each value of a dictionary column."""
        return pc.fill_null(self.of_texts(column.dictionary).take(column.indices), self._null)
