"""Read stores with xarray alone: its own methods on the Dataset of `xr.open_zarr(..., chunks=None)`."""

import numpy as np
import pytest
import xarray as xr

from epixs.compendium.read import open_compendium
from epixs.imputation.write import impute


@pytest.fixture(scope="module")
def paths(world, trained, held_out):
    imputed = world.folder / "xarray.imputed.zarr"
    impute(trained, world.store("mouse"), imputed, pairs=held_out)
    return world.store("mouse"), imputed


@pytest.fixture(params=["xarray", "epixs"])
def both(paths, request):
    """Open an observed and an imputed store as README does."""
    if request.param == "epixs":
        return tuple(map(open_compendium, paths))
    return tuple(xr.open_zarr(path, chunks=None) for path in paths)


def values(dataset, assay):
    return dataset.signal.to_numpy()[dataset.assay.to_numpy() == assay]


def test_select_and_group_by_label(both):
    observed, _ = both
    assay = str(observed.assay.to_numpy()[0])
    assert np.array_equal(observed.isel(experiment=observed.assay == assay).signal, values(observed, assay))
    where = observed.signal.where(observed.assay == assay, drop=True)
    assert np.array_equal(where, values(observed, assay))
    means = observed.signal.groupby("assay").mean()
    np.testing.assert_allclose(means.sel(assay=assay), values(observed, assay).mean(axis=0), atol=1e-5)
    named = observed.set_index(experiment=["biosample", "assay"])
    assert named.sel(assay=assay).sizes["biosample"] == len(values(observed, assay))
    assert observed.set_xindex("accession").sel(accession=observed.accession.to_numpy()[1]).signal.ndim == 1


def test_observed_and_imputed_together_stay_apart_by_kind(both):
    observed, imputed = both
    joined = xr.concat([observed, imputed], dim="experiment")
    assert joined.sizes["experiment"] == observed.sizes["experiment"] + imputed.sizes["experiment"]
    rows = joined.isel(experiment=joined.kind == "imputed")
    assert np.array_equal(rows.signal, imputed.signal)
    assert np.array_equal(joined.bin_index, np.arange(joined.sizes["bin"]))


def test_observed_and_imputed_are_aligned_by_their_names(both):
    """Compare an imputed row with the measured one, by hand."""
    observed, imputed = both
    difference = (observed.signal - imputed.signal).load()
    pairs = [[*zip(d.biosample.to_numpy(), d.assay.to_numpy(), strict=True)] for d in both]
    common = [pair for pair in pairs[0] if pair in pairs[1]]
    assert difference.experiment.to_numpy().tolist() == [f"{b} / {a}" for b, a in common]
    for pair, row in zip(common, difference.to_numpy(), strict=True):
        first, second = (d.signal[of.index(pair)].to_numpy() for d, of in zip(both, pairs, strict=True))
        assert np.array_equal(row, first - second)


def test_a_store_opens_as_a_tree_and_beside_others(paths):
    tree = xr.open_datatree(paths[0], engine="zarr")
    assert tree["ledger/record"].dims == ("row_group", "bin_range")
    with xr.open_mfdataset(paths, engine="zarr", combine="nested", concat_dim="experiment") as dataset:
        assert dataset.sizes["experiment"] == sum(xr.open_zarr(path).sizes["experiment"] for path in paths)


def test_a_join_that_left_labels_out_is_written_and_read(paths, tmp_path):
    # Missing whole numbers become NaN, and xarray warns when NaN is written into an integer variable.
    observed, imputed = (xr.open_zarr(path).drop_vars("source_size") for path in paths)
    few = observed.isel(experiment=[0, 1])
    joined = few.combine_first(imputed[["signal"]].reset_coords(drop=True))
    joined = joined.chunk(experiment=16, bin=16_384)
    joined.to_zarr(tmp_path / "a.zarr", align_chunks=True, consolidated=False)
    again = xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False)
    labels = dict(zip(again.experiment.to_numpy(), again.assay.to_numpy(), strict=True))
    known = dict(zip(few.experiment.to_numpy(), few.assay.to_numpy(), strict=True))
    for name in few.experiment.to_numpy():
        assert labels.pop(name) == known[name]
    assert [label != label for label in labels.values()] == [True] * len(labels) != []


def test_a_track_is_drawn(paths):
    figure = pytest.importorskip("matplotlib.figure", reason="needs the extra viz")
    axes = figure.Figure().subplots()
    (line,) = xr.open_zarr(paths[0]).signal[0, :100].plot(ax=axes)
    assert len(line.get_ydata()) == 100


def test_what_was_read_is_written_again(both, tmp_path):
    _, imputed = both
    imputed.load().to_netcdf(tmp_path / "a.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "a.nc", engine="scipy") as again:
        assert np.array_equal(again.signal, imputed.signal)
        assert again.assay.to_numpy().tolist() == imputed.assay.to_numpy().tolist()
    some = imputed.isel(bin=slice(100, 900)).drop_encoding()
    some.to_zarr(tmp_path / "b.zarr", zarr_format=3, consolidated=False)
    again = xr.open_zarr(tmp_path / "b.zarr", chunks=None, consolidated=False)
    assert np.array_equal(again.signal, imputed.signal[:, 100:900])
    assert again.epixs.bins()["bin"].tolist() == list(range(100, 900))
