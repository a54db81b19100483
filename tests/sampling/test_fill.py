import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.lanes import COLUMNS
from epixs.sampling.fill import (
    PER_LINE,
    RADII,
    SUMMARIES,
    _some_per_line,
    fill_columns,
    fill_context,
    fill_contexts,
)
from epixs.sampling.kriging import BAND_RADII

LENGTH, OWN = 900, np.array([1, -1, 3], np.int32)
OTHERS = np.array([[0, 2, -1], [-1, -1, -1], [-1, 4, 0]], np.int32)
WEIGHT = np.array([[0.5, 2, 0], [0, 0, 0], [0, 1.5, 1]], np.float32)
SHARES = np.random.default_rng(3).normal(size=(3, 4, 3)).astype(np.float32)
OWN_SHARE, OTHERS_SHARE = SHARES[:, 0], SHARES[:, 1:]
MEAN, SPREAD = np.array([[0.3, 0.1, 0.5, 0.2, 0.4], [0.2, 0.5, 1, 0.7, 0.3]], np.float32) * 2048


def some_sums():
    """A piece behind another one, whose sums run over 2**31."""
    steps = np.random.default_rng(0).integers(0, 6_000, (5, LENGTH))
    total = 2**31 - 1_000_000 + np.concatenate([np.zeros((5, 1), np.int64), np.cumsum(steps, axis=1)], axis=1)
    return np.ascontiguousarray(
        np.concatenate([np.ones((5, 7)), total], axis=1).astype(np.int64).astype(np.int32)
    )


@pytest.mark.parametrize(
    "offset", [0, 1, 150, 199, 200, 450, 900 - 201 - COLUMNS, 900 - 200 - COLUMNS, 880, 899]
)
def test_columns_hold_what_is_read_bin_by_bin(offset):
    sums = some_sums()
    bins = np.arange(offset, min(LENGTH, offset + COLUMNS))
    own = np.empty((bins.size, OWN.size, RADII.size), np.float32)
    others = np.empty((bins.size, len(OTHERS), SUMMARIES * RADII.size), np.float32)
    place = np.full(bins.size, 7, np.int64), np.full(bins.size, LENGTH, np.int64), bins
    base = np.empty((bins.size, len(BAND_RADII)), np.float32)
    fill_context(
        sums, *place, RADII, MEAN, 1 / SPREAD, OWN, OTHERS, WEIGHT, OWN_SHARE, OTHERS_SHARE, own, others, base
    )  # fmt: skip
    own_columns = np.full((OWN.size, RADII.size, COLUMNS), np.nan, np.float32)
    others_columns = np.full((len(OTHERS), SUMMARIES * RADII.size, COLUMNS), np.nan, np.float32)
    base_columns = np.full((len(BAND_RADII), COLUMNS), np.nan, np.float32)
    fill_columns(
        sums, 7, LENGTH, offset, RADII, MEAN, 1 / SPREAD, OWN, OTHERS, WEIGHT, OWN_SHARE, OTHERS_SHARE,
        own_columns, others_columns, base_columns,
    )  # fmt: skip
    assert np.isfinite(own_columns).all()
    np.testing.assert_allclose(own_columns[:, :, : bins.size].transpose(2, 0, 1), own, atol=1e-5)
    np.testing.assert_allclose(base_columns[:, : bins.size].T, base, atol=1e-5)
    assert base.std() > 0.01
    found = others_columns[:, :, : bins.size].transpose(2, 0, 1)
    spreads = slice(2 * RADII.size, 3 * RADII.size)  # roots of small differences
    np.testing.assert_allclose(found[..., spreads], others[..., spreads], atol=2e-3)
    np.testing.assert_allclose(np.delete(found, spreads, 2), np.delete(others, spreads, 2), atol=1e-5)


def test_what_is_nowhere_is_0():
    out = np.full((1, SUMMARIES * RADII.size, COLUMNS), np.nan, np.float32)
    own = np.full((2, RADII.size, COLUMNS), np.nan, np.float32)
    none = np.full((1, 2), -1, np.int32)
    weight, base = np.zeros((1, 2), np.float32), np.full((len(BAND_RADII), COLUMNS), np.nan, np.float32)
    fill_columns(
        some_sums(), 7, LENGTH, 400, RADII, MEAN, 1 / SPREAD, none[0], none, weight, SHARES[0, :2], SHARES[:1, :2],
        own, out, base,
    )  # fmt: skip
    assert (own == 0).all()
    assert (out == 0).all()
    assert (base == 0).all()


def test_several_targets_are_read_as_each_alone():
    sums, generator = np.asfortranarray(some_sums()), np.random.default_rng(1)
    targets, bins = 3, 20
    offset = generator.integers(0, LENGTH, (targets, bins))
    column, length = np.full(offset.shape, 7, np.int64), np.full(offset.shape, LENGTH, np.int64)
    factor = generator.random((targets, 5), np.float32) / SPREAD
    own = np.stack([OWN, np.roll(OWN, 1), np.full_like(OWN, -1)])
    others = np.stack([OTHERS, OTHERS[::-1], OTHERS])
    weight = np.stack([WEIGHT, WEIGHT[::-1], WEIGHT])
    shares = generator.normal(size=(targets, 3, 4, 3)).astype(np.float32)
    rows, which = np.array([4, 0, 1]), np.array([1, 0, 1])
    wide = [
        np.full((5, bins, OWN.size + 2, RADII.size), 9, np.float32),
        np.full((5, bins, len(OTHERS) + 1, SUMMARIES * RADII.size), 9, np.float32),
        np.full((5, bins, len(BAND_RADII)), 9, np.float32),
    ]
    fill_contexts(
        sums, column, length, offset, RADII, MEAN, factor, own, others, weight, shares[:, :, 0],
        np.ascontiguousarray(shares[:, :, 1:]), which, rows, *wide,
    )  # fmt: skip
    for n, row in enumerate(rows):
        alone = [np.empty_like(wide[0][0, :, : OWN.size]), np.empty_like(wide[1][0, :, : len(OTHERS)])]
        alone = [*(np.ascontiguousarray(one) for one in alone), np.empty_like(wide[2][0])]
        fill_context(
            np.ascontiguousarray(sums), column[n], length[n], offset[n], RADII, MEAN, factor[which[n]], own[n],
            others[n], weight[n], shares[n, :, 0], np.ascontiguousarray(shares[n, :, 1:]), *alone,
        )  # fmt: skip
        for got, expected in zip(wide, alone, strict=True):
            got = got[row] if got.ndim == 3 else got[row, :, : expected.shape[1]]
            np.testing.assert_array_equal(got, expected)
    assert all((one[2:4] == 9).all() for one in wide)
    assert (wide[0][:, :, OWN.size :] == 9).all()


@given(
    st.lists(st.integers(-1, 100), min_size=1, max_size=40), st.integers(1, 39), st.integers(0, PER_LINE - 1)
)
def test_each_track_lies_in_a_line_of_memory_that_is_fetched(tracks, n_own, first):
    """Wherever in a line a column begins."""
    own = np.array(tracks[:n_own], np.int32)
    others = np.array([*tracks[n_own:], -1], np.int32).reshape(1, -1)
    fetched = _some_per_line(own, others)
    known = {track for track in tracks if track >= 0}
    assert set(fetched) <= known
    assert {(first + track) // PER_LINE for track in fetched} == {
        (first + track) // PER_LINE for track in known
    }


def test_of_a_small_panel_a_few_tracks_are_fetched():
    assert _some_per_line(np.arange(20, dtype=np.int32), np.full((1, 1), -1, np.int32)).tolist() == [
        0,
        15,
        19,
    ]
