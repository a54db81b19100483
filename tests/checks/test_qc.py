import numpy as np
import pandas as pd
import pytest

from epixs.catalog.experiments import read_catalog
from epixs.checks.qc import COLUMNS, quality
from epixs.compendium.read import open_compendium
from epixs.compendium.remove import remove_experiments
from epixs.genome.assembly import Assembly
from epixs.genome.bed import make_regions
from epixs.ingestion.run import ingest

SIZES = {"chr1": 10_010, "chr2": 5_000}


@pytest.fixture
def store(write_bigwig, tmp_path):
    """Write tracks of one assay (some alike, unlike, flat, negative, unreadable) and one of another."""
    rng = np.random.default_rng(0)
    shape = rng.gamma(1, 3, 100)
    kinds = {
        "good0": shape * 1.0, "good1": shape * 1.2, "good2": shape * 0.9, "good3": shape * 1.1,
        "unlike": shape[::-1] * 40, "flat": np.zeros(100), "negative": -shape, "twin": -shape,
    }  # fmt: skip
    rows = []
    for name, values in kinds.items():
        noise = rng.uniform(0.9, 1.1, 100) if name.startswith("good") else 1
        steps = [("chr1", 100 * i, 100 * i + 100, float(v)) for i, v in enumerate(values * noise)]
        path = write_bigwig(f"{name}.bw", steps, SIZES)
        rows.append(
            {
                "biosample": name,
                "assay": "other" if name in ("negative", "twin") else "mark",
                "path": path.name,
            }
        )
    (tmp_path / "broken.bw").write_bytes(b"<html>")
    rows.append({"biosample": "<b>broken</b>", "assay": "mark", "path": "broken.bw"})
    table = pd.DataFrame(rows).assign(
        species="tiny", assembly="small", assay_class="histone", output_type="signal p-value",
        accession=[f"A{i}" for i in range(len(rows))],
    )  # fmt: skip
    table.to_csv(tmp_path / "catalog.tsv", sep="\t", index=False)
    (tmp_path / "small.chrom.sizes").write_text("".join(f"{c}\t{n}\n" for c, n in SIZES.items()))
    regions, _ = make_regions(Assembly("small", SIZES), [("chr1", 0, 10_000, "r")])
    ingest(read_catalog(tmp_path / "catalog.tsv"), regions, tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def test_outliers_are_named_with_the_reason(store):
    table = quality(store).set_index("biosample")
    assert [*table.reset_index().columns.sort_values()] == sorted(COLUMNS)
    notes = table["notes"]
    assert (notes[["good0", "good1", "good2", "good3"]] == "").all()
    assert "correlation" in notes["unlike"]
    assert "times the median of its assay" in notes["unlike"]
    assert "the same value everywhere" in notes["flat"]
    assert "negative values in" in notes["negative"]
    assert "the same values as A7" in notes["negative"]
    assert "could not be read" in notes["<b>broken</b>"]
    assert np.isnan(table.loc["<b>broken</b>", "correlation"])


def test_correlation_agrees_with_laying_everything_out(store):
    table = quality(store)
    signal = open_compendium(store).signal.to_numpy().astype(float)
    marks = table.index[(table["assay"] == "mark") & (table["status"] == "ok")]
    for row in marks:
        others = signal[[i for i in marks if i != row]].mean(axis=0)
        if signal[row].std() > 0:
            assert table.loc[row, "correlation"] == pytest.approx(
                np.corrcoef(signal[row], others)[0, 1], abs=1e-9
            )
        else:
            assert np.isnan(table.loc[row, "correlation"])


def test_parts_add_up(store, monkeypatch):
    whole = quality(store)
    monkeypatch.setattr("epixs.checks.qc.SUM_BYTES", 8 * 7 * 100)
    monkeypatch.setattr("epixs.checks.qc.READ_BYTES", 1)
    seen = []
    dataset = open_compendium(store)
    dataset.signal.encoding["chunks"] = (16, 37)
    monkeypatch.setattr("epixs.checks.qc.open_compendium", lambda *_, **__: dataset)
    pd.testing.assert_frame_equal(quality(store, progress=seen.append), whole)
    assert len(seen) == -(-400 // 37)


def test_a_track_with_few_values_does_not_stand_for_its_assay(write_bigwig, tmp_path):
    rng = np.random.default_rng(1)
    shape = rng.gamma(1, 3, 100)
    tracks = {f"b{i}": shape * rng.uniform(0.9, 1.1, 100) for i in range(5)}
    tracks["b2"] = shape[::-1]
    rows = []
    for name in (*tracks, "few", "none"):
        values = tracks.get(name, shape)
        steps = [("chr1", 100 * i, 100 * i + 100, float(v)) for i, v in enumerate(values)]
        steps = steps[:2] if name == "few" else [("chr2", 0, 100, 1.0)] if name == "none" else steps
        rows.append(
            {"biosample": name, "path": write_bigwig(f"{name}.bw", steps, SIZES).name, "accession": name}
        )
    pd.DataFrame(rows).assign(
        species="tiny", assembly="small", assay="mark", assay_class="histone", output_type="signal"
    ).to_csv(tmp_path / "catalog.tsv", sep="\t", index=False)
    (tmp_path / "small.chrom.sizes").write_text("".join(f"{c}\t{n}\n" for c, n in SIZES.items()))
    regions, _ = make_regions(Assembly("small", SIZES), [("chr1", 0, 10_000, "r")])
    ingest(read_catalog(tmp_path / "catalog.tsv"), regions, tmp_path / "a.zarr", uncovered="nan")
    remove_experiments(tmp_path / "a.zarr", ["b4"], "wrong antibody")
    table = quality(tmp_path / "a.zarr").set_index("biosample")
    assert table["correlation"][["b0", "b1", "b3"]].min() > 0.8
    assert "correlation" in table["notes"]["b2"]
    assert "has values on 0.02 of all bases" in table["notes"]["few"]
    assert table["notes"]["none"] == "has no value in these regions"
    assert table["covered_fraction"]["none"] == 0
    assert table["notes"]["b4"] == "removed: wrong antibody"
