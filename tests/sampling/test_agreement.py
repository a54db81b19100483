"""Expected agreement of unmeasured tracks, from that of measured ones."""

import numpy as np
import pytest

from epixs.sampling.agreement import (
    MOST_BETTER,
    USUAL,
    ease,
    expected_agreement,
    expected_pearson,
    fisher,
    fit_agreement,
)

BIOSAMPLE, ASSAY = (labels.ravel().astype(np.int32) for labels in np.mgrid[:6, :4])
CLASSES, NOT_KNOWN = np.zeros(5, np.int32), np.full(5, np.nan)


@pytest.fixture
def planted():
    """Fisher's z of six biosamples and four assays, additive."""
    return 0.5 + 0.2 * (BIOSAMPLE - 2.5) / 2.5 + 0.3 * (ASSAY - 1.5)


def test_fisher_is_the_correlation_on_its_scale():
    a, b = np.random.default_rng(0).normal(size=(2, 500))
    assert np.tanh(fisher(a, a + b)) == pytest.approx(np.corrcoef(a, a + b)[0, 1])
    assert fisher(np.full(500, 0.1), a) == 0.0
    assert np.isnan(fisher(a, np.full(500, 0.1)))
    assert np.isfinite(fisher(a, a))


def test_tracks_are_ranked_by_what_is_planted_in_their_biosample_and_assay(planted):
    seen = np.arange(planted.size) % 5 != 0
    known = (BIOSAMPLE[seen], ASSAY[seen])
    (fit,) = fit_agreement([planted[seen]], [known], [6], CLASSES)
    found = expected_pearson(fit, NOT_KNOWN, BIOSAMPLE[~seen], ASSAY[~seen], known)
    truth = np.tanh(planted[~seen])
    assert np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(truth)))[0, 1] > 0.8
    np.testing.assert_allclose(found, truth, atol=0.15)


def test_a_measured_track_is_expected_as_if_it_had_not_been(planted):
    odd = planted.copy()
    odd[5] += 2.0
    known = (BIOSAMPLE, ASSAY)
    without = np.arange(planted.size) != 5
    (whole,) = fit_agreement([odd], [known], [6], CLASSES)
    (rest,) = fit_agreement([odd[without]], [(BIOSAMPLE[without], ASSAY[without])], [6], CLASSES)
    one = BIOSAMPLE[5:6], ASSAY[5:6]
    found = expected_pearson(whole, NOT_KNOWN, *one, known)
    np.testing.assert_allclose(
        found, expected_pearson(rest, NOT_KNOWN, *one, (BIOSAMPLE[without], ASSAY[without])), atol=1e-5
    )


def test_tracks_whose_agreement_is_not_known_are_left_out(planted):
    some = np.where(np.arange(planted.size) % 2, planted, np.nan)
    (fit,) = fit_agreement([some], [(BIOSAMPLE, ASSAY)], [6], CLASSES)
    assert np.isfinite(expected_pearson(fit, NOT_KNOWN, BIOSAMPLE, ASSAY, (BIOSAMPLE, ASSAY))).all()


def test_a_lacking_assay_is_as_its_mixture_lets_expect(planted):
    """But for what is better in the biosamples in which others are."""
    mine = ASSAY < 3
    labels = (BIOSAMPLE[mine], ASSAY[mine])
    (fit,) = fit_agreement([planted[mine]], [labels], [6], CLASSES)
    biosample, absent = np.arange(6, dtype=np.int32), np.array([9, 9, 9, 0.8, np.nan])
    of_3, of_4 = (expected_pearson(fit, absent, biosample, np.full(6, a, np.int32), labels) for a in (3, 4))
    assert np.arctanh(of_3).mean() == pytest.approx(0.8, abs=1e-5)
    usual = np.arctanh(expected_pearson(fit, absent, biosample, np.zeros(6, np.int32), labels))
    assert (np.diff(of_3) > 0).all()
    assert np.ptp(np.arctanh(of_3)) < np.ptp(usual)
    assert np.isnan(of_4).all()


def test_a_mixture_is_expected_to_agree_as_its_parts_do():
    """Against mixtures of vectors; but parts that contradict each other are not taken to be both right."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(4, 300)) + generator.normal(size=300)
    values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    every, shares = np.corrcoef(values), np.array([0.3, 0.1, 0.4])
    assert (every > 0).all()
    found = expected_agreement(shares, every[:3, 3], every[:3, :3])
    assert found == pytest.approx(fisher(shares @ values[:3], values[3]))
    assert expected_agreement(0 * shares, every[:3, 3], every[:3, :3]) == 0
    contrary = np.where(np.eye(3), 1, -0.3)
    assert expected_agreement(shares, every[:3, 3], contrary) == expected_agreement(
        shares, every[:3, 3], np.eye(3)
    )


def test_how_much_better_than_expected_counts_each_assay_once():
    assert ease({}, {}) == 1
    found = ease({1: [0.8, 1.0, 0.9], 2: [0.3]}, {1: [0.5] * 3, 2: [0.2]})
    assert found == pytest.approx((0.9 + 0.3 + USUAL) / (0.5 + 0.2 + USUAL))
    assert ease({1: [9.0]}, {1: [0.1]}) == MOST_BETTER
    assert ease({1: [-9.0]}, {1: [2.0]}) == 1 / MOST_BETTER
