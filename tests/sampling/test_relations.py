"""What predictions have in common with other tracks, against plain NumPy and a search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.sampling.relations import (
    CHANCE,
    CHANCE_PULL,
    FEWEST_ENTRIES,
    SHIFT_PULL,
    chance,
    correlations,
    relations,
    shifted,
)


def test_relations_are_correlations_with_the_tracks_of_each_assay():
    generator = np.random.default_rng(0)
    predicted, own = generator.normal(size=400), generator.normal(size=(400, 3)).astype(np.float32)
    assay = np.tile(np.array([2, 0, -1], np.int32), (400, 1))
    assay[200:, 1] = 3
    assay[: FEWEST_ENTRIES - 1, 2] = 4
    own[:, 0] += 2 * predicted
    found = relations(predicted, own, assay, 6)
    expected = [
        np.corrcoef(predicted[:200], own[:200, 1])[0, 1],
        np.corrcoef(predicted, own[:, 0])[0, 1],
        np.corrcoef(predicted[200:], own[200:, 1])[0, 1],
    ]
    np.testing.assert_allclose(found[[0, 2, 3]], expected, atol=1e-6)
    assert np.isnan(found[[1, 4, 5]]).all()  # no track, and too few entries
    assert np.isnan(relations(predicted * 0 + 0.1, own, assay, 6)).all()


SHARES = np.array([0.3, 0.05, 0.2], np.float32)
APART = np.eye(3)


def test_a_part_with_the_wanted_correlations_gains_and_the_sum_stays():
    parts = np.array([[0.5, 0.5, np.nan], [0.5, 0.2, 0.3], [0.5, 0.55, 0.2]])
    wanted = np.array([0.5, 0.3, np.nan])
    found = shifted(SHARES, parts, APART, wanted, 0.1, 1)
    assert found.sum() == pytest.approx(0.55)
    assert found[1] > 0.15
    assert found[0] / found[2] == pytest.approx(1.5)
    np.testing.assert_array_equal(shifted(SHARES, parts, np.ones((3, 3)), 2 * parts[0], 0.1, 1), SHARES)


def test_shares_stay_where_nothing_is_known_or_all_parts_are_the_same():
    parts, same = np.array([[0.5, 0.2]] * 3), np.ones((3, 3))
    for wanted in ([np.nan, np.nan], [0.9, 0.9]):
        np.testing.assert_allclose(shifted(SHARES, parts, same, np.array(wanted), 0.1, 1), SHARES)
    wanted = np.array([0.1, 0.2])
    np.testing.assert_array_equal(shifted(SHARES, parts * np.nan, same, wanted, 0.1, 1), SHARES)
    np.testing.assert_array_equal(shifted(SHARES * 0, parts, same, wanted, 0.1, 1), 0)


def test_parts_correlate_as_numpy_says_and_constants_with_nothing():
    parts = np.random.default_rng(0).normal(size=(3, 50))
    parts[1] += parts[0]
    np.testing.assert_allclose(correlations(parts), np.corrcoef(parts), atol=1e-12)
    parts[2] = 0.1
    found = correlations(parts)
    assert found[2].tolist() == [0, 0, 1]
    assert found[0, 1] == pytest.approx(np.corrcoef(parts[:2])[0, 1])


def test_how_much_correlations_differ_by_chance_is_learned_from_what_several_species_show():
    here, elsewhere = np.full((2, 3, 3), np.nan)
    assert chance(here, elsewhere) == CHANCE
    elsewhere[0] = 0.2, 0.3, 0.4
    here[0, :2] = 0.5, -0.2
    expected = np.sqrt((0.3**2 + 0.5**2 + CHANCE_PULL * CHANCE**2) / (2 + CHANCE_PULL))
    assert chance(here, elsewhere) == pytest.approx(expected)


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0, 3),
    st.lists(st.floats(-1, 1), min_size=2, max_size=2),
    st.lists(st.floats(0.125, 1, width=32), min_size=3, max_size=3),
)
def test_no_other_shift_is_better(seed, common, wanted, shares):
    """By the correlations that the mixture then has, and by its size."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(5, 200)) + common * generator.normal(size=200)
    values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    every, shares, wanted = np.corrcoef(values), np.array(shares, np.float32), np.array(wanted)

    def cost(shift):
        mixed = (1 - shift) * shares @ values[:3] + shift * shares.sum() * values[1]
        found = np.corrcoef(mixed, values[3:])[0, 1:]
        close = np.clip(found, wanted - CHANCE, wanted + CHANCE)  # what is close enough may stay
        return np.square(found - close).mean() + SHIFT_PULL * shift**2

    found = shifted(shares, every[:3, 3:], every[:3, :3], wanted, CHANCE, 1)
    assert found.sum() == pytest.approx(shares.sum(), rel=1e-5)
    expected = shares / shares.sum()
    shift = (found[1] / found.sum() - expected[1]) / (1 - expected[1])
    assert cost(shift) <= min(map(cost, np.linspace(0, 1, 101))) + 1e-5
