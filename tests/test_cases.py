"""Files in the shape of those that public repositories hand out, with the values that their owner gives."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from epixs.cli.app import app

CASES = Path(__file__).parents[2] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not there")


def epixs(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("case", "accession", "chrom", "nonzero", "first", "value", "total"),
    [
        ("absent_chromosome", "FILE2", "chr21", 75, 45, 2.465, 175.444),
        ("no_width", "NOWIDTH", "chr1", 80, 40, 1.9322, 157.081),
        ("mitochondrion", "RCRS", "chr19", 79, 290, 0.3091, 193.483),
        ("ensembl_names", "COW1", "chr1", 85, 77, 3.0644, 189.339),
    ],
)
def test_values(tmp_path, case, accession, chrom, nonzero, first, value, total):
    folder, out = CASES / case, tmp_path / "x.zarr"
    done = epixs(
        "ingest", folder / "catalog.tsv", "--regions", folder / "regions.bed", "--out", out, "--tile", "1/1"
    )
    assert done.exit_code == 0, done.output
    store = xr.open_zarr(out, chunks=None)
    assert store.status.values.tolist() == ["ok", "ok"]
    row = store.accession.values.tolist().index(accession)
    bins = 400 if case == "no_width" else 2_000
    at = store.region_first_bin.values[store.region_chrom.values.tolist().index(chrom)]
    signal = store.signal[row, at : at + bins if len(store.region_chrom) > 1 else None].values
    assert int((signal != 0).sum()) == nonzero
    assert int((signal != 0).argmax()) == first
    assert float(signal[first]) == pytest.approx(value, abs=1e-3)
    assert float(signal.sum(dtype="f8")) == pytest.approx(total, abs=1e-2)


@pytest.mark.parametrize(
    ("case", "experiments", "biosamples"),
    [("treatment_times", 15, 5), ("mouse_stages", 3, 1), ("old_portal_table", 2, 1)],
)
def test_tables(tmp_path, case, experiments, biosamples):
    made = epixs("catalog", CASES / case / "metadata.tsv", "--out", tmp_path / "c.tsv")
    assert made.exit_code == 0, made.output
    table = pd.read_csv(tmp_path / "c.tsv", sep="\t")
    assert (len(table), table["biosample"].nunique()) == (experiments, biosamples)
    assert ("--report REPORT.tsv" in " ".join(made.stderr.split())) == (case == "mouse_stages")


def test_what_is_no_bigwig(tmp_path):
    folder = CASES / "not_quite_bigwig"
    done = epixs(
        "ingest", folder / "catalog.tsv", "--regions", folder / "regions.bed", "--out", tmp_path / "x.zarr",
        "--tile", "1/1",
    )  # fmt: skip
    assert done.exit_code == 1
    said = " ".join(done.stderr.split())
    for text in (
        "a gzipped bigWig",
        "gunzip",
        "wiggle text",
        "wigToBigWig",
        "bedGraph text",
        "bedGraphToBigWig",
    ):
        assert text in said
