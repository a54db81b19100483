import shutil

import numpy as np
import pytest

from epixs.axis.join import joint_axis
from epixs.compendium.read import experiments_of, open_compendium
from epixs.compendium.remove import remove_experiments
from epixs.errors import AxisError, ConfigError, RegionError
from epixs.imputation.write import impute
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.report.figures import locus
from epixs.report.plot import plot
from epixs.training.run import train
from tests.worlds import write_store

pytest.importorskip("matplotlib")


def test_picture_of_an_imputed_track_beside_the_observed_one(world, trained, held_out, tmp_path):
    impute(trained, world.store("mouse"), tmp_path / "i.zarr", pairs=held_out)
    _, biosample, assay = held_out[-1]
    what = {"biosample": biosample, "assay": assay}
    path = tmp_path / "a.png"
    stores = tmp_path / "i.zarr", world.store("mouse")
    assert plot(*stores, locus="chr19:10,000,000-10,020,000", out=path, **what) == []
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 5_000
    assert plot(*stores, locus="chr19:9,000,000-10,020,000", out=path, **what) == [
        "chr19:9,000,000-10,020,000 reaches outside the regions; only chr19:10,000,000-10,020,000 is drawn"
    ]
    other = tmp_path / "b.png"
    with pytest.raises(RegionError, match=r"no bin.*a locus in chr19:10,000,000-10,050,000, the nearest"):
        plot(*stores, locus="chr19:0-100", out=other, **what)
    table = experiments_of(open_compendium(stores[1]))
    seen = table[~table["assay"].isin([pair[2] for pair in held_out])].iloc[0]
    with pytest.raises(AxisError, match=r"was measured and is not imputed in .*--pairs"):
        plot(*stores, biosample=seen["biosample"], assay=seen["assay"], locus="chr19", out=tmp_path / "b.png")
    with pytest.raises(AxisError, match="does not hold the experiment; got nobody .*: unknown biosample"):
        plot(*stores, biosample="nobody", assay=assay, locus="chr19", out=other)


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path):
    what = {"biosample": "x", "assay": "y", "locus": "chr19"}
    for name, message in (
        ("a.doc", "expected a name that ends with one of .png"),
        ("no/a.png", "no folder .*no"),
    ):
        with pytest.raises(ConfigError, match=message):
            plot("nowhere.zarr", "nowhere.zarr", out=tmp_path / name, **what)


def test_what_was_not_measured_has_a_picture_as_well(world, trained, tmp_path):
    store = world.store("mouse")
    table = experiments_of(open_compendium(store))
    measured = set(zip(table["biosample"], table["assay"], strict=True))
    biosample, assay = next(
        pair[1:] for pair in trained.axis.missing_pairs("mouse") if pair[1:] not in measured
    )
    impute(trained, store, tmp_path / "i.zarr", pairs=[("mouse", biosample, assay)])
    notes = plot(
        tmp_path / "i.zarr", store, biosample=biosample, assay=assay, locus="chr19", out=tmp_path / "a.png"
    )
    assert f"{biosample} / {assay} was not measured: no observed panel" in notes
    assert (tmp_path / "a.png").stat().st_size > 3_000


@pytest.fixture
def drawn(monkeypatch):
    """Edges (Mb or kb) and values of each row that is drawn."""
    rows = []
    steps = locus.steps
    monkeypatch.setattr(locus, "steps", lambda *row: rows.append(row) or steps(*row))
    return rows


def by_windows(values):
    """Of 2,000 bins two at a time are drawn as their mean: a picture has no more columns."""
    return values.reshape(-1, 2).mean(axis=1)


def test_removed_experiments_are_not_drawn(world, trained, held_out, tmp_path, drawn):
    store = shutil.copytree(world.store("mouse"), tmp_path / "mouse.zarr")
    _, biosample, assay = held_out[-1]
    impute(trained, store, tmp_path / "i.zarr", pairs=held_out)
    table = experiments_of(open_compendium(store))
    same = table[table["assay"] == assay]
    gone = same.loc[same["biosample"] == biosample, "accession"].tolist()
    gone += same.loc[same["biosample"] != biosample, "accession"].tolist()[:1]
    remove_experiments(store, gone, "wrong antibody")
    what = {"biosample": biosample, "assay": assay, "locus": "chr19", "out": tmp_path / "a.png"}
    notes = plot(tmp_path / "i.zarr", store, **what)
    assert f"{biosample} / {assay} cannot be used (removed: wrong antibody): no observed panel" in notes
    left = [row for row in same.index[same["biosample"] != biosample] if table["accession"][row] not in gone]
    average = by_windows(open_compendium(store).signal[left].mean("experiment").to_numpy())
    assert len(drawn) == 1 + bool(left)
    if left:
        np.testing.assert_allclose(drawn[-1][1], average, rtol=1e-5)


def test_regions_in_any_order_are_drawn_along_the_chromosome(tmp_path, drawn):
    regions = [("chr1", 50_000, 75_000), ("chr1", 0, 25_000)]
    values = np.tile(np.arange(2_000) / 2_000, (4, 1))
    labels = [(b, a) for b in "xy" for a in "AB"]
    store = write_store(tmp_path / "s.zarr", values, labels=labels, regions=regions)
    train(
        joint_axis([store]), make_settings("avocado", hidden=(4, 4), epochs=1, held_out=0.1), tmp_path / "m"
    )
    impute(open_model(tmp_path / "m"), store, tmp_path / "i.zarr", everything=True)
    plot(tmp_path / "i.zarr", store, biosample="x", assay="A", locus="chr1", out=tmp_path / "a.png")
    for edges, _ in drawn:
        assert (np.diff(edges[:, 0]) > 0).all()
    observed = drawn[0][1]
    along = by_windows(np.concatenate([values[0, 1_000:], values[0, :1_000]]))
    np.testing.assert_allclose(observed, along, atol=1e-3)


def test_a_zero_shot_track_is_called_so_and_has_what_its_biosample_has_beside_it(
    world, trained, held_out, tmp_path, monkeypatch
):
    drawn = []
    draw = locus.draw_locus
    monkeypatch.setattr(
        "epixs.report.plot.draw_locus", lambda plt, view: drawn.append(view) or draw(plt, view)
    )
    store, (_, biosample, assay) = world.store("mouse"), held_out[0]
    impute(trained, store, tmp_path / "i.zarr", pairs=held_out)
    notes = plot(
        tmp_path / "i.zarr", store, biosample=biosample, assay=assay, locus="chr19", out=tmp_path / "a.png"
    )
    name = f"{biosample} / {assay}"
    assert f"{name} is zero-shot: no experiment of its assay in mouse was trained on" in notes
    (one, beside) = drawn[0].strips
    assert one.title == f"EP300 in {biosample} (zero-shot)"
    assert one.top == trained.bounds[assay][1] > 0
    assert locus._scale(one)[1] >= one.top
    assert [row.name for row in one.rows] == ["observed", "imputed", "mean of the\nbiosample's tracks"]
    signal, table = open_compendium(store).signal, experiments_of(open_compendium(store))
    labels = list(zip(table["biosample"], table["assay"], strict=True))
    hidden = {pair[1:] for pair in held_out}
    rows = [row for row, pair in enumerate(labels) if pair[0] == biosample and pair not in hidden]
    np.testing.assert_allclose(
        one.rows[2].values, by_windows(signal[rows].mean("experiment").to_numpy()), atol=1e-5
    )
    assert len(beside.rows) == min(len(rows), locus.MOST_BESIDE)
    for row, drawn_row in zip(rows, beside.rows, strict=False):
        np.testing.assert_allclose(drawn_row.values, by_windows(signal[row].to_numpy()), atol=1e-5)
    _, biosample, assay = held_out[-1]
    plot(tmp_path / "i.zarr", store, biosample=biosample, assay=assay, locus="chr19", out=tmp_path / "b.png")
    (other,) = drawn[1].strips
    assert "zero-shot" not in other.title


def test_factors_of_a_model_are_drawn(trained, tmp_path):
    assert plot(trained.folder, figure="factors", out=tmp_path / "f.svg") == []
    drawn = (tmp_path / "f.svg").read_text()
    for name in ("Assays", "Biosamples", "mouse", "human"):
        assert f">{name}</text>" in drawn
    with pytest.raises(ConfigError, match="a figure of factors; got a store"):
        plot(trained.folder, "mouse.zarr", figure="factors", out=tmp_path / "g.svg")
    with pytest.raises(ConfigError, match="a figure of factors; got 'liver'"):
        plot(trained.folder, figure="factors", biosample="liver", out=tmp_path / "g.svg")
    with pytest.raises(ConfigError, match="got no observed store"):
        plot("imputed.zarr", figure="skill", out=tmp_path / "g.svg")
