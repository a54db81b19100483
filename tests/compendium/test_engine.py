import subprocess
import sys

import pytest
import xarray as xr

from epixs.compendium.engine import EpixsEngine
from tests.patience import PATIENCE


def test_an_engine_opens_a_store_with_its_labels_loaded(world):
    dataset = xr.open_dataset(world.store("mouse"), engine=EpixsEngine)
    assert dataset.assay.chunks is None  # labels are loaded, unlike those of `open_zarr`
    assert len(dataset.sel(experiment=dataset.assay == dataset.assay[0].item()).experiment)
    assert (
        "md5sum"
        not in xr.open_dataset(world.store("mouse"), engine=EpixsEngine, drop_variables="md5sum").coords
    )


@pytest.mark.parametrize(
    "script",
    [
        "import epixs, xarray as xr; ds = xr.open_zarr({!r})",
        "import xarray as xr, epixs; ds = xr.open_zarr({!r})",
        "import xarray as xr; ds = xr.open_dataset({!r}, engine='epixs')",
    ],
)
def test_plain_xarray_has_the_accessor(world, script):
    script = script.format(str(world.store("mouse"))) + "; print(ds.epixs.regions.assembly)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.split() == ["mm10"], done.stderr
