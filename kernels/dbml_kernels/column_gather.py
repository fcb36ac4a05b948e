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

# Layouts of the numbers in a dense column, or in the only child of one of vectors. A code is an int32; below 0 it is
# missing.
DOUBLE, FLOAT, BIGINT, INTEGER, CODE = range(5)
# Layouts of a sparse column: one int32 code a row; or a list of int64 codes, the next column lists float64 values.
CODES, PAIRS = range(2)

_NULLS, _OFFSET, _BUFFERS, _CHILDREN = 1, 2, 5, 6


@intrinsic
def pointer(typing_context, address):
    """Return an address as a pointer that `carray` takes."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@kernel
def words(address):
    """Return the 8-byte words from an address on: the struct of an array, or a list of addresses."""
    return carray(pointer(address), 10, np.int64)


@kernel
def child_address(array, number):
    """Return the address of the struct of child `number`."""
    return words(words(array)[_CHILDREN])[number]


@kernel
def buffer_address(array, number):
    """Return the address of buffer `number`, 0 where it is absent."""
    return words(words(array)[_BUFFERS])[number]


@kernel
def validity_address(array):
    """Return the address of the validity bitmap, 0 where there is no NULL (DuckDB hands over a bitmap anyway)."""
    return 0 if words(array)[_NULLS] == 0 else buffer_address(array, 0)


@kernel
def is_null(validity, position):
    """Return whether bit `position` of the validity bitmap is 0; an absent bitmap (address 0) has no NULL."""
    if validity == 0:
        return False
    return (carray(pointer(validity), (position >> 3) + 1, np.uint8)[position >> 3] >> (position & 7)) & 1 == 0


@kernel
def strided_copy(values, step, out):
    """``out[i] = values[i * step]`` as float64; shape of `out` (n,)."""
    for i in range(out.shape[0]):
        out[i] = values[i * step]


@kernel
def codes_copy(values, step, out):
    """``out[i] = values[i * step]`` as float64, NaN for a negative code; shape of `out` (n,)."""
    for i in range(out.shape[0]):
        out[i] = values[i * step] if values[i * step] >= 0 else math.nan


@kernel
def centred_copy(values, centre, missing, out):
    """``out = value - centre``, `missing` where the value is not finite; both of shape (n,)."""
    for i in range(out.shape[0]):
        out[i] = values[i] - centre if math.isfinite(values[i]) else missing


@kernel
def missing_flag(values, flag):
    """Set `flag` to 1 where the value is not finite; both of shape (n,)."""
    for i in range(flag.shape[0]):
        flag[i] = flag[i] if math.isfinite(values[i]) else 1.0


@kernel
def nulls_set(validity, first, step, value, out):
    """Set `out` to `value` where bit ``first + i * step`` of a validity bitmap is 0; address 0 has no NULL; (n,)."""
    if validity == 0:
        return
    bits = carray(pointer(validity), ((first + out.shape[0] * step) >> 3) + 1, np.uint8)
    i = 0
    while i < out.shape[0]:
        position = first + i * step
        if step == 1 and position & 7 == 0 and bits[position >> 3] == 255:
            i += 8
            continue
        if (bits[position >> 3] >> (position & 7)) & 1 == 0:
            out[i] = value
        i += 1


@kernel
def numbers_read(data, layout, first, step, scratch):
    """Return every `step`-th number of a buffer from `first` on as float64: the buffer itself, or `scratch` (n,)."""
    end = first + (scratch.shape[0] - 1) * step + 1
    if layout == DOUBLE and step == 1:
        return carray(pointer(data), end, np.float64)[first:]
    if layout == DOUBLE:
        strided_copy(carray(pointer(data), end, np.float64)[first:], step, scratch)
    elif layout == FLOAT:
        strided_copy(carray(pointer(data), end, np.float32)[first:], step, scratch)
    elif layout == BIGINT:
        strided_copy(carray(pointer(data), end, np.int64)[first:], step, scratch)
    elif layout == CODE:
        codes_copy(carray(pointer(data), end, np.int32)[first:], step, scratch)
    else:
        strided_copy(carray(pointer(data), end, np.int32)[first:], step, scratch)
    return scratch


@kernel
def dense_gather(batch, first, n, columns, layouts, widths, terms, flags, centres, absent, x, n_rows, start, scratch):
    """Copy dense columns of a batch to rows of a block, centred; missing values become `absent`.

    Parameters
    ----------
    batch : int64
        Address of the `ArrowArray` of the batch.
    first, n : int64
        First row to copy, number of rows.
    columns, layouts, widths : int64 of shape (n_features,)
        Child number, layout and values in a row (0: a number, not a vector) of each column.
    terms : int64 of shape (n_values,)
        Column of the block for each value of each feature, -1 to leave it out.
    flags : int64 of shape (n_features,)
        Column of the block that gets 1 where a value is missing (any one of a vector) and 0 elsewhere, -1 for none.
    centres : float64 of shape (n_values,)
        What is subtracted.
    absent : float64
        What is written for a missing value.
    x : float64 of shape (n_rows * n_dense,)
        Output: the memory of a column-major block of `n_rows` rows.
    n_rows, start : int64
        Rows of the block, and the first one to write.
    scratch : float64 of shape (at least n,)
        Overwritten.
    """
    # A literal as an argument of a kernel would compile one more version of it.
    number, one = 0, np.int64(1)
    children = words(words(batch)[_CHILDREN])
    for f in range(columns.shape[0]):
        column = words(children[columns[f]])
        validity, row = validity_address(children[columns[f]]), first + column[_OFFSET]
        # A vector has its values in its child; a number is a vector of one that lies in the column itself.
        is_vector, width, values, position = widths[f] > 0, one, children[columns[f]], row
        if is_vector:
            width, values = widths[f], words(column[_CHILDREN])[0]
            position = row * width + words(values)[_OFFSET]
        missing, data = validity_address(values), buffer_address(values, 1)
        flag = x[max(0, flags[f]) * n_rows + start :][:n]
        if flags[f] >= 0:
            flag[:] = 0.0
            nulls_set(validity, row, one, 1.0, flag)
        for k in range(number, number + width):
            if terms[k] >= 0 or flags[f] >= 0:
                read = numbers_read(data, layouts[f], position, width, scratch[:n])
                if flags[f] >= 0:
                    missing_flag(read, flag)
                    nulls_set(missing, position, width, 1.0, flag)
                if terms[k] >= 0:
                    out = x[terms[k] * n_rows + start :][:n]
                    centred_copy(read, centres[k], absent, out)
                    nulls_set(missing, position, width, absent, out)
                    if is_vector:
                        nulls_set(validity, row, one, absent, out)
            position += 1
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
            position = first + words(column)[_OFFSET]
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
    position = row + words(codes)[_OFFSET]
    other = row + words(amounts)[_OFFSET]
    if is_null(buffer_address(codes, 0), position) or is_null(buffer_address(amounts, 0), other):
        return at
    code_bounds = carray(pointer(buffer_address(codes, 1)), position + 2, np.int32)
    value_bounds = carray(pointer(buffer_address(amounts, 1)), other + 2, np.int32)
    code_child, value_child = child_address(codes, 0), child_address(amounts, 0)
    code_first = code_bounds[position] + words(code_child)[_OFFSET]
    value_first = value_bounds[other] + words(value_child)[_OFFSET]
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
            position = row + words(column)[_OFFSET]
            if is_null(buffer_address(column, 0), position):
                continue
            code = carray(pointer(buffer_address(column, 1)), position + 1, np.int32)[position]
            if code >= 0 and code < high - low and terms[low + code] >= 0:
                indices[at], values[at] = terms[low + code], 1.0
                at += 1
        indptr[start + i + 1] = at
