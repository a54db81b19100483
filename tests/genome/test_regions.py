import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.errors import RegionError
from epixs.genome.assembly import Assembly, known_assemblies, load_assembly, read_chrom_sizes
from epixs.genome.bed import make_regions, read_regions
from epixs.genome.locus import parse_locus
from epixs.genome.regions import BIN_SIZE, Regions

SMALL = Assembly("small", {"chr1": 10_010, "chr2": 5_000})


def test_packaged_assemblies():
    assert known_assemblies() == ["hg19", "hg38", "mm10", "mm9"]
    assert load_assembly("mm10").chrom_sizes["chr19"] == 61_431_566


def test_unknown_assembly_names_what_exists():
    with pytest.raises(RegionError, match=r"got 'bosTau9'; expected one of hg19.*put bosTau9\.chrom\.sizes"):
        load_assembly("bosTau9")


def test_any_assembly_from_a_file_beside_the_catalog(tmp_path):
    (tmp_path / "bosTau9.chrom.sizes").write_text("# cattle\nchr1\t158534110\n")
    assert load_assembly("bosTau9", beside=tmp_path).chrom_sizes == {"chr1": 158_534_110}


@pytest.mark.parametrize("text", ["chr1\tlong\n", "chr1\n", "chr1\t0\n", ""])
def test_bad_chromosome_sizes(tmp_path, text):
    (tmp_path / "x.chrom.sizes").write_text(text)
    with pytest.raises(RegionError):
        load_assembly("x", beside=tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ""])
def test_assembly_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(RegionError, match="assembly name"):
        load_assembly(name, beside=tmp_path)


def test_regions_cover_every_bin_they_touch():
    regions, notes = make_regions(SMALL, [("chr1", 30, 101, "a")])
    assert (regions.start, regions.end, notes) == ((25,), (125,), [])
    assert regions.n_bins == 4


def test_last_partial_bin_of_a_chromosome_is_kept():
    regions, _ = make_regions(SMALL, [("chr1", 9_990, 10_010, "end")])
    assert (regions.start[0], regions.end[0], regions.n_bins) == (9_975, 10_010, 2)
    piece = next(regions.pieces(0, 2))
    assert piece.widths.tolist() == [25, 10]


def test_overlapping_regions_merge_with_a_note_and_adjacent_ones_do_not():
    rows = [("chr2", 0, 100, "z"), ("chr1", 100, 200, "a"), ("chr1", 190, 300, "b"), ("chr1", 300, 400, "c")]
    regions, notes = make_regions(SMALL, rows)
    assert regions.name == ("z", "a", "c")
    assert notes == ["1 of 4 regions overlap another and were merged: a and b on chr1"]
    assert regions.first_bin.tolist() == [0, 4, 12]


def test_regions_that_share_a_bin_after_alignment_merge():
    regions, notes = make_regions(SMALL, [("chr1", 0, 30, "a"), ("chr1", 40, 60, "b")])
    assert len(regions) == 1
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("chr9", 0, 10, "x"), "got 'chr9'; expected one of small: chr1, chr2"),
        (("chr1", 0, 10_011, "x"), "expected 0 <= start < end <= 10010"),
        (("chr1", 10, 10, "x"), "got chr1:10-10"),
    ],
)
def test_impossible_regions(row, message):
    with pytest.raises(RegionError, match=message):
        make_regions(SMALL, [row])


def test_bed_files_plain_and_gzipped(tmp_path):
    text = "track name=x\n# comment\nchr1\t0\t50\tfirst\nchr2 100 200\n"
    (tmp_path / "a.bed").write_text(text)
    with gzip.open(tmp_path / "a.bed.gz", "wt") as file:
        file.write(text)
    plain, _ = read_regions(tmp_path / "a.bed", SMALL)
    zipped, _ = read_regions(tmp_path / "a.bed.gz", SMALL)
    assert plain == zipped
    assert plain.name == ("first", "chr2:100-200")


@pytest.mark.parametrize(
    "head",
    [
        "chrom\tstart\tend\n",
        "#chrom\tstart\tend\n",
        "seqnames start end width strand\n",
        "\n\nchr\tchromStart\tchromEnd\tname\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_of_column_names_is_no_region(tmp_path, head, encoding):
    (tmp_path / "a.bed").write_text(head + "chr1\t0\t50\n\nchr2 100 200\n", encoding=encoding)
    assert read_regions(tmp_path / "a.bed", SMALL)[0].chrom == ("chr1", "chr2")
    (tmp_path / "a.bed").write_text("chr1\t0\t50\n" + head.replace("#", ""), encoding=encoding)
    with pytest.raises(RegionError, match=r"a\.bed, line \d; got .*expected chrom, start, end"):
        read_regions(tmp_path / "a.bed", SMALL)


def test_whole_chromosomes(tmp_path):
    regions, notes = read_regions("genome", SMALL)
    assert (regions.chrom, regions.end, regions.n_bins, notes) == (("chr1", "chr2"), (10_010, 5_000), 601, [])
    (tmp_path / "a.chrom.sizes").write_text("2\t5000\n")
    regions, notes = read_regions(tmp_path / "a.chrom.sizes", SMALL)
    assert (regions.chrom, regions.chrom_sizes) == (("chr2",), {"chr2": 5_000})
    assert notes == ["the regions have other names of chromosomes than small: 2 is chr2"]
    (tmp_path / "a.bed").write_text("chr2\t5000\n")
    with pytest.raises(RegionError, match=r"read as one if its name ends in \.sizes"):
        read_regions(tmp_path / "a.bed", SMALL)
    with pytest.raises(RegionError, match="the lengths of the chromosomes of new are not known"):
        read_regions("genome", Assembly("new", {}))


@pytest.mark.parametrize("text", ["chr1\t0\n", "chr1\tx\t5\n", "", "chr1\t-5\t10\n"])
def test_bad_bed(tmp_path, text):
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(RegionError, match=r"a\.bed"):
        read_regions(tmp_path / "a.bed", SMALL)


def test_binary_bed(tmp_path):
    (tmp_path / "a.bed").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RegionError, match="not a text file"):
        read_regions(tmp_path / "a.bed", SMALL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chr19:3,000,000-3,100,000", ("chr19", 3_000_000, 3_100_000)),
        (" chr1:0-25 ", ("chr1", 0, 25)),
        ("chrX", ("chrX", 0, 2**32 - 1)),
    ],
)
def test_locus(text, expected):
    assert parse_locus(text) == expected


@pytest.mark.parametrize("text", ["", "chr1:5", "chr1:10-5", "chr1:a-b", "chr1:10-10"])
def test_bad_locus(text):
    with pytest.raises(RegionError, match="locus"):
        parse_locus(text)


def test_a_locus_outside_the_regions_is_told_the_nearest():
    regions, _ = make_regions(SMALL, [("chr1", 1_000, 1_100, "a"), ("chr1", 9_000, 9_100, "b")])
    assert regions.locate("chr1:1,080-1,200").tolist() == [3]
    assert regions.locate("chr1").size == 8
    assert regions.locate("1:1,080-1,200").tolist() == [3]
    for locus, message in (
        ("chr1:6,000-7,000", "expected a locus in chr1:9,000-9,100, the nearest region"),
        ("chr1:0-100", "expected a locus in chr1:1,000-1,100, the nearest region"),
        ("banana", "got 'banana'; expected a locus in chr1:1,000-1,100, the first region"),
    ):
        with pytest.raises(RegionError, match=message):
            regions.locate(locus)


intervals = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(0, 4_998), st.integers(1, 300)),
    min_size=1,
    max_size=12,
)


def slow_bins(regions: Regions) -> list[tuple[str, int, int]]:
    """Oracle: walk every region bin by bin."""
    rows = []
    for chrom, start, end in zip(regions.chrom, regions.start, regions.end, strict=True):
        rows += [(chrom, at, min(at + BIN_SIZE, end)) for at in range(start, end, BIN_SIZE)]
    return rows


@given(intervals)
def test_region_arithmetic_agrees_with_walking_the_bins(rows):
    given_rows = [(c, s, min(s + n, SMALL.chrom_sizes[c]), f"r{i}") for i, (c, s, n) in enumerate(rows)]
    regions, _ = make_regions(SMALL, given_rows)
    slow = slow_bins(regions)
    table = regions.table()
    assert list(zip(table["chrom"], table["start"], table["end"], strict=True)) == slow
    assert len(set(slow)) == len(slow) == regions.n_bins
    # every base given lies in exactly the bins that touch it
    for chrom, start, end, _ in given_rows:
        bins = regions.bins_of(chrom, start, end)
        assert [slow[b] for b in bins] == [r for r in slow if r[0] == chrom and r[1] < end and r[2] > start]
        assert slow[bins[0]][1] <= start
        assert slow[bins[-1]][2] >= end
    # the pieces of any range of bins cover it without gaps or overlaps
    middle = regions.n_bins // 2
    for low, high in ((0, regions.n_bins), (middle, regions.n_bins), (0, middle)):
        covered = [b for p in regions.pieces(low, high) for b in range(p.first_bin, p.first_bin + p.n_bins)]
        assert covered == list(range(low, high))
        for piece in regions.pieces(low, high):
            assert (piece.chrom, piece.start) == slow[piece.first_bin][:2]
            assert piece.widths.sum() == piece.end - piece.start


def test_table_refuses_bins_outside():
    regions, _ = make_regions(SMALL, [("chr1", 0, 100, "a")])
    with pytest.raises(RegionError, match="expected 0 to 3"):
        regions.table([4])
    assert regions.table(np.array([3]))["start"].tolist() == [75]


def test_a_chromosome_with_two_lengths_is_refused(tmp_path):
    (tmp_path / "x.chrom.sizes").write_text("chr1\t100\nchr1\t100\n")
    assert read_chrom_sizes(tmp_path / "x.chrom.sizes") == {"chr1": 100}
    (tmp_path / "x.chrom.sizes").write_text("chr1\t100\nchr1\t200\n")
    with pytest.raises(RegionError, match="line 2: chr1 again; got 200; expected 100"):
        read_chrom_sizes(tmp_path / "x.chrom.sizes")


def test_the_first_region_that_differs_is_named():
    one = Regions("a", ("r",), ("chr1",), (0,), (100,))
    other = Regions("a", ("r", "s"), ("chr1", "chr2"), (0, 25), (100, 50))
    assert one.first_difference(one) == ""
    assert other.first_difference(one) == "region 2, chr2:25-50, is added"
    assert one.first_difference(other) == "region 2, chr2:25-50, is missing"
    moved = Regions("a", ("r",), ("chr1",), (25,), (100,))
    assert one.first_difference(moved) == "region 1 is chr1:0-100 and not chr1:25-100"
    assert one.first_difference(Regions("b", ("r",), ("chr1",), (0,), (100,))) == "on a and not on b"
    assert one.first_difference(Regions("a", ("q",), ("chr1",), (0,), (100,))) == "region 1 is called 'r'"
