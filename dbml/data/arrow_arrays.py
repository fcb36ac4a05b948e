"""Numbers between Arrow and NumPy, without copies and without pandas.

`pyarrow.array` and `to_numpy` import pandas where it is installed: a third of a second and, with what it brings along,
80 MiB of the first training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray:
    """Return numbers or booleans, read-only, in the memory of Arrow where none is NULL.

    A number that is NULL makes all of them floats, and is NaN.
    """
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if pa.types.is_boolean(array.type):
        return numbers_of(array.cast(pa.uint8())).view(np.bool_)
    numbers = np.from_dlpack(array)
    numbers.flags.writeable = False
    return numbers


def arrow_of(numbers: NDArray) -> pa.Array:
    """Return integers or floats as an Arrow array over the same memory."""
    import pyarrow as pa

    lying = np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(pa.from_numpy_dtype(lying.dtype), lying.size, [None, pa.py_buffer(lying)])


def arrow_texts(texts: Sequence[str]) -> pa.Array:
    """Return texts as an Arrow array."""
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
