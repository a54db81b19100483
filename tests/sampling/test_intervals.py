"""Intervals by what is predicted: against what the errors were drawn from, and plain NumPy."""

import numpy as np
import pytest

from epixs.sampling.intervals import (
    COVERED,
    HALF_WIDTH,
    KNOTS,
    assay_factors,
    conformal_quantile,
    fit_widths,
    half_widths,
)


def tracks(seed, count=6, bins=4000, scale=1.0):
    """Errors that grow with the prediction."""
    generator = np.random.default_rng(seed)
    predicted = [generator.exponential(size=bins) for _ in range(count)]
    return predicted, [scale * (0.2 + z) * generator.normal(size=bins) for z in predicted]


def test_the_conformal_quantile_is_the_size_below_which_the_share_of_all_and_one_more_lie():
    assert conformal_quantile(np.array([3.0, 1.0, 2.0, 4.0]), 0.8) == 4.0
    assert conformal_quantile(np.array([3.0, 1.0, 2.0, 4.0]), 0.6) == 3.0
    assert conformal_quantile(np.array([7.0]), 0.8) == 7.0


def test_new_tracks_lie_within_their_intervals_as_often_as_is_said_at_peaks_and_between():
    widths = fit_widths(*tracks(0))
    predicted, errors = (np.concatenate(part) for part in tracks(1))
    inside = np.abs(errors) <= half_widths(widths, predicted.astype(np.float32))
    assert inside.mean() == pytest.approx(COVERED, abs=0.01)
    for band in (predicted < 0.5, (predicted > 0.5) & (predicted < 2), predicted > 2):
        assert inside[band].mean() == pytest.approx(COVERED, abs=0.04)


def test_widths_are_those_of_a_normal_distribution():
    generator = np.random.default_rng(0)
    widths = fit_widths([generator.normal(size=200_000)], [generator.normal(size=200_000)])
    np.testing.assert_allclose(widths[1], HALF_WIDTH, rtol=0.1)
    assert (np.diff(widths[0]) > 0).all()


def test_predictions_that_are_all_alike_have_one_width():
    widths = fit_widths([np.zeros(100)], [np.arange(100.0)])
    assert widths.shape == (2, KNOTS)
    np.testing.assert_array_equal(half_widths(widths, np.float32([-1, 0, 9])), np.float32([80, 80, 80]))


def test_nothing_is_learned_from_no_tracks():
    assert not fit_widths([], []).any()
    np.testing.assert_array_equal(assay_factors(fit_widths(*tracks(0)), [], [], [], 3), np.ones(3))


def test_an_assay_with_larger_errors_gets_wider_intervals_the_more_tracks_say_so():
    widths = fit_widths(*tracks(0))
    found = []
    for count in (1, 20):
        predicted, errors = tracks(2, count, scale=3.0)
        factors = assay_factors(widths, predicted, errors, [1] * count, 3)
        assert factors[[0, 2]].tolist() == [1.0, 1.0]
        found.append(factors[1])
    assert 1 < found[0] < found[1] < 3
    assert found[1] == pytest.approx(3 ** (20 / 23), rel=0.03)


def test_intervals_hold_as_much_of_tracks_with_unlike_errors():
    """A factor that suits the usual track of an assay would hold less of the tracks together."""
    generator = np.random.default_rng(1)
    predicted = generator.normal(size=(40, 5_000))
    errors = generator.normal(size=(40, 5_000)) * np.exp(generator.normal(0, 1.0, (40, 1)))
    widths = fit_widths(predicted[:20], errors[:20] / 7)
    (factor,) = assay_factors(widths, predicted, errors, [0] * 40, 1)
    half = factor ** (43 / 40) * half_widths(widths, predicted.astype(np.float32))
    assert (np.abs(errors) <= half).mean() == pytest.approx(0.8, abs=0.002)
