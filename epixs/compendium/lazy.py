"""Make a lazy xarray Dataset of a plan: the content of its store, computed block by block when it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from epixs.compendium.create import plan_coordinates, store_attributes
from epixs.compendium.plan import Plan
from epixs.compendium.read import coordinate, lazy_bin_index
from epixs.compendium.schema import BIN_INDEX, COORDINATES, EXPECTED_PEARSON, SIGNAL, SPREAD
from epixs.storage.tiling import Tile


@dataclass(frozen=True, eq=False)
class _Blocks:
    """An array whose blocks are computed when they are read."""

    read: Callable[[Tile], npt.NDArray[np.float32]]
    shape: tuple[int, int]
    block: tuple[int, int]
    ndim = 2
    dtype = np.dtype(np.float32)

    def __getitem__(self, index: tuple[Any, Any]) -> npt.NDArray[np.float32]:
        """Compute only the values selected: Dask passes selections within a block on to this method."""
        (rows, inner_rows), (bins, inner_bins) = map(_span, index, self.shape)
        if not rows or not bins:
            return np.empty((inner_rows.size, inner_bins.size), self.dtype)
        place = rows.start // self.block[0], bins.start // self.block[1]
        values = self.read(Tile(*place, rows.start, rows.stop, bins.start, bins.stop))
        return np.asarray(values[inner_rows][..., inner_bins])


def _span(index: Any, size: int) -> tuple[range, npt.NDArray[np.int64]]:
    """Find the smallest range that holds all places of an index, and the places within that range.

    The work grows with the number of places, not with the length of the axis.
    """
    if isinstance(index, slice):
        places = np.arange(*index.indices(size))
    else:
        asked = np.asarray(index)
        places = np.flatnonzero(asked) if asked.dtype == bool else np.where(asked < 0, asked + size, asked)
    first, last = (int(places.min()), int(places.max())) if places.size else (0, -1)
    return range(first, last + 1), places - first


def lazy_dataset(
    plan: Plan,
    read: Callable[[Tile], npt.NDArray[np.float32]],
    bins: int | None = None,
    spread: Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.float32]] | None = None,
) -> xr.Dataset:
    """Wrap a function that computes blocks as a Dataset backed by Dask.

    Parameters
    ----------
    plan
        The plan of the Dataset.
    read
        Function that computes a block's values, float32 `(rows, bins)` in arcsinh units. It is sent to each
        worker once, not with each block.
    bins
        Number of bins per block; by default that of a tile. A block is of one experiment.
    spread
        Function that computes the spread of values of one experiment, given by its number.

    Returns
    -------
    `signal` with dims `("experiment", "bin")`, `spread` likewise if the plan has it, and the labels.
    """
    block = 1, min(bins or plan.layout.tile_bins, plan.n_bins)
    values = _Blocks(read, (plan.n_experiments, plan.n_bins), block)
    nothing = np.empty((0, 0), dtype=np.float32)  # without it, Dask would read a block to learn its type
    array: Any = da.from_array(values, chunks=block, name=False, asarray=False, meta=nothing)
    labels = plan_coordinates(plan) | {BIN_INDEX.name: lazy_bin_index(plan.n_bins)}
    coordinates = {v.name: coordinate(v, labels[v.name]) for v in COORDINATES if v.name in labels}
    arrays = {SIGNAL: array}
    if spread is not None and SPREAD in plan.variables:
        arrays[SPREAD] = array.map_blocks(_spread_of, spread, dtype=np.float32, meta=nothing)
    variables: dict[str, Any] = {
        v.name: (v.dims, values, {"long_name": v.doc, "units": "arcsinh units"})
        for v, values in arrays.items()
    }
    if EXPECTED_PEARSON.name in plan.experiments:
        expected = plan.experiments[EXPECTED_PEARSON.name].to_numpy()
        variables[EXPECTED_PEARSON.name] = coordinate(EXPECTED_PEARSON, expected)
    return xr.Dataset(variables, coords=coordinates, attrs=store_attributes(plan))


def _spread_of(
    values: npt.NDArray[np.float32],
    spread: Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.float32]],
    block_info: Any = None,
) -> npt.NDArray[np.float32]:
    """Compute the spread of a block, which is of one experiment."""
    return spread(values, int(block_info[0]["array-location"][0][0]))
