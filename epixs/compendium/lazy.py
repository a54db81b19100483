"""A plan as a lazy xarray Dataset: what a store would hold, computed tile by tile only when it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from epixs.compendium.plan import Plan, Tile
from epixs.compendium.schema import COORDINATES, SIGNAL
from epixs.compendium.store import plan_coordinates, store_attributes


def lazy_dataset(plan: Plan, compute: Callable[[Tile], npt.NDArray[np.float32]]) -> xr.Dataset:
    """Wrap a function that computes tiles as a Dataset backed by Dask.

    Parameters
    ----------
    plan
        What the Dataset holds.
    compute
        Gives a tile's values, float32 `(rows, bins)` in arcsinh units.

    Returns
    -------
    `signal` with dims `("experiment", "bin")` and the labels of the plan.
    """
    groups, spans = plan.grid
    blocks: list[list[Any]] = [[None] * spans for _ in range(groups)]
    for tile in plan.tiles():
        shape = (tile.stop_row - tile.first_row, tile.stop_bin - tile.first_bin)
        block = dask.delayed(compute)(tile)
        blocks[tile.row_group][tile.bin_range] = da.from_delayed(block, shape, np.float32)
    labels = plan_coordinates(plan)
    coordinates = {v.name: (v.dims, labels[v.name]) for v in COORDINATES if v.name in labels}
    signal = (SIGNAL.dims, da.block(blocks), {"long_name": SIGNAL.doc, "units": "arcsinh units"})
    return xr.Dataset({SIGNAL.name: signal}, coords=coordinates, attrs=store_attributes(plan))
