import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from epixs.evaluation import metrics

few = arrays(np.float32, st.integers(2, 60), elements=st.integers(-5, 5).map(float))


@given(few, st.randoms(use_true_random=False))
def test_correlations_agree_with_scipy(observed, random):
    imputed = observed.copy()
    order = list(range(len(imputed)))
    random.shuffle(order)
    imputed = (imputed + imputed[order]).astype(np.float32)
    if np.ptp(observed) > 0 and np.ptp(imputed) > 0:
        assert np.isclose(metrics.pearson(observed, imputed), stats.pearsonr(observed, imputed).statistic)
        assert np.isclose(metrics.spearman(observed, imputed), stats.spearmanr(observed, imputed).statistic)


def test_constant_track_has_no_correlation():
    assert np.isnan(metrics.pearson(np.ones(5), np.arange(5.0)))
    assert np.isnan(metrics.spearman(np.arange(5.0), np.ones(5)))


def test_mse():
    assert metrics.mse(np.array([0.0, 2.0]), np.array([1.0, 2.0])) == 0.5


def test_top_one_percent():
    observed = np.zeros(200)
    observed[[3, 7]] = 10.0
    imputed = np.zeros(200)
    imputed[[3, 9]] = 4.0
    assert np.flatnonzero(metrics.top_bins(observed)).tolist() == [3, 7]
    assert metrics.mse_top_observed(observed, imputed) == (36 + 100) / 2
    assert metrics.mse_top_imputed(observed, imputed) == (36 + 16) / 2
    assert np.flatnonzero(metrics.top_bins(np.arange(5.0))).tolist() == [4]  # at least one
    assert metrics.top_bins(np.empty(0)).size == 0


def test_bins_that_tie_with_the_last_of_the_top_one_percent_are_all_in():
    observed = np.zeros(1000)
    observed[:4] = 3.0  # fewer than 10 are above 0, so that the threshold is 0 and every bin counts
    assert metrics.top_bins(observed).all()
    observed[:30] = 2.0
    assert np.flatnonzero(metrics.top_bins(observed)).tolist() == list(range(30))


@given(few, st.randoms(use_true_random=False))
def test_the_order_of_the_bins_changes_no_metric(observed, random):
    imputed = np.roll(observed, 1)
    order = list(range(len(observed)))
    random.shuffle(order)
    before, after = metrics.score(observed, imputed), metrics.score(observed[order], imputed[order])
    assert all(np.isclose(before[name], after[name], equal_nan=True) for name in metrics.METRICS)


@given(few)
def test_top_bins_are_those_at_or_above_the_nth_largest_value(track):
    top = metrics.top_bins(track, 0.3)
    threshold = sorted(track)[-max(1, int(0.3 * track.size))]
    assert top.tolist() == [value >= threshold for value in track]


@pytest.mark.parametrize("side", [0, 1])
def test_missing_bins_are_left_out(side):
    tracks = [np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 2.0, 4.0, 0.0])]
    tracks[side][3] = np.nan
    scores = metrics.score(*tracks)
    assert scores["mse"] == pytest.approx(1 / 3)
    assert not any(np.isnan(value) for value in scores.values())


def test_nothing_known():
    assert all(np.isnan(v) for v in metrics.score(np.full(3, np.nan), np.ones(3)).values())
