"""Exact products of 16-bit whole numbers with the processor's dot-product instruction.

Codes and gridded conductances are whole numbers, often of at most 15 bits. Where the
processor multiplies 32 pairs of 16-bit numbers in one instruction (AVX-512 VNNI,
`vpdpwssd`), the product of planes and conductances runs at twice the rate of float32, with
the same exact sums. Elsewhere `numpy.matmul` computes them; no result depends on which.

Conductances are packed once, when a matrix is written: blocks of 64 columns, in a block
pairs of rows, in a pair the two rows of each column together. A block of 256 rows is 32 KiB
and stays in the first-level cache while all planes pass by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.kernel_cache import cached

__all__ = ["BLOCK", "TILE", "has_dot_product", "multiply_packed", "pack"]

BLOCK = 64  # columns of a packed block: 4 registers of 16
TILE = 6  # planes at a time: 24 registers of sums
_LANES = 16
_LINE = 32  # numbers of 16 bits in a cache line
_REGISTERS = BLOCK // _LANES
_INTRINSIC = "llvm.x86.avx512.vpdpwssd.512"


def has_dot_product() -> bool:
    """Return whether compiled code may use the 512-bit dot product of 16-bit pairs."""
    codegen = cpu_target.target_context.codegen()
    features = str(codegen.magic_tuple()[2]).split(",")
    return "+avx512vnni" in features and "+avx512bw" in features


@intrinsic
def _dot_tile(typing_context, codes, stride, packed, pairs, sums, columns):  # type: ignore[no-untyped-def]
    """Emit the product of TILE planes with one block of columns.

    Args:
        typing_context: what types are known by; unused.
        codes: address of the first pair of codes.
        stride: bytes from one plane to the next.
        packed: address of the block.
        pairs: pairs of rows.
        sums: address of the first sum.
        columns: bytes from one plane's sums to the next one's.
    """
    del typing_context
    signature = types.void(codes, stride, packed, pairs, sums, columns)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        _emit_tile(builder, *arguments)
        return context.get_dummy_value()

    return signature, generate


def _at(builder: ir.IRBuilder, base: ir.Value, offset: ir.Value, kind: ir.Type) -> ir.Value:
    """Return a pointer some bytes behind an address."""
    pointer = builder.inttoptr(base, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def _constant(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), value)


def _emit_tile(
    builder: ir.IRBuilder,
    codes: ir.Value,
    stride: ir.Value,
    packed: ir.Value,
    pairs: ir.Value,
    sums: ir.Value,
    columns: ir.Value,
) -> None:
    """Write the loop over pairs of rows: one dot product a plane and register."""
    i64, i32 = ir.IntType(64), ir.IntType(32)
    vector = ir.VectorType(i32, _LANES)
    function = builder.module.globals.get(_INTRINSIC)
    if function is None:
        kind = ir.FunctionType(vector, [vector, vector, vector])
        function = ir.Function(builder.module, kind, _INTRINSIC)

    before = builder.block
    body = builder.append_basic_block("pairs")
    after = builder.append_basic_block("stored")
    offsets = [builder.mul(stride, _constant(r)) for r in range(TILE)]
    builder.branch(body)
    builder.position_at_end(body)
    step = builder.phi(i64)
    step.add_incoming(_constant(0), before)
    count = TILE * _REGISTERS
    totals = [builder.phi(vector) for _ in range(count)]
    row = builder.mul(step, _constant(4 * BLOCK))
    weights = []
    for c in range(_REGISTERS):
        place = builder.add(row, _constant(4 * _LANES * c))
        weights.append(builder.load(_at(builder, packed, place, vector), align=4))
    new = []
    for r in range(TILE):
        place = builder.add(offsets[r], builder.mul(step, _constant(4)))
        pair = builder.load(_at(builder, codes, place, i32), align=2)
        lane = builder.insert_element(ir.Constant(vector, ir.Undefined), pair, ir.Constant(i32, 0))
        mask = ir.Constant(ir.VectorType(i32, _LANES), [0] * _LANES)
        both = builder.shuffle_vector(lane, ir.Constant(vector, ir.Undefined), mask)
        for c in range(_REGISTERS):
            old = totals[r * _REGISTERS + c]
            new.append(builder.call(function, [old, both, weights[c]]))
    following = builder.add(step, _constant(1))
    step.add_incoming(following, builder.block)
    for total, value in zip(totals, new, strict=True):
        total.add_incoming(ir.Constant(vector, [0] * _LANES), before)
        total.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, pairs), body, after)
    builder.position_at_end(after)
    _emit_stores(builder, new, sums, columns)


def _emit_stores(
    builder: ir.IRBuilder, totals: list[ir.Value], sums: ir.Value, columns: ir.Value
) -> None:
    """Write the stores of the sums of TILE planes, as floats."""
    floats = ir.VectorType(ir.FloatType(), _LANES)
    for r in range(TILE):
        for c in range(_REGISTERS):
            place = builder.add(builder.mul(columns, _constant(r)), _constant(4 * _LANES * c))
            value = builder.sitofp(totals[r * _REGISTERS + c], floats)
            builder.store(value, _at(builder, sums, place, floats), align=4)


@cached
@njit(error_model="numpy")
def multiply_packed(codes, start, pairs, packed, sums):  # type: ignore[no-untyped-def]
    """Fill sums of planes times packed columns.

    Args:
        codes: int16 [planes, a multiple of TILE; >= start + 2 pairs], C order.
        start: first driven row.
        pairs: pairs of driven rows, above 0.
        packed: int16 [blocks, pairs, BLOCK, 2], C order.
        sums: float32 [planes, blocks x BLOCK], C order, filled.
    """
    stride = codes.strides[0]
    columns = sums.strides[0]
    for b in range(packed.shape[0]):
        block = packed.ctypes.data + b * packed.strides[0]
        for p in range(0, codes.shape[0], TILE):
            first = codes.ctypes.data + p * stride + 2 * start
            target = sums.ctypes.data + p * columns + 4 * b * BLOCK
            _dot_tile(first, stride, block, pairs, target, columns)  # type: ignore[call-arg]


@cached
@njit(error_model="numpy")
def _pack(values, packed):  # type: ignore[no-untyped-def]
    """Fill packed columns; what lies beyond the matrix is 0."""
    rows, columns = values.shape
    for b in range(packed.shape[0]):
        for p in range(packed.shape[1]):
            for c in range(packed.shape[2]):
                j = b * packed.shape[2] + c
                for half in range(2):
                    i = 2 * p + half
                    inside = i < rows and j < columns
                    packed[b, p, c, half] = np.int16(values[i, j]) if inside else np.int16(0)


def pack(values: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.int16]:
    """Return whole numbers [rows, columns] of at most 15 bits as packed columns."""
    blocks = -(-values.shape[1] // BLOCK)
    shape = (blocks, -(-values.shape[0] // 2), BLOCK, 2)
    room = np.empty(int(np.prod(shape)) + _LINE, dtype=np.int16)
    first = -(room.ctypes.data // 2) % _LINE  # loads then never straddle two cache lines
    packed = room[first : first + int(np.prod(shape))].reshape(shape)
    _pack(values, packed)
    return packed
