import struct

import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs import tracks
from epixs.errors import TrackError
from epixs.genome import Assembly, Piece
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
@given(steps=steps, start=st.integers(0, 399), span=st.integers(1, 401), window=st.integers(1, 50))
def test_bins_agree_with_laying_out_the_bases(write_bigwig, monkeypatch, steps, start, span, window):
    intervals, at = [], 0
    for gap, width, value in steps:
        at += gap
        if at + width > 10_010:
            break
        intervals.append(("chr1", at, at + width, value))
        at += width
    monkeypatch.setattr(tracks, "WINDOW_BINS", window)
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML or XML page"),
        (b"\n <html>", "HTML or XML page"),
        (b"chr1\t0\t10\t1.0\n" * 20, "is not a bigWig"),
        (struct.pack("<I", 0x8789F2EB) + b"\0" * 80, "got a bigBed"),
        (struct.pack("<I", 0x888FFC26) + b"\0" * 10, "is truncated"),
    ],
)
def test_what_is_no_bigwig(tmp_path, content, message):
    path = tmp_path / "a.bw"
    path.write_bytes(content)
    with pytest.raises(TrackError, match=message):
        Track(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(TrackError, match="does not exist"):
        Track(tmp_path / "nothing.bw")
    with pytest.raises(TrackError, match="cannot be opened"):
        Track(tmp_path)


def test_truncated_file(write_bigwig, tmp_path):
    whole = write_bigwig("a.bw", [("chr1", i * 10, i * 10 + 10, float(i)) for i in range(1_000)])
    cut = tmp_path / "cut.bw"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(TrackError, match="is truncated"):
        Track(cut)


def test_damaged_block_raises_and_never_reads_as_missing(write_bigwig, tmp_path):
    rng = np.random.default_rng(0)
    whole = write_bigwig("a.bw", [("chr1", i * 10, i * 10 + 10, float(rng.random())) for i in range(1_000)])
    content = bytearray(whole.read_bytes())
    (data,) = struct.unpack_from("<Q", content, 16)
    content[data + 40 : data + 200] = bytes(160)  # inside the first compressed block
    broken = tmp_path / "broken.bw"
    broken.write_bytes(content)
    with Track(broken) as track, pytest.raises(TrackError, match="is damaged"):
        track.read(Piece("chr1", 0, 10_000, 0))
    # what pyBigWig's stats() would have said of it: nothing at all
    with pyBigWig.open(str(broken)) as file:
        assert file.stats("chr1", 0, 5_000, exact=True) == [None]
