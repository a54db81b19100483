from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from epixs.report.calibration import Calibration, calibrations, count_distances, distances, nominal
from epixs.report.figures.calibration import draw_calibration
from epixs.report.figures.canvas import drawing


def test_distances_are_counted_in_spreads():
    observed = np.float32([0, 1, 2, 9, np.nan, 5, 5])
    imputed = np.float32([0, 0, 0, 0, 0, 5, 4])
    spread = np.float32([1, 1, 4, 1, 1, 0, 0])
    counts = count_distances(observed, imputed, spread)
    assert counts.sum() == 6
    within = dict(zip(distances().round(2), np.cumsum(counts[:-1]), strict=True))
    assert within[0.01] == 2  # met exactly, whatever the width
    assert within[0.5] == 3
    assert within[0.99] == 3
    assert within[1.0] == 4
    assert counts[-1] == 2  # 9 spreads, and no width at all


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_share_within_80_percent_is_that_of_the_errors(scale):
    rng = np.random.default_rng(1)
    errors = rng.normal(size=200_000).astype(np.float32)
    counts = count_distances(errors, np.zeros_like(errors), np.full_like(errors, 1 / scale))
    found = Calibration("x", "A", counts)
    truth = 2 * norm.cdf(1.2816 / scale) - 1
    assert found.within_80 == pytest.approx(truth, abs=0.005)
    if scale == 1:
        np.testing.assert_allclose(found.observed, nominal(), atol=0.006)
    with drawing() as plt:
        drawn = draw_calibration(plt, [found], {"A": "histone"})
        assert drawn.hints["within-80"] == [f"x / A: {found.within_80:.1%} of 200,000 bins"]


def test_bins_that_lack_a_spread_do_not_count():
    counts = count_distances(np.float32([1, 1]), np.float32([0, 0]), np.float32([np.nan, 2]))
    assert counts.sum() == 1


def test_tracks_whose_errors_nobody_knows_are_left_out():
    track = SimpleNamespace(observed=0, biosample="x", assay="A")
    values = {"observed": np.float32([1, 1]), "imputed": np.float32([0, 0])}
    for spread, count in ((np.float32([np.nan] * 2), 0), (np.float32([1, np.nan]), 1)):
        blocks = [(0, values | {"spread": spread})]
        pair = SimpleNamespace(has_spread=True, blocks=lambda _, blocks=blocks: blocks)
        assert len(list(calibrations(pair, [track]))) == count
