# mypy: disable-error-code="untyped-decorator, misc"
"""Dense layers in compiled kernels: on matrix registers if the processor has them, else on vectors.

The layout of the weights decides which (`laid_out`). Each adds in its own order, which never changes, so a
result depends neither on its neighbours nor on what is computed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.extending import overload

from epixs.compiled import compiled
from epixs.lanes import COLUMNS, LANES, UNITS, larger, load, multiply_add, multiply_units, spread, store
from epixs.matrices import (
    DEPTH,
    MATRICES,
    NAN_BITS,
    SIDE,
    add_matrix_products,
    begin_matrices,
    clear_matrix,
    end_matrices,
    load_matrix,
    store_matrix,
    store_split,
)

Floats = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float32] | npt.NDArray[np.int32]

TALL = 2 * SIDE
"""Number of units that are computed at once on matrices."""

PADDING = TALL if MATRICES else UNITS
"""The number of units of a layer is padded to a multiple of this."""

INPUTS = 128
"""Number of inputs whose values, as vectors, stay in a core's first cache."""

CACHE_LINE = 64


@compiled()
def multiply(weights: Any, bias: Any, values: Any, out: Any, relu: bool, room: Any) -> None:
    """Apply a dense layer to blocks: `out[b, u] = bias[b, u] + sum of kernel[i, u] * values[b, i]`.

    Parameters
    ----------
    weights
        A kernel of the layer's shape, as `laid_out`; it is fetched once for all blocks.
    bias
        Shape `(block, unit)`, or `(1, unit)` if it is the same for all blocks.
    values, out
        Shapes `(block, input, COLUMNS)` and `(block, unit, COLUMNS)`.
    relu
        Whether negative results become 0.
    room
        Memory for intermediate results, as `room_for` makes it.
    """
    _apply(weights, bias, values, out, relu, False, room)


@compiled()
def add_products(weights: Any, nothing: Any, values: Any, out: Any, room: Any) -> None:
    """Add to `out` what `multiply` computes; `nothing` is a bias of zeros."""
    _apply(weights, nothing, values, out, False, True, room)


@compiled()
def add_weighted(weights: Any, values: Any, out: Any) -> None:
    """Add to `out`, of shape `(COLUMNS,)`, the sum of `weights[i] * values[i]`."""
    for i in range(0, COLUMNS, LANES):
        even, odd = spread(np.float32(0)), spread(np.float32(0))  # two sums hide the latency of an addition
        for unit in range(0, len(weights) - 1, 2):
            even = multiply_add(spread(weights[unit]), load(values, unit * COLUMNS + i), even)
            odd = multiply_add(spread(weights[unit + 1]), load(values, (unit + 1) * COLUMNS + i), odd)
        if len(weights) % 2:
            unit = len(weights) - 1
            even = multiply_add(spread(weights[unit]), load(values, unit * COLUMNS + i), even)
        store(out, i, load(out, i) + (even + odd))


def _apply(weights: Any, bias: Any, values: Any, out: Any, relu: bool, onto: bool, room: Any) -> None:
    """Apply a dense layer to blocks, and add to what is in `out` if `onto`.

    Only kernels can call it: numba puts `_implementation` in its place.
    """
    raise NotImplementedError


@overload(_apply, strict=False)
def _implementation(weights: Any, bias: Any, values: Any, out: Any, relu: Any, onto: Any, room: Any) -> Any:
    if weights.dtype == numba.float32:
        return lambda weights, bias, values, out, relu, onto, room: _by_vectors(
            weights, bias, values, out, relu, onto
        )
    return lambda weights, bias, values, out, relu, onto, room: _by_matrices(
        weights, bias, values, out, relu, onto, room
    )


@compiled()
def _by_vectors(weights: Any, bias: Any, values: Any, out: Any, relu: bool, onto: bool) -> None:
    """Apply a dense layer to blocks, some inputs of all of them at a time."""
    inputs, units = values.shape[1], out.shape[1]
    for low in range(0, max(1, inputs), INPUTS):
        count = min(INPUTS, inputs - low)
        for block in range(len(values)):
            for unit in range(0, units, UNITS):
                multiply_units(
                    weights, unit * inputs + low * UNITS, bias[min(block, len(bias) - 1)], unit,
                    values[block], low, count, out[block],
                    relu and low + count == inputs, onto or low > 0,
                )  # fmt: skip


@compiled()
def _by_matrices(weights: Any, bias: Any, values: Any, out: Any, relu: bool, onto: bool, room: Any) -> None:
    """Apply a dense layer to blocks, two matrices of units at a time."""
    inputs, units = values.shape[1], out.shape[1]
    steps = -(-inputs // DEPTH)
    for block in range(len(values)):
        _split(values[block], steps * DEPTH // 2, room[block])
    floor = spread(np.float32(0 if relu else -np.inf))
    begin_matrices()
    for unit in range(0, units, TALL):
        for block in range(len(values)):
            _two_matrices(weights, unit, room[block], steps, out[block], onto)
            _finish(out[block], bias[min(block, len(bias) - 1)], unit, floor)
    end_matrices()


@compiled()
def _finish(out: Any, bias: Any, first: int, floor: Any) -> None:
    """Add the bias to `TALL` units, and keep the larger of the result and `floor`."""
    for unit in range(first, first + TALL):
        added = spread(bias[unit])
        for i in range(0, COLUMNS, LANES):
            at = unit * COLUMNS + i
            store(out, at, larger(load(out, at) + added, floor))


@compiled()
def _split(values: Any, pairs: int, room: Any) -> None:
    """Split `(input, COLUMNS)` into two halves of `(pair of inputs, COLUMNS)`, padded with zeros."""
    inputs, zero, half = len(values), spread(np.float32(0)), pairs * COLUMNS
    for pair in range(pairs):
        for i in range(0, COLUMNS, LANES):
            even, odd, at = zero, zero, pair * COLUMNS + i
            if 2 * pair < inputs:
                even = load(values, 2 * pair * COLUMNS + i)
            if 2 * pair + 1 < inputs:
                odd = load(values, (2 * pair + 1) * COLUMNS + i)
            store_split(even, odd, room, at, half + at)


@compiled()
def _two_matrices(weights: Any, unit: int, room: Any, steps: int, out: Any, onto: bool) -> None:
    """Compute two matrices of units, from `unit` on, for all columns.

    The four products are written out three times, because a function of them takes a tenth longer.
    """
    row, square, low, above = 4 * COLUMNS, SIDE * SIDE, steps * DEPTH // 2 * COLUMNS, unit * COLUMNS
    first, below = unit * steps * DEPTH, above + SIDE * COLUMNS
    second = first + 2 * square * steps
    if onto:
        load_matrix(0, out, above, row)
        load_matrix(1, out, above + SIDE, row)
        load_matrix(2, out, below, row)
        load_matrix(3, out, below + SIDE, row)
    else:
        clear_matrix(0)
        clear_matrix(1)
        clear_matrix(2)
        clear_matrix(3)
    for step in range(steps):
        at, by = step * DEPTH // 2 * COLUMNS, 2 * step * square
        load_matrix(4, weights, first + by, 64)
        load_matrix(5, weights, second + by, 64)
        load_matrix(6, room, low + at, row)
        load_matrix(7, room, low + at + SIDE, row)
        add_matrix_products(0, 4, 6)
        add_matrix_products(1, 4, 7)
        add_matrix_products(2, 5, 6)
        add_matrix_products(3, 5, 7)
        load_matrix(6, room, at, row)
        load_matrix(7, room, at + SIDE, row)
        add_matrix_products(0, 4, 6)
        add_matrix_products(1, 4, 7)
        add_matrix_products(2, 5, 6)
        add_matrix_products(3, 5, 7)
        load_matrix(4, weights, first + by + square, 64)
        load_matrix(5, weights, second + by + square, 64)
        add_matrix_products(0, 4, 6)
        add_matrix_products(1, 4, 7)
        add_matrix_products(2, 5, 6)
        add_matrix_products(3, 5, 7)
    store_matrix(0, out, above, row)
    store_matrix(1, out, above + SIDE, row)
    store_matrix(2, out, below, row)
    store_matrix(3, out, below + SIDE, row)


def laid_out(kernel: Floats, in_matrices: bool = MATRICES, multiple: int = PADDING) -> Weights:
    """Rearrange `(member, input, unit)` -> `(member, number)` as the kernels read it, units padded.

    For vectors: float32 in the order `(unit / UNITS, input, UNITS)`. For matrices: pairs of 16 bits in int32,
    in the order `(unit / SIDE, input / DEPTH, half, SIDE, DEPTH / 2)`, inputs padded.
    """
    kernel = padded(kernel, multiple=multiple)
    members, inputs, units = kernel.shape
    if not in_matrices:
        panels = kernel.reshape(members, inputs, units // UNITS, UNITS).transpose(0, 2, 1, 3)
        return _moved(panels.reshape(members, inputs * units))
    deep = np.pad(kernel, [(0, 0), (0, -inputs % DEPTH), (0, 0)])
    high = _nearest(deep)
    with np.errstate(invalid="ignore"):
        halves = [(part.view(np.uint32) >> 16).astype(np.uint16) for part in (high, _nearest(deep - high))]
    squares = np.stack(halves).reshape(2, members, -1, DEPTH, units // SIDE, SIDE).transpose(1, 4, 2, 0, 5, 3)
    return _moved(np.ascontiguousarray(squares).reshape(members, -1).view(np.int32))


def _nearest(values: Floats) -> Floats:
    """Return the nearest numbers of 16 bits."""
    raised = (values.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.uint32(NAN_BITS), raised).view(np.float32)


def end_to_end(kernels: Sequence[Weights]) -> tuple[Weights, npt.NDArray[np.int64]]:
    """Join laid-out kernels, `(member, number)`; also the number at which each begins, and their end."""
    begins = np.cumsum([0, *(kernel.shape[1] for kernel in kernels)])
    return _moved(np.concatenate(kernels, axis=1) if kernels else np.zeros((1, 0), np.float32)), begins


def padded(values: npt.NDArray[Any], axis: int = -1, multiple: int = PADDING) -> Floats:
    """Pad an axis of units with zeros."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % multiple)
    return np.ascontiguousarray(np.pad(values, widths), np.float32)


def aligned(*shape: int) -> Floats:
    """Make zeros of shape `(*shape, COLUMNS)`, aligned so that no vector crosses a cache line."""
    return _aligned((*shape, COLUMNS), np.float32)


def room_for(inputs: int, blocks: int = 1) -> npt.NDArray[np.int32]:
    """Make memory for `multiply` with up to so many inputs, and blocks."""
    return _aligned((blocks, -(-inputs // DEPTH) * DEPTH, COLUMNS), np.int32)


def _moved(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Copy to aligned memory."""
    out = _aligned(values.shape, values.dtype)
    out[:] = values
    return out


def _aligned(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    size = int(np.prod(shape))
    values = np.zeros(size + CACHE_LINE // 4, dtype)
    first = -values.ctypes.data % CACHE_LINE // 4
    return values[first : first + size].reshape(shape)
