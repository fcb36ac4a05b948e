"""Columns as Arrow lays them out in memory -> a centred column-major block, and rows in compressed form.

A batch comes as the address of an `ArrowArray` struct of the Arrow C data interface (ten 8-byte words: length, null
count, offset, number of buffers, number of children, buffers, children, dictionary, release, private data), so that
one call reads all columns of a batch and Python touches none of them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from dbml_kernels.jit import kernel

# Layouts of a dense column: the values lie in the column itself, or (vectors) in its only child.
DOUBLE, FLOAT, BIGINT, INTEGER, DOUBLE_VECTOR, FLOAT_VECTOR = range(6)
# Layouts of a sparse column: one int32 code a row; or a list of int64 codes, the next column lists float64 values.
CODES, PAIRS = range(2)

_OFFSET, _BUFFERS, _CHILDREN = 2, 5, 6


@intrinsic
def pointer(typing_context, address):
    """Return an address as a pointer that `carray` takes."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@kernel
def word(address, number):
    """Return the 8-byte word `number` of the struct or array at `address`."""
    return carray(pointer(address), number + 1, np.int64)[number]


@kernel
def child_address(array, number):
    """Return the address of the struct of child `number`."""
    return word(word(array, _CHILDREN), number)


@kernel
def buffer_address(array, number):
    """Return the address of buffer `number`, 0 where it is absent."""
    return word(word(array, _BUFFERS), number)


@kernel
def is_null(validity, position):
    """Return whether bit `position` of the validity bitmap is 0; an absent bitmap (address 0) has no NULL."""
    if validity == 0:
        return False
    return (carray(pointer(validity), (position >> 3) + 1, np.uint8)[position >> 3] >> (position & 7)) & 1 == 0


@kernel
def values_copy(values, centre, out):
    """``out = value - centre``, 0 where the value is not finite; both of shape (n,)."""
    for i in range(out.shape[0]):
        value = np.float64(values[i])
        out[i] = value - centre if math.isfinite(value) else 0.0


@kernel
def values_flag(values, flag):
    """Set `flag` to 1 where the value is not finite, else to 0; both of shape (n,)."""
    for i in range(flag.shape[0]):
        flag[i] = 0.0 if math.isfinite(values[i]) else 1.0


@kernel
def nulls_set(validity, first, value, out):
    """Set `out` to `value` where bit ``first + i`` of the validity bitmap is 0; shape (n,)."""
    bits = carray(pointer(validity), (first + out.shape[0] + 7) >> 3, np.uint8)
    for i in range(out.shape[0]):
        position = first + i
        if (bits[position >> 3] >> (position & 7)) & 1 == 0:
            out[i] = value


@kernel
def column_copy(column, layout, first, centre, out):
    """Copy a column of numbers from row `first` on; shape of `out` (n,)."""
    end = first + out.shape[0]
    data = buffer_address(column, 1)
    if layout == DOUBLE:
        values_copy(carray(pointer(data), end, np.float64)[first:], centre, out)
    elif layout == FLOAT:
        values_copy(carray(pointer(data), end, np.float32)[first:], centre, out)
    elif layout == BIGINT:
        values_copy(carray(pointer(data), end, np.int64)[first:], centre, out)
    else:
        values_copy(carray(pointer(data), end, np.int32)[first:], centre, out)
    validity = buffer_address(column, 0)
    if validity != 0:
        nulls_set(validity, first, 0.0, out)


@kernel
def column_flag(column, layout, first, flag):
    """Mark the missing values of a column of numbers from row `first` on; shape of `flag` (n,)."""
    end = first + flag.shape[0]
    data = buffer_address(column, 1)
    if layout == DOUBLE:
        values_flag(carray(pointer(data), end, np.float64)[first:], flag)
    elif layout == FLOAT:
        values_flag(carray(pointer(data), end, np.float32)[first:], flag)
    else:
        flag[:] = 0.0
    validity = buffer_address(column, 0)
    if validity != 0:
        nulls_set(validity, first, 1.0, flag)


@kernel
def vector_value(data, layout, position):
    """Return entry `position` of the buffer of a vector's elements."""
    if layout == DOUBLE_VECTOR:
        return carray(pointer(data), position + 1, np.float64)[position]
    return np.float64(carray(pointer(data), position + 1, np.float32)[position])


@kernel
def vector_copy(column, layout, width, element, first, centre, out):
    """Copy one element of vectors of `width` from row `first` on; shape of `out` (n,)."""
    child, validity = child_address(column, 0), buffer_address(column, 0)
    data, element_validity, offset = buffer_address(child, 1), buffer_address(child, 0), word(child, _OFFSET)
    for i in range(out.shape[0]):
        position = offset + (first + i) * width + element
        value = vector_value(data, layout, position)
        missing = is_null(validity, first + i) or is_null(element_validity, position) or not math.isfinite(value)
        out[i] = 0.0 if missing else value - centre


@kernel
def vector_flag(column, layout, width, first, flag):
    """Mark the vectors from row `first` on of which any element is missing; shape of `flag` (n,)."""
    child, validity = child_address(column, 0), buffer_address(column, 0)
    data, element_validity, offset = buffer_address(child, 1), buffer_address(child, 0), word(child, _OFFSET)
    for i in range(flag.shape[0]):
        missing = is_null(validity, first + i)
        for position in range(offset + (first + i) * width, offset + (first + i + 1) * width):
            value = vector_value(data, layout, position)
            missing = missing or is_null(element_validity, position) or not math.isfinite(value)
        flag[i] = 1.0 if missing else 0.0


@kernel
def dense_gather(batch, first, n, columns, layouts, widths, terms, flags, centres, X, start):
    """Copy dense columns of a batch to rows of a block, centred; missing values become 0.

    Parameters
    ----------
    batch : int64
        Address of the `ArrowArray` of the batch.
    first, n : int64
        First row to copy, number of rows.
    columns, layouts, widths : int64 of shape (n_features,)
        Child number, layout and values in a row of each column.
    terms : int64 of shape (n_values,)
        Column of X for each value of each feature, -1 to leave it out.
    flags : int64 of shape (n_features,)
        Column of X that gets 1 where a value is missing (any one of a vector) and 0 elsewhere, -1 for none.
    centres : float64 of shape (n_values,)
        What is subtracted.
    X : float64 of shape (at least start + n, n_dense), Fortran order
        Output.
    start : int64
        First row of X to write.
    """
    number = 0
    for f in range(columns.shape[0]):
        column = child_address(batch, columns[f])
        position = first + word(column, _OFFSET)
        layout, width = layouts[f], widths[f]
        if layout >= DOUBLE_VECTOR:
            for k in range(width):
                if terms[number + k] >= 0:
                    out = X[start : start + n, terms[number + k]]
                    vector_copy(column, layout, width, k, position, centres[number + k], out)
            if flags[f] >= 0:
                vector_flag(column, layout, width, position, X[start : start + n, flags[f]])
        else:
            if terms[number] >= 0:
                column_copy(column, layout, position, centres[number], X[start : start + n, terms[number]])
            if flags[f] >= 0:
                column_flag(column, layout, position, X[start : start + n, flags[f]])
        number += width


@kernel
def sparse_capacity(batch, first, n, columns, layouts):
    """Return the most entries that `sparse_gather` can write for rows ``first … first + n`` of a batch."""
    most = 0
    for f in range(columns.shape[0]):
        if layouts[f] == CODES:
            most += n
        else:
            column = child_address(batch, columns[f])
            position = first + word(column, _OFFSET)
            offsets = carray(pointer(buffer_address(column, 1)), position + n + 1, np.int32)
            most += offsets[position + n] - offsets[position]
    return most


@kernel
def entry_insert(indices, values, begin, at, term, value):
    """Insert an entry in ``[begin, at)``, ascending by term, adding to an equal one; return the new end."""
    i = at
    while i > begin and indices[i - 1] > term:
        i -= 1
    if i > begin and indices[i - 1] == term:
        values[i - 1] += value
        return at
    for j in range(at, i, -1):
        indices[j], values[j] = indices[j - 1], values[j - 1]
    indices[i], values[i] = term, value
    return at + 1


@kernel
def list_gather(codes, amounts, row, low, terms, indices, values, at):
    """Append the pairs of one row: codes in ``[0, terms.shape[0])`` with a finite, nonzero value; return the end."""
    begin = at
    position = row + word(codes, _OFFSET)
    other = row + word(amounts, _OFFSET)
    if is_null(buffer_address(codes, 0), position) or is_null(buffer_address(amounts, 0), other):
        return at
    code_bounds = carray(pointer(buffer_address(codes, 1)), position + 2, np.int32)
    value_bounds = carray(pointer(buffer_address(amounts, 1)), other + 2, np.int32)
    code_child, value_child = child_address(codes, 0), child_address(amounts, 0)
    code_first = code_bounds[position] + word(code_child, _OFFSET)
    value_first = value_bounds[other] + word(value_child, _OFFSET)
    length = min(code_bounds[position + 1] - code_bounds[position], value_bounds[other + 1] - value_bounds[other])
    all_codes = carray(pointer(buffer_address(code_child, 1)), code_first + length, np.int64)
    all_values = carray(pointer(buffer_address(value_child, 1)), value_first + length, np.float64)
    for k in range(length):
        if is_null(buffer_address(code_child, 0), code_first + k):
            continue
        code, value = all_codes[code_first + k] - low, all_values[value_first + k]
        if is_null(buffer_address(value_child, 0), value_first + k) or not math.isfinite(value) or value == 0.0:
            continue
        if code >= 0 and code < terms.shape[0] and terms[code] >= 0:
            at = entry_insert(indices, values, begin, at, np.int32(terms[code]), value)
    return at


@kernel
def sparse_gather(batch, first, n, columns, layouts, lows, bounds, terms, indptr, start, indices, values):
    """Append the sparse terms of rows ``first … first + n`` of a batch as compressed rows.

    Parameters
    ----------
    batch, first, n : int64
        As in `dense_gather`.
    columns, layouts, lows : int64 of shape (n_features,)
        Child number, layout, and first code of each column.
    bounds : int64 of shape (n_features + 1,)
        Where the terms of each feature stand in `terms`.
    terms : int64 of shape (n_codes,)
        Term number of each code of each feature (ascending within a feature), -1 to leave it out. A code outside
        the range of its feature contributes nothing.
    indptr : int64 of shape (at least start + n + 1,)
        Row bounds; ``indptr[start]`` is set, the next n are written.
    start : int64
        First row to write.
    indices, values : int32 and float64, with room for `sparse_capacity` more entries
        Output.
    """
    at = indptr[start]
    for i in range(n):
        row = first + i
        for f in range(columns.shape[0]):
            column = child_address(batch, columns[f])
            low, high = bounds[f], bounds[f + 1]
            if layouts[f] == PAIRS:
                amounts = child_address(batch, columns[f] + 1)
                at = list_gather(column, amounts, row, lows[f], terms[low:high], indices, values, at)
                continue
            position = row + word(column, _OFFSET)
            if is_null(buffer_address(column, 0), position):
                continue
            code = carray(pointer(buffer_address(column, 1)), position + 1, np.int32)[position]
            if code >= 0 and code < high - low and terms[low + code] >= 0:
                indices[at], values[at] = terms[low + code], 1.0
                at += 1
        indptr[start + i + 1] = at
