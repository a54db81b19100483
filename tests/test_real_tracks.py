"""Files by other writers and real catalogs, read in place where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from epixs.catalog.experiments import read_catalog
from epixs.compendium.read import open_compendium
from epixs.genome.assembly import load_assembly
from epixs.genome.bed import read_regions
from epixs.genome.regions import Piece
from epixs.ingestion.lazy import open_tracks
from epixs.ingestion.run import ingest
from epixs.tracks import Track

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real tracks are not beside this checkout")

ODD = [
    ("CMP.H3K4me3.r1.chr11.bw", "mm10", "chr11", 70_000_000),
    ("ERY_fl.H3K27ac.r1.chr11.bw", "mm10", "chr11", 122_000_000),
    ("H3K4me3_Example.bw", "mm9", "chr10", None),
    ("LNCaP_ENCFF282KWR_subset.bigwig", "hg38", "chr7", None),
    ("mESC_H3K27ac_LogRatio.bw", "mm10", "chr19", 30_000_000),
    ("mESC_Meth.bw", "mm10", "chr19", 61_400_000),
]


@pytest.mark.parametrize(("name", "assembly", "chrom", "start"), ODD)
def test_files_by_other_writers(name, assembly, chrom, start):
    path = DATA / "odd" / name
    with pyBigWig.open(str(path)) as file:
        start = (file.intervals(chrom)[0][0] if start is None else start) // 25 * 25
        end = min(file.chroms(chrom), start + 100_000)
        values = np.asarray(file.values(chrom, start, end, numpy=True), dtype=np.float64)
    padded = np.full(-(-values.size // 25) * 25, np.nan)
    padded[: values.size] = values
    with Track(path) as track:
        track.check_assembly(load_assembly(assembly))
        got = track.read(Piece(chrom, start, end, 0))
    np.testing.assert_allclose(
        got.sums, np.nan_to_num(padded).reshape(-1, 25).sum(axis=1), rtol=1e-6, atol=1e-6
    )
    assert got.covered.tolist() == (~np.isnan(padded)).reshape(-1, 25).sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("catalog", "regions", "experiments", "bins"),
    [
        ("human_hg19/catalog.tsv", "human_hg19/regions.bed", 20, 1_126_469),
        ("human_hg19/catalog.shared-names.tsv", "human_hg19/regions.bed", 20, 1_126_469),
        ("mouse_mm10/catalog.tsv", "mouse_mm10/regions.bed", 59, 50_106),
        ("two_species/alpha.catalog.tsv", "two_species/alpha.regions.bed", 12, None),
        ("two_species/beta.catalog.tsv", "two_species/beta.regions.bed", 8, None),
    ],
)
def test_real_catalogs_open_lazily(catalog, regions, experiments, bins):
    table = read_catalog(DATA / catalog)
    placed, notes = read_regions(DATA / regions, table.assembly)
    assert notes == []
    dataset = open_tracks(table, placed)
    assert dataset.sizes["experiment"] == experiments
    assert bins is None or dataset.sizes["bin"] == bins


def test_mouse_compendium_of_real_tracks(tmp_path):
    table = read_catalog(DATA / "mouse_mm10" / "catalog.tsv")
    regions, _ = read_regions(DATA / "mouse_mm10" / "regions.bed", table.assembly)
    done = ingest(table, regions, tmp_path / "mouse.zarr")
    assert (done["status"] == "ok").all()
    stored = open_compendium(tmp_path / "mouse.zarr")
    row, bins = 17, slice(1_000, 1_400)
    placed = stored.epixs.bins(np.arange(bins.start, bins.stop))
    with pyBigWig.open(table.experiments["path"].iloc[row]) as file:
        means = [
            np.nan_to_num(file.values(b.chrom, b.start, b.end, numpy=True)).sum() / (b.end - b.start)
            for b in placed.itertuples()
        ]
    np.testing.assert_allclose(stored.signal[row, bins].to_numpy(), np.arcsinh(means), atol=2.5e-4)
