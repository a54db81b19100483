"""Weighted sums of tracks, beside the textbook equations; and what has no influence on them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.sampling.kriging import (
    ASSAY_PULL,
    BAND_RADII,
    LEAST_SPREAD,
    LEVELS,
    MOST_TRACKS,
    NOISE,
    PULL,
    Correlations,
    no_sums,
    weights_of,
)
from epixs.sampling.panel import bands_of, equations_of, hidden_equations
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


def expected_correlations(measured, pair, elsewhere=()):
    """The same as `Correlations`, pair by pair: all tracks and, last, the target.

    Of the assay of the pair, correlations in other species (`measured` of each) count too.
    """
    biosample, assay, likeness, _ = measured
    here = [t for t in range(len(biosample)) if (biosample[t], assay[t]) != pair]
    couples = [(s, t) for s in here for t in here if s < t]
    within = [(s, t) for s, t in couples if biosample[s] == biosample[t]]
    between = [(s, t) for s, t in couples if assay[s] == assay[t]]

    def mean(couples, towards, strength, more=()):
        values = [float(likeness[s, t]) for s, t in couples] + [*more]
        return (sum(values) + strength * towards) / (len(values) + strength)

    all_within, usual = mean(within, 0.0, 1e-9), max(mean(between, 0.0, 1e-9), LEVELS[0])
    level = {a: mean([c for c in between if assay[c[0]] == a], usual, PULL) for a in {*assay, pair[1]}}
    others = [
        ((b[s], b[t]), (a[s], a[t]), float(like[s, t]))
        for b, a, like, _ in elsewhere
        for s, t in itertools.combinations(range(len(b)), 2)
    ]
    more = [like for _, assays, like in others if assays == (pair[1], pair[1])]
    of_pair = mean([c for c in between if assay[c[0]] == pair[1]], usual, PULL, more)

    def of_assay(one):
        """The mean correlation of an assay with others in a biosample, in other species for the pair's alone."""
        some = [x for x in within if one in {assay[x[0]], assay[x[1]]}]
        told = [like for (x, y), both, like in others if x == y and {one, pair[1]} <= {*both}]
        return mean(some, all_within, ASSAY_PULL, told)

    def correlation(one, two):
        (b, a), (c, d) = one, two
        shared = 1.0
        if b != c:
            common = [x for x in between if {biosample[x[0]], biosample[x[1]]} == {b, c}]
            total = sum(float(likeness[x]) for x in common) + PULL * usual
            shared = total / (max(sum(level[assay[s]] for s, _ in common), 0) + PULL * usual)
            levels = [of_pair if x == pair[1] else level[x] for x in (a, d)]
            levels = np.clip(levels, *LEVELS)
            shared = min(shared * np.sqrt(levels.prod()), LEVELS[1])
        if a == d:
            return shared
        told = [like for (x, y), both, like in others if x == y and {*both} == {a, d}]
        some = [x for x in within if {assay[x[0]], assay[x[1]]} == {a, d}]
        expected = np.clip(of_assay(a) + of_assay(d) - all_within, -LEVELS[1], LEVELS[1])
        return shared * mean(some, expected, PULL, told if pair[1] in (a, d) else ())

    pairs = [(biosample[t], assay[t]) for t in here] + [pair]
    return here, np.array([[correlation(one, two) for two in pairs] for one in pairs])


def of(measured, pair):
    """Equations of a pair from all other tracks."""
    biosample, assay, *_ = measured
    rest = np.flatnonzero((biosample != pair[0]) | (assay != pair[1])).astype(np.int32)
    is_own = biosample[rest] == pair[0]
    own, others = rest[is_own], rest[~is_own][:, None]
    bands = Correlations(*measured, no_sums(1 + max(int(assay.max()), pair[1])))
    return bands.equations(*pair, rest, bands.of(*pair)), own, others


def panel_from(measured):
    biosample, assay, likeness, spread = measured
    bands = len(BAND_RADII)
    return a_panel(
        biosample, assay, *np.ones((2, len(assay))), likeness, np.tile(likeness, (bands, 1, 1)),
        np.tile(spread, (bands, 1)),
    )  # fmt: skip


def in_one_band(equations, own, others):
    """The weights in the first and only band."""
    of_own, of_others = weights_of([equations], own, others)
    assert not of_own[..., 1:].any()
    return of_own[..., 0], of_others[..., 0]


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
    of_own, of_others = in_one_band(equations, own, others)
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


def read_for(panel, pair):
    """Own and other tracks of a pair, all of them."""
    is_own = panel.biosample == pair[0]
    itself = is_own & (panel.assay == pair[1])
    own, others = (np.flatnonzero(mask & ~itself).astype(np.int32) for mask in (is_own, ~is_own))
    return own, others[:, None]


def test_an_absent_assay_is_known_from_other_species():
    lacking = some_correlations([label for label in LABELS if label[1] != 4])
    elsewhere = [some_correlations(seed=1), some_correlations(LABELS[3:], seed=2)]
    panel = panel_from(lacking)
    bands = bands_of(panel, [panel_from(one) for one in elsewhere], 5)
    for pair in [(0, 4), (2, 4), (9, 4)]:
        own, others = read_for(panel, pair)
        equations = equations_of(bands, *pair, own, others)
        _, expected = expected_correlations(lacking, pair, elsewhere)
        for one in equations:
            np.testing.assert_allclose(one.among, expected[:-1, :-1], atol=1e-5)
            np.testing.assert_allclose(one.towards, expected[-1, :-1], atol=1e-5)
            spreads = [one[3][one[1] == 4] for one in elsewhere]
            assert one.expected == pytest.approx(np.concatenate(spreads).mean())
        assert np.abs(weights_of(equations, own, others)[0]).min(initial=1) > 1e-4


def test_a_measured_assay_is_known_from_its_species_alone():
    measured, elsewhere = some_correlations(), some_correlations(seed=1)
    panel = panel_from(measured)
    alone, beside = (bands_of(panel, others, 5) for others in ([], [panel_from(elsewhere)]))
    for pair in [(0, 1), (0, 0)]:
        read = read_for(panel, pair)
        for one, two in zip(
            equations_of(alone, *pair, *read), equations_of(beside, *pair, *read), strict=True
        ):
            np.testing.assert_array_equal(one.towards, two.towards)
            np.testing.assert_array_equal(one.among, two.among)


def test_a_hidden_assay_is_known_from_its_other_tracks_and_other_species_or_only_from_these():
    measured, elsewhere = some_correlations(), some_correlations(seed=1)
    panel, pair = panel_from(measured), (0, 1)
    bands = bands_of(panel, [panel_from(elsewhere)], 5)
    shown = equations_of(bands, *pair, *read_for(panel, pair))
    read = read_for(panel, pair)
    both, lent = hidden_equations(bands, shown, *pair), equations_of(bands, *pair, *read, lent=True)
    tracks, expected = expected_correlations(measured, pair, [elsewhere])
    other = measured[1][tracks] != 1
    rest = measured[1] != 1
    lacking = measured[0][rest], measured[1][rest], measured[2][np.ix_(rest, rest)], measured[3][rest]
    _, expected_if_absent = expected_correlations(lacking, pair, [elsewhere])
    for one, two, three in zip(shown, both, lent, strict=True):
        assert two.among is one.among
        np.testing.assert_allclose(two.towards[other], expected[-1, :-1][other], atol=1e-5)
        assert three.tracks.tolist() == np.array(tracks)[other].tolist()
        np.testing.assert_allclose(three.towards, expected_if_absent[-1, :-1], atol=1e-5)
        np.testing.assert_allclose(three.among, expected_if_absent[:-1, :-1], atol=1e-5)
        assert np.abs(two.towards[other] - three.towards).max() > 0.02


def test_tracks_that_are_left_out_weigh_nothing_and_the_others_fill_in():
    measured = some_correlations()
    equations, own, others = of(measured, (0, 1))
    left = np.where(np.arange(others.size) % 2, others[:, 0], -1).astype(np.int32)[:, None]
    of_own, of_others = in_one_band(equations, own, left)
    known = np.isin(equations.tracks, np.append(own, left))
    among = equations.among[np.ix_(known, known)] + NOISE * np.eye(known.sum())
    size = equations.expected / equations.spread[known]
    weights = np.linalg.solve(among, equations.towards[known]) * size
    solved = dict(zip(equations.tracks[known], weights, strict=True))
    assert (of_others[left < 0] == 0).all()
    np.testing.assert_allclose(of_others[left >= 0], [solved[track] for track in left[left >= 0]], atol=1e-5)
    np.testing.assert_allclose(of_own, [solved[track] for track in own], atol=1e-5)


def test_of_an_assay_of_which_nothing_is_known_nothing_is_predicted():
    """Nor if its only track is the target itself, or if it was measured in other biosamples than the others."""
    panel = panel_from(some_correlations([*((0, a) for a in range(4)), *((1, a) for a in range(3))]))
    apart = panel_from(some_correlations([(0, 1), (1, 4), (2, 4)]))
    known = panel_from(some_correlations([(0, 1), (0, 4), (1, 4)]))
    for others, pair, expected in [
        ([], (0, 1), True), ([], (0, 3), False), ([], (0, 4), False), ([apart], (0, 4), False),
        ([apart, known], (0, 4), True), ([known], (0, 3), False),
    ]:  # fmt: skip
        bands, (own, rest) = bands_of(panel, others, 5), read_for(panel, pair)
        equations = equations_of(bands, *pair, own, rest)
        assert len(equations) == len(BAND_RADII) * expected
        weights = np.concatenate([one.reshape(-1) for one in weights_of(equations, own, rest)])
        assert weights.any() == expected
        if pair != (0, 4):
            assert bool(hidden_equations(bands, equations, *pair)) == expected


def test_a_band_that_hardly_varies_is_not_used():
    measured = some_correlations()
    for track in (2, 5):
        measured[3][track] = LEAST_SPREAD / 2
    equations, own, others = of(measured, (0, 1))
    of_own, of_others = in_one_band(equations, own, others)
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
        weights[own], weights[others] = in_one_band(equations, own, others)
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
