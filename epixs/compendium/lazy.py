"""A plan as a lazy xarray Dataset: what a store would hold, computed tile by tile only when it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from epixs.compendium.create import plan_coordinates, store_attributes
from epixs.compendium.plan import Plan
from epixs.compendium.read import lazy_bin_index
from epixs.compendium.schema import BIN_INDEX, COORDINATES, SIGNAL
from epixs.storage.tiling import Tile

Block = Callable[[], npt.NDArray[np.float32]]


def lazy_dataset(plan: Plan, block_of: Callable[[Tile], Block], rows: int | None = None) -> xr.Dataset:
    """Wrap functions that compute tiles as a Dataset backed by Dask.

    Parameters
    ----------
    plan
        What the Dataset holds.
    block_of
        Gives the function that computes one tile's values, float32 `(rows, bins)` in arcsinh units. It
        travels to a worker: it should carry no more than that tile needs.
    rows
        Experiments a block, where fewer than a store's row group are wanted.

    Returns
    -------
    `signal` with dims `("experiment", "bin")` and the labels of the plan.
    """
    blocks: dict[int, list[Any]] = {}
    for tile in plan.tiles(rows):
        shape = (tile.stop_row - tile.first_row, tile.stop_bin - tile.first_bin)
        value = delayed(block_of(tile))()
        blocks.setdefault(tile.row_group, []).append(da.from_delayed(value, shape, np.float32))
    labels = plan_coordinates(plan) | {BIN_INDEX.name: lazy_bin_index(plan.n_bins)}
    coordinates = {v.name: (v.dims, labels[v.name]) for v in COORDINATES if v.name in labels}
    signal = (
        SIGNAL.dims,
        da.block(list(blocks.values())),
        {"long_name": SIGNAL.doc, "units": "arcsinh units"},
    )
    return xr.Dataset({SIGNAL.name: signal}, coords=coordinates, attrs=store_attributes(plan))
