import os

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import epixs
from epixs.cli.app import app
from epixs.errors import AxisError, ConfigError, RegionError
from epixs.exports import locus_table
from tests.worlds import write_store

REGIONS = [("chr2", 50, 100), ("chr2", 0, 50)]
VALUES = np.array([[2.0, 1.0, 1.0, 1.0], [np.nan, 3.0, 0.0, np.nan]])


HEAD = 'type=bedGraph name="{0}" description="{0}, arcsinh of signal"'


@pytest.fixture
def store(tmp_path):
    labels = [("liver", "A"), ('a"\n<b>', "A")]
    return write_store(tmp_path / "s.zarr", VALUES, labels=labels, regions=REGIONS)


def test_a_bedgraph_has_items_and_no_gaps(store, tmp_path):
    epixs.export_locus(store, "chr2", bedgraph=tmp_path / "x.bedGraph")
    first, second = (tmp_path / "x.bedGraph").read_text().split("track ")[1:]
    assert first == HEAD.format("liver / A") + "\nchr2\t0\t50\t1\nchr2\t50\t75\t2\nchr2\t75\t100\t1\n"
    head, *items = second.splitlines()
    assert head == HEAD.format("a' (b) / A")
    assert items == ["chr2\t0\t25\t0", "chr2\t75\t100\t3"]
    assert sorted(os.listdir(tmp_path)) == ["s.zarr", "x.bedGraph"]


def test_raw_units_and_chosen_rows(store, tmp_path):
    table = epixs.export_locus(store, "chr2:25-75", bedgraph=tmp_path / "x", raw=True, biosamples=["liver"])
    assert table["start"].tolist() == [25, 50]
    assert table["liver / A"].tolist() == pytest.approx(np.sinh([1.0, 2.0]).tolist())
    with pytest.raises(AxisError, match="biosample asked for"):
        epixs.export_locus(store, "chr2", bedgraph=tmp_path / "y", biosamples=["heart"])


def test_parquet_is_the_table_of_the_accessor(world, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow (the `tables` extra) is not installed")
    locus = "chr19:10,000,000-10,002,000"
    epixs.export_locus(world.store("mouse"), locus, parquet=tmp_path / "x.parquet")
    found = pd.read_parquet(tmp_path / "x.parquet")
    expected = epixs.open_compendium(world.store("mouse")).epixs.to_dataframe(locus)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_column_type=False)


def test_observed_and_imputed_are_told_apart(world, trained, held_out, tmp_path):
    lazy = epixs.open_imputed(trained, world.store("mouse"), pairs=held_out)
    table = epixs.export_locus(
        [world.store("mouse"), lazy], "chr19:10,000,000-10,001,000", bedgraph=tmp_path / "x", pairs=held_out
    )
    columns = list(table.columns[3:])
    assert len(columns) == 2 * len(held_out)
    _, biosample, assay = held_out[0]
    here = lazy.epixs.sel("chr19:10,000,000-10,001,000").signal[0].to_numpy()
    assert np.array_equal(table[f"{biosample} / {assay} (imputed)"], here)
    assert f"{biosample} / {assay} (observed)" in columns


def test_too_much_and_other_bins_are_refused(store, tmp_path, monkeypatch):
    other = write_store(tmp_path / "o.zarr", VALUES[:1, :2], labels=[("x", "A")], regions=[("chr2", 0, 50)])
    with pytest.raises(RegionError, match="different bins"):
        epixs.export_locus([store, other], "chr2", bedgraph=tmp_path / "x")
    monkeypatch.setattr(locus_table, "MOST_VALUES", 3)
    with pytest.raises(RegionError, match="8 values in chr2; expected 3 at most"):
        epixs.export_locus(store, "chr2", bedgraph=tmp_path / "x")
    with pytest.raises(ConfigError, match="one of them"):
        epixs.export_locus(store, "chr2")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "got nothing; expected one of --bigwig"),
        (["--bedgraph", "{}/a", "--hub", "{}/b"], "--hub and --bedgraph"),
        (["--bedgraph", "{}/a"], "--locus"),
        (["--bigwig", "{}/a", "--locus", "chr2"], "--locus"),
        (["--bedgraph", "{}/a", "--locus", "chr7"], "no bin of this compendium lies there"),
        (["--bedgraph", "{}/no/a", "--locus", "chr2"], "Make that folder first"),
    ],
)
def test_mistakes_end_in_a_sentence(store, tmp_path, options, message):
    done = CliRunner().invoke(app, ["export", str(store), *(text.format(tmp_path) for text in options)])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
