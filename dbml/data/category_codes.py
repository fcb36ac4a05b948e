"""The code of a category's text, looked up in Arrow: a hash of the levels, whatever share of the rows is unseen."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from dbml_sql.encode import rest_codes
from dbml_sql.features import Feature


class CategoryCodes:
    """Maps texts to the numbers of a category's sparse terms, -1 where they contribute nothing.

    Parameters
    ----------
    feature : Feature
        The category.
    """

    def __init__(self, feature: Feature) -> None:
        self._levels = pa.array(feature.levels, pa.string())
        self._null, self._other = (pa.scalar(code, pa.int32()) for code in rest_codes(feature))

    def coded(self, batch: pa.RecordBatch, place: int) -> pa.RecordBatch:
        """Return a batch with codes in the place of the texts in one column."""
        return batch.set_column(place, batch.schema.names[place], self.of_texts(batch.column(place)))

    def of_texts(self, column: pa.Array) -> pa.Array:
        """Return the code of each text of a column."""
        if not pa.types.is_string(column.type):
            column = pc.cast(column, pa.string())
        found = pc.fill_null(pc.index_in(column, value_set=self._levels), self._other)
        return pc.if_else(pc.is_null(column), self._null, found) if column.null_count else found

    def of_dictionary(self, column: pa.DictionaryArray) -> pa.Array:
        """Return the code of each value of a dictionary column."""
        return pc.fill_null(self.of_texts(column.dictionary).take(column.indices), self._null)
