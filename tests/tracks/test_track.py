import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Piece
from epixs.tracks import Track

SIZES = {"chr1": 10_010, "chr2": 5_000}
ASSEMBLY = Assembly("small", SIZES)


def slow_bins(intervals, piece):
    """Oracle: lay every interval out base by base."""
    base = np.full(piece.end - piece.start, np.nan)
    for chrom, start, end, value in intervals:
        if chrom == piece.chrom:
            base[max(0, start - piece.start) : max(0, end - piece.start)] = np.float32(value)
    sums, covered = [], []
    for at in range(0, base.size, 25):
        known = base[at : at + 25][~np.isnan(base[at : at + 25])]
        sums.append(known.sum())
        covered.append(known.size)
    return np.array(sums), np.array(covered)


steps = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 90), st.floats(-1_000, 1_000, width=32)), max_size=60
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(steps=steps, start=st.integers(0, 399), span=st.integers(1, 401))
def test_bins_agree_with_laying_out_the_bases(write_bigwig, steps, start, span):
    intervals, at = [], 0
    for gap, width, value in steps:
        at += gap
        if at + width > 10_010:
            break
        intervals.append(("chr1", at, at + width, value))
        at += width
    piece = Piece("chr1", start * 25, min(10_010, (start + span) * 25), 0)
    with Track(write_bigwig("a.bw", intervals or [("chr1", 0, 1, 0.0)])) as track:
        got = track.read(piece)
    sums, covered = slow_bins(intervals or [("chr1", 0, 1, 0.0)], piece)
    np.testing.assert_allclose(got.sums, sums, rtol=1e-6, atol=1e-3)
    assert got.covered.tolist() == covered.tolist()


def test_uncovered_bases_count_as_zero_or_not_at_all(write_bigwig):
    path = write_bigwig("a.bw", [("chr1", 0, 5, 10.0), ("chr1", 10_000, 10_010, 3.0)])
    with Track(path) as track:
        first = Piece("chr1", 0, 50, 0)
        signal = track.read(first)
        assert signal.means(first.widths, "zero").tolist() == [2.0, 0.0]
        nan = signal.means(first.widths, "nan")
        assert nan[0] == 10.0
        assert np.isnan(nan[1])
        last = Piece("chr1", 10_000, 10_010, 0)  # ten bases wide
        assert track.read(last).means(last.widths, "zero").tolist() == [3.0]


def test_explicit_nan_is_uncovered(write_bigwig):
    with Track(write_bigwig("a.bw", [("chr1", 0, 10, float("nan")), ("chr1", 10, 25, 2.0)])) as track:
        signal = track.read(Piece("chr1", 0, 25, 0))
    assert signal.covered.tolist() == [15]
    assert signal.sums.tolist() == [30.0]


def test_infinity_is_refused_with_its_place(write_bigwig):
    with (
        Track(write_bigwig("a.bw", [("chr1", 30, 40, float("inf"))])) as track,
        pytest.raises(TrackError, match=r"infinite value at chr1:30; got inf"),
    ):
        track.read(Piece("chr1", 0, 100, 0))


def test_wrong_assembly(write_bigwig):
    with Track(write_bigwig("a.bw", [("chr1", 0, 9, 1.0)], sizes={"chr1": 9_999})) as track:
        with pytest.raises(TrackError, match="not on small: chr1; got 9999 bp; expected 10010 bp"):
            track.check_assembly(ASSEMBLY)
        with pytest.raises(TrackError, match="has no chromosome of other"):
            track.check_assembly(Assembly("other", {"scaffold1": 5}))


def test_absent_chromosome(write_bigwig):
    with (
        Track(write_bigwig("a.bw", [("chr1", 0, 10, 1.0)], sizes={"chr1": 10_010})) as track,
        pytest.raises(TrackError, match="has no chromosome chr2"),
    ):
        track.read(Piece("chr2", 0, 100, 0))


def test_chromosome_shorter_than_the_region(write_bigwig):
    with (
        Track(write_bigwig("a.bw", [("chr1", 0, 10, 1.0)])) as track,
        pytest.raises(TrackError, match="ends before the region"),
    ):
        track.read(Piece("chr1", 10_000, 10_025, 0))


@pytest.mark.parametrize("kind", ["variable", "fixed"])
def test_step_sections(tmp_path, kind):
    path = tmp_path / "a.bw"
    values = [float(v) for v in range(1, 101)]
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(SIZES.items()), maxZooms=0)
        if kind == "fixed":
            file.addEntries("chr1", 50, values=values, span=10, step=15)
            starts = [50 + 15 * i for i in range(100)]
        else:
            starts = [17 * i + i % 5 for i in range(100)]
            file.addEntries("chr1", starts, values=values, span=10)
    intervals = [("chr1", s, s + 10, v) for s, v in zip(starts, values, strict=True)]
    piece = Piece("chr1", 0, 2_000, 0)
    with Track(path) as track:
        got = track.read(piece)
    sums, covered = slow_bins(intervals, piece)
    np.testing.assert_allclose(got.sums, sums, rtol=1e-6)
    assert got.covered.tolist() == covered.tolist()


def test_bases_are_never_laid_out(write_bigwig):
    """One interval of the largest chromosome a bigWig can hold costs one bin's memory, not its bases'."""
    path = write_bigwig("a.bw", [("chr1", 0, 4_000_000_000, 2.0)], sizes={"chr1": 4_000_000_000})
    with Track(path) as track:
        got = track.read(Piece("chr1", 3_999_999_000, 4_000_000_000, 0))
    assert got.sums.tolist() == [50.0] * 40
