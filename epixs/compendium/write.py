"""Write tiles, and finish a store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.compendium.create import (
    coordinates_attribute,
    mark,
    plan_coordinates,
    reopen,
    write_bin_index,
    write_label,
)
from epixs.compendium.plan import Plan, experiment_names
from epixs.compendium.read import read_attributes, stored_layout
from epixs.compendium.schema import (
    ADDED,
    COORDINATES,
    EXPERIMENT,
    EXPERIMENT_LABELS,
    EXPERIMENT_SUMMARIES,
    KIND,
    REGION_TABLE,
    REMOVED,
    SIGNAL,
    Variable,
)
from epixs.compendium.shard import encode_shard, is_encodable
from epixs.compendium.summary import summarise
from epixs.errors import StoreError
from epixs.storage.ledger import Record, check_written, read_ledger
from epixs.storage.location import sweep
from epixs.storage.store import COMPLETE, Store
from epixs.storage.tiling import Tile


def write_block(
    store: Store, tile: Tile, values: Sequence[npt.NDArray[np.float32]], variable: Variable = SIGNAL
) -> None:
    """Write one tile's values, rows of shape `(bin,)`: always one whole shard.

    If two tasks write parts of one shard, rows are lost without an error (zarr-python #3682).

    Raises
    ------
    StoreError
        If the values are not exactly one tile, or the tile is not exactly one shard.
    """
    array = store.array(variable.name)
    layout = stored_layout(store, array)
    rows, bins = layout.chunk_rows, layout.tile_bins
    whole = (
        tile.first_row == tile.row_group * rows
        and tile.first_bin == tile.bin_range * bins
        and tile.stop_row == min(array.shape[0], tile.first_row + rows)
        and tile.stop_bin == min(array.shape[1], tile.first_bin + bins)
    )
    expected = [(tile.stop_bin - tile.first_bin,)] * (tile.stop_row - tile.first_row)
    if not whole or [row.shape for row in values] != expected:
        got = f"{len(values)} rows of shapes {sorted({row.shape for row in values})}"
        raise StoreError(
            f"{store}: tile {tile} is not one whole shard",
            got=got,
            expected=f"{len(expected)} rows of shape {expected[0]}",
        )
    if not is_encodable(array):
        raise StoreError(
            f"{store} is damaged: codecs of its {variable.name}", next_step="make the store again"
        )
    store.put(_shard_key(tile, variable), encode_shard(values, layout))


def has_block(store: Store, tile: Tile) -> bool:
    """Tell whether a tile's shard exists."""
    return store.has(_shard_key(tile))


def _shard_key(tile: Tile, variable: Variable = SIGNAL) -> str:
    return f"{variable.name}/c/{tile.row_group}/{tile.bin_range}"


def finalise(store: Store, plan: Plan, is_done: Callable[[Tile, Record], bool]) -> pd.DataFrame:
    """Check that every tile is written, write the summaries, and mark the store complete.

    Parameters
    ----------
    store, plan
        The store and its plan.
    is_done
        Function that tells whether a tile's record is the one that the plan needs.

    Returns
    -------
    The experiment table with its summaries; `status` says which rows could not be read, and `attrs["notes"]`
    describes unusual features of the files.

    Raises
    ------
    StoreError
        If a tile is missing or was written from something else.
    """
    records = read_ledger(store)
    check_written(store, records, {tile.key: functools.partial(is_done, tile) for tile in plan.tiles()})
    removed = read_attributes(store)[REMOVED]
    summary = summarise(plan, records, removed)
    files = [variable for variable in EXPERIMENT_LABELS if variable.name in ("source", "source_size")]
    columns = {v: summary[v.name].to_numpy() for v in EXPERIMENT_SUMMARIES}
    columns |= {v: plan.experiments[v.name].to_numpy() for v in files}
    columns[EXPERIMENT] = experiment_names(plan.experiments, removed)  # last: a store with it is up to date
    root = store.group
    changed = {v: values for v, values in columns.items() if not _holds(root, v, values)}
    lacking = any(name not in root for name in ADDED)
    if changed or lacking or not store.is_complete:
        store = reopen(store)
        if lacking:
            _bring_up_to_date(root, plan)
        for variable, values in changed.items():
            put_label(root, variable, values)
        mark(store, {"status": COMPLETE})
    sweep(store.location)
    table = pd.concat([plan.experiments, summary], axis=1)
    table.attrs["notes"] = summary.attrs["notes"]
    return table


def _bring_up_to_date(root: Any, plan: Plan) -> None:
    """Give a store of an earlier version the coordinates and attributes that it lacks."""
    labels = plan_coordinates(plan)
    for variable in (KIND, *REGION_TABLE):
        if variable.name not in root:
            write_label(root, variable, labels[variable.name])
    write_bin_index(root, plan.n_bins)
    for variable in COORDINATES:
        if variable is not EXPERIMENT and variable.name in root:
            root[variable.name].attrs.update(variable.attributes)
    root[SIGNAL.name].attrs["coordinates"] = coordinates_attribute()


def _holds(root: Any, variable: Variable, values: npt.NDArray[Any]) -> bool:
    """Tell whether a label has these values already."""
    try:
        stored = np.asarray(root[variable.name][:])
    except Exception:  # zarr and its codecs raise many types for a damaged array
        return False
    if variable.dtype == "string":
        return list(map(str, stored)) == list(map(str, values))
    return stored.shape == values.shape and np.array_equal(stored, values, equal_nan=stored.dtype.kind == "f")


def put_label(root: Any, variable: Variable, values: npt.NDArray[Any]) -> None:
    """Replace the values of a label; in one write if it has their size already."""
    try:
        array = root[variable.name]
        in_place = array.shape == array.chunks == values.shape
    except Exception:  # zarr raises many types for a damaged array
        in_place = False
    if in_place:
        array[:] = values
    else:
        write_label(root, variable, values)
