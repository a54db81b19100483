import contextlib
import itertools

import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Piece
from epixs.tracks import Track
from epixs.tracks.inflate import inflate_run
from tests.bigwigs import write_blocks

SIZES = {"chr1": 10_010, "chr2": 5_000}
ASSEMBLY = Assembly("small", SIZES)


def slow_bins(intervals, piece):
    """Oracle: write every interval out base by base."""
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
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
    """A file with other names is read by the names of the assembly."""
    with Track(
        write_bigwig("a.bw", [("1", 0, 10, 1.0), ("MT", 0, 5, 2.0)], sizes={"1": 10_010, "MT": 50})
    ) as track:
        track.check_assembly(Assembly("small", {"chr1": 10_010, "chrM": 50}), ("chr1", "chrM"))
        assert track.placement.renamed == ("1 for chr1", "MT for chrM")
        assert track.read(Piece("chr1", 0, 25, 0)).sums.tolist() == [10.0]
        assert track.read(Piece("chrM", 0, 25, 0)).sums.tolist() == [10.0]


def test_lengths_matter_where_regions_lie(write_bigwig):
    """One chromosome of another length, as another reference's mitochondrion, is accepted; most are not."""
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
    """Write items of chr1 that pyBigWig would refuse if it validated them."""
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
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
    """One interval over a chromosome of 4 Gb needs only the memory of the bins read, not of its bases."""
    path = write_bigwig("a.bw", [("chr1", 0, 4_000_000_000, 2.0)], sizes={"chr1": 4_000_000_000})
    with Track(path) as track:
        got = track.read(Piece("chr1", 3_999_999_000, 4_000_000_000, 0))
    assert got.sums.tolist() == [50.0] * 40


def cut(intervals, length):
    """Cut intervals into blocks of at most `length`, each of one chromosome."""
    return [
        list(items)[at : at + length]
        for _, group in itertools.groupby(intervals, key=lambda interval: interval[0])
        for items in [list(group)]
        for at in range(0, len(items), length)
    ]


@contextlib.contextmanager
def inflated_blocks():
    """Count the data blocks that are inflated meanwhile, one number per call."""
    with pytest.MonkeyPatch.context() as patch:
        counts = []
        patch.setattr(
            "epixs.tracks.bigwig.inflate_run",
            lambda data, offsets, limit: counts.append(offsets.size - 1) or inflate_run(data, offsets, limit),
        )
        yield counts


def assert_same(track, pieces):
    """Check that `read_all` equals `read` of each piece, bit for bit; returns the signal."""
    got = track.read_all(pieces)
    alone = [track.read(piece) for piece in pieces]
    assert got.sums.tobytes() == np.concatenate([signal.sums for signal in alone]).tobytes()
    assert got.covered.tobytes() == np.concatenate([signal.covered for signal in alone]).tobytes()
    return got


small_pieces = st.lists(
    st.tuples(st.sampled_from(list(SIZES)), st.integers(0, 199), st.integers(1, 60)), min_size=1, max_size=40
)


@settings(max_examples=150)
@given(
    steps=steps,
    second=steps,
    places=small_pieces,
    length=st.integers(1, 9),
    run_bytes=st.sampled_from([1, 200, 1 << 19]),
    compressed=st.booleans(),
)
def test_many_pieces_are_read_as_each_alone(
    tmp_path_factory, steps, second, places, length, run_bytes, compressed
):
    """Pieces of two chromosomes come in any order, overlapping or apart; blocks have any length."""
    intervals = []
    for chrom, of_chrom in zip(SIZES, (steps, second), strict=True):
        at = 0
        for gap, width, value in of_chrom:
            if at + gap + width <= SIZES[chrom]:
                intervals.append((chrom, at + gap, at + gap + width, value))
                at += gap + width
    intervals = intervals or [("chr1", 0, 1, 0.0)]
    pieces = [Piece(c, 25 * start, min(SIZES[c], 25 * (start + span)), 0) for c, start, span in places]
    path = tmp_path_factory.mktemp("blocks") / "a.bw"
    with (
        Track(write_blocks(path, cut(intervals, length), compressed=compressed)) as track,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("epixs.tracks.bigwig.RUN_BYTES", run_bytes)
        got = assert_same(track, pieces)
        sums, covered = zip(*(slow_bins(intervals, piece) for piece in pieces), strict=True)
        np.testing.assert_allclose(got.sums, np.concatenate(sums), rtol=1e-6, atol=1e-3)
        assert got.covered.tolist() == np.concatenate(covered).tolist()
        with inflated_blocks() as counts:
            track.read_all(pieces)
        assert sum(counts) <= len(cut(intervals, length))


def test_each_block_is_inflated_once_for_all_pieces(tmp_path, monkeypatch):
    """400 pieces lie over 10 blocks; memory is that of one run, here two blocks."""
    blocks = cut([("chr1", 10 * i, 10 * i + 10, float(i)) for i in range(1_000)], 100)
    pieces = [Piece("chr1", 25 * i, 25 * (i + 1), i) for i in range(400)]
    with Track(write_blocks(tmp_path / "a.bw", blocks)) as track:
        monkeypatch.setattr("epixs.tracks.bigwig.MAX_RUN", 2 * 32_768)
        with inflated_blocks() as counts:
            got = assert_same(track, pieces)
        assert counts[:5] == [2, 2, 2, 2, 2]
        assert len(counts) > 400  # `assert_same` also reads each piece alone
        assert got.sums[:2].tolist() == [0 * 10 + 1 * 10 + 2 * 5, 2 * 5 + 3 * 10 + 4 * 10]


def test_pieces_far_apart_read_nothing_between(tmp_path):
    blocks = cut([("chr1", 10 * i, 10 * i + 10, float(i)) for i in range(1_000)], 10)
    with Track(write_blocks(tmp_path / "a.bw", blocks)) as track, inflated_blocks() as counts:
        track.read_all([Piece("chr1", 9_000, 9_025, 1), Piece("chr1", 1_000, 1_025, 0)])
    assert sum(counts) == 6  # one block for each, and one on either side


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (("chr1", 600, 610, float("inf")), "infinite value at chr1:600"),
        (("chr1", 580, 610, 1.0), "near chr1:580"),
    ],
)
def test_what_is_wrong_with_one_of_many_pieces_is_said(tmp_path, fault, message):
    intervals = [("chr1", 10 * i, 10 * i + 10, 1.0) for i in range(100)]
    intervals[60] = fault
    pieces = [Piece("chr1", 25 * i, 25 * (i + 1), i) for i in range(40)]
    with Track(write_blocks(tmp_path / "a.bw", cut(intervals, 25))) as track:
        assert track.read_all(pieces[:5]).covered.tolist() == [25] * 5  # nothing near these is wrong
        with pytest.raises(TrackError, match=message):
            track.read_all(pieces)


def test_items_that_overlap_or_have_no_width_count_in_many_pieces_as_in_each(tmp_path):
    intervals = [("chr1", 10 * i, 10 * i + 10, float(i)) for i in range(100)]
    intervals[50] = ("chr1", 490, 510, 7.0)
    intervals[80] = ("chr1", 800, 800, 1.0)
    pieces = [Piece("chr1", 25 * i, 25 * (i + 1), i) for i in range(40)]
    with Track(write_blocks(tmp_path / "a.bw", cut(intervals, 25))) as track:
        got = assert_same(track, pieces)
        assert (got.without_width, got.overlapping) == (1, 1)


def test_many_pieces_of_which_one_is_not_in_the_file(write_bigwig):
    pieces = [Piece("chr1", 25 * i, 25 * (i + 1), i) for i in range(4)]
    with Track(write_bigwig("a.bw", [("chr1", 0, 10, 1.0)], sizes={"chr1": 10_010})) as track:
        lacking = track.read_all([*pieces, Piece("chr2", 0, 25, 4)])
        assert lacking.covered.tolist() == [10, 0, 0, 0, 0]
        with pytest.raises(TrackError, match="ends before the region"):
            track.read_all([*pieces, Piece("chr1", 10_000, 10_025, 4)])
        assert track.read_all([]).sums.size == 0
