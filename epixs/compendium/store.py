"""Create, open, check and finish the Zarr store of one species."""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
import zarr

from epixs.compendium.ledger import Record, read_ledger
from epixs.compendium.plan import Plan, Tile
from epixs.compendium.schema import (
    COORDINATES,
    EXPERIMENT_LABELS,
    EXPERIMENT_SUMMARIES,
    LEDGER_PATH,
    SCHEMA_VERSION,
    SIGNAL,
    Variable,
)
from epixs.errors import StoreError
from epixs.genome import BIN_SIZE, Regions
from epixs.transforms import TRANSFORM

MAX_EXPERIMENTS = 1_000_000
MAX_BINS = 1 << 33


def epixs_version() -> str:
    """Version of the installed epixs."""
    try:
        return version("epixs")
    except PackageNotFoundError:
        return "unknown"


def create_store(path: str | Path, plan: Plan) -> None:
    """Write an empty, unfinished store for a plan: all labels, no signal.

    Every missing chunk reads as NaN, so that what is not yet written can never pass for zeros.
    """
    layout = plan.layout
    attributes = {
        "epixs_schema": SCHEMA_VERSION,
        "epixs_version": epixs_version(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kind": plan.kind,
        "status": "unfinished",
        "species": plan.species,
        "assembly": plan.regions.assembly,
        "bin_size": BIN_SIZE,
        "transform": TRANSFORM,
        "units": "arcsinh of the track's own units (see output_type)",
        "uncovered": plan.uncovered,
        "plan": plan.fingerprint,
        "plan_settings": plan.settings,
        "provenance": plan.provenance,
    }
    root = zarr.create_group(str(path), zarr_format=3, attributes=attributes)
    root.create_array(
        SIGNAL.name,
        shape=(plan.n_experiments, plan.n_bins),
        chunks=(layout.chunk_rows, layout.chunk_bins),
        shards=(layout.chunk_rows, layout.tile_bins),
        dtype=SIGNAL.dtype,
        fill_value=SIGNAL.fill,
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4),
        dimension_names=SIGNAL.dims,
        attributes={
            "coordinates": " ".join(variable.name for variable in COORDINATES),
            "long_name": SIGNAL.doc,
            "units": "arcsinh units",
        },
        config={"write_empty_chunks": True},
    )
    for variable in EXPERIMENT_LABELS:
        _write(root, variable, plan.experiments[variable.name].to_numpy())
    for variable in EXPERIMENT_SUMMARIES:
        _write(root, variable, np.full(plan.n_experiments, variable.fill, dtype=_numpy_dtype(variable)))
    regions = plan.regions
    for name, values in {
        "region_name": regions.name,
        "region_chrom": regions.chrom,
        "region_start": regions.start,
        "region_end": regions.end,
        "region_first_bin": regions.first_bin,
    }.items():
        variable = next(v for v in COORDINATES if v.name == name)
        _write(root, variable, np.asarray(values, dtype=_numpy_dtype(variable)))
    root.create_array(LEDGER_PATH, shape=plan.grid, chunks=(1, 1), dtype="string", fill_value="")
    _consolidate(path)


def _numpy_dtype(variable: Variable) -> Any:
    return object if variable.dtype == "string" else variable.dtype


def _write(root: Any, variable: Variable, values: npt.NDArray[Any]) -> None:
    array = root.create_array(
        variable.name,
        shape=values.shape,
        chunks=(max(1, values.shape[0]),),
        dtype=variable.dtype,
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes={"long_name": variable.doc},
        overwrite=True,
    )
    array[:] = values


def _consolidate(path: str | Path) -> None:
    with warnings.catch_warnings():
        # zarr warns that consolidated metadata is not yet in the v3 specification; xarray reads it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path))


def write_block(path: str | Path, tile: Tile, values: npt.NDArray[np.float32]) -> None:
    """Write one tile's values, shape `(rows, bins)`: always a whole shard, never part of one.

    Two tasks that write parts of one shard lose rows without a word (zarr-python #3682).

    Raises
    ------
    StoreError
        If the values are not exactly one tile, or the tile not exactly one shard.
    """
    array = zarr.open_array(str(path), path=SIGNAL.name, mode="r+", config={"write_empty_chunks": True})
    rows, bins = array.shards
    whole = (
        tile.first_row == tile.row_group * rows
        and tile.first_bin == tile.bin_range * bins
        and tile.stop_row == min(array.shape[0], tile.first_row + rows)
        and tile.stop_bin == min(array.shape[1], tile.first_bin + bins)
    )
    shape = (tile.stop_row - tile.first_row, tile.stop_bin - tile.first_bin)
    if not whole or values.shape != shape:
        raise StoreError(f"{path}: tile {tile} is not one whole shard", got=values.shape, expected=shape)
    array[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin] = values


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of an epixs store.

    Raises
    ------
    StoreError
        If there is no store at `path`, or it is not one that epixs wrote.
    """
    if "://" not in str(path) and not Path(path).exists():
        raise StoreError(f"store {path} does not exist", next_step="make one with `epixs ingest`")
    try:
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    except Exception as error:  # zarr raises many types for what is not a group
        raise StoreError(
            f"{path} is not a Zarr group", got=type(error).__name__, expected="a store that epixs wrote"
        ) from error
    if attributes.get("epixs_schema") is None:
        raise StoreError(
            f"{path} is a Zarr store that epixs did not write",
            got=f"attributes {sorted(attributes)[:6]}",
            expected="the attribute epixs_schema",
            next_step="choose another path; epixs never overwrites it",
        )
    if attributes["epixs_schema"] != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has another schema version",
            got=attributes["epixs_schema"],
            expected=SCHEMA_VERSION,
            next_step="make it again with this version of epixs",
        )
    return attributes


def open_compendium(path: str | Path, *, unfinished: bool = False) -> xr.Dataset:
    """Open a store lazily.

    Parameters
    ----------
    path
        The store.
    unfinished
        Allow a store whose ingest has not ended.

    Returns
    -------
    `signal` with dims `("experiment", "bin")` in arcsinh units, and the labels.

    Raises
    ------
    StoreError
        If the store is foreign, or unfinished and that was not allowed.
    """
    attributes = read_attributes(path)
    if attributes["status"] != "complete" and not unfinished:
        raise StoreError(
            f"{path} is unfinished",
            got=f"status {attributes['status']!r}",
            expected="'complete'",
            next_step="run the command that writes it again: it resumes where it stopped",
        )
    dataset: xr.Dataset = xr.open_zarr(str(path), consolidated=True)
    _check_bounds(path, dataset)
    return dataset


def _check_bounds(path: str | Path, dataset: xr.Dataset) -> None:
    """Check the sizes that a store claims before anything is allocated from them."""
    missing = [v.name for v in (SIGNAL, *COORDINATES) if v.name not in dataset.variables]
    if missing:
        raise StoreError(f"{path} is damaged", got=f"no {', '.join(missing)}", expected="every variable of the schema")
    if dataset.signal.dims != SIGNAL.dims or dataset.signal.dtype != np.float32:
        raise StoreError(
            f"{path} is damaged: signal", got=f"{dataset.signal.dims} {dataset.signal.dtype}", expected=SIGNAL.dims
        )
    if dataset.sizes["experiment"] > MAX_EXPERIMENTS or dataset.sizes["bin"] > MAX_BINS:
        raise StoreError(f"{path} claims impossible sizes", got=dict(dataset.sizes))


def regions_of(dataset: xr.Dataset) -> Regions:
    """Region table of an opened compendium.

    Raises
    ------
    StoreError
        If the regions do not add up to the store's bins.
    """
    regions = Regions(
        str(dataset.attrs["assembly"]),
        tuple(map(str, dataset.region_name.values)),
        tuple(map(str, dataset.region_chrom.values)),
        tuple(map(int, dataset.region_start.values)),
        tuple(map(int, dataset.region_end.values)),
    )
    if min(regions.n_bins_each, default=0) <= 0 or not np.array_equal(
        regions.first_bin, dataset.region_first_bin.values
    ):
        raise StoreError("the store's region table is damaged", next_step="ingest again")
    return regions


def experiments_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Experiment table of an opened compendium: one row each, the schema's labels and summaries."""
    columns = (*EXPERIMENT_LABELS, *EXPERIMENT_SUMMARIES)
    table = {}
    for variable in columns:
        values = dataset[variable.name].values
        table[variable.name] = values.astype(object) if variable.dtype == "string" else values
    return pd.DataFrame(table)


def finalise(path: str | Path, plan: Plan, fingerprints: Sequence[str] | None = None) -> pd.DataFrame:
    """Check that every tile is written, put the summaries in and mark the store complete.

    Returns
    -------
    The experiment table with its summaries; `status` says which rows could not be read.

    Raises
    ------
    StoreError
        If a tile is missing or was written from something else.
    """
    records = read_ledger(path)
    expected = fingerprints or [None] * (plan.grid[0] * plan.grid[1])
    for tile, wanted in zip(plan.tiles(), expected, strict=True):
        record = records.get((tile.row_group, tile.bin_range))
        if record is None or (wanted is not None and record.fingerprint != wanted):
            raise StoreError(
                f"{path}: tile {tile.row_group}/{tile.bin_range} is not written",
                next_step="run the same command again: it resumes where it stopped",
            )
    summary = summarise(plan, records)
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    for variable in EXPERIMENT_SUMMARIES:
        _write(root, variable, summary[variable.name].to_numpy())
    root.attrs["status"] = "complete"
    _consolidate(path)
    return pd.concat([plan.experiments, summary], axis=1)


def summarise(plan: Plan, records: dict[tuple[int, int], Record]) -> pd.DataFrame:
    """Join the per-tile row statistics of the ledger into one row an experiment."""
    rows: list[dict[str, Any]] = []
    for row in range(plan.n_experiments):
        group, offset = divmod(row, plan.layout.chunk_rows)
        parts = [
            record.rows[offset] for (g, _), record in sorted(records.items()) if g == group
        ]
        error = next((part["error"] for part in parts if part.get("error")), None)
        entry: dict[str, Any] = {v.name: v.fill for v in EXPERIMENT_SUMMARIES}
        entry["status"] = error or "ok"
        present = [part for part in parts if not part.get("error") and part["bins"]]
        if present and not error:
            bins = sum(part["bins"] for part in present)
            entry["signal_mean"] = sum(part["sum"] for part in present) / bins
            entry["signal_min"] = min(part["min"] for part in present)
            entry["signal_max"] = max(part["max"] for part in present)
            entry["zero_fraction"] = sum(part["zeros"] for part in present) / bins
            bases = sum(part["bases"] for part in parts)
            entry["covered_fraction"] = sum(part["covered"] for part in parts) / bases if bases else np.nan
        rows.append(entry)
    return pd.DataFrame(rows, columns=[v.name for v in EXPERIMENT_SUMMARIES])


def describe_settings(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Name the settings in which two plans differ."""
    differ = [name for name in mine if mine[name] != theirs.get(name)]
    return ", ".join(f"{name} ({json.dumps(theirs.get(name))} there)" for name in differ) or "nothing"
