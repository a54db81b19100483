"""Expected agreement of unmeasured tracks, from that of measured ones."""

import numpy as np
import pytest

from epixs.sampling.agreement import expected_pearson, fisher, fit_agreement

BIOSAMPLE, ASSAY = (labels.ravel().astype(np.int32) for labels in np.mgrid[:6, :4])
CLASSES = np.zeros(5, np.int32)


@pytest.fixture
def planted():
    """Fisher's z of six biosamples and four assays, additive."""
    return 0.5 + 0.2 * (BIOSAMPLE - 2.5) / 2.5 + 0.3 * (ASSAY - 1.5)


def test_fisher_is_the_correlation_on_its_scale():
    a, b = np.random.default_rng(0).normal(size=(2, 500))
    assert np.tanh(fisher(a, a + b)) == pytest.approx(np.corrcoef(a, a + b)[0, 1])
    assert fisher(a, np.ones(500)) == 0.0
    assert np.isfinite(fisher(a, a))


def test_tracks_are_ranked_by_what_is_planted_in_their_biosample_and_assay(planted):
    seen = np.arange(planted.size) % 5 != 0
    known = (BIOSAMPLE[seen], ASSAY[seen])
    (fit,) = fit_agreement([planted[seen]], [known], [6], CLASSES)
    found = expected_pearson(fit, np.nan, BIOSAMPLE[~seen], ASSAY[~seen], known)
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
    found = expected_pearson(whole, np.nan, *one, known)
    np.testing.assert_allclose(
        found, expected_pearson(rest, np.nan, *one, (BIOSAMPLE[without], ASSAY[without])), atol=1e-5
    )


def test_tracks_whose_agreement_is_not_known_are_left_out(planted):
    some = np.where(np.arange(planted.size) % 2, planted, np.nan)
    (fit,) = fit_agreement([some], [(BIOSAMPLE, ASSAY)], [6], CLASSES)
    assert np.isfinite(expected_pearson(fit, np.nan, BIOSAMPLE, ASSAY, (BIOSAMPLE, ASSAY))).all()


def test_a_lacking_assay_takes_its_effect_from_another_species_and_its_level_from_hidden_ones(planted):
    mine = ASSAY < 3
    labels = [(BIOSAMPLE[mine], ASSAY[mine]), (BIOSAMPLE, ASSAY)]
    fits = fit_agreement([planted[mine], planted], labels, [6, 6], CLASSES)
    pair = np.array([0], np.int32), np.array([3], np.int32)
    found = [float(expected_pearson(fits[0], shift, *pair, labels[0])[0]) for shift in (0.0, -0.5, np.nan)]
    middle = (np.array([0], np.int32), np.array([1], np.int32))
    assert found[0] > expected_pearson(fits[0], 0.0, *middle, (BIOSAMPLE[:0], ASSAY[:0]))[0]
    assert np.arctanh(found[1]) == pytest.approx(np.arctanh(found[0]) - 0.5, abs=1e-5)
    assert np.isnan(found[2])
