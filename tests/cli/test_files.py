"""Files that everybody else reads, and files that are something else, through the command line."""

import gzip
import json

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.checks.verify import verify
from epixs.cli.app import app
from epixs.report.qc_page import qc

SIZES = {"chr1": 10_010, "chr2": 5_000, "chrM": 500}
COLUMNS = ["species", "assembly", "biosample", "assay", "assay_class", "accession", "output_type", "path"]


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def flat(result):
    """All that was said, on one line; never a traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return " ".join((result.stdout + " " + result.stderr).split())


def write(path, items, sizes=SIZES, **options):
    """Write items `(chrom, start, end, value)` as a bigWig."""
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()), maxZooms=0)
        chroms, starts, ends, values = (list(column) for column in zip(*items, strict=True))
        file.addEntries(chroms, starts, ends=ends, values=values, **options)
    return path


GOOD = [("chr1", 100 * i, 100 * i + 50, float(i % 7 + 1)) for i in range(100)]
GOOD += [("chr2", 30 * i, 30 * i + 30, 1.5) for i in range(100)]


@pytest.fixture
def ingest(tmp_path):
    """Ingest one good track and others beside it; returns what was said and the opened store."""

    def run(
        *others,
        bed="chr1\t0\t10010\nchr2\t0\t5000\n",
        options=(),
        assembly="small",
        sizes=SIZES,
        regions=None,
    ):
        if sizes:
            (tmp_path / f"{assembly}.chrom.sizes").write_text(
                "".join(f"{c}\t{n}\n" for c, n in sizes.items())
            )
        paths = [write(tmp_path / "good.bw", GOOD), *others]
        rows = [
            ["toy", assembly, f"b{i}", "a", "histone", path.name.split(".")[0].upper(), "signal", path.name]
            for i, path in enumerate(paths)
        ]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "c.tsv", sep="\t", index=False)
        (tmp_path / "r.bed").write_text(bed)
        out = tmp_path / "out.zarr"
        result = epixs(
            "ingest",
            tmp_path / "c.tsv",
            "--regions",
            regions or tmp_path / "r.bed",
            "--out",
            out,
            "--tile",
            "1/1",
            *options,
        )
        return result, xr.open_zarr(out, chunks=None) if out.exists() else None

    return run


def test_a_chromosome_left_out_by_its_writer_has_no_value(ingest, tmp_path):
    """bedGraphToBigWig lists only chromosomes with data."""
    female = write(tmp_path / "female.bw", GOOD[:100], {"chr1": 10_010})
    result, store = ingest(female)
    assert result.exit_code == 0, result.output
    assert "1 pair of file and chromosome without data" in flat(result)
    assert "all of it counts as 0: FEMALE (chr2)" in flat(result)
    assert store.status.values.tolist() == ["ok", "ok"]
    np.testing.assert_array_equal(store.signal[1, :401], store.signal[0, :401])
    assert (store.signal[1, 401:] == 0).all()
    noted = "1 chromosome not in the file, without values (chr2)"
    assert store.source_notes.values.tolist() == ["", noted]
    assert f"FEMALE: {noted}" in flat(epixs("status", tmp_path / "out.zarr"))
    again, _ = ingest(female)
    assert "1 pair of file and chromosome" in flat(again)


def test_a_chromosome_left_out_is_missing_where_bases_without_a_value_are(ingest, tmp_path):
    female = write(tmp_path / "female.bw", GOOD[:100], {"chr1": 10_010})
    result, store = ingest(female, options=["--uncovered", "nan"])
    assert "all of it is missing (NaN): FEMALE (chr2)" in flat(result)
    assert np.isnan(store.signal[1, 401:]).all()


def test_a_file_with_none_of_the_regions_chromosomes_is_refused(ingest, tmp_path):
    other = write(tmp_path / "other.bw", [("chrM", 0, 10, 1.0)], {"chrM": 500})
    result, store = ingest(other)
    assert result.exit_code == 1
    assert "no chromosome of small among those of the regions; got chrM; expected chr1, chr2" in flat(result)
    assert np.isnan(store.signal[1]).all()


def test_items_without_width_and_overlapping_items(ingest, tmp_path):
    items = [
        *GOOD[:99],
        ("chr1", 9_900, 9_900, 9.0),
        ("chr1", 9_900, 9_950, 2.0),
        ("chr1", 9_925, 9_950, 4.0),
    ]
    odd = write(tmp_path / "odd.bw", items, validate=False)
    result, store = ingest(odd)
    assert result.exit_code == 0, result.output
    assert store.status.values.tolist() == ["ok", "ok"]
    expected = np.rint(np.arcsinh([2.0, 4.0]) * 2048) / 2048
    assert store.signal[1, 396:398].values.tolist() == expected.tolist()
    said = "1 item without width (nothing to add); 1 item over earlier ones (the later one counts)"
    assert f"unusual items in 1 file: ODD: {said}" in flat(result)
    state = json.loads(epixs("status", tmp_path / "out.zarr", "--json").stdout)
    assert state["noted"] == [{"accession": "ODD", "note": said}]
    assert said in qc(tmp_path / "out.zarr")["notes"][1]
    for backend in ("epixs", "pybigwig"):
        assert verify(tmp_path / "out.zarr", sources=True, backend=backend) == []


def test_the_other_mitochondrion_is_no_other_assembly(ingest, tmp_path):
    rcrs = write(tmp_path / "rcrs.bw", GOOD, SIZES | {"chrM": 498})
    result, store = ingest(rcrs)
    assert result.exit_code == 0, result.output
    said = "another length of chromosomes that the regions do not touch, in 1 file: RCRS (chrM (498 bp))"
    assert said in flat(result)
    np.testing.assert_array_equal(store.signal[0], store.signal[1])


def test_a_file_of_another_assembly_is_refused(ingest, tmp_path):
    other = write(tmp_path / "other.bw", GOOD, {"chr1": 10_010, "chr2": 5_001, "chrM": 499})
    result, store = ingest(other, bed="chr1\t0\t10010\n")
    assert result.exit_code == 1
    assert "is not on small: chr2; got 5001 bp; expected 5000 bp" in flat(result)
    assert np.isnan(store.signal[1]).all()


def test_names_with_and_without_chr(ingest, tmp_path):
    ensembl = [(chrom.removeprefix("chr"), *rest) for chrom, *rest in GOOD]
    other = write(tmp_path / "ensembl.bw", ensembl, {"1": 10_010, "2": 5_000, "MT": 500})
    result, store = ingest(other)
    assert result.exit_code == 0, result.output
    assert (
        "other names of chromosomes in 1 file, which mean the same: ENSEMBL (1 for chr1, 2 for chr2)"
        in flat(result)
    )
    np.testing.assert_array_equal(store.signal[0], store.signal[1])


def test_regions_in_other_names(ingest):
    result, store = ingest(bed="1\t0\t10010\n2\t0\t5000\n")
    assert result.exit_code == 0, result.output
    assert "other names of chromosomes than small: 1 is chr1, 2 is chr2" in flat(result)
    assert store.region_chrom.values.tolist() == ["chr1", "chr2"]


@pytest.mark.parametrize("beside", [True, False])
def test_names_by_an_alias_table(ingest, tmp_path, beside):
    refseq = {"chr1": "NC_1.2", "chr2": "NC_2.2", "chrM": "NC_3.2"}
    items = [(refseq[chrom], *rest) for chrom, *rest in GOOD]
    other = write(tmp_path / "refseq.bw", items, {refseq[c]: n for c, n in SIZES.items()})
    refused, store = ingest(other)
    assert "can be given with --chrom-alias" in flat(refused)
    table = tmp_path / ("small.chromAlias.txt" if beside else "names.txt")
    table.write_text("# ucsc\trefseq\n" + "".join(f"{own}\t{name}\n" for own, name in refseq.items()))
    options = [] if beside else ["--chrom-alias", table]
    result, store = ingest(other, options=[*options, "--retry-failed"])
    assert result.exit_code == 0, result.output
    assert "REFSEQ (NC_1.2 for chr1, NC_2.2 for chr2)" in flat(result)
    np.testing.assert_array_equal(store.signal[0], store.signal[1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda bigwig: gzip.compress(bigwig), "got a gzipped bigWig; expected a bigWig. Decompress it with gunzip"),
        (lambda _: b"track type=wiggle_0\nfixedStep chrom=chr1 start=1 step=25\n1\n", "got wiggle text; expected a bigWig. Convert it with wigToBigWig"),
        (lambda _: b"chr1\t0\t25\t1.5\n", "got bedGraph text; expected a bigWig. Convert it with bedGraphToBigWig"),
    ],
)  # fmt: skip
def test_what_is_handed_out_as_bigwig_is_said(ingest, tmp_path, content, said):
    (tmp_path / "x.bw").write_bytes(content(write(tmp_path / "y.bw", GOOD).read_bytes()))
    result, _ = ingest(tmp_path / "x.bw")
    assert result.exit_code == 1
    assert said in flat(result)


def test_a_header_alone_is_said_to_be_that(ingest, tmp_path):
    file = pyBigWig.open(str(tmp_path / "head.bw"), "w")
    file.addHeader(list(SIZES.items()), maxZooms=0)
    file.close()
    result, _ = ingest(tmp_path / "head.bw")
    assert "head.bw has a header and no data" in flat(result)


def test_a_table_of_sizes_is_compared_with_the_headers(ingest, tmp_path):
    table = tmp_path / "draft.sizes"
    table.write_text("chr1\t10010\nchr2\t5000\nscaffold_9\t5000\n")
    result, store = ingest(sizes=None, assembly="draft1", regions=table)
    assert result.exit_code == 0, result.output
    assert f"of the 3 chromosomes in {table}, no file has 1" in flat(result)
    assert "not covered: scaffold_9. If the files have other names for them, give --chrom-alias" in flat(
        result
    )
    assert "draft1: the lengths of 1 of its 4 chromosomes" in flat(result)  # chrM, which is not in the table
    assert (store.signal[0, 601:] == 0).all()


def test_a_table_with_another_length_than_all_files_is_refused(ingest, tmp_path):
    table = tmp_path / "draft.sizes"
    table.write_text("chr1\t10010\nchr2\t4000\n")
    result, store = ingest(sizes=None, assembly="draft1", regions=table)
    assert result.exit_code == 2
    assert "draft.sizes: length of chr2; got 4000 bp; expected 5000 bp, as in the headers" in flat(result)
    assert store is None


def test_the_whole_genome_of_an_assembly_that_nothing_is_known_of(ingest, tmp_path):
    """Lengths come from the headers, the names from most files; the store keeps both."""
    ensembl = [(chrom.removeprefix("chr"), *rest) for chrom, *rest in GOOD]
    others = [
        write(tmp_path / "ensembl.bw", ensembl, {"1": 10_010, "2": 5_000, "3": 75}),
        write(tmp_path / "more.bw", GOOD, {"chr1": 10_010, "chr2": 5_000, "chrUn_7": 100}),
        write(tmp_path / "wrong.bw", GOOD, {"chr1": 9_999, "chr2": 4_999, "chr9": 800}),
    ]
    result, store = ingest(*others, sizes=None, assembly="draft1", regions="genome")
    assert result.exit_code == 1
    assert (
        "epixs does not know draft1: the lengths of its 5 chromosomes are those in the headers of 4"
        in flat(result)
    )
    assert "wrong.bw is not on draft1: chr1; got 9999 bp; expected 10010 bp" in flat(result)
    lengths = {"chr1": 10_010, "chr2": 5_000, "chrM": 500, "chrUn_7": 100, "3": 75}
    assert (
        dict(zip(store.region_chrom.values.tolist(), store.region_end.values.tolist(), strict=True))
        == lengths
    )
    assert store.region_chrom_size.values.tolist() == store.region_end.values.tolist()
    np.testing.assert_array_equal(store.signal[0], store.signal[1])
    for path in others:
        path.unlink()
    again, store = ingest(sizes=None, assembly="draft1", regions="genome", options=["--append"])
    assert again.exit_code == 1  # for the row that could not be read
    assert len(store.region_chrom) == 5


def test_verify_needs_no_file_beside_the_store(ingest, tmp_path):
    table = tmp_path / "names.txt"
    table.write_text("chr1\tNC_1.2\nchr2\tNC_2.2\n")
    items = [({"chr1": "NC_1.2", "chr2": "NC_2.2"}[chrom], *rest) for chrom, *rest in GOOD]
    other = write(tmp_path / "refseq.bw", items, {"NC_1.2": 10_010, "NC_2.2": 5_000})
    result, _ = ingest(other, options=["--chrom-alias", table])
    assert result.exit_code == 0, result.output
    table.unlink()
    (tmp_path / "small.chrom.sizes").unlink()
    assert verify(tmp_path / "out.zarr", sources=True) == []


@pytest.mark.parametrize("name", ["main.chrom.sizes", "main.fa.fai"])
def test_chromosomes_that_a_table_of_sizes_names(ingest, tmp_path, name):
    (tmp_path / name).write_text("chr2\t5000\t10\t60\t61\n")
    result, store = ingest(regions=tmp_path / name)
    assert result.exit_code == 0, result.output
    assert store.region_chrom.values.tolist() == ["chr2"]
    (tmp_path / name).write_text("chr2\t5001\n")
    refused = epixs("ingest", tmp_path / "c.tsv", "--regions", tmp_path / name, "--out", tmp_path / "b.zarr")
    assert f"{name} is not of small: chr2; got 5001 bp; expected 5000 bp" in flat(refused)


def test_no_header_at_all_tells_no_lengths(ingest, tmp_path):
    ingest(sizes=None, assembly="draft1", regions="genome")
    (tmp_path / "good.bw").write_text("<html>")
    refused = epixs("ingest", tmp_path / "c.tsv", "--regions", "genome", "--out", tmp_path / "b.zarr")
    assert refused.exit_code == 2
    assert "chromosome sizes of draft1, which epixs does not know, cannot be taken from the headers" in flat(
        refused
    )
