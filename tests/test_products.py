"""Dense layers on vectors and on matrices beside numpy in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epixs.lanes import COLUMNS
from epixs.matrices import MATRICES
from epixs.products import add_products, add_weighted, aligned, laid_out, multiply, padded, room_for

LAYOUTS = [False, pytest.param(True, marks=pytest.mark.skipif(not MATRICES, reason="no matrix instructions"))]
ERROR = {False: 1e-6, True: 2.0**-14}


def a_layer(inputs, units, blocks=1, seed=0):
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(inputs, units)).astype(np.float32)
    bias = generator.normal(size=units).astype(np.float32)
    values = aligned(blocks, inputs)
    values[:] = generator.normal(size=values.shape) * 10.0 ** generator.integers(-3, 4, (inputs, 1))
    return kernel, bias, values


def exact(kernel, bias, values):
    """The layer in float64, and the sum of the sizes of all terms, to which an error is relative."""
    wide, sizes = (np.einsum("iu,bic->buc", f(kernel.astype(float)), f(values)) for f in (np.array, np.abs))
    return wide + bias[:, None], sizes + np.abs(bias)[:, None]


def near(found, wanted, sizes, in_matrices):
    return (np.abs(found - wanted) <= ERROR[in_matrices] * sizes + 1e-30).all()


@pytest.mark.parametrize("in_matrices", LAYOUTS)
@settings(max_examples=30)
@given(inputs=st.integers(0, 200), units=st.integers(1, 90), blocks=st.integers(1, 3), relu=st.booleans())
def test_a_dense_layer(in_matrices, inputs, units, blocks, relu):
    kernel, bias, values = a_layer(inputs, units, blocks)
    wanted, sizes = exact(kernel, bias, values)
    weights, wide = laid_out(kernel[None], in_matrices)[0], padded(bias)[None]
    out, room = aligned(blocks, wide.size), room_for(inputs, blocks)
    multiply(weights, wide, values, out, relu, room)
    if relu:
        wanted = np.maximum(wanted, 0)
    assert near(out[:, :units], wanted, sizes, in_matrices)
    assert not out[:, units:].any()
    alone = aligned(1, wide.size)
    for block in range(blocks):
        multiply(weights, wide, values[block : block + 1], alone, relu, room)
        np.testing.assert_array_equal(alone[0], out[block])


@pytest.mark.parametrize("in_matrices", LAYOUTS)
def test_each_block_has_its_bias(in_matrices):
    kernel, _, values = a_layer(5, 64, blocks=2)
    bias, out = np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32), aligned(2, 64)
    multiply(laid_out(kernel[None], in_matrices)[0], bias, values, out, False, room_for(5, 2))
    for block in range(2):
        wanted, sizes = exact(kernel, bias[block], values[block : block + 1])
        assert near(out[block : block + 1], wanted, sizes, in_matrices)


@pytest.mark.parametrize("in_matrices", LAYOUTS)
def test_products_are_added_to_what_is_there(in_matrices):
    kernel, bias, values = a_layer(25, 64)
    wanted, sizes = exact(kernel, bias, values)
    out = aligned(1, 64)
    out[:] = bias[:, None]
    weights, nothing = laid_out(kernel[None], in_matrices)[0], np.zeros((1, 64), np.float32)
    add_products(weights, nothing, values, out, room_for(25))
    assert near(out, wanted, sizes, in_matrices)


@pytest.mark.parametrize("units", [0, 1, 2, 7, 64])
def test_a_weighted_sum_is_added(units):
    kernel, bias, values = a_layer(units, 1)
    wanted, sizes = exact(kernel, bias, values)
    out = np.full(COLUMNS, bias[0], np.float32)
    add_weighted(kernel[:, 0].copy(), values[0], out)
    assert near(out, wanted[0, 0], sizes[0, 0], False)


@pytest.mark.parametrize("in_matrices", LAYOUTS)
def test_a_column_depends_on_no_other(in_matrices):
    kernel, bias, values = a_layer(70, 64)
    weights, out, changed, room = (
        laid_out(kernel[None], in_matrices)[0],
        aligned(1, 64),
        aligned(1, 64),
        room_for(70),
    )
    multiply(weights, bias[None], values, out, False, room)
    values[0, :, 3] = np.nan
    values[0, :, 4:] += 1
    multiply(weights, bias[None], values, changed, False, room)
    assert np.isnan(changed[0, :, 3]).all()
    np.testing.assert_array_equal(changed[0, :, :3], out[0, :, :3])


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001])
@pytest.mark.parametrize("in_matrices", LAYOUTS)
def test_what_is_no_number_stays_none(in_matrices, bits):
    nan = np.array([bits], np.uint32).view(np.float32)[0]
    kernel, bias, values = a_layer(40, 64)
    out, room = aligned(1, 64), room_for(40)
    values[0, 7, 3] = nan
    multiply(laid_out(kernel[None], in_matrices)[0], bias[None], values, out, True, room)
    assert np.isnan(out[0]).all(axis=0).tolist() == [column == 3 for column in range(COLUMNS)]
    values[0, 7, 3], kernel[5, 9] = 1, nan
    multiply(laid_out(kernel[None], in_matrices)[0], bias[None], values, out, False, room)
    assert np.isnan(out[0]).all(axis=1).tolist() == [unit == 9 for unit in range(64)]


@pytest.mark.parametrize("in_matrices", LAYOUTS)
def test_a_column_has_the_same_bits_wherever_it_stands(in_matrices):
    kernel, bias, values = a_layer(300, 64)
    weights, out, turned, room = (
        laid_out(kernel[None], in_matrices)[0],
        aligned(1, 64),
        aligned(1, 64),
        room_for(300),
    )
    multiply(weights, bias[None], values, out, True, room)
    multiply(weights, bias[None], np.ascontiguousarray(values[..., ::-1]), turned, True, room)
    np.testing.assert_array_equal(out, turned[..., ::-1])


def test_halves_of_16_bits_are_packed_as_matrices_are_read():
    """Unit 3's weight of input 37 stands in row 3 of the second matrix, second of its pair, high before low."""
    kernel = np.zeros((1, 40, 32), np.float32)
    kernel[0, 37, 3] = 1 + 2.0**-9 + 2.0**-12
    halves = laid_out(kernel, in_matrices=True, multiple=32).view(np.uint16).reshape(2, 2, 2, 16, 32)
    unit, step, half, row, number = np.nonzero(halves)
    assert [set(of.tolist()) for of in (unit, step, row, number)] == [{0}, {1}, {3}, {5}]
    parts = (halves[0, 1, :, 3, 5].astype(np.uint32) << 16).view(np.float32)
    assert list(half) == [0, 1]
    assert parts.sum() == kernel[0, 37, 3]
    assert abs(parts[1]) <= 2.0**-8
