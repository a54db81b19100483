import numpy as np
import pytest

from epixs.sampling.scales import Effects, fit_effects, fit_scales

RIDGE = (0.7, 0.4)


@pytest.fixture(scope="module")
def panel():
    generator = np.random.default_rng(3)
    pairs = [(b, a) for b in range(5) for a in range(4) if (b + a) % 3]
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    return biosample, assay, generator.normal(0, 1, len(pairs))


def without(panel, keep):
    return [values[keep] for values in panel]


def test_what_is_left_out_is_what_a_fit_without_it_says(panel):
    biosample, assay, value = panel
    classes = np.array([0, 1, 0, 1], np.int32)
    effects, without_track, without_assay = fit_effects(value, biosample, assay, (5, 4), RIDGE, None, classes)
    for track in range(value.size):
        b, a, v = without(panel, np.arange(value.size) != track)
        oracle = fit_effects(v, b, a, (5, 4), RIDGE, None, classes)[0]
        assert without_track[track] == pytest.approx(
            oracle.of(biosample[[track]], assay[[track]])[0], abs=1e-6
        )
        b, a, v = without(panel, assay != assay[track])
        oracle = fit_effects(v, b, a, (5, 4), RIDGE, None, classes)[0]
        assert without_assay[track] == pytest.approx(
            oracle.of(biosample[[track]], assay[[track]])[0], abs=1e-6
        )
    assert isinstance(effects, Effects)


def test_classes_of_assays_change_nothing_where_there_is_one(panel):
    biosample, assay, value = panel
    common = fit_effects(value, biosample, assay, (5, 4), RIDGE)
    design = np.zeros((value.size, 10))  # the plain fit, by hand
    design[:, 0] = 1
    design[np.arange(value.size), 1 + biosample] = design[np.arange(value.size), 6 + assay] = 1
    pull = np.diag([1e-6, *[RIDGE[0]] * 5, *[RIDGE[1]] * 4])
    weights = np.linalg.solve(design.T @ design + pull, design.T @ value)
    np.testing.assert_allclose(common[0].of(biosample, assay), design @ weights, atol=1e-9)


def test_strong_tracks_of_one_class_say_little_of_another():
    """Biosample 0 is strong in assays 0 and 1; assay 2, of another class, is the same wherever it was measured."""
    pairs = [(b, a) for b in range(4) for a in range(3) if (b, a) != (0, 2)]
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    value = np.where(assay == 2, 0.0, np.where(biosample == 0, 3.0, 0.0))
    found = []
    for classes in ([0, 0, 0], [0, 0, 1]):
        effects = fit_effects(value, biosample, assay, (4, 3), RIDGE, None, np.array(classes, np.int32))[0]
        found.append(effects.of(np.array([0]), np.array([2]))[0])
    assert found[0] > 1.0
    assert abs(found[1]) < 0.4 * found[0]


def test_effects_are_found_where_there_are_many_tracks():
    generator = np.random.default_rng(0)
    biosample, assay = (m.ravel().astype(np.int32) for m in np.meshgrid(np.arange(40), np.arange(30)))
    truth_b, truth_a = generator.normal(0, 1, 40), generator.normal(0, 1, 30)
    value = 2 + truth_b[biosample] + truth_a[assay] + generator.normal(0, 0.01, biosample.size)
    effects, *_ = fit_effects(value, biosample, assay, (40, 30), RIDGE)
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
