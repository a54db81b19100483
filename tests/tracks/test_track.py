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


def test_a_chromosome_that_the_file_lacks_has_no_value(write_bigwig):
    with Track(write_bigwig("a.bw", [("chr1", 0, 10, 1.0)], sizes={"chr1": 10_010})) as track:
        track.check_assembly(ASSEMBLY, ("chr1", "chr2"))
        assert track.placement.absent == ("chr2",)
        signal = track.read(Piece("chr2", 0, 100, 0))
        assert signal.sums.tolist() == signal.covered.tolist() == [0, 0, 0, 0]
        with pytest.raises(TrackError, match="no chromosome of small among those of the regions"):
            track.check_assembly(ASSEMBLY, ("chr2",))


def test_other_names_of_the_same_chromosomes(write_bigwig):
    """Named in one way, read by the names of the assembly."""
    with Track(
        write_bigwig("a.bw", [("1", 0, 10, 1.0), ("MT", 0, 5, 2.0)], sizes={"1": 10_010, "MT": 50})
    ) as track:
        track.check_assembly(Assembly("small", {"chr1": 10_010, "chrM": 50}), ("chr1", "chrM"))
        assert track.placement.renamed == ("1 for chr1", "MT for chrM")
        assert track.read(Piece("chr1", 0, 25, 0)).sums.tolist() == [10.0]
        assert track.read(Piece("chrM", 0, 25, 0)).sums.tolist() == [10.0]


def test_lengths_matter_where_regions_lie(write_bigwig):
    """The mitochondrion of another reference is no other assembly; most chromosomes of other lengths are."""
    sizes = {"chr1": 10_010, "chr2": 5_000, "chrM": 101}
    with Track(write_bigwig("a.bw", [("chr1", 0, 10, 1.0)], sizes=sizes)) as track:
        rcrs = Assembly("small", {"chr1": 10_010, "chr2": 5_000, "chrM": 100})
        track.check_assembly(rcrs, ("chr1",))
        assert track.placement.other_lengths == ("chrM (101 bp)",)
        with pytest.raises(TrackError, match="is not on small: chrM; got 101 bp; expected 100 bp"):
            track.check_assembly(rcrs, ("chr1", "chrM"))
        with pytest.raises(TrackError, match="is not on other: chr2; got 5000 bp; expected 5001 bp"):
            track.check_assembly(Assembly("other", {"chr1": 10_010, "chr2": 5_001, "chrM": 100}), ("chr1",))


def test_a_chromosome_with_two_possible_names_is_not_guessed(write_bigwig):
    sizes = {"1": 100, "Chr1": 100, "chr2": 100}
    with (
        Track(write_bigwig("a.bw", [("1", 0, 10, 1.0)], sizes=sizes)) as track,
        pytest.raises(TrackError, match=r"which chromosome is chr1 of x\?.*--chrom-alias"),
    ):
        track.check_assembly(Assembly("x", {"chr1": 100, "chr2": 100}), ("chr1", "chr2"))


def write_anyhow(path, items, sizes=SIZES):
    """Write items of chr1 that pyBigWig would refuse, unless told not to look."""
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()), maxZooms=0)
        starts, ends, values = (list(column) for column in zip(*items, strict=True))
        file.addEntries(["chr1"] * len(items), starts, ends=ends, values=values, validate=False)
    return path


any_items = st.lists(
    st.tuples(
        st.integers(0, 30), st.integers(0, 90), st.one_of(st.floats(-99, 99, width=16), st.just(float("nan")))
    ),
    min_size=1,
    max_size=50,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(steps=any_items, laid=st.sampled_from([3, 40_000]))
def test_items_without_width_and_over_one_another_are_read_as_pybigwig_reads_them(tmp_path, steps, laid):
    at, items = 0, []
    for gap, width, value in steps:
        at += gap
        items.append((at, at + width, value))
    path = write_anyhow(tmp_path / "a.bw", items)
    piece = Piece("chr1", 0, 10_010, 0)
    with pyBigWig.open(str(path)) as file:
        bases = file.values("chr1", 0, 10_010, numpy=True)
    bases = np.append(bases, np.full(15, np.nan)).reshape(-1, 25)
    with Track(path) as track, pytest.MonkeyPatch.context() as patch:
        patch.setattr("epixs.tracks.track.BINS_LAID_OUT", laid)
        got = track.read(piece)
    np.testing.assert_allclose(got.sums, np.nansum(bases, axis=1), rtol=1e-6, atol=1e-6)
    assert got.covered.tolist() == (~np.isnan(bases)).sum(axis=1).tolist()
    assert got.without_width == sum(start == end for start, end, _ in items)
    reach = np.maximum.accumulate([0, *(end for _, end, _ in items)])[:-1]
    over = sum(start < min(end, reached) for (start, end, _), reached in zip(items, reach, strict=True))
    assert (got.overlapping > 0) == (over > 0)
    assert laid < 40_000 or got.overlapping == over


def test_the_later_of_two_items_counts_and_both_are_counted(tmp_path):
    items = [(0, 100, 1.0), (50, 60, 3.0), (60, 60, 9.0), (200, 225, 1.0), (200, 225, 2.0)]
    with Track(write_anyhow(tmp_path / "a.bw", items)) as track:
        got = track.read(Piece("chr1", 0, 250, 0))
        apart = track.read(Piece("chr1", 100, 200, 0))
    assert got.sums.tolist() == [25, 25, 45, 25, 0, 0, 0, 0, 50, 0]
    assert (got.without_width, got.overlapping) == (1, 2)
    assert (apart.sums.tolist(), apart.overlapping) == ([0] * 4, 0)


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
