import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.genome.regions import Regions
from epixs.sampling.windows import read_windows

REGIONS = Regions(
    "toy", ("a", "b", "c"), ("chr1", "chr1", "chr2"), (0, 5_000, 0), (1_000, 5_250, 500)
)  # 40, 10, 20 bins


def steps(values):
    """Values that a store can hold, in whole steps."""
    return np.rint(values * STEPS_PER_UNIT) / np.float32(STEPS_PER_UNIT)


@pytest.fixture(scope="module")
def signal():
    return steps(np.random.default_rng(0).normal(1, 2, (5, 70))).astype(np.float32)


def test_the_mean_over_any_neighbourhood_stays_in_its_region(signal):
    rows = np.array([3, 0])
    windows = read_windows(signal, rows, np.zeros(2, np.float32), [(0, 70)], REGIONS, 0)
    assert windows.n_bins == 70
    assert windows.bin.tolist() == [0, 40, 50]
    for piece, (first, last) in enumerate([(0, 40), (40, 50), (50, 70)]):
        for offset in range(last - first):
            low, high = max(0, offset - 7), min(last - first, offset + 8)
            at = windows.column[piece]
            total = windows.sums[:, at + high] - windows.sums[:, at + low]
            expected = signal[rows, first + low : first + high].mean(axis=1)
            np.testing.assert_allclose(total / STEPS_PER_UNIT / (high - low), expected, atol=1e-5)


@given(st.integers(0, 69), st.integers(1, 70), st.integers(0, 30))
def test_a_span_is_read_with_what_lies_around_it_in_the_same_region(signal, start, length, halo):
    stop = min(70, start + length)
    windows = read_windows(signal, np.array([1]), np.zeros(1, np.float32), [(start, stop)], REGIONS, halo)
    asked = [
        bin for first, low, high in zip(windows.bin, windows.low, windows.high, strict=True)
        for bin in range(first + low, first + high)
    ]  # fmt: skip
    assert asked == list(range(start, stop))
    ends = np.array([0, 40, 50, 70])
    for first, length_, column in zip(windows.bin, windows.length, windows.column, strict=True):
        region = np.searchsorted(ends, first, side="right") - 1
        assert first >= max(ends[region], start - halo)
        assert first + length_ <= min(ends[region + 1], stop + halo)
        values = np.diff(windows.sums[0, column : column + length_ + 1]) / STEPS_PER_UNIT
        np.testing.assert_array_equal(values, signal[1, first : first + length_])


def test_a_missing_bin_counts_as_told_and_is_known_to_be_missing(signal):
    holed = signal.copy()
    holed[2, 5] = np.nan
    windows = read_windows(holed, np.array([2, 4]), np.array([1.5, 0], np.float32), [(0, 70)], REGIONS, 0)
    assert (windows.sums[0, 6] - windows.sums[0, 5]) / STEPS_PER_UNIT == 1.5
    assert np.argwhere(windows.missing).tolist() == [[0, 5]]
    assert read_windows(signal, np.array([2]), np.zeros(1, np.float32), [(0, 70)], REGIONS, 0).missing is None


def test_sums_that_run_over_still_have_the_right_differences():
    """A hundred thousand bins of 16 arcsinh units are more than 2**31 steps."""
    n = 100_000
    regions = Regions("toy", ("a",), ("chr1",), (0,), (25 * n,))
    windows = read_windows(
        np.full((1, n), 16, np.float32), np.array([0]), np.zeros(1, np.float32), [(0, n)], regions, 0
    )
    assert windows.sums.min() < 0
    difference = np.subtract(windows.sums[0, 1:], windows.sums[0, :-1], dtype=np.int32)
    assert (difference == 16 * STEPS_PER_UNIT).all()


def test_both_orders_in_memory_hold_the_same_sums(signal):
    holed = np.tile(signal, (8, 1))  # more rows than are read at once
    holed[2, 5:9] = np.nan
    rows, fill = np.array([2, 33, 16, 4]), np.array([1.5, 0, 2, -1], np.float32)
    one, two = (read_windows(holed, rows, fill, [(3, 60)], REGIONS, 4, order=order) for order in ("C", "F"))
    assert one.sums.flags.c_contiguous
    assert two.sums.flags.f_contiguous
    np.testing.assert_array_equal(one.sums, two.sums)
    np.testing.assert_array_equal(one.missing, two.missing)
