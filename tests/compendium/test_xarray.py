"""Stores as people read them: xarray's own verbs on what `xr.open_zarr(..., chunks=None)` gives."""

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
    """Observed and imputed, as README opens them."""
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
