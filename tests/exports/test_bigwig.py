import contextlib
import io
import zlib
from itertools import pairwise

import numpy as np
import pybigtools
import pyBigWig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epixs.exports import bigwig
from epixs.exports.bigwig import BigWigWriter, Bins, Spans, compress, merged, summarised
from epixs.tracks.bigwig import BigWig


def bins_of(rows):
    """Rows `(chrom, start, end, value)` as bins."""
    chrom, start, end, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    ints = [np.array(column, dtype=np.int64) for column in (chrom, start, end)]
    return Bins(*ints, np.array(value, dtype=np.float32))


def write(path, sizes, *parts):
    with path.open("wb") as file, BigWigWriter(file, sizes) as writer:
        for part in parts:
            writer.add(bins_of(part))
        return writer.close()


def test_two_chromosomes_as_others_read_them(tmp_path):
    path = tmp_path / "a.bw"
    sizes = {"chr2": 60, "chr10": 30, "chrM": 10}
    rows = [(0, 0, 25, 1.5), (0, 25, 50, 1.5), (0, 50, 60, 2.0), (1, 25, 30, -3.0)]
    assert write(path, sizes, rows) == 65
    with pyBigWig.open(str(path)) as file:
        assert list(file.chroms().items()) == [("chr2", 60), ("chr10", 30), ("chrM", 10)]
        assert file.intervals("chr2") == ((0, 50, 1.5), (50, 60, 2.0))
        assert file.intervals("chr10") == ((25, 30, -3.0),)
        assert file.intervals("chrM") is None
        assert file.header() == {
            "version": 4, "nLevels": 1, "nBasesCovered": 65, "minVal": -3, "maxVal": 2,
            "sumData": 80, "sumSquared": 197,
        }  # fmt: skip
    with pybigtools.open(str(path)) as file:
        assert file.chroms() == sizes
        assert list(file.records("chr2")) == [(0, 50, 1.5), (50, 60, 2.0)]
        assert file.info()["summary"]["sum"] == 1.5 * 50 + 2.0 * 10 - 3.0 * 5


def test_equal_neighbours_are_joined_across_calls_and_not_across_gaps_or_chromosomes(tmp_path):
    path = tmp_path / "a.bw"
    first = [(0, 0, 25, 1.0), (0, 25, 50, 1.0)]
    second = [(0, 50, 75, 1.0), (0, 75, 100, np.nan), (0, 100, 125, 1.0), (1, 0, 25, 1.0)]
    write(path, {"a": 200, "b": 25}, first, [], second)
    with pyBigWig.open(str(path)) as file:
        assert file.intervals("a") == ((0, 75, 1.0), (100, 125, 1.0))
        assert file.intervals("b") == ((0, 25, 1.0),)


def test_merged_of_nothing_is_nothing():
    assert merged(bins_of([])).start.size == 0


def test_a_file_without_a_value_is_readable_and_empty(tmp_path):
    path = tmp_path / "a.bw"
    assert write(path, {"a": 100}, [(0, 0, 25, np.nan)]) == 0
    with contextlib.closing(BigWig(path)) as file:
        assert file.chrom_sizes == {"a": 100}
    with pybigtools.open(str(path)) as file:
        assert file.info()["summary"]["basesCovered"] == 0


def test_summaries_are_those_of_a_literal_case():
    spans = Spans(
        *(np.array(column) for column in ([0, 0, 0], [950, 975, 1000], [975, 1000, 1020], [25, 25, 20])),
        *(np.array(column, dtype=float) for column in ([1, 2, 5], [1, 2, 5], [25, 50, 100], [25, 100, 500])),
    )
    coarse = summarised(spans, 1000)
    assert [column.tolist() for column in coarse] == [
        [0, 0], [950, 1000], [1000, 1020], [50, 20], [1, 5], [2, 5], [75, 100], [125, 500],
    ]  # fmt: skip


@st.composite
def genomes(draw):
    """A genome of a few chromosomes, values on its bins (NaN where none), and where they are cut."""
    lengths = draw(st.lists(st.integers(1, 9_000), min_size=1, max_size=5))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rows = []
    for chrom, length in enumerate(lengths):
        for start in range(0, length, 25):
            value = rng.choice([0.0, 1.0, float(rng.normal()), np.nan])
            rows.append((chrom, start, min(length, start + 25), value))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    return lengths, rows, cuts


@settings(max_examples=60)
@given(genomes())
def test_any_genome_is_read_back(tmp_path_factory, genome):
    lengths, rows, cuts = genome
    sizes = {f"scaffold{number}": length for number, length in enumerate(lengths)}
    path = tmp_path_factory.mktemp("any") / "a.bw"
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    bases = write(path, sizes, *parts)
    known = [row for row in rows if not np.isnan(row[3])]
    assert bases == sum(end - start for _, start, end, _ in known)
    BigWig(path).close()
    with pybigtools.open(str(path)) as file:
        for number, (name, length) in enumerate(sizes.items()):
            want = np.full(length, np.nan, np.float32)
            for _, start, end, value in (row for row in rows if row[0] == number):
                want[start:end] = value
            got = np.full(length, np.nan, np.float32)
            records = list(file.records(name))
            for start, end, value in records:
                got[start:end] = value
            np.testing.assert_array_equal(got, want)
            assert not any(a[1:] == (b[0], b[2]) for a, b in pairwise(records))
            check_zooms(file, name, number, known, length)


def check_zooms(file, name, number, known, length):
    """Each zoom level's summaries, beside those counted base by base."""
    for width in file.zooms():
        for record in file.zoom_records(width, name, 0, length):
            start, end, summary = record[0], record[1], record[2]
            inside = [row for row in known if row[0] == number and row[1] // width == start // width]
            assert start == inside[0][1]
            assert end == inside[-1][2]
            values = np.repeat([row[3] for row in inside], [row[2] - row[1] for row in inside])
            assert summary["bases_covered"] == values.size
            assert np.isclose(summary["sum"], values.sum(), rtol=1e-5, atol=1e-4)
            assert np.isclose(summary["sum_squares"], (values**2).sum(), rtol=1e-5, atol=1e-4)
            assert np.isclose(summary["min_val"], values.min(), rtol=1e-6)
            assert np.isclose(summary["max_val"], values.max(), rtol=1e-6)


def test_zoom_levels_hold_every_base(tmp_path):
    path = tmp_path / "a.bw"
    rng = np.random.default_rng(0)
    n = 100_000
    rows = [(0, 25 * i, 25 * i + 25, v) for i, v in enumerate(rng.random(n).tolist())]
    write(path, {"a": 25 * n}, rows[:30_001], rows[30_001:])
    total = sum(np.float64(np.float32(row[3])) * 25 for row in rows)
    with pybigtools.open(str(path)) as file:
        assert file.zooms() == [1000, 4000, 16000, 64000, 256000, 1024000]
        for width in file.zooms():
            records = list(file.zoom_records(width, "a", 0, 25 * n))
            assert len(records) == -(-25 * n // width)
            assert np.isclose(sum(record[2]["sum"] for record in records), total, rtol=1e-5)
    with pyBigWig.open(str(path)) as file:
        exact = file.stats("a", 0, 1_024_000, nBins=4, exact=True)
        assert np.allclose(file.stats("a", 0, 1_024_000, nBins=4), exact, rtol=1e-4)


def test_a_draft_assembly_of_100_000_scaffolds(tmp_path):
    path = tmp_path / "a.bw"
    count = 100_000
    sizes = {f"scaffold_{number}": 60 + number % 7 for number in range(count)}
    lengths = np.array(list(sizes.values()))
    chrom = np.repeat(np.arange(count), 3)
    start = np.tile([0, 25, 50], count)
    end = np.minimum(start + 25, np.repeat(lengths, 3))
    values = (chrom * 3 + np.tile([0, 1, 2], count)).astype(np.float32)
    with path.open("wb") as file, BigWigWriter(file, sizes) as writer:
        for at in range(0, chrom.size, 70_000):
            writer.add(Bins(*(column[at : at + 70_000] for column in (chrom, start, end, values))))
        assert writer.close() == lengths.sum()
    with pyBigWig.open(str(path)) as file:
        assert len(file.chroms()) == count
        for number in (0, 1, 9_999, 54_321, count - 1):
            name, length = f"scaffold_{number}", 60 + number % 7
            want = tuple((25 * i, min(length, 25 * i + 25), 3.0 * number + i) for i in range(3))
            assert file.intervals(name) == want
    with contextlib.closing(BigWig(path)) as file:
        assert file.chrom_sizes == sizes


def test_names_are_found_in_a_tree_sorted_by_name(tmp_path):
    # UCSC's programs look a name up by comparing it with the first name of each node, byte by byte.
    names = [f"c{number}" for number in range(1000)]
    path = tmp_path / "a.bw"
    write(path, dict.fromkeys(names, 25), [(999, 0, 25, 7.0)])
    data = path.read_bytes()
    root = int.from_bytes(data[8:16], "little") + 32
    for name in ("c0", "c500", "c999"):
        assert look_up(data, root, name.encode().ljust(4, b"\0")) == int(name[1:])


def look_up(data, at, key):
    is_leaf, count = data[at], int.from_bytes(data[at + 2 : at + 4], "little")
    items = [data[at + 4 + 12 * i : at + 16 + 12 * i] for i in range(count)]
    assert [item[:4] for item in items] == sorted(item[:4] for item in items)
    if is_leaf:
        return next(int.from_bytes(item[4:8], "little") for item in items if item[:4] == key)
    child = [item for item in items if item[:4] <= key][-1]
    return look_up(data, int.from_bytes(child[4:], "little"), key)


def test_without_libdeflate_the_standard_library_compresses(monkeypatch):
    data = bytes(range(256)) * 20
    assert zlib.decompress(compress(data)) == data
    monkeypatch.setattr(bigwig, "deflate", None)
    assert zlib.decompress(compress(data)) == data


def test_values_whose_squares_are_too_large_are_kept(tmp_path):
    path = tmp_path / "a.bw"
    write(path, {"a": 50}, [(0, 0, 25, 3e38), (0, 25, 50, -3e38)])
    with pyBigWig.open(str(path)) as file:
        assert [value for _, _, value in file.intervals("a")] == [
            float(np.float32(3e38)),
            -float(np.float32(3e38)),
        ]


def test_the_same_bins_give_the_same_bytes():
    def written():
        file = io.BytesIO()
        with BigWigWriter(file, {"a": 100_000}) as writer:
            writer.add(bins_of([(0, 25 * i, 25 * i + 25, i % 5) for i in range(4000)]))
            writer.close()
        return file.getvalue()

    assert written() == written()


@pytest.mark.parametrize("count", [1, 256, 257, 70_000])
def test_an_index_of_any_depth_finds_its_sections(tmp_path, count, monkeypatch):
    monkeypatch.setattr(bigwig, "ITEMS_PER_SECTION", 1)
    path = tmp_path / "a.bw"
    with path.open("wb") as file, BigWigWriter(file, {"a": 50 * count}) as writer:
        start = 50 * np.arange(count)
        writer.add(Bins(np.zeros(count, np.int64), start, start + 25, np.arange(count, dtype=np.float32)))
        writer.close()
    with pyBigWig.open(str(path)) as file:
        for number in (0, count // 2, count - 1):
            assert file.intervals("a", 50 * number, 50 * number + 25) == (
                (50 * number, 50 * number + 25, number),
            )
