"""What zero-shot tracks are mixed from, against plain NumPy."""

import numpy as np
import pytest

from epixs.sampling.agreement import FALL, USUAL
from epixs.sampling.around import Target
from epixs.sampling.mixture import (
    FAMILIAR_SHARE,
    MEAN_SHARE,
    PULL,
    expected_shares,
    familiar,
    familiar_share,
    mean_of_tracks,
    mixed,
    mixture,
    readings,
)
from tests.worlds import a_panel

REGIONS = [("chr1", 0, 25 * 2000)]


def panel_from(values, biosample, assay):
    z = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    panel = a_panel(biosample, assay, values.mean(axis=1), values.std(axis=1), np.corrcoef(values))
    return panel, z


def correlated(seed, tracks, bins=4000):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(tracks, tracks)) @ generator.normal(size=(tracks, bins))


def test_the_mean_of_tracks_is_that_of_their_values_standardised():
    values = correlated(0, 3)
    panel, z = panel_from(values, [0, 0, 0], [0, 1, 2])
    weights = mean_of_tracks(panel, np.array([2, -1, 0], np.int32))
    mean = (values[2] + values[0]) / 2
    expected = (mean - mean.mean()) / mean.std()
    np.testing.assert_allclose(weights @ np.stack([z[2], 0 * z[0], z[0]]), expected, atol=1e-4)
    assert (mean_of_tracks(panel, np.array([-1], np.int32)) == 0).all()


def test_the_mean_is_expected_to_count_as_it_agrees_with_the_other_tracks():
    """Those of the class of the assay; if the species has none, as in the species that have the assay."""
    classes = np.array([0, 0, 1, 1, 1, 2], np.int32)
    species = [(0, [0, 0, 0, 0, 1], [0, 1, 2, 3, 0]), (1, [0, 0, 0], [0, 1, 5])]
    values = [correlated(seed, len(assay)) for seed, _, assay in species]
    panels = [panel_from(of, *labels)[0] for of, (_, *labels) in zip(values, species, strict=True)]
    hidden = np.full((2, 6), np.nan, np.float32)
    hidden[1, 5], hidden[0, 2] = 0.7, 0.9

    def mean(at, assays, without=-1):
        biosample, assay = (np.array(labels) for labels in species[at][1:])
        found = []
        for track in np.flatnonzero((biosample == 0) & np.isin(assay, assays)):
            others = values[at][(biosample == 0) & ~np.isin(assay, [assay[track], without])]
            found.append(np.corrcoef(values[at][track], others.mean(axis=0))[0, 1])
        return MEAN_SHARE * max(0, np.mean(found))

    shares = expected_shares(panels, classes, hidden)
    assert shares.shape == (2, 6, 3)
    hidden_there = [mean(0, [other], without) for without, other in ((0, 1), (1, 0), (2, 3), (3, 2))]
    expected = [*hidden_there, mean(0, [2, 3]), mean(1, [5])]
    np.testing.assert_allclose(shares[0, :, 2], expected, atol=1e-4)
    np.testing.assert_allclose(
        shares[1, 2:5, 2], [mean(0, [2]), mean(0, [3]), 0], atol=1e-4
    )  # assay 4 was never measured
    networks = shares[:, :, :2].sum(axis=2)
    assert networks[0, 5] == pytest.approx(np.tanh(FALL * 0.7))
    assert networks[1, 2] == pytest.approx(np.tanh(FALL * 0.9))
    assert networks[1, 0] == pytest.approx(np.tanh(FALL * USUAL))
    np.testing.assert_allclose(
        shares[:, :, 1], FAMILIAR_SHARE * networks * familiar_share(panels, 6), rtol=1e-6
    )


def test_the_mean_does_not_count_for_an_assay_that_is_low_where_others_are_high():
    """Methylation, in a species without any: others show how it goes with marks."""
    mark, other = correlated(4, 2)
    values = np.stack([mark, mark + 0.3 * other, mark - 0.3 * other, -mark + 0.3 * other])
    human, _ = panel_from(values, [0, 0, 0, 0], [0, 1, 2, 3])
    mouse, _ = panel_from(values[:3], [0, 0, 0], [0, 1, 2])
    hidden = np.full((2, 4), np.nan, np.float32)
    shares = expected_shares([human, mouse], np.array([0, 0, 0, 1], np.int32), hidden)
    assert shares[1, 3, 2] == 0
    assert shares[1, 0, 2] > 0.8 * MEAN_SHARE


def test_a_constant_track_says_nothing_of_means():
    values = correlated(5, 4)
    hidden, classes = np.full((1, 5), np.nan, np.float32), np.zeros(5, np.int32)
    panel, _ = panel_from(values, [0, 0, 0, 0], [0, 1, 2, 3])
    shares = expected_shares([panel], classes, hidden)
    likeness = np.eye(5)
    likeness[:4, :4] = panel.likeness
    labels, spread = ([0] * 5, [0, 1, 2, 3, 3]), [*panel.spread, 0]
    constant = a_panel(*labels, [*panel.mean, 0], spread, likeness)
    np.testing.assert_array_equal(expected_shares([constant], classes, hidden), shares)


def test_shares_follow_what_is_right_and_stay_where_nothing_is_known():
    """Those of both ways to read together."""
    np.testing.assert_array_equal(mixture([], []), [1, 1, 1])
    expected = np.array([0.5, 0.1, 0.08], np.float32)
    generator = np.random.default_rng(3)
    networks, mean = generator.normal(size=(2, 5000))
    parts = np.stack([networks, networks, mean], axis=1) * expected
    found = np.array([mixture([parts] * 2, [value] * 2) for value in (networks, mean)])
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    together = np.array([0.6, 0.08])
    pulled = (np.eye(2) + PULL * together) / (1 + PULL)
    np.testing.assert_allclose(found[:, 1:] * together, pulled, atol=0.03)
    wrong = mixture([parts], [-mean])
    assert (wrong >= 0).all()
    assert wrong[2] < 0.9
    assert np.isfinite(mixture([parts * [1, 1, 0]], [networks])).all()  # a mean that is not to count


def three_species():
    """Assay 5 was measured with 0 and 1 in one species, with 2 in another, and beside 3 in none."""
    species = [([0, 0, 0, 1], [0, 1, 5, 3]), ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4]), ([0, 0, 1, 1], [5, 2, 3, 4])]
    return [panel_from(correlated(i, len(labels[0])), *labels)[0] for i, labels in enumerate(species)]


def test_familiar_tracks_are_of_assays_that_another_species_has_together_with_the_absent_one():
    panels = three_species()
    assert familiar(panels, 1, 5).tolist() == [True, True, True, False, False]
    assert familiar(panels[:2], 1, 5).tolist() == [True, True, False, False, False]
    assert not familiar(panels[1:2], 0, 5).any()


@pytest.mark.parametrize("at", range(3))
def test_the_share_of_familiar_tracks_is_that_of_all_but_the_assays_own(at):
    panels = three_species()
    share = familiar_share(panels, 6)
    for assay in range(6):
        others = panels[at].assay != assay
        known = familiar(panels, at, assay)[others]
        expected = 0 if known.all() else known.mean()
        assert share[at, assay] == pytest.approx(expected)
    assert (familiar_share(panels[:1], 6) == 0).all()


def target_of(own, others=(-1,)):
    others = np.array([others], np.int32)
    return Target(1, 0, 5, np.array(own, np.int32), others, others * 0.0, np.array([1, 2], np.float32))


def test_a_part_of_a_prediction_goes_without_unfamiliar_assays():
    known = familiar(three_species(), 1, 5)
    target = target_of([0, 2, 3, -1], [1, 4])
    first, second = readings(target, known)
    assert first is target
    assert second.own.tolist() == [0, 2, -1, -1]
    assert second.others.tolist() == [[1, -1]]
    for own, others in (([0, 1, 2], [1]), ([3, 4], [1]), ([-1], [3])):  # all are, or none of its own is
        alone = target_of(own, others)
        assert readings(alone, known) == [alone]


def test_only_an_assay_that_its_species_lacks_is_mixed():
    panels = three_species()
    panel, known = panels[1], familiar(panels, 1, 5)
    shares = np.tile(np.array([0.2, 0.1, 0.25], np.float32), (6, 1))
    lacking = target_of([0, 1, 3])
    measured = Target(1, 0, 2, lacking.own, lacking.others, lacking.weight, lacking.scale)
    moments = np.tile(np.array([0, 1], np.float32), (6, 2, 1))
    moments[5] = [0.4, 0.25], [-0.2, 0.5]
    assert mixed(measured, panel, known, shares, moments) == [measured]
    assert mixed(lacking, panel, known, shares * np.nan, moments) == [lacking]
    not_looked_at = moments.copy()
    not_looked_at[5, 1] = np.nan
    [alone] = mixed(lacking, panel, known, shares, not_looked_at)
    assert alone.share == pytest.approx(0.3 / 0.25)
    found = mixed(lacking, panel, known, shares, moments)
    assert [one.share for one in found] == pytest.approx([0.2 / 0.25, 0.1 / 0.5])
    what_they_say_in_the_mean = sum(
        one.scale[0] + one.scale[1] * one.share * mean for one, mean in zip(found, (0.4, -0.2), strict=True)
    )
    assert what_they_say_in_the_mean == pytest.approx(1.0)
    np.testing.assert_allclose(found[0].linear, 0.25 * mean_of_tracks(panel, lacking.own))
    assert found[1].linear is None
    [whole] = mixed(target_of([0, 1]), panel, known, shares, moments)
    assert whole.share == pytest.approx(0.3 / 0.25)
