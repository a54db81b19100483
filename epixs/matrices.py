# mypy: disable-error-code="untyped-decorator, misc"
"""Matrix instructions (AMX) in numba kernels: a processor that has them multiplies many times as fast.

A matrix register holds 16 rows of 64 bytes. One instruction multiplies 16 x 32 numbers of 16 bits (bfloat16)
by 32 x 16, and adds the products to 16 x 16 float32. A float32 is split into two such numbers: the nearest
one and the rest. Three instructions add all products except that of the two rests, so the relative error of a
product is at most 2 ** -15 (of factors from 1e-30 to 1e38). What is no number stays none, and products of
infinite factors are none. Instructions take matrix registers by number, so these are constants.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from epixs.lanes import LANES, LANES_TYPE, pointer_to

SIDE, DEPTH = 16, 32
"""Number of rows and columns of a matrix of float32, and of products that one instruction adds to each."""

NAN_BITS = 0x7FC00000
"""Bits of a float32 that is no number, and of a bfloat16 in its upper half."""

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_INTS = ir.VectorType(ir.IntType(32), LANES)


def _granted() -> bool:
    """Return whether the processor has matrix registers, and Linux lets this process use them."""
    *_, features = cpu_target.target_context.codegen().magic_tuple()  # those that numba compiles for
    if not {"+amx-tile", "+amx-bf16", "+avx512f"} <= set(str(features).split(",")) or LANES != SIDE:
        return False
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, matrix_data = 158, 0x1023, 18
    return bool(ctypes.CDLL(None).syscall(arch_prctl, request_permission, matrix_data) == 0)


MATRICES = _granted()
"""Whether this process may use matrix registers."""

_SHAPES = np.zeros(64, np.uint8)  # palette 1, then the bytes of a row and the number of rows of 8 registers
_SHAPES[0], _SHAPES[16:32:2], _SHAPES[48:56] = 1, 64, SIDE


def _call(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _bytes(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    return builder.bitcast(pointer_to(context, builder, kind, array, at), _BYTE.as_pointer())


def _on_registers(name: str, count: int) -> Any:
    """Make an intrinsic whose arguments are the numbers of registers."""

    def typed(*registers: Any) -> Any:
        numbers = [ir.Constant(_BYTE, register.literal_value) for register in registers]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _call(builder, name, *numbers)
            return context.get_dummy_value()

        return numba.types.none(*registers), codegen

    if count == 1:
        return intrinsic(prefer_literal=True)(lambda typingctx, a: typed(a))
    return intrinsic(prefer_literal=True)(lambda typingctx, a, b, c: typed(a, b, c))


def _on_memory(name: str) -> Any:
    """Make an intrinsic that moves a register to or from an array, whose rows are `stride` bytes apart."""

    @intrinsic(prefer_literal=True)
    def move(typingctx: Any, register: Any, array: Any, at: Any, stride: Any) -> Any:
        number = ir.Constant(_BYTE, register.literal_value)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            where = _bytes(context, builder, signature.args[1], args[1], args[2])
            _call(builder, name, number, where, args[3])
            return context.get_dummy_value()

        return numba.types.none(register, array, numba.intp, numba.intp), codegen

    return move


clear_matrix = _on_registers("tilezero", 1)
add_matrix_products = _on_registers("tdpbf16ps", 3)
load_matrix, store_matrix = _on_memory("tileloadd64"), _on_memory("tilestored64")


@intrinsic
def begin_matrices(typingctx: Any) -> Any:
    """Give all matrix registers their shape; to be undone by `end_matrices` in the same kernel."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shapes = cgutils.global_constant(
            builder, "matrix_shapes", ir.Constant(ir.ArrayType(_BYTE, _SHAPES.size), bytearray(_SHAPES))
        )
        _call(builder, "ldtilecfg", builder.bitcast(shapes, _BYTE.as_pointer()))
        return context.get_dummy_value()

    return numba.types.none(), codegen


@intrinsic
def end_matrices(typingctx: Any) -> Any:
    """Leave the matrix registers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return numba.types.none(), codegen


@intrinsic
def store_split(typingctx: Any, even: Any, odd: Any, array: Any, high: Any, low: Any) -> Any:
    """Split vectors of float32 and write them in pairs of 16 bits, `even` first, into an int32 array.

    The nearest numbers go to index `high`, what they lack to index `low`.
    """

    def constant(value: int) -> Any:
        return ir.Constant(_INTS, [value] * LANES)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        *parts, array, high, low = args

        def nearest(value: Any) -> Any:
            raised = builder.add(builder.bitcast(value, _INTS), constant(0x8000))
            high_half = builder.and_(raised, constant(0xFFFF0000))
            is_nan = builder.fcmp_unordered("uno", value, value)  # whose bits may run over
            return builder.select(is_nan, constant(NAN_BITS), high_half)

        for at in (high, low):
            first, second = (nearest(part) for part in parts)
            pairs = builder.or_(builder.lshr(first, constant(16)), second)
            where = pointer_to(context, builder, signature.args[2], array, at)
            builder.store(pairs, builder.bitcast(where, _INTS.as_pointer()), align=4)
            parts = [
                builder.fsub(part, builder.bitcast(high_part, part.type))
                for part, high_part in zip(parts, (first, second), strict=True)
            ]
        return context.get_dummy_value()

    return numba.types.none(LANES_TYPE, LANES_TYPE, array, numba.intp, numba.intp), codegen
