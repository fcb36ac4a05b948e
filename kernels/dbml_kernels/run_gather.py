"""Gathering runs of neighbouring rows from many column-major matrices into one, dealt out like cards."""

from __future__ import annotations

import numpy as np
from numba import carray, types
from numba.core.cgutils import ir
from numba.extending import intrinsic

from dbml_kernels.column_gather import pointer
from dbml_kernels.jit import kernel

RUN = 64  # rows of a run
PACKET = 8  # rows that stay together: a line of the cache
_AHEAD = 4  # runs that are fetched before they are copied: they lie anywhere in memory


@intrinsic
def prefetch(typing_context, address):
    """Ask for the line of the cache at an address."""

    def generate(context, builder, signature, arguments):
        byte, word = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(function, [builder.inttoptr(arguments[0], byte), word(0), word(2), word(1)])
        return context.get_dummy_value()

    return types.none(types.int64), generate


@kernel
def copy(source, target, n):
    """Copy `n` values from one address to another."""
    values, copies = carray(pointer(source), n, np.float64), carray(pointer(target), n, np.float64)
    for i in range(n):
        copies[i] = values[i]


@kernel
def run_gather(addresses, strides, lengths, positions, step, n_columns, n_rows, out):
    """Copy runs of rows: packets of the run `k` go to ``positions[k]``, ``positions[k] + step``, … of every column.

    A run shorter than `RUN` goes to ``positions[k]`` in one piece. About 1 ns a value from memory.

    Parameters
    ----------
    addresses : int64 array of shape (n_runs,)
        Address of the first value of each run in the first column, float64.
    strides : int64 array of shape (n_runs,)
        Values from a column to the next in the matrix of the run.
    lengths, positions : int64 arrays of shape (n_runs,)
        Rows of each run, and where they go.
    step : int
        Rows between packets of a run.
    n_columns, n_rows : int
        Shape of the output.
    out : float64 array of shape (n_rows * n_columns,)
        Output, column-major.
    """
    n_runs = addresses.shape[0]
    start = out.ctypes.data
    for column in range(n_columns):
        target = start + 8 * column * n_rows
        for k in range(n_runs):
            coming = min(k + _AHEAD, n_runs - 1)
            first = addresses[coming] + 8 * column * strides[coming]
            for line in range(RUN // PACKET):
                prefetch(first + 64 * line)
            source = addresses[k] + 8 * column * strides[k]
            if lengths[k] == RUN:
                for packet in range(RUN // PACKET):
                    copy(source + 8 * PACKET * packet, target + 8 * (positions[k] + packet * step), PACKET)
            else:
                copy(source, target + 8 * positions[k], lengths[k])
