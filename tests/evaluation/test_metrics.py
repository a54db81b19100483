import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from epixs.errors import ConfigError
from epixs.evaluation import metrics
from epixs.evaluation.metrics import score
from epixs.evaluation.steps import to_steps, to_units
from epixs.evaluation.streaming import Places
from tests.evaluation import whole

few = arrays(np.float32, st.integers(2, 60), elements=st.integers(-5, 5).map(float))
NAMES = [name for name, metric in metrics.METRICS.items() if not metric.needs]


def places(n, strata=(), peaks=(), variance=()):
    return Places(
        np.ones(n, bool),
        np.array(strata, dtype=np.int32).reshape(len(strata), n),
        np.array(peaks, dtype=bool),
        np.array(variance, dtype=float),
    )


@settings(max_examples=30)
@given(few, st.randoms(use_true_random=False))
def test_metrics_are_those_of_scipy_on_whole_tracks(observed, random):
    order = list(range(len(observed)))
    random.shuffle(order)
    imputed = observed + observed[order]
    assume(np.ptp(observed) > 0 and np.ptp(imputed) > 0)
    expected = whole.corrected(observed.astype(float), imputed.astype(float))
    got = score(observed, imputed)
    assert {name: got[name] for name in NAMES} == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


def test_metrics_are_those_of_scipy_on_long_tracks():
    rng = np.random.default_rng(0)
    truth = to_units(to_steps(np.arcsinh(rng.gamma(0.3, 2, 200_000)))).astype(float)
    guess = to_units(to_steps(truth * 0.7 + rng.gamma(0.5, 0.3, truth.size))).astype(float)
    got = score(truth, guess)
    assert {n: got[n] for n in NAMES} == pytest.approx(whole.corrected(truth, guess), rel=1e-9)


def test_a_constant_track_has_no_correlation():
    for name in ("pearson", "spearman", "pearson_raw"):
        assert np.isnan(score(np.ones(5), np.arange(5.0))[name])
        assert np.isnan(score(np.arange(5.0), np.full(5, 0.1))[name])


def test_mse():
    assert score([0.0, 2.0], [1.0, 2.0])["mse"] == 0.5


def test_an_affine_fit_takes_units_away_but_turns_nothing_upside_down():
    observed = np.array([0.0, 1.0, 2.0, 5.0])
    assert score(observed, 0.5 * observed + 3)["mse_affine"] == 0.0
    assert score(observed, 3 - 0.5 * observed)["mse_affine"] == observed.var()
    assert score(observed, np.full(4, 2.0))["mse_affine"] == observed.var()
    assert score([0.0, 1.0, 2.0], [0.0, 2.0, 1.0])["mse_affine"] == pytest.approx(2 / 3 * (1 - 0.5**2))


def test_top_one_percent():
    observed = np.zeros(200)
    observed[[3, 7]] = 10.0
    imputed = np.zeros(200)
    imputed[[3, 9]] = 4.0
    got = score(observed, imputed)
    assert got["mse1obs"] == (36 + 100) / 2
    assert got["mse1imp"] == (36 + 16) / 2
    assert got["match1"] == 1


def test_bins_that_tie_with_the_last_of_the_top_one_percent_are_all_in():
    observed = np.zeros(1000)
    observed[:4] = 3.0  # fewer than 10 are above 0, so that the threshold is 0 and every bin counts
    assert score(observed, np.zeros(1000))["mse1obs"] == pytest.approx(36 / 1000)
    observed[:30] = 2.0
    assert score(observed, np.zeros(1000))["mse1obs"] == 4.0


@settings(max_examples=30)
@given(few, st.randoms(use_true_random=False))
def test_the_order_of_the_bins_changes_no_metric(observed, random):
    imputed = np.roll(observed, 1)
    order = list(range(len(observed)))
    random.shuffle(order)
    before, after = score(observed, imputed), score(observed[order], imputed[order])
    assert before == pytest.approx(after, nan_ok=True)


@pytest.mark.parametrize("side", [0, 1])
def test_missing_bins_are_left_out(side):
    tracks = [np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 2.0, 4.0, 0.0])]
    tracks[side][3] = np.nan
    scores = score(*tracks)
    assert scores["mse"] == pytest.approx(1 / 3)
    assert not any(np.isnan(scores[name]) for name in NAMES)


def test_nothing_known():
    assert all(np.isnan(v) for v in score(np.full(3, np.nan), np.ones(3)).values())


def test_values_beyond_the_largest_step_count_as_that_step():
    assert score([0.0, 20.0], [0.0, 0.0])["mse"] == pytest.approx((32767 / 2048) ** 2 / 2)


@settings(max_examples=30)
@given(arrays(np.int64, 12, elements=st.integers(0, 3)), st.lists(st.booleans(), min_size=12, max_size=12))
def test_average_precision_is_that_of_its_definition(values, peaks):
    assume(any(peaks) and not all(peaks))
    peaks = np.array(peaks)
    observed = np.arange(12.0)
    got = score(observed, values.astype(float), places=places(12, peaks=peaks))["auprc"]
    assert got == pytest.approx(whole.average_precision(peaks, values))


def test_average_precision_by_hand():
    """From the top: a peak (1 of 1), no peak, a peak (2 of 3)."""
    got = score([0.0, 0.0, 0.0, 1.0], [4.0, 3.0, 2.0, 1.0], places=places(4, peaks=[1, 0, 1, 0]))
    assert got["auprc"] == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_a_stratum_counts_its_bins_as_often_as_it_says():
    strata = [[1, 1, 0, 0], [0, 0, 2, 1], [0, 0, 0, 0]]
    got = score([0.0, 0.0, 0.0, 0.0], [1.0, 3.0, 2.0, 5.0], places=places(4, strata))
    assert (got["mseprom"], got["msegene"]) == ((1 + 9) / 2, (2 * 4 + 25) / 3)
    assert np.isnan(got["mseenh"])


def test_errors_are_weighted_by_the_variance_over_biosamples_where_it_is_known():
    got = score([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], places=places(3, variance=[3.0, 1.0, np.nan]))
    assert got["msevar"] == pytest.approx((3 * 1 + 1 * 4) / 4)


# The challenge's metrics, by hand. Its own units: arcsinh is undone.


def raw_score(observed, imputed, **known):
    return score(np.arcsinh(observed), np.arcsinh(imputed), mode="challenge", **known)


def test_the_challenge_measures_errors_in_the_tracks_own_units():
    got = raw_score([0.0, 3.0, 10.0], [1.0, 3.0, 6.0])
    assert got["mse"] == pytest.approx((1 + 0 + 16) / 3, rel=2e-3)  # steps of 1/2048 arcsinh units
    assert got["gwcorr"] == pytest.approx(np.corrcoef([0, 3, 10], [1, 3, 6])[0, 1], rel=1e-3)
    assert got["gwspear"] == pytest.approx(1.0)


def test_of_fewer_than_a_hundred_bins_the_challenge_takes_all_as_the_top():
    """`sorted[-0]` is the smallest value; corrected, the top is at least one bin."""
    observed, imputed = np.arange(50.0) / 10, np.zeros(50)
    assert raw_score(observed, imputed)["mse1obs"] == raw_score(observed, imputed)["mse"]
    assert score(observed, imputed)["mse1obs"] == pytest.approx(4.9**2, rel=1e-3)


def test_match_and_catch_by_hand():
    """300 bins: the top 1 % are 3 bins, the top 5 % are 15."""
    observed, imputed = np.zeros(300), np.zeros(300)
    observed[:20] = np.arange(20, 0, -1)
    imputed[[0, 19, 30]] = [9.0, 8.0, 7.0]
    imputed[1:13] = 1.0
    for got in (score(observed, imputed), score(observed, imputed, mode="challenge")):
        assert got["match1"] == 1  # bin 0
        assert got["catch1obs"] == 1.0  # bins 0, 1, 2 are among the 15 highest imputed
        assert got["catch1imp"] == pytest.approx(1 / 3)  # of bins 0, 19, 30 only 0 is among the 15 highest


def test_the_challenge_weighs_errors_by_variance_as_it_does():
    got = raw_score([0.0, 0.0], [1.0, 2.0], places=places(2, variance=[1.0, 3.0]))
    assert got["msevar"] == pytest.approx((1 * 1 + 3 * 4) / 4, rel=1e-3)


def test_modes_have_names():
    with pytest.raises(ConfigError, match="expected corrected or challenge"):
        score([1.0], [1.0], mode="other")


def test_ranks_are_those_of_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 9, 500) / 4, rng.integers(0, 9, 500) / 4
    assert score(a, b)["spearman"] == pytest.approx(stats.spearmanr(a, b).statistic, rel=1e-12)
