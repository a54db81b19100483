import numpy as np

from epixs.compiled import compiled
from epixs.lanes import LANES, difference, exp, larger, load, root, spread, store


@compiled()
def exponentials(x, out):
    for i in range(0, x.size, LANES):
        store(out, i, exp(load(x, i)))


@compiled()
def by_lanes(a, b, out):
    first, second = load(a, 0), load(b, 0)
    store(out, 0, first + second)
    store(out, LANES, first - second)
    store(out, 2 * LANES, first * second)
    store(out, 3 * LANES, first / second)
    store(out, 4 * LANES, larger(first, second))
    store(out, 5 * LANES, root(first * first))
    store(out, 6 * LANES, spread(np.float32(7)))


@compiled()
def differences(sums, high, low, out):
    store(out, 0, difference(sums, high, low))


def test_exponentials_are_right_to_the_last_bits():
    x = np.linspace(-87, 88, 1 << 16).astype(np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(out / exact - 1).max() < 2e-7


def test_exponentials_end_where_float32_does():
    x = np.array([0, -0.0, -87, -88, -1e9, -np.inf, *range(LANES - 6)], np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    assert out[0] == out[1] == 1
    assert (out[2:6] == out[2]).all()
    assert 0 < out[2] < 1e-37


def test_lane_by_lane():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, LANES)).astype(np.float32)
    b[0] = a[0]
    out = np.empty((7, LANES), np.float32)
    by_lanes(a, b, out)
    for found, wanted in zip(out, [a + b, a - b, a * b, a / b, np.maximum(a, b), abs(a)], strict=False):
        np.testing.assert_array_equal(found, wanted)
    assert (out[6] == 7).all()


def test_what_is_no_number_stays_none():
    a, b = np.full(LANES, np.nan, np.float32), np.ones(LANES, np.float32)
    out = np.empty((7, LANES), np.float32)
    by_lanes(a, b, out)
    assert np.isnan(out[4]).all()


def test_differences_of_sums_that_ran_over():
    total = 2**31 - 10 + np.arange(0, 3 * LANES, dtype=np.int64) * 3
    out = np.empty(LANES, np.float32)
    differences(total.astype(np.int32), 2 * LANES, LANES, out)
    assert (out == 3 * LANES).all()
