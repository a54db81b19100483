import contextlib
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pyBigWig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Piece
from epixs.tracks import Track, bigwig
from epixs.tracks.bigwig import BigWig
from tests.bigwigs import KINDS, write_uncompressed

ASSEMBLY = Assembly("small", {"chr1": 10_010, "chr2": 5_000})


@pytest.fixture
def whole(write_bigwig):
    """Write a file of several blocks on two chromosomes."""
    rng = np.random.default_rng(0)
    steps = [("chr1", i * 5, i * 5 + 4, float(rng.random() * 9)) for i in range(2_000)]
    return write_bigwig("whole.bw", [*steps, *(("chr2", i * 10, i * 10 + 10, 1.5) for i in range(400))])


def read(path):
    with Track(path) as track:
        track.check_assembly(ASSEMBLY)
        return [track.read(Piece(c, 0, n, 0)).sums for c, n in ASSEMBLY.chrom_sizes.items()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML or XML page"),
        (b"\n <html>", "HTML or XML page"),
        (
            b"chr1\t0\t10\t1.0\n" * 20,
            "not a bigWig; got bedGraph text; expected a bigWig. Convert it with bedGraphTo",
        ),
        (struct.pack("<I", 0x8789F2EB) + b"\0" * 80, "got a bigBed"),
        (struct.pack("<I", 0x888FFC26) + b"\0" * 10, "truncated: its header ends early"),
    ],
)
def test_what_is_no_bigwig(tmp_path, content, message):
    path = tmp_path / "a.bw"
    path.write_bytes(content)
    with pytest.raises(TrackError, match=message):
        BigWig(path)


def test_missing_files_folders_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrackError, match="does not exist"):
        BigWig(tmp_path / "nothing.bw")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(TrackError, match="cannot be opened; got a folder or device"):
            BigWig(path)
    with pytest.raises(TrackError, match="cannot be opened"):
        BigWig("a\0b")


def test_every_truncation_is_refused_or_harmless(whole, tmp_path):
    content, expected = whole.read_bytes(), read(whole)
    cut = tmp_path / "cut.bw"
    refused = 0
    for length in range(0, len(content), 97):
        cut.write_bytes(content[:length])
        try:
            got = read(cut)
        except TrackError:
            refused += 1
        else:
            assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    assert refused > 20


@pytest.mark.slow
def test_a_flipped_byte_never_crashes_nor_reads_as_missing(whole, tmp_path):
    """With any byte changed, a file gives the same values, other values of some items, or a TrackError.

    If a block vanished or were read as zeros, the total would be much lower.
    """
    content, expected = whole.read_bytes(), read(whole)
    total = sum(part.sum() for part in expected)
    broken = tmp_path / "broken.bw"
    rng = np.random.default_rng(1)
    (index,) = struct.unpack_from("<Q", content, 24)
    everywhere = np.arange(index) if index < 900 else rng.choice(index, 900, replace=False)
    places = [*everywhere, *range(64), *range(index, min(len(content), index + 200))]
    for at in places:
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] ^= mask
            broken.write_bytes(changed)
            try:
                got = read(broken)
            except TrackError:
                continue
            assert sum(part.sum() for part in got) > 0.9 * total, (at, mask)


def test_cyclic_index(whole, tmp_path):
    content = bytearray(whole.read_bytes())
    (index,) = struct.unpack_from("<Q", content, 24)
    node = index + 48
    # a branch whose only child is itself, with the interval of the whole file
    struct.pack_into("<BBH", content, node, 0, 0, 1)
    struct.pack_into("<IIIIQ", content, node + 4, 0, 0, 1, 10_010, node)
    path = tmp_path / "cyclic.bw"
    path.write_bytes(content)
    with pytest.raises(TrackError, match="leads back to itself"):
        BigWig(path)


def test_nodes_that_lie_across_one_another(whole, tmp_path):
    """If every node of its index were read, a small file would have one thousands of times as large."""
    content = bytearray(whole.read_bytes())
    (index,) = struct.unpack_from("<Q", content, 24)
    content = content[: index + 48]
    children, root = 2_000, len(content)
    inside = root + 4 + 24 * children
    content += struct.pack("<BBH", 0, 0, children)
    for i in range(children):  # each one is a leaf of 65,535 items, four bytes after the last
        content += struct.pack("<IIIIQ", 0, 0, 2**32 - 1, 2**32 - 1, inside + 4 * i)
    content += struct.pack("<BBH", 1, 0, 65_535) * (children + 8 * 65_536)
    struct.pack_into("<Q", content, index + 8, len(content) // 32)
    path = tmp_path / "across.bw"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(TrackError, match="larger than its content"):
            BigWig(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(content)
    finally:
        tracemalloc.stop()


def read_chr1(path):
    with Track(path) as track:
        return track.read(Piece("chr1", 0, 10_010, 0))


def rebuild(whole, tmp_path, payload, name="made.bw"):
    """Compress new content and write it over the first block, padded to its length."""
    content = bytearray(whole.read_bytes())
    big = BigWig(whole)
    leaf = big._leaves[0]
    big.close()
    packed = zlib.compress(payload, 9)
    assert len(packed) <= int(leaf["length"]), "the replacement must fit"
    at = int(leaf["offset"])
    content[at : at + int(leaf["length"])] = packed.ljust(int(leaf["length"]), b"\0")
    path = tmp_path / name
    path.write_bytes(content)
    return path


def section(items, start=0, end=5_000):
    head = struct.pack("<IIIIIBBH", 0, start, end, 0, 0, 1, 0, len(items))
    return head + b"".join(struct.pack("<IIf", *item) for item in items)


def test_unsorted_and_backward_items_are_damage(whole, tmp_path):
    for items in (
        [(100, 110, 1.0), (0, 10, 1.0)],
        [(10, 5, 1.0)],
        [(0, 10, 1.0), (20, 19, 1.0), (30, 40, 1.0)],
    ):
        path = rebuild(whole, tmp_path, section(items))
        with pytest.raises(
            TrackError, match="damaged or truncated: items are out of order, or end before they"
        ):
            read(path)


def test_decompression_bomb(whole, tmp_path):
    path = rebuild(whole, tmp_path, section([(0, 10, 1.0)]) + bytes(2_000_000))
    with pytest.raises(TrackError, match="more than 32768 bytes"):
        read(path)


def test_block_that_is_not_what_the_index_says(whole, tmp_path):
    path = rebuild(whole, tmp_path, section([(0, 10, 1.0)], end=9_999_999))
    with pytest.raises(TrackError, match="a block does not lie where the index says"):
        read(path)


def test_claimed_counts_are_bounded(whole, tmp_path):
    head = struct.pack("<IIIIIBBH", 0, 0, 100, 0, 0, 1, 0, 65_535)
    with pytest.raises(TrackError, match="has no valid head"):
        read(rebuild(whole, tmp_path, head))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_uncompressed_in_both_byte_orders(tmp_path, order, kind):
    with Track(write_uncompressed(tmp_path / "a.bw", order, kind)) as track:
        got = track.read(Piece("chr1", 0, 50, 0))
    assert got.sums.tolist() == [15.0, 60.0]
    assert got.covered.tolist() == [10, 20]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_bytes_in_a_section(tmp_path_factory, kind, data):
    """Sections with changed bytes give values or a TrackError, never anything else."""
    path = write_uncompressed(tmp_path_factory.mktemp("section") / "a.bw", "<", kind)
    content = bytearray(path.read_bytes())
    (index,) = struct.unpack_from("<Q", content, 24)
    (first,) = struct.unpack_from("<Q", content, 16)
    places = st.tuples(st.integers(first, index - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(places, min_size=1, max_size=6)):
        content[at] = byte
    path.write_bytes(content)
    with contextlib.suppress(TrackError), Track(path) as track:
        covered = track.read(Piece("chr1", 0, 10_010, 0)).covered
        assert (covered >= 0).all()
        assert (covered <= 25).all()


def test_chromosomes(whole):
    with pyBigWig.open(str(whole)) as reference:
        ours = BigWig(whole)
        assert ours.chrom_sizes == reference.chroms()
        ours.close()


def made(tmp_path, block, leaves, *, buffer=0, name="made.bw"):
    """Write a file of one chromosome from a block's bytes and leaves `(start, end, offset, length)`."""
    tree_at, data_at = 64, 64 + 32 + 4 + 4 + 8
    index_at = data_at + 8 + len(block)
    head = struct.pack("<IHHQQQHHQQIQ", 0x888FFC26, 4, 0, tree_at, data_at, index_at, 0, 0, 0, 0, buffer, 0)
    tree = struct.pack("<IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0)
    tree += struct.pack("<BBH", 1, 0, 1) + b"chr1" + struct.pack("<II", 0, 10_010)
    index = struct.pack("<IIQIIIIQII", 0x2468ACE0, 1, len(leaves), 0, 0, 0, 10_010, index_at, 1, 0)
    index += struct.pack("<BBH", 1, 0, len(leaves))
    for start, end, offset, length in leaves:
        index += struct.pack("<IIIIQQ", 0, start, 0, end, data_at + 8 + offset, length)
    path = tmp_path / name
    path.write_bytes(head + tree + struct.pack("<Q", 1) + block + index)
    return path


def test_blocks_that_share_their_bytes(tmp_path):
    """If a block were inflated once per leaf, a small file would take for ever."""
    block = zlib.compress(section([(0, 10, 1.0)]))
    path = made(tmp_path, block, [(0, 5_000, 0, len(block))] * 3, buffer=32_768)
    with pytest.raises(TrackError, match="the same bytes twice"):
        BigWig(path)


def test_many_blocks_over_one_place(tmp_path):
    """Each of these blocks would be read for each region."""
    one = section([], 0, 0)
    path = made(tmp_path, one * 20, [(0, 10_010, 24 * i, 24) for i in range(20)])
    with pytest.raises(
        TrackError, match="exceeds a limit of epixs, but is not necessarily damaged: data blocks over one"
    ):
        BigWig(path)


def test_items_laid_over_one_another_without_end(tmp_path):
    """65,535 items each cover the whole chromosome: as many values per base would be written out."""
    block = section([(0, 10_010, 1.0)] * 65_535, 0, 10_010)
    path = made(tmp_path, block, [(0, 10_010, 0, len(block))])
    with pytest.raises(
        TrackError, match="exceeds a limit of epixs, but is not necessarily damaged: times that items overlap"
    ):
        read_chr1(path)


def test_more_blocks_and_chromosomes_than_a_mammal_has_are_no_damage(tmp_path, monkeypatch):
    block = section([(0, 10, 1.0)])
    path = made(tmp_path, block, [(0, 5_000, 0, len(block))])
    assert bigwig.MAX_BLOCKS * 1_024 > 160e9  # the largest genome, base by base
    for name, what in (
        ("MAX_BLOCKS", "data blocks"),
        ("MAX_CHROMS", "chromosomes"),
        ("MAX_NAME", "bytes of a"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(bigwig, name, 0)
            with pytest.raises(
                TrackError, match=f"exceeds a limit of epixs, but is not necessarily damaged: {what}"
            ):
                BigWig(path)


@pytest.mark.parametrize("cut", [None, 64])
def test_a_header_alone_is_said_to_be_that(tmp_path, cut):
    path = tmp_path / "a.bw"
    file = pyBigWig.open(str(path), "w")
    file.addHeader([("chr1", 10_010)], maxZooms=0)
    file.close()
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TrackError, match="has a header and no data"):
        BigWig(path)


def test_the_beginning_of_a_download_is_no_header_alone(tmp_path):
    path = tmp_path / "a.bw"
    file = pyBigWig.open(str(path), "w")
    file.addHeader([("chr1", 10_010)])
    file.addEntries("chr1", [0], values=[1.0], span=25, step=25)
    file.close()
    for cut in (64, 200):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(TrackError, match="its index is said to begin at byte"):
            BigWig(path)


def test_a_claimed_block_size_beyond_all_items_is_not_set_aside(tmp_path):
    packed = zlib.compress(section([(0, 10, 1.0)]))
    path = made(tmp_path, packed, [(0, 5_000, 0, len(packed))], buffer=2**32 - 1)
    tracemalloc.start()
    try:
        with Track(path) as track:
            assert track.read(Piece("chr1", 0, 10_010, 0)).sums.sum() == 10
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("start", "end"), [(0, 20), (100, 400)])
def test_items_outside_the_box_of_their_block(tmp_path, start, end):
    """Such a block would be read or not, depending on the region."""
    block = section([(start, end, 1.0)], 50, 300)
    path = made(tmp_path, block, [(50, 300, 0, len(block))])
    with pytest.raises(TrackError, match="does not lie where the index says"):
        read(path)


def test_a_local_file_that_cannot_be_read_is_a_typed_error(whole, monkeypatch):
    class Broken:
        def seek(self, offset):
            raise OSError(5, "Input/output error")

        def close(self):
            pass

    with Track(whole) as track:
        good, track._bigwig._source._file = track._bigwig._source._file, Broken()
        with pytest.raises(TrackError, match="Input/output error"):
            track.read(Piece("chr1", 0, 500, 0))
        good.close()
