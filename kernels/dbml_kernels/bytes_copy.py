"""Copies of a few bytes from place to place, as wide moves: a call of ``memcpy`` would cost more than they do."""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dbml_kernels.jit import kernel

ir = cgutils.ir

_WIDE = 32  # bytes


@intrinsic
def _move_wide(typing_context, source, begin, target, to):
    """``target[to : to + 32] = source[begin : begin + 32]``, arrays of bytes."""

    def generate(context, builder, signature, arguments):
        wide = ir.VectorType(ir.IntType(8), _WIDE).as_pointer()
        places = []
        for array, position in ((0, 1), (2, 3)):
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            places.append(builder.bitcast(builder.gep(data, [arguments[position]]), wide))
        builder.store(builder.load(places[0], align=1), places[1], align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


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
