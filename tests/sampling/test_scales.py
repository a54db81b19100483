import itertools

import numpy as np
import pytest

from epixs.sampling.scales import STRENGTHS, Effects, fit_effects, fit_scales

USUAL = (0.7, 0.4)


@pytest.fixture(scope="module")
def panel():
    generator = np.random.default_rng(3)
    pairs = [(b, a) for b in range(5) for a in range(4) if (b + a) % 3]
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    return biosample, assay, generator.normal(0, 1, len(pairs))


def fit(value, biosample, assay, sizes, classes=None):
    return fit_effects(value[None], biosample, assay, sizes, [USUAL], None, classes)[0]


def without(panel, keep):
    return [values[keep] for values in panel]


def test_what_is_left_out_is_what_a_fit_without_it_says(panel):
    biosample, assay, value = panel
    classes = np.array([0, 1, 0, 1], np.int32)
    effects, without_track, without_assay = fit(value, biosample, assay, (5, 4), classes)
    for track in range(value.size):
        b, a, v = without(panel, np.arange(value.size) != track)
        oracle = fit(v, b, a, (5, 4), classes)[0]
        assert without_track[track] == pytest.approx(
            oracle.of(biosample[[track]], assay[[track]])[0], abs=1e-6
        )
        b, a, v = without(panel, assay != assay[track])
        oracle = fit(v, b, a, (5, 4), classes)[0]
        assert without_assay[track] == pytest.approx(
            oracle.of(biosample[[track]], assay[[track]])[0], abs=1e-6
        )
    assert isinstance(effects, Effects)


def test_fits_are_averaged_by_the_probability_of_the_tracks(panel):
    """By hand, with matrices over tracks. Classes change nothing where there is one."""
    biosample, assay, value = panel
    n, rows = value.size, np.arange(value.size)
    design = np.zeros((n, 10))
    design[:, 0] = design[rows, 1 + biosample] = design[rows, 6 + assay] = 1
    found, evidence = [], []
    for pulls in itertools.product(STRENGTHS, repeat=2):
        pull = np.diag([1e-6, *[pulls[0]] * 5, *[pulls[1]] * 4])
        found.append(design @ np.linalg.solve(design.T @ design + pull, design.T @ value))
        covariance = np.eye(n) + design @ np.linalg.inv(pull) @ design.T
        squares = value @ np.linalg.solve(covariance, value)
        # A normal density with a factor of the covariance of which nothing is known.
        density = -np.linalg.slogdet(covariance)[1] / 2 - (n - 1) / 2 * np.log(squares)
        evidence.append(density - np.sum(np.log(np.divide(pulls, USUAL)) ** 2) / 2)
    share = np.exp(np.array(evidence) - max(evidence))
    expected = share @ np.array(found) / share.sum()
    effects, *_ = fit(value, biosample, assay, (5, 4))
    np.testing.assert_allclose(effects.of(biosample, assay), expected, atol=1e-5)


@pytest.mark.parametrize("size", [0.05, 3.0])
def test_the_pull_is_as_strong_as_tracks_say(size):
    """Two tracks of the last assay; the effects of the others are large or small beside the noise."""
    generator = np.random.default_rng(5)
    pairs = [(b, a) for b in range(30) for a in range(9)] + [(0, 9), (1, 9)]
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    value = generator.normal(0, size, 10)[assay] + generator.normal(0, 0.3, assay.size)
    value[-2:] = 0.6
    effects, without_track, _ = fit(value, biosample, assay, (30, 10))
    pulled = effects.assay[9] / (0.6 - effects.intercept)
    if size > 1:
        assert pulled > 0.95
        assert without_track[-2:] == pytest.approx(0.6, abs=0.3)
    else:
        assert 0 < pulled < 0.5


def test_a_species_without_tracks_has_no_effects():
    none = np.zeros(0, np.int32)
    effects, without_track, without_assay = fit(np.zeros(0), none, none, (2, 3))
    assert effects.of(np.array([1]), np.array([2]))[0] == 0
    assert without_track.size == without_assay.size == 0


def test_strong_tracks_of_one_class_say_little_of_another():
    """Biosample 0 is strong in assays 0 and 1; assay 2, of another class, is the same wherever it was measured."""
    pairs = [(b, a) for b in range(4) for a in range(3) if (b, a) != (0, 2)]
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    value = np.where(assay == 2, 0.0, np.where(biosample == 0, 3.0, 0.0))
    found = []
    for classes in ([0, 0, 0], [0, 0, 1]):
        effects = fit(value, biosample, assay, (4, 3), np.array(classes, np.int32))[0]
        found.append(effects.of(np.array([0]), np.array([2]))[0])
    assert found[0] > 1.0
    assert abs(found[1]) < 0.4 * found[0]


def test_effects_are_found_where_there_are_many_tracks():
    generator = np.random.default_rng(0)
    biosample, assay = (m.ravel().astype(np.int32) for m in np.meshgrid(np.arange(40), np.arange(30)))
    truth_b, truth_a = generator.normal(0, 1, 40), generator.normal(0, 1, 30)
    value = 2 + truth_b[biosample] + truth_a[assay] + generator.normal(0, 0.01, biosample.size)
    effects, *_ = fit(value, biosample, assay, (40, 30))
    expected = effects.of(biosample, assay)
    assert np.abs(expected - value).max() < 0.2
    assert effects.of(np.array([-1]), np.array([0]))[0] == pytest.approx(effects.intercept + effects.assay[0])


def test_a_species_takes_over_the_effect_of_an_assay_that_it_lacks():
    """Assay 2 is measured in the first species alone, where its tracks spread four times as much."""
    biosample, assay = (
        np.array([0, 1, 2, 0, 1, 2, 0, 1, 2], np.int32),
        np.repeat([0, 1, 2], 3).astype(np.int32),
    )
    spread = np.array([0.5, 0.5, 0.5, 1, 1, 1, 2, 2, 2])
    first = (biosample, assay, np.full(9, 0.3), spread)
    second = (biosample[:6], assay[:6], np.full(6, 3.0), 10 * spread[:6])
    _, scales = fit_scales([first, second], [3, 3], np.zeros(3, np.int32))
    known, lacking = scales.of(np.array([0, 0], np.int32), np.array([0, 2], np.int32))[:, 1]
    alone = fit_scales([second], [3], np.zeros(3, np.int32))[0].of(
        np.array([0], np.int32), np.array([2], np.int32)
    )[0, 1]
    assert known < alone < lacking
    assert alone == pytest.approx(np.sqrt(50), rel=0.02)  # what its other tracks have on average


def test_means_may_be_negative():
    biosample, assay = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    mean = np.array([-0.5, 0.2, -0.5, 0.2])
    scales = fit_scales([(biosample, assay, mean, np.ones(4))], [2], np.zeros(2, np.int32))[0]
    found = scales.of(biosample, assay)[:, 0]
    assert (np.sign(found) == np.sign(mean)).all()


def test_a_track_says_nothing_of_its_own_scale_beside_other_species():
    generator = np.random.default_rng(3)
    biosample, assay = (m.ravel().astype(np.int32) for m in np.meshgrid(np.arange(3), np.arange(4)))
    there = (biosample, assay, *generator.uniform(0.1, 1, (2, 12)))
    mean, spread = generator.uniform(0.1, 1, (2, 12))
    found = []
    for factor in (0.1, 1.0, 10.0):
        own = np.where(np.arange(12) == 5, factor, 1.0)
        here = (biosample, assay, own * mean, own * spread)
        scales, _ = fit_scales([here, there], [3, 3], np.zeros(4, np.int32))
        found.append(np.stack([scales.without_track, scales.without_assay]))
    np.testing.assert_allclose(found[0][:, 5], found[1][:, 5], rtol=1e-5)
    np.testing.assert_allclose(found[2][:, 5], found[1][:, 5], rtol=1e-5)
    assert abs(found[0] - found[1]).max() > 0.01


def test_tracks_without_spread_say_nothing():
    biosample, assay = (m.ravel().astype(np.int32) for m in np.meshgrid(np.arange(3), np.arange(4)))
    mean, spread = np.full(12, 0.3), np.exp(0.1 * np.arange(12))
    full = np.delete(np.arange(12), 5)
    classes = np.zeros(4, np.int32)
    expected = fit_scales([(biosample[full], assay[full], mean[full], spread[full])], [3], classes)[0]
    mean[5], spread[5] = 0.0, 0.0
    found = fit_scales([(biosample, assay, mean, spread)], [3], classes)[0]
    np.testing.assert_allclose(found.of(biosample, assay), expected.of(biosample, assay))
    np.testing.assert_allclose(found.without_track[full], expected.without_track)
    np.testing.assert_allclose(found.without_track[5], expected.of(biosample[5:6], assay[5:6])[0])
    nothing = fit_scales([(biosample, assay, mean, 0 * spread)], [3], classes)[0]
    assert np.isfinite(nothing.without_track).all()
