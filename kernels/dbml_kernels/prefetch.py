"""A hint to the processor: rows that are read from all over an array can be on their way before they are needed."""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ir = cgutils.ir


@intrinsic
def prefetch(typing_context, array, position):
    """Start to load the cache line of ``array[position]``, an array of one dimension; it may lie out of bounds."""

    def generate(context, builder, signature, arguments):
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(hint, [address, word(0), word(3), word(1)])  # to read, into all levels, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
