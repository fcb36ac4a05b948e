"""Means and presence of the elements of vectors, from record batches.

SQL would unnest every row into one row an element: DuckDB takes microseconds for each of a wide vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dbml_sql.expressions import feature_value
from dbml_sql.features import Feature
from numpy.typing import NDArray

from dbml.data import duck
from dbml.data.arrow_arrays import numbers_of
from dbml.data.columns import Role
from dbml.data.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 4 << 20
_MOST_ROWS = 2_048  # one vector of DuckDB


def element_means(source: Source, role: Role) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return of each element of a column of vectors the rows that have a value there, and their mean (0 for none).

    Elements beyond the end of a list, NULL, NaN and infinity are no values. One pass; memory of a few batches.
    """
    width = role.width
    value = feature_value(Feature(role.column, role.type, "vector", width=width))
    counts, sums = np.zeros(width, np.int64), np.zeros(width)
    size = max(1, min(_MOST_ROWS, _BATCH_BYTES // (8 * max(1, width))))
    with np.errstate(over="ignore", invalid="ignore"):
        for batch in duck.stream(source.relation, source.select([value]), size):
            rows = _rows(batch.column(0), width)
            added = rows.sum(axis=0)
            # The sums show NaN and infinity.
            if np.isfinite(added).all():
                counts += len(rows)
            else:
                finite = np.isfinite(rows)
                counts += finite.sum(axis=0)
                added = np.where(finite, rows, 0.0).sum(axis=0)
            sums += added
        return counts, sums / np.maximum(counts, 1)


def _rows(column: pa.Array, width: int) -> NDArray[np.float64]:
    """Return the vectors that are not NULL as rows of `width` elements, NaN where one is missing."""
    lengths = numbers_of(column.value_lengths().drop_null())
    values = numbers_of(column.flatten())
    if (lengths == width).all():
        return values.reshape(len(lengths), width)
    rows = np.full((len(lengths), width), np.nan)
    of_row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = place < width
    rows[of_row[kept], place[kept]] = values[kept]
    return rows
