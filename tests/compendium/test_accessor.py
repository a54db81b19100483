import numpy as np
import pytest
import xarray as xr

import epixs  # noqa: F401  (registers .epixs)
from epixs.errors import RegionError


def test_bins_as_a_table(world):
    with xr.open_zarr(world.store("human")) as dataset:
        table = dataset.epixs.bins()
        assert list(table.columns) == ["bin", "chrom", "start", "end", "region"]
        assert len(table) == dataset.sizes["bin"]
        assert table.iloc[0].tolist() == [0, "chr20", 10_000_000, 10_000_025, "chr20-simulated"]
        assert table.iloc[1_500]["chrom"] == "chr21"
        assert dataset.epixs.bins([3])["start"].tolist() == [10_000_075]


def test_selection_by_locus(world):
    with xr.open_zarr(world.store("human")) as dataset:
        chosen = dataset.epixs.sel("chr21:20,000,010-20,000,100")
        assert chosen["bin"].to_numpy().tolist() == [1_500, 1_501, 1_502, 1_503]
        assert chosen["bin_start"].to_numpy()[0] == 20_000_000
        assert np.array_equal(chosen.signal.to_numpy(), dataset.signal[:, 1_500:1_504].to_numpy())
        assert chosen.epixs.bins()["end"].tolist()[-1] == 20_000_100
        assert dataset.epixs.sel("chr21").sizes["bin"] == 1_510
        with pytest.raises(RegionError, match=r"got 'chr1:0-100'.*expected a locus in chr20:10,000,000-"):
            dataset.epixs.sel("chr1:0-100")


def test_experiments_and_regions(world):
    with xr.open_zarr(world.store("mouse")) as dataset:
        assert dataset.epixs.regions.assembly == "mm10"
        assert (dataset.epixs.experiments["status"] == "ok").all()
