"""Arrays by their addresses: for kernels over any number of arrays of one kind, which no type of a tuple could name."""

from __future__ import annotations

from numba import carray, types
from numba.extending import intrinsic

from dbml_kernels.jit import kernel


def address_of(array):
    """Return where the data of a C contiguous array begin; the caller keeps the array alive."""
    if not array.flags.c_contiguous:
        raise ValueError(f"an array by its address must be C contiguous; got strides {array.strides}")
    return array.__array_interface__["data"][0]


@intrinsic
def _as_pointer(typing_context, address, like):
    """Return an address as a pointer to the elements of an array of this kind."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), generate


@kernel
def array_at(address, size, like):
    """Return `size` elements from an address on as an array, of the type of the elements of `like`."""
    return carray(_as_pointer(address, like), size)
