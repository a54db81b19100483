"""Weighted sums of tracks, beside the textbook equations; and what has no influence on them."""

import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag

from epixs.sampling.kriging import (
    BAND_RADII,
    LEAST_SPREAD,
    LEVELS,
    MOST_TRACKS,
    NOISE,
    PULL,
    Correlations,
    sums_of,
    weights_of,
)
from epixs.sampling.panel import bands_of, equations_of
from tests.worlds import a_panel

LABELS = [(b, a) for b in range(4) for a in range(5) if (b + a) % 4]


def some_correlations(labels=LABELS, seed=0):
    """Correlations of tracks that share something within biosamples, and within assays."""
    generator = np.random.default_rng(seed)
    biosample, assay = np.array(labels, np.int32).T
    rows = generator.normal(size=(4, 300))[biosample % 4] + 2 * generator.normal(size=(5, 300))[assay % 5]
    likeness = np.corrcoef(rows + generator.normal(size=rows.shape)).astype(np.float32)
    spread = generator.uniform(0.2, 0.8, len(labels)).astype(np.float32)
    return biosample.copy(), assay.copy(), likeness, spread


def expected_correlations(measured, pair, elsewhere=None):
    """The same as `Correlations`, pair by pair: all tracks and, last, the target.

    Tracks of another species have biosamples of their own.
    """
    biosample, assay, likeness, _ = measured
    here = [t for t in range(len(biosample)) if (biosample[t], assay[t]) != pair]
    tracks = here
    if elsewhere is not None:
        biosample, assay = np.append(biosample, elsewhere[0] + 100), np.append(assay, elsewhere[1])
        likeness = block_diag(likeness, elsewhere[2])
        tracks = [*here, *range(len(measured[0]), len(biosample))]
    couples = [
        (s, t) for s in tracks for t in tracks if s < t and (biosample[s] < 100) == (biosample[t] < 100)
    ]
    within = [(s, t) for s, t in couples if biosample[s] == biosample[t]]
    between = [(s, t) for s, t in couples if assay[s] == assay[t]]

    def mean(couples, towards, strength):
        values = [float(likeness[s, t]) for s, t in couples]
        return (sum(values) + strength * towards) / (len(values) + strength)

    all_within, usual = mean(within, 0.0, 1e-9), max(mean(between, 0.0, 1e-9), LEVELS[0])
    level = {a: mean([c for c in between if assay[c[0]] == a], usual, PULL) for a in {*assay, pair[1]}}

    def correlation(one, two):
        (b, a), (c, d) = one, two
        shared = 1.0
        if b != c:
            common = [x for x in between if {biosample[x[0]], biosample[x[1]]} == {b, c}]
            total = sum(float(likeness[x]) for x in common) + PULL * usual
            shared = total / (max(sum(level[assay[s]] for s, _ in common), 0) + PULL * usual)
            levels = np.clip([level[a], level[d]], *LEVELS)
            shared = min(shared * np.sqrt(levels.prod()), LEVELS[1])
        if a == d:
            return shared
        return shared * mean([x for x in within if {assay[x[0]], assay[x[1]]} == {a, d}], all_within, PULL)

    pairs = [(biosample[t], assay[t]) for t in here] + [pair]
    return here, np.array([[correlation(one, two) for two in pairs] for one in pairs])


def correlations(measured, elsewhere=None):
    """Of one species, with what another one knows."""
    every = [one for one in (measured, elsewhere) if one is not None]
    n_assays = 1 + max(int(one[1].max()) for one in every)
    return Correlations(*measured, functools.reduce(operator.add, [sums_of(*one, n_assays) for one in every]))


def of(measured, pair, elsewhere=None):
    """Equations of a pair from all other tracks."""
    biosample, assay, *_ = measured
    rest = np.flatnonzero((biosample != pair[0]) | (assay != pair[1])).astype(np.int32)
    is_own = biosample[rest] == pair[0]
    own, others = rest[is_own], rest[~is_own][:, None]
    return correlations(measured, elsewhere).equations(*pair, rest), own, others


def in_the_target(weights, equations):
    """Weights of bands that have a spread of 1, for the target's band."""
    return weights * equations.expected / equations.spread


@pytest.mark.parametrize("pair", [(0, 1), (3, 4), (0, 0), (2, 2)])
def test_the_weights_are_those_of_the_textbook(pair):
    """Of tracks that were measured, and of pairs that were not."""
    measured = some_correlations()
    equations, own, others = of(measured, pair)
    tracks, expected = expected_correlations(measured, pair)
    np.testing.assert_array_equal(equations.tracks, tracks)
    np.testing.assert_allclose(equations.among, expected[:-1, :-1], atol=1e-5)
    np.testing.assert_allclose(equations.towards, expected[-1, :-1], atol=1e-5)
    same = [t for t in tracks if measured[1][t] == pair[1]]
    np.testing.assert_allclose(equations.expected, measured[3][same].mean(), rtol=1e-6)
    weights = np.zeros(len(measured[0]))
    of_own, of_others = equations.weights(own, others)
    weights[own], weights[others] = of_own, of_others
    solved = np.linalg.solve(expected[:-1, :-1] + NOISE * np.eye(len(tracks)), expected[-1, :-1])
    assert solved @ expected[-1, :-1] < 1
    np.testing.assert_allclose(weights[tracks], in_the_target(solved, equations), atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from(LABELS))
def test_a_track_has_no_influence_on_its_own_weights(seed, pair):
    biosample, assay, likeness, spread = some_correlations()
    noisy, itself = likeness.copy(), LABELS.index(pair)
    noise = np.random.default_rng(seed).uniform(-1, 1, len(noisy))
    noisy[itself] = noisy[:, itself] = noise
    noisy[itself, itself] = 1
    one, two = (of((biosample, assay, values, spread), pair)[0] for values in (likeness, noisy))
    np.testing.assert_allclose(one.among, two.among, atol=1e-5)
    np.testing.assert_allclose(one.towards, two.towards, atol=1e-5)
    assert (
        one.expected
        == of((biosample, assay, likeness, np.where(np.arange(len(LABELS)) == itself, 9, spread)), pair)[
            0
        ].expected
    )


def test_what_assays_have_in_common_is_learned_from_other_species_too():
    """An assay that a species lacks is then predicted from the tracks of its biosample, and from others."""
    lacking = some_correlations([label for label in LABELS if label[1] != 4])
    elsewhere = some_correlations(seed=1)
    for pair in [(0, 4), (2, 4), (0, 1), (2, 2)]:
        equations, own, others = of(lacking, pair, elsewhere)
        _, expected = expected_correlations(lacking, pair, elsewhere)
        np.testing.assert_allclose(equations.among, expected[:-1, :-1], atol=1e-5)
        np.testing.assert_allclose(equations.towards, expected[-1, :-1], atol=1e-5)
        assert np.abs(equations.weights(own, others)[0]).min() > 1e-3
    assert equations.expected == pytest.approx(
        np.mean([s for label, s in zip(LABELS, elsewhere[3], strict=True) if label[1] == 2]
        + [s for b, a, s in zip(*lacking[:2], lacking[3], strict=True) if a == 2 and b != 2])
    )  # fmt: skip


def test_tracks_that_are_left_out_weigh_nothing_and_the_others_fill_in():
    measured = some_correlations()
    equations, own, others = of(measured, (0, 1))
    left = np.where(np.arange(others.size) % 2, others[:, 0], -1).astype(np.int32)[:, None]
    of_own, of_others = equations.weights(own, left)
    known = np.isin(equations.tracks, np.append(own, left))
    among = equations.among[np.ix_(known, known)] + NOISE * np.eye(known.sum())
    size = equations.expected / equations.spread[known]
    weights = np.linalg.solve(among, equations.towards[known]) * size
    solved = dict(zip(equations.tracks[known], weights, strict=True))
    assert (of_others[left < 0] == 0).all()
    np.testing.assert_allclose(of_others[left >= 0], [solved[track] for track in left[left >= 0]], atol=1e-5)
    np.testing.assert_allclose(of_own, [solved[track] for track in own], atol=1e-5)


def test_of_an_assay_that_was_never_measured_nothing_is_predicted():
    """Nor if its only track is the target itself, or if it was measured where bands are not alike."""
    measured = some_correlations([*((0, a) for a in range(4)), *((1, a) for a in range(3))])
    elsewhere = some_correlations([(0, 1), (0, 4), (1, 4)])
    panels = [
        a_panel(*labels, *np.ones((2, len(labels[0]))), likeness)
        for *labels, likeness, _ in (measured, elsewhere)
    ]
    apart, together = (
        bands_of(panels, alike, 5)[0] for alike in (np.eye(2, dtype=bool), np.ones((2, 2), bool))
    )
    own, others = np.array([0, 1], np.int32), np.array([[4], [5]], np.int32)
    for bands, assay, expected in [
        (apart, 1, True),
        (apart, 3, False),
        (apart, 4, False),
        (together, 4, True),
    ]:
        equations = equations_of(bands, 0, assay, own, others)
        assert len(equations) == len(BAND_RADII) * expected
        weights = np.concatenate([one.reshape(-1) for one in weights_of(equations, own, others)])
        assert weights.any() == expected


def test_a_band_that_hardly_varies_is_not_used():
    measured = some_correlations()
    for track in (2, 5):
        measured[3][track] = LEAST_SPREAD / 2
    equations, own, others = of(measured, (0, 1))
    of_own, of_others = equations.weights(own, others)
    weights = dict(zip([*own, *others[:, 0]], [*of_own, *of_others[:, 0]], strict=True))
    assert [track for track, weight in weights.items() if weight == 0] == [2, 5]


def test_correlations_that_no_tracks_can_have_still_give_weights():
    """Biosamples that correlate by less than 0, and a biosample without any track."""
    labels = [(b, a) for b in range(6) for a in range(3)]
    biosample, assay, _, spread = some_correlations(labels)
    likeness = np.random.default_rng(3).uniform(-1, 1, (len(labels), len(labels))).astype(np.float32)
    likeness = (likeness + likeness.T) / 2
    np.fill_diagonal(likeness, 1)
    for pair in [(0, 0), (5, 2), (9, 1)]:
        equations, own, others = of((biosample, assay, likeness, spread), pair)
        among, used = equations.among + NOISE * np.eye(equations.tracks.size), []
        for track in range(equations.tracks.size):
            tried = np.ix_([*used, track], [*used, track])
            if used and 1 / np.linalg.inv(among[tried])[-1, -1] < NOISE / 2:
                continue
            used.append(track)
        assert len(used) < equations.tracks.size
        weights = np.zeros(len(labels))
        weights[own], weights[others] = equations.weights(own, others)
        expected = np.zeros(equations.tracks.size)
        expected[used] = np.linalg.solve(among[np.ix_(used, used)], equations.towards[used])
        told = expected @ equations.towards
        expected = in_the_target(expected, equations) / max(told, 1)
        np.testing.assert_allclose(weights[equations.tracks], expected, atol=2e-3)


def test_of_many_tracks_those_that_tell_most_are_taken():
    labels = [(b, a) for b in range(20) for a in range(6)]
    generator = np.random.default_rng(4)
    biosample, assay = np.array(labels, np.int32).T
    rows = generator.normal(size=(6, 400))[assay] + generator.normal(size=(len(labels), 400))
    spread = np.ones(len(labels), np.float32)
    equations, *_ = of((biosample.copy(), assay.copy(), np.corrcoef(rows).astype(np.float32), spread), (0, 0))
    assert equations.tracks.size == MOST_TRACKS
    assert (assay[equations.tracks] == 0).sum() == 19  # all tracks of the assay
