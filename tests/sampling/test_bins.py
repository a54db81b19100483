import numpy as np
import pytest

from epixs.sampling.bins import Places, draw_bins, read_values
from epixs.sampling.windows import Windows

LENGTH, LOW, HIGH = np.array([400, 30, 2000]), np.array([50, 0, 1000]), np.array([350, 30, 1003])


def some_windows(missing=False):
    """Two tracks over three pieces, whose sums run over 2**31."""
    column = np.concatenate([[0], np.cumsum(LENGTH + 1)])
    generator, sums = np.random.default_rng(0), np.zeros((2, column[-1]), np.int64)
    steps = generator.integers(0, 9_000, sums.shape)
    for first, length in zip(column, LENGTH, strict=False):
        sums[:, first + 1 : first + 1 + length] = np.cumsum(steps[:, first : first + length], axis=1)
    sums += 2**31 - 300_000
    mask = generator.random(sums.shape) < 0.2 if missing else None
    made = Windows(sums.astype(np.int32), mask, column[:-1], LENGTH, np.array([0, 400, 430]), LOW, HIGH)
    return made, steps, column[:-1]


def test_drawn_bins_are_requested_ones_and_come_equally_often():
    windows = some_windows()[0]
    places = draw_bins(windows, 100 * windows.n_bins, np.random.default_rng(3))
    bins, counts = np.unique(np.stack(places), axis=1, return_counts=True)
    expected = [(piece, bin) for piece in range(3) for bin in range(LOW[piece], HIGH[piece])]
    assert list(zip(*bins, strict=True)) == expected
    assert 40 < counts.min() <= counts.max() < 160


@pytest.mark.parametrize("missing", [False, True])
def test_values_are_those_of_the_bins(missing):
    windows, steps, column = some_windows(missing)
    places = Places(np.array([0, 1, 2, 2]), np.array([399, 0, 1000, 1999]))
    at = column[places.piece] + places.offset
    value, known = read_values(windows, np.array(1), places)
    assert value.dtype == known.dtype == np.float32
    np.testing.assert_array_equal(value, (steps[1, at] / 2048).astype(np.float32))
    np.testing.assert_array_equal(known, np.ones(4) if not missing else ~windows.missing[1, at])
