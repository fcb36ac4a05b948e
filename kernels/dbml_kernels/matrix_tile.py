"""Products of small row-major matrices, as fast as a BLAS and on the thread that asks: ``C += A B``.

Four rows by a few vectors of C stay in registers while k runs. Each element is summed in the order of k, whatever row
it stands in: the same bits for any cut of the rows. Three vectors of 32 bytes are what sixteen registers of AVX2 hold
(12 of C, 3 of B, 1 of A): twice as fast there as tiles that spill.

Source: Goto & van de Geijn 2008, anatomy of high-performance matrix multiplication (the inner kernel).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dbml_kernels.jit import kernel

ir = cgutils.ir

TILE_ROWS = 4  # m is a multiple of it
TILE_COLUMNS = 4  # n is a multiple of it: the narrowest tile
PANEL = 16  # columns of `panel_add`
_VECTOR = 32  # bytes
_WIDE = 3  # vectors of the widest tile
_DEPTH = 64  # of k at a time: what a tile reads of B stays in the first cache


class _Tile:
    """Writes the code of one tile: TILE_ROWS rows by `vectors` vectors of `lanes` columns."""

    def __init__(self, builder: Any, real: Any, vectors: int, lanes: int) -> None:
        self.builder, self.vectors = builder, vectors
        self.word, self.real, self.lanes = ir.IntType(64), real, lanes
        self.vector = ir.VectorType(real, lanes)
        self.align = 4 if isinstance(real, ir.FloatType) else 8
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{lanes}f{8 * self.align}"
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name)

    def place(self, base: Any, at: Any, *moves: tuple[Any, Any]) -> Any:
        """Return the address of ``base[at + the sum of the products of moves]``."""
        for count, stride in moves:
            at = self.builder.add(at, self.builder.mul(count, stride))
        return self.builder.gep(base, [at])

    def number(self, value: int) -> Any:
        return ir.Constant(self.word, value)

    def columns(self, base: Any, at: Any, row: tuple[Any, Any]) -> list[Any]:
        """Return the addresses of the vectors of a row."""
        found = []
        for v in range(self.vectors):
            address = self.place(base, at, row, (self.number(v), self.number(self.lanes)))
            found.append(self.builder.bitcast(address, self.vector.as_pointer()))
        return found

    def load(self, address: Any) -> Any:
        return self.builder.load(address, align=self.align)

    def spread(self, value: Any) -> Any:
        """Return a vector of one value."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def run(self, a: tuple[Any, ...], b: tuple[Any, ...], c: tuple[Any, ...], k: Any) -> None:
        """Write the loop over k; a: base, at, stride of rows, stride of k; b and c: base, at, stride of rows."""
        builder, rows = self.builder, range(TILE_ROWS)
        out = [self.columns(c[0], c[1], (self.number(i), c[2])) for i in rows]
        before = [[self.load(address) for address in row] for row in out]
        entry, loop = builder.block, builder.append_basic_block("k")
        done = builder.append_basic_block("k.done")
        builder.cbranch(builder.icmp_signed(">", k, self.number(0)), loop, done)

        builder.position_at_end(loop)
        j = builder.phi(self.word)
        sums = [[builder.phi(self.vector) for _ in row] for row in out]
        b_row = [self.load(address) for address in self.columns(b[0], b[1], (j, b[2]))]
        after = []
        for i in rows:
            a_value = self.spread(builder.load(self.place(a[0], a[1], (self.number(i), a[2]), (j, a[3]))))
            after.append([builder.call(self.fma, [a_value, x, s]) for x, s in zip(b_row, sums[i], strict=True)])
        following = builder.add(j, self.number(1))
        j.add_incoming(self.number(0), entry)
        j.add_incoming(following, loop)
        for phis, first, last in zip(sums, before, after, strict=True):
            for phi, start, end in zip(phis, first, last, strict=True):
                phi.add_incoming(start, entry)
                phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, done)

        builder.position_at_end(done)
        ends = []
        for addresses, first, last in zip(out, before, after, strict=True):
            for address, start, end in zip(addresses, first, last, strict=True):
                total = builder.phi(self.vector)
                total.add_incoming(start, entry)
                total.add_incoming(end, loop)
                ends.append((total, address))
        for total, address in ends:
            builder.store(total, address, align=self.align)


def _tile(vectors: int, lanes: int = 0) -> Any:
    """Return the function of one tile; 0 lanes: as many as a vector of 32 bytes has."""

    @intrinsic
    def tile(typing_context, a, a_at, a_row, a_col, b, b_at, b_row, c, c_at, c_row, k):
        def generate(context, builder, signature, arguments):
            base = {i: context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 4, 7)}
            real = context.get_data_type(signature.args[7].dtype)
            size = context.get_abi_sizeof(real)
            code = _Tile(builder, real, vectors, lanes or _VECTOR // size)
            code.run((base[0], *arguments[1:4]), (base[4], *arguments[5:7]), (base[7], *arguments[8:10]), arguments[10])
            return context.get_dummy_value()

        n = types.int64
        return types.void(a, n, n, n, b, n, n, c, n, n, n), generate

    return tile


_wide, _single, _narrow, _panel = _tile(_WIDE), _tile(1), _tile(1, TILE_COLUMNS), _tile(1, PANEL)


@kernel
def product_add(a, a_at, a_row, a_col, b, b_at, b_row, c, c_at, c_row, m, k, n):
    """``C += A B`` for A (m, k), B (k, n), C (m, n) inside flat arrays of one type, m and n multiples of 4.

    ``A[i, j] = a[a_at + i a_row + j a_col]``, so that A may be a transposed matrix; ``B[i, j] = b[b_at + i b_row + j]``
    and C likewise.
    """
    single = _VECTOR // c.itemsize
    wide = _WIDE * single
    for start in range(0, k, _DEPTH):
        depth = min(_DEPTH, k - start)
        a_from, b_from = a_at + start * a_col, b_at + start * b_row
        o = 0
        while o + wide <= n:
            for i in range(0, m, TILE_ROWS):
                _wide(a, a_from + i * a_row, a_row, a_col, b, b_from + o, b_row, c, c_at + i * c_row + o, c_row, depth)
            o += wide
        while o + single <= n:
            for i in range(0, m, TILE_ROWS):
                _single(
                    a, a_from + i * a_row, a_row, a_col, b, b_from + o, b_row, c, c_at + i * c_row + o, c_row, depth
                )
            o += single
        while o < n:
            for i in range(0, m, TILE_ROWS):
                _narrow(
                    a, a_from + i * a_row, a_row, a_col, b, b_from + o, b_row, c, c_at + i * c_row + o, c_row, depth
                )
            o += TILE_COLUMNS


@kernel
def panel_add(a, a_at, a_row, a_col, b, b_at, b_row, c, c_at, c_row, m, k):
    """`product_add` for `PANEL` columns: a third of its code, for kernels that choose their own widths."""
    for i in range(0, m, TILE_ROWS):
        _panel(a, a_at + i * a_row, a_row, a_col, b, b_at, b_row, c, c_at + i * c_row, c_row, k)
