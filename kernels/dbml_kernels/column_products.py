"""Products of a column-major matrix X with few columns, ``Z = X M`` and ``X' Z``, by sums that stay in registers.

X is passed as the flat memory of a matrix of `n` rows: column j is ``x[j * n : (j + 1) * n]``. Rows are packed once for
both products, 6 to a panel and in the type of M: single precision goes twice as fast. M, Z and what becomes of them lie
in tiles, a vector of columns each (`tiles_of`). Made for one thread a block: libraries that start threads of their own
for such narrow products wait for each other.

Source: Goto & van de Geijn 2008, anatomy of high-performance matrix multiplication (panels, the inner kernel).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import DTypeLike, NDArray

from dbml_kernels.jit import kernel

ir = cgutils.ir

SIDE = 6  # rows of a panel, and of a tile in registers: 12 sums, 2 vectors and a factor fill the 16 of AVX2
LANES = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}  # columns of a tile
STRIP = 192  # rows that both products are made of while they are in the cache
CHUNK = 240  # columns of X whose rows of M stay in the cache; both are multiples of SIDE


def padded(size: int) -> int:
    """Return the next multiple of `SIDE`."""
    return -(-size // SIDE) * SIDE


def tiles_empty(rows: int, width: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return tiles of zeros for a matrix (rows, width): shape (n_tiles, `padded` rows, lanes)."""
    lanes = LANES[np.dtype(dtype)]
    return np.zeros((max(1, -(-width // lanes)), padded(rows), lanes), dtype)


def tiles_of(matrix: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a matrix in tiles, padded with zeros."""
    rows, width = matrix.shape
    tiles = tiles_empty(rows, width, dtype)
    for number, tile in enumerate(tiles):
        part = matrix[:, number * tile.shape[1] : (number + 1) * tile.shape[1]]
        tile[:rows, : part.shape[1]] = part
    return tiles


def matrix_of(tiles: NDArray[Any], rows: int, width: int) -> NDArray[np.float64]:
    """Return the matrix (rows, width) that lies in tiles, in double precision."""
    matrix = np.empty((rows, width))
    for number, tile in enumerate(tiles):
        part = matrix[:, number * tile.shape[1] : (number + 1) * tile.shape[1]]
        part[:] = tile[:rows, : part.shape[1]]
    return matrix


class _Sums:
    """Writes the code that adds ``sum a b`` to SIDE rows of a tile: SIDE terms of it at each step.

    `within` and `across` are the distances in `a` from term to term of a step, and from row to row.
    """

    def __init__(self, builder: Any, real: Any, within: int, across: int) -> None:
        self.builder, self.within, self.across = builder, within, across
        single = isinstance(real, ir.FloatType)
        self.word, self.size, self.lanes = ir.IntType(64), 4 if single else 8, 16 if single else 8
        self.vector = ir.VectorType(real, self.lanes)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{self.lanes}f{8 * self.size}")

    def number(self, value: int) -> Any:
        return ir.Constant(self.word, value)

    def row(self, base: Any, number: int) -> Any:
        """Return the address of a vector of `lanes` numbers."""
        return self.builder.bitcast(
            self.builder.gep(base, [self.number(number * self.lanes)]), self.vector.as_pointer()
        )

    def spread(self, address: Any) -> Any:
        """Return a vector of one number."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, self.builder.load(address), ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def run(self, a: Any, a_step: Any, b: Any, c: Any, steps: Any) -> None:
        """Write the loop over `steps`; a, b, c are addresses."""
        builder = self.builder
        out = [self.row(c, i) for i in range(SIDE)]
        before = [builder.load(address, align=self.size) for address in out]
        entry, loop = builder.block, builder.append_basic_block("steps")
        done = builder.append_basic_block("steps.done")
        builder.cbranch(builder.icmp_signed(">", steps, self.number(0)), loop, done)

        builder.position_at_end(loop)
        step, a_now, b_now = builder.phi(self.word), builder.phi(a.type), builder.phi(b.type)
        sums = [builder.phi(self.vector) for _ in out]
        after = list(sums)
        for term in range(SIDE):
            factor = builder.load(self.row(b_now, term), align=self.size)
            for i in range(SIDE):
                place = self.number(term * self.within + i * self.across)
                after[i] = builder.call(self.fma, [self.spread(builder.gep(a_now, [place])), factor, after[i]])
        following = builder.add(step, self.number(1))
        a_next, b_next = builder.gep(a_now, [a_step]), builder.gep(b_now, [self.number(SIDE * self.lanes)])
        moved = [(step, self.number(0), following), (a_now, a, a_next), (b_now, b, b_next)]
        for phi, start, end in [*moved, *zip(sums, before, after, strict=True)]:
            phi.add_incoming(start, entry)
            phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)

        builder.position_at_end(done)
        ends = [builder.phi(self.vector) for _ in out]
        for phi, start, end in zip(ends, before, after, strict=True):
            phi.add_incoming(start, entry)
            phi.add_incoming(end, loop)
        for phi, address in zip(ends, out, strict=True):
            builder.store(phi, address, align=self.size)


def _sums(within: int, across: int) -> Any:
    @intrinsic
    def sums(typing_context, a, a_at, a_step, b, b_at, c, c_at, steps):
        def generate(context, builder, signature, arguments):
            a_data, b_data, c_data = (
                context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3, 5)
            )
            code = _Sums(builder, context.get_data_type(signature.args[5].dtype), within, across)
            place = [builder.gep(data, [arguments[i]]) for data, i in ((a_data, 1), (b_data, 4), (c_data, 6))]
            code.run(place[0], arguments[2], place[1], place[2], arguments[7])
            return context.get_dummy_value()

        n = types.int64
        return types.void(a, n, n, b, n, c, n, n), generate

    return sums


# Over the columns of a panel, for its rows; over the rows of panels, for columns.
_over_columns, _over_rows = _sums(SIDE, 1), _sums(1, SIDE)


@intrinsic
def _panel_copy(typing_context, x, x_at, packed, packed_at):
    """Copy SIDE numbers as one vector, in the type of `packed`: numba would copy one after the other."""

    def generate(context, builder, signature, arguments):
        source, target = (context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 2))
        came, real = (context.get_data_type(signature.args[i].dtype) for i in (0, 2))
        sizes = [4 if isinstance(kind, ir.FloatType) else 8 for kind in (came, real)]
        address = builder.bitcast(builder.gep(source, [arguments[1]]), ir.VectorType(came, SIDE).as_pointer())
        values, vector = builder.load(address, align=sizes[0]), ir.VectorType(real, SIDE)
        if sizes[0] != sizes[1]:
            values = builder.fptrunc(values, vector) if sizes[0] > sizes[1] else builder.fpext(values, vector)
        address = builder.bitcast(builder.gep(target, [arguments[3]]), vector.as_pointer())
        builder.store(values, address, align=sizes[1])
        return context.get_dummy_value()

    n = types.int64
    return types.void(x, n, packed, n), generate


@kernel
def rows_pack(x, n, d, start, rows, first, last, packed, width):
    """Pack columns `first` to `last` of `rows` rows from `start` on into panels of `width` columns, zeros from d on.

    packed (at least `padded` rows * width,): row r of panel q and column j is ``packed[(q width + j) SIDE + r]``.
    """
    whole = rows // SIDE
    for j in range(max(first, d), last):
        for q in range((rows + SIDE - 1) // SIDE):
            packed[(q * width + j) * SIDE : (q * width + j + 1) * SIDE] = 0.0
    for j in range(first, min(last, d)):
        at = j * n + start
        for q in range(whole):
            _panel_copy(x, at + q * SIDE, packed, (q * width + j) * SIDE)
        if whole * SIDE < rows:
            place = (whole * width + j) * SIDE
            for r in range(SIDE):
                packed[place + r] = x[at + whole * SIDE + r] if whole * SIDE + r < rows else 0.0


@kernel
def moments_add(x, n, start, rows, first, last, weight, sums, squares):
    """``sums += X' w``, ``squares += (X * X)' w`` for `rows` rows from `start` on and columns `first` to `last`."""
    w = weight[start : start + rows]
    for j in range(first, last):
        column = x[j * n + start : j * n + start + rows]
        total = square = 0.0
        for i in range(rows):
            scaled = column[i] * w[i]
            total += scaled
            square += scaled * column[i]
        sums[j] += total
        squares[j] += square


@kernel
def strip_times(x, n, d, start, rows, m, packed, z, weight, sums, squares):
    """Add ``X M`` to `rows` rows of z from `start` on, at most STRIP, which are left in `packed`; and their moments."""
    tiles, width, lanes = m.shape
    m_flat, z_flat, deep = m.reshape(-1), z.reshape(-1), z.shape[1]
    for first in range(0, width, CHUNK):
        last = min(first + CHUNK, width)
        if sums.shape[0]:
            moments_add(x, n, start, rows, first, min(last, d), weight, sums, squares)
        rows_pack(x, n, d, start, rows, first, last, packed, width)
        for q in range((rows + SIDE - 1) // SIDE):
            for t in range(tiles):
                place = (t * deep + start + q * SIDE) * lanes
                steps = (last - first) // SIDE
                at = (q * width + first) * SIDE
                _over_columns(packed, at, SIDE * SIDE, m_flat, (t * width + first) * lanes, z_flat, place, steps)


@kernel
def columns_times_add(x, n, d, m, packed, z):
    """``Z += X M`` for tiles m (t, `padded` d, lanes) and z (t, `padded` n, lanes).

    packed (STRIP * `padded` d,) of the type of m is overwritten.
    """
    none = np.empty(0)
    for start in range(0, n, STRIP):
        strip_times(x, n, d, start, min(STRIP, n - start), m, packed, z, none, none, none)


@kernel
def columns_there_and_back(x, n, d, m, weight, packed, z, out, sums, squares):
    """``Z = diag(w) (Z + X M)``, ``out += X' Z``; with sums and squares (d,), also ``X' w`` and ``(X * X)' w``.

    Arguments are those of `columns_times_add`; out is tiles (t, `padded` d, lanes), weight (n,) float64; sums and
    squares may be empty.
    """
    tiles, width, lanes = m.shape
    z_flat, out_flat, deep = z.reshape(-1), out.reshape(-1), z.shape[1]
    for start in range(0, n, STRIP):
        rows = min(STRIP, n - start)
        strip_times(x, n, d, start, rows, m, packed, z, weight, sums, squares)
        for t in range(tiles):
            for i in range(start, start + rows):
                for c in range(lanes):
                    z[t, i, c] *= weight[i]
        panels = (rows + SIDE - 1) // SIDE
        for j in range(0, width, SIDE):
            for t in range(tiles):
                at, place = (t * deep + start) * lanes, (t * width + j) * lanes
                _over_rows(packed, j * SIDE, width * SIDE, z_flat, at, out_flat, place, panels)
