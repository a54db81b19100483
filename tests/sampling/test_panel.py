import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.genome.regions import Regions
from epixs.sampling.kriging import BAND_RADII
from epixs.sampling.panel import (
    ASSAYS,
    COARSE,
    LIKE_BIOSAMPLES,
    OWN_TRACKS,
    packed,
    packed_size,
    panel_of,
    reads_of,
    unpacked,
)
from epixs.sampling.windows import read_windows
from tests.worlds import a_panel


def some_panel(pairs, seed=0):
    generator = np.random.default_rng(seed)
    biosample, assay = (np.array(labels, np.int32) for labels in zip(*pairs, strict=True))
    likeness = generator.uniform(-1, 1, (4, len(pairs), len(pairs)))
    likeness = (likeness + likeness.transpose(0, 2, 1)) / 2
    mean, spread, *bands = generator.uniform(0.1, 1, (5, len(pairs)))
    return a_panel(biosample, assay, mean, spread, likeness[0], likeness[1:], bands)


def test_biosamples_weigh_by_the_tracks_that_both_have():
    panel = some_panel([(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (3, 2)])
    panel.likeness[0, 2], panel.likeness[1, 3], panel.likeness[1, 4] = 0.5, 0.3, 0.1
    np.testing.assert_allclose(panel.weights(0, 5), [0, np.exp(8 * 0.4), np.exp(8 * 0.1), 1], rtol=1e-5)
    np.testing.assert_allclose(panel.weights(0, 1), [0, np.exp(8 * 0.5), 1, 1], rtol=1e-5)  # but for assay 1


def test_the_targets_own_assay_comes_first_and_the_most_similar_biosamples_with_it():
    panel = some_panel([(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 2)])
    panel.likeness[0, 2], panel.likeness[1, 4] = 0.1, 0.9
    reads = reads_of(panel, np.array([0], np.int32), np.array([1], np.int32))
    assert reads.own[0].tolist() == [0, -1]
    assert reads.others[0, 0].tolist() == [
        3,
        4,
        -1,
    ]  # weights leave assay 1 out: biosample 1 is like, 2 unknown
    assert reads.others[0, 1].tolist() == [2, -1, -1]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=30), st.data())
def test_a_target_is_never_read_for_itself(pairs, data):
    panel = some_panel(sorted(pairs))
    b, a = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    reads = reads_of(panel, np.array([b], np.int32), np.array([a], np.int32))
    own, others = reads.own[reads.own >= 0], reads.others[reads.others >= 0]
    assert sorted(own.tolist()) == np.flatnonzero((panel.biosample == b) & (panel.assay != a)).tolist()
    assert sorted(others.tolist()) == np.flatnonzero(panel.biosample != b).tolist()
    assert ((reads.weight > 0) == (reads.others >= 0)).all()
    for slot in reads.others[0]:
        assert len(set(panel.assay[slot[slot >= 0]].tolist())) <= 1


def test_of_very_many_tracks_so_many_are_read_and_no_more():
    panel = some_panel([(b, a) for b in range(30) for a in range(40)])
    reads = reads_of(panel, np.array([3], np.int32), np.array([39], np.int32))
    assert reads.own.shape == (1, OWN_TRACKS)
    assert reads.others.shape == (1, ASSAYS, LIKE_BIOSAMPLES)
    assert set(panel.assay[reads.others[0, 0]].tolist()) == {39}
    weights = panel.weights(3, 39)
    best = np.sort(weights)[::-1][:LIKE_BIOSAMPLES]
    np.testing.assert_array_equal(reads.weight[0, 0], best)


def test_what_is_kept_of_a_panel_gives_the_same_reads():
    panel = some_panel([(b, a) for b in range(4) for a in range(3) if b + a])
    again = unpacked(packed(panel), panel.biosample, panel.assay)
    assert packed(panel).size == packed_size(panel.biosample, panel.assay)
    for b in range(4):
        np.testing.assert_array_equal(panel.weights(b, 0), again.weights(b, 0))
    same = (panel.biosample[:, None] == panel.biosample) & ~np.eye(panel.assay.size, dtype=bool)
    np.testing.assert_array_equal(panel.likeness[same], again.likeness[same])


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_statistics_are_those_of_the_bins_that_are_not_missing(share):
    generator = np.random.default_rng(5)
    regions = Regions("toy", ("a", "b"), ("chr1", "chr2"), (0, 0), (100_000, 40_000))  # 4,000 and 1,600 bins
    signal = generator.normal(1, 2, (3, 5_600)).astype(np.float32) + generator.normal(1, 2, 5_600)
    signal = np.rint(signal * 2048).astype(np.float32) / 2048
    signal[1, generator.random(5_600) < share] = np.nan
    fill = np.nanmean(signal, axis=1).astype(np.float32)
    windows = read_windows(signal, np.arange(3), fill, [(0, 5_600)], regions, 0)
    found = panel_of(windows, np.zeros(3, np.int32), np.arange(3, dtype=np.int32))
    np.testing.assert_allclose(found.mean, np.nanmean(signal, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.spread, np.nanstd(signal, axis=1), rtol=1e-4)

    filled = np.where(np.isnan(signal), fill[:, None], signal)
    pieces = [slice(0, 4_000), slice(4_000, 5_600)]
    for band, radius in enumerate(BAND_RADII):
        values = []
        for piece in pieces:
            part = filled[:, piece]
            means = [_smooth(part, r) for r in (radius, *BAND_RADII[band + 1 : band + 2])]
            values.append((means[0] - (means[1] if len(means) > 1 else 0))[:, ::COARSE])
        known = ~np.isnan(np.concatenate([signal[:, piece][:, ::COARSE] for piece in pieces], axis=1))
        every = np.concatenate(values, axis=1)
        for track in range(3):
            spread = every[track, known[track]].std() / found.spread[track]
            np.testing.assert_allclose(found.band_spread[band, track], spread, rtol=2e-3)
            both = known[0] & known[track]
            likeness = np.corrcoef(every[0, both], every[track, both])[0, 1]
            np.testing.assert_allclose(found.band_likeness[band, 0, track], likeness, atol=2e-3)


def _smooth(values, radius):
    n = values.shape[1]
    return np.stack([values[:, max(0, i - radius) : i + radius + 1].mean(axis=1) for i in range(n)], axis=1)
