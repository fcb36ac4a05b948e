"""Bytes moved by wide loads and stores: rows of a few from place to place, and matrices from rows to columns."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dbml_kernels.jit import kernel

ir = cgutils.ir

_WIDE, _SQUARE = 32, 16  # bytes


def _vector(context, builder, array_type, array, position, n_bytes):
    """Return the address of `n_bytes` of an array as that of a vector."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [position]), ir.VectorType(ir.IntType(8), n_bytes).as_pointer())


@intrinsic
def _move_wide(typing_context, source, begin, target, to):
    """``target[to : to + 32] = source[begin : begin + 32]``, arrays of bytes."""

    def generate(context, builder, signature, arguments):
        read = _vector(context, builder, signature.args[0], *arguments[:2], _WIDE)
        written = _vector(context, builder, signature.args[2], *arguments[2:], _WIDE)
        builder.store(builder.load(read, align=1), written, align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


@intrinsic
def _transpose_square(typing_context, source, begin, stride, target, to, across):
    """``target[to + c * across + r] = source[begin + r * stride + c]`` for r and c below 16, arrays of bytes.

    Interleaving the first half of the rows with the second one, four times over, transposes 16 x 16.
    """

    def generate(context, builder, signature, arguments):
        first, step, place, apart = arguments[1], arguments[2], arguments[4], arguments[5]
        rows = []
        for r in range(_SQUARE):
            position = builder.add(first, builder.mul(step, ir.Constant(step.type, r)))
            address = _vector(context, builder, signature.args[0], arguments[0], position, _SQUARE)
            rows.append(builder.load(address, align=1))
        half, lanes = _SQUARE // 2, ir.VectorType(ir.IntType(32), _SQUARE)
        low = ir.Constant(lanes, [i // 2 + _SQUARE * (i % 2) for i in range(_SQUARE)])
        high = ir.Constant(lanes, [half + i // 2 + _SQUARE * (i % 2) for i in range(_SQUARE)])
        for _ in range(4):
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [builder.shuffle_vector(*pair, mask) for pair in pairs for mask in (low, high)]
        for c, column in enumerate(rows):
            position = builder.add(place, builder.mul(apart, ir.Constant(apart.type, c)))
            builder.store(
                column, _vector(context, builder, signature.args[3], arguments[3], position, _SQUARE), align=1
            )
        return context.get_dummy_value()

    whole = types.int64
    return types.void(source, whole, whole, target, whole, whole), generate


@kernel
def bytes_copy(source, begin, target, to, n):
    """``target[to : to + n] = source[begin : begin + n]``, arrays of bytes.

    Bytes of `target` behind these, up to a multiple of 32, may be overwritten.
    """
    wide = -(-n // _WIDE) * _WIDE
    if begin + wide <= source.shape[0] and to + wide <= target.shape[0]:
        for at in range(0, wide, _WIDE):
            _move_wide(source, begin + at, target, to + at)
    else:
        for at in range(n):
            target[to + at] = source[begin + at]


@kernel
def bytes_transpose(source, first_row, n_rows, n_columns, target, to, across):
    """``target[to + c * across + r] = source[(first_row + r) * n_columns + c]`` for rows r below `n_rows`.

    Shapes: `source` and `target` flat, of bytes.
    """
    squares = n_rows // _SQUARE * _SQUARE if n_columns >= _SQUARE else 0
    for row in range(0, squares, _SQUARE):
        begin = (first_row + row) * n_columns
        for column in range(0, n_columns - _SQUARE + 1, _SQUARE):
            _transpose_square(source, begin + column, n_columns, target, to + row + column * across, across)
        column = n_columns - _SQUARE  # the last ones once more, where columns are no multiple
        if n_columns % _SQUARE:
            _transpose_square(source, begin + column, n_columns, target, to + row + column * across, across)
    for row in range(squares, n_rows):
        at = np.uint64((first_row + row) * n_columns)
        for column in range(n_columns):
            target[to + row + column * across] = source[at + np.uint64(column)]
