import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from epixs.compendium.engine import EpixsEngine
from tests.patience import PATIENCE


def test_an_engine_opens_a_store_with_its_labels_loaded(world):
    dataset = xr.open_dataset(world.store("mouse"), engine=EpixsEngine)
    assert isinstance(dataset.assay.variable._data, np.ndarray) or dataset.assay.variable._in_memory
    assert len(dataset.sel(experiment=dataset.assay == dataset.assay[0].item()).experiment)
    assert (
        "md5sum"
        not in xr.open_dataset(world.store("mouse"), engine=EpixsEngine, drop_variables="md5sum").coords
    )


@pytest.mark.parametrize("opened", ["xr.open_zarr({!r})", "xr.open_dataset({!r}, engine='epixs')"])
def test_plain_xarray_has_the_accessor_without_an_import_of_epixs(world, opened):
    script = f"import xarray as xr; print(xr.__name__, {opened.format(str(world.store('mouse')))}.epixs.regions.assembly)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.split()[1:] == ["mm10"], done.stderr
