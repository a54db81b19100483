# mypy: disable-error-code="untyped-decorator, misc"
"""Vectors (SIMD) of float32 in numba kernels, and fetches ahead, because numba itself has none.

LLVM vectorises plain loops only where it can prove enough about them, and its code for products of small
matrices is slow. Kernels that use vectors explicitly take a tenth of the time. The result in a lane depends
neither on its place in the vector nor on its neighbours.
"""

from __future__ import annotations

import operator
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from epixs.compiled import compiled

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Number of lanes of a vector: as many float32 as a register holds."""

COLUMNS = 2 * LANES
"""Number of columns of the matrices that `multiply_units` takes: shape `(row, column)`, contiguous."""

UNITS = 8
"""Number of rows that `multiply_units` computes at once: with two vectors each, they hide the latency of an
addition."""

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_VECTOR, _INTS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT, LANES)


class Lanes(numba.types.Type):
    """Type of a vector in compiled kernels."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


LANES_TYPE = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Return a pointer to a number of an array, which is indexed as if it had one axis."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [at])


def _read(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _write(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _spread(builder: Any, number: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(empty, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(_INTS, [0] * LANES))


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [a, b, c])


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", b, a), b, a)  # a NaN in `a` stays


@intrinsic
def load(typingctx: Any, array: Any, at: Any) -> Any:
    """Read a vector from a contiguous array, starting at index `at`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _read(builder, pointer_to(context, builder, signature.args[0], *args))

    return LANES_TYPE(array, numba.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """Write a vector into a contiguous array, starting at index `at`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _write(builder, args[2], pointer_to(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return numba.types.none(array, numba.intp, LANES_TYPE), codegen


@intrinsic
def difference(typingctx: Any, sums: Any, high: Any, low: Any) -> Any:
    """Subtract the vector at `low` from the one at `high` in an int32 array; sums may have wrapped around."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, *places = args
        high, low = (
            builder.load(
                builder.bitcast(
                    pointer_to(context, builder, signature.args[0], sums, at), _INTS.as_pointer()
                ),
                align=4,
            )
            for at in places
        )
        return builder.sitofp(builder.sub(high, low), _VECTOR)

    return LANES_TYPE(sums, numba.intp, numba.intp), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """Ask for a number of an array, which will be read soon; the kernel goes on meanwhile."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        data = context.make_array(array_type)(context, builder, args[0])
        pointer = cgutils.get_item_pointer(context, builder, array_type, data, args[1:])
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        # For reading, to be kept in all caches, as data.
        hints = [ir.Constant(_INT, hint) for hint in (0, 3, 1)]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, *(hint.type for hint in hints)])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, *hints])
        return context.get_dummy_value()

    return numba.types.none(array, numba.intp, numba.intp), codegen


@intrinsic
def root(typingctx: Any, a: Any) -> Any:
    """Take the square root of each lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return builder.call(function, args)

    return LANES_TYPE(LANES_TYPE), codegen


@intrinsic
def spread(typingctx: Any, number: Any) -> Any:
    """Set all lanes to one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, args[0])

    return LANES_TYPE(numba.float32), codegen


@intrinsic
def multiply_add(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute `a * b + c`, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fused(builder, *args)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE), codegen


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """Take the larger of two vectors, lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _larger(builder, *args)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE), codegen


@intrinsic
def _scaled(typingctx: Any, value: Any, power: Any) -> Any:
    """Multiply by 2 ** n, where n is in the low bits of `power`, by adding n to the exponent."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, power = (builder.bitcast(arg, _INTS) for arg in args)
        power = builder.shl(power, ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(builder.add(value, power), _VECTOR)

    return LANES_TYPE(LANES_TYPE, LANES_TYPE), codegen


def _operator(symbol: Any, instruction: str) -> None:
    @intrinsic
    def apply(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return LANES_TYPE(LANES_TYPE, LANES_TYPE), codegen

    @overload(symbol, strict=False)
    def implementation(a: Any, b: Any) -> Any:
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: apply(a, b)
        return None


for _symbol, _instruction in {
    operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv",
}.items():  # fmt: skip
    _operator(_symbol, _instruction)


@compiled()
def exp(x: Any) -> Any:
    """Compute the exponential function of numbers up to 88, with a relative error of at most 2e-7.

    Numbers below -87 count as -87. The method: `x = n * log(2) + r` with a whole `n`, and Taylor's polynomial
    of `r`, which is at most .35 (its eighth term is below 1e-8).
    """
    x = larger(x, spread(numba.float32(-87.0)))
    # The last bits of a float32 around 1.5 * 2**23 are those of a whole number.
    shift = spread(numba.float32(12582912.0))
    power = multiply_add(x, spread(numba.float32(1.4426950408889634)), shift)
    n = power - shift
    r = multiply_add(n, spread(numba.float32(-0.693359375)), x)
    r = multiply_add(n, spread(numba.float32(2.12194440e-4)), r)
    p = spread(numba.float32(1 / 5040))
    p = multiply_add(p, r, spread(numba.float32(1 / 720)))
    p = multiply_add(p, r, spread(numba.float32(1 / 120)))
    p = multiply_add(p, r, spread(numba.float32(1 / 24)))
    p = multiply_add(p, r, spread(numba.float32(1 / 6)))
    p = multiply_add(p, r, spread(numba.float32(1 / 2)))
    p = multiply_add(p, r, spread(numba.float32(1)))
    p = multiply_add(p, r, spread(numba.float32(1)))
    return _scaled(p, power)


@intrinsic
def multiply_units(
    typingctx: Any,
    weights: Any,
    at: Any,
    bias: Any,
    first: Any,
    values: Any,
    low: Any,
    inputs: Any,
    out: Any,
    relu: Any,
    onto: Any,
) -> Any:
    """Compute `UNITS` units of a dense layer, starting at unit `first`, over some of the inputs.

    Their weights, `(input, unit)`, start at index `at`, and the values, `(input, COLUMNS)`, at row `low`. The
    sums begin with what is in `out`, `(unit, COLUMNS)`, if `onto`, else with the bias. Negative results are
    set to 0 if `relu`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _weights, at, _bias, first, _values, low, inputs, _out, relu, onto = args
        kinds, columns = signature.args, range(0, COLUMNS, LANES)

        def pointer(which: int, index: Any, plus: int = 0) -> Any:
            index = builder.add(index, ir.Constant(index.type, plus))
            return pointer_to(context, builder, kinds[which], args[which], index)

        def times(index: Any, factor: int) -> Any:
            return builder.mul(index, ir.Constant(index.type, factor))

        def result(unit: int, c: int) -> Any:
            return pointer(7, times(first, COLUMNS), unit * COLUMNS + c)

        sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in columns] for _ in range(UNITS)]
        for unit, row in enumerate(sums):
            begin = _spread(builder, builder.load(pointer(2, first, unit)))
            for total, c in zip(row, columns, strict=True):
                builder.store(builder.select(onto, _read(builder, result(unit, c)), begin), total)
        with cgutils.for_range(builder, inputs) as loop:
            value_at = times(builder.add(low, loop.index), COLUMNS)
            vectors = [_read(builder, pointer(4, value_at, c)) for c in columns]
            weight_at = builder.add(at, times(loop.index, UNITS))
            for unit, row in enumerate(sums):
                weight = _spread(builder, builder.load(pointer(0, weight_at, unit)))
                for total, value in zip(row, vectors, strict=True):
                    builder.store(_fused(builder, weight, value, builder.load(total)), total)
        floor = builder.select(relu, _constant(0.0), _constant(float("-inf")))
        for unit, row in enumerate(sums):
            for total, c in zip(row, columns, strict=True):
                _write(builder, _larger(builder, builder.load(total), floor), result(unit, c))
        return context.get_dummy_value()

    index = numba.intp
    kinds = weights, index, bias, index, values, index, index, out, numba.boolean, numba.boolean
    return numba.types.none(*kinds), codegen
