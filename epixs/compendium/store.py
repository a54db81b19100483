"""Create, open, check and finish the Zarr store of one species."""

from __future__ import annotations

import datetime
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
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
from epixs.genome import BIN_SIZE, MAX_BINS, Regions
from epixs.transforms import TRANSFORM

MAX_EXPERIMENTS = 1_000_000
MAX_REGIONS = 10_000_000
REQUIRED_ATTRIBUTES = ("epixs_schema", "kind", "status", "species", "assembly", "plan", "uncovered")


def epixs_version() -> str:
    """Version of the installed epixs."""
    try:
        return version("epixs")
    except PackageNotFoundError:
        return "unknown"


def store_attributes(plan: Plan) -> dict[str, Any]:
    """Attributes that say what a plan's signal is; `schema.ATTRIBUTES` explains each."""
    return {
        "epixs_schema": SCHEMA_VERSION,
        "epixs_version": epixs_version(),
        "kind": plan.kind,
        "species": plan.species,
        "assembly": plan.regions.assembly,
        "bin_size": BIN_SIZE,
        "transform": TRANSFORM,
        "units": "arcsinh of the track's own units (see output_type)",
        "uncovered": plan.uncovered,
        "provenance": plan.provenance,
    }


def plan_coordinates(plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """Labels of a plan's experiments and regions, by the schema's names."""
    regions = plan.regions
    labels = {variable.name: plan.experiments[variable.name].to_numpy() for variable in EXPERIMENT_LABELS}
    return labels | {
        "region_name": np.asarray(regions.name, dtype=object),
        "region_chrom": np.asarray(regions.chrom, dtype=object),
        "region_start": np.asarray(regions.start, dtype=np.int64),
        "region_end": np.asarray(regions.end, dtype=np.int64),
        "region_first_bin": regions.first_bin,
    }


def create_store(path: str | Path, plan: Plan, *, again: bool = False) -> None:
    """Write an empty, unfinished store for a plan: all labels, no signal.

    `again` replaces a store of ours whose creation was cut short; nothing else is ever overwritten.

    Every missing chunk reads as NaN, so that what is not yet written can never pass for zeros.
    """
    layout = plan.layout
    attributes = store_attributes(plan) | {
        "status": "unfinished",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "plan": plan.fingerprint,
        "plan_settings": plan.settings,
    }
    root = zarr.create_group(str(path), zarr_format=3, attributes=attributes, overwrite=again)
    root.create_array(
        SIGNAL.name,
        shape=(plan.n_experiments, plan.n_bins),
        chunks=(layout.chunk_rows, layout.chunk_bins),
        shards=(layout.chunk_rows, layout.tile_bins),
        dtype=SIGNAL.dtype,
        fill_value=SIGNAL.fill,
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=2, shuffle="shuffle", typesize=4),
        dimension_names=SIGNAL.dims,
        attributes={
            "coordinates": " ".join(variable.name for variable in COORDINATES),
            "long_name": SIGNAL.doc,
            "units": "arcsinh units",
        },
        config={"write_empty_chunks": True},
    )
    labels = plan_coordinates(plan)
    for variable in COORDINATES:
        empty = np.full(plan.n_experiments, variable.fill, dtype=_numpy_dtype(variable))
        _write(root, variable, labels.get(variable.name, empty))
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


def prepare_store(path: str | Path, plan: Plan) -> None:
    """Create the store of a plan, or check that what is there belongs to the same plan.

    Raises
    ------
    StoreError
        If something else is there.
    """
    target = Path(path)
    if not (target / "zarr.json").exists():
        if target.exists() and (not target.is_dir() or not _only_store_parts(target)):
            raise StoreError(
                f"{path} exists and is not a Zarr group",
                next_step="choose another --out; epixs never overwrites what it did not write",
            )
        create_store(path, plan)
        return
    attributes = read_attributes(path)
    if attributes.get("plan") != plan.fingerprint:
        raise StoreError(
            f"{path} was made from something else",
            got=f"a difference in {_differences(plan.settings, attributes.get('plan_settings'))}",
            expected="the same catalog, regions and settings",
            next_step="choose another --out, or delete the store to make it anew",
        )
    if not (target / LEDGER_PATH / "zarr.json").exists():
        create_store(path, plan, again=True)  # cut short while it was being created: it holds nothing


def _only_store_parts(target: Path) -> bool:
    """Whether a folder holds nothing, or only what zarr leaves when its very first write is cut short."""
    return all(
        entry.is_file() and re.fullmatch(r"zarr\.[0-9a-f]{32}\.partial", entry.name)
        for entry in target.iterdir()
    )


def _differences(mine: dict[str, Any], theirs: Any) -> str:
    """Name the settings in which two plans differ."""
    if not isinstance(theirs, dict):
        return "settings the store no longer holds"
    differ = [name for name in mine if mine[name] != theirs.get(name)]
    return ", ".join(f"{name} ({json.dumps(theirs.get(name))} there)" for name in differ) or "nothing"


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
    where = slice(tile.first_row, tile.stop_row), slice(tile.first_bin, tile.stop_bin)
    try:
        array[where] = values
    except ValueError:  # a shard at the array's edge is read before it is written, and it may be broken
        if not has_block(path, tile) or "://" in str(path):
            raise
        (Path(path) / _shard_key(tile)).unlink()
        array[where] = values


def read_block(path: str | Path, tile: Tile) -> npt.NDArray[np.float32]:
    """Values of one tile, shape `(rows, bins)`."""
    array = zarr.open_array(str(path), path=SIGNAL.name, mode="r")
    values = array[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin]
    return np.asarray(values, dtype=np.float32)


def has_block(path: str | Path, tile: Tile) -> bool:
    """Whether a tile's shard is there at all."""
    return "://" in str(path) or (Path(path) / _shard_key(tile)).is_file()


def _shard_key(tile: Tile) -> str:
    return f"{SIGNAL.name}/c/{tile.row_group}/{tile.bin_range}"


def reopen(path: str | Path) -> None:
    """Mark a store unfinished before its tiles are written again."""
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    if root.attrs["status"] != "unfinished":
        root.attrs["status"] = "unfinished"
        _consolidate(path)


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
    missing = [name for name in REQUIRED_ATTRIBUTES if not isinstance(attributes.get(name), str)]
    if missing:
        raise StoreError(
            f"{path} is damaged", got=f"no attribute {', '.join(missing)}", next_step="make the store again"
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
    try:
        dataset: xr.Dataset = xr.open_zarr(str(path), consolidated=True)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged: its metadata contradict each other",
            got=f"{type(error).__name__}: {error}",
            next_step="make it again, or restore its zarr.json files",
        ) from error
    _check_bounds(path, dataset)
    try:
        # The labels are small; loaded, they can be compared, grouped and used as masks right away.
        dataset = dataset.assign_coords({name: labels.load() for name, labels in dataset.coords.items()})
    except Exception as error:  # codecs raise many types for damaged chunks
        raise StoreError(
            f"{path} is damaged: its labels cannot be read", got=f"{type(error).__name__}"
        ) from error
    regions_of(dataset)
    return dataset


def _check_bounds(path: str | Path, dataset: xr.Dataset) -> None:
    """Check the sizes that a store claims before anything is allocated from them."""
    missing = [v.name for v in (SIGNAL, *COORDINATES) if v.name not in dataset.variables]
    if missing:
        raise StoreError(
            f"{path} is damaged", got=f"no {', '.join(missing)}", expected="every variable of the schema"
        )
    if dataset.signal.dims != SIGNAL.dims or dataset.signal.dtype != np.float32:
        raise StoreError(
            f"{path} is damaged: signal",
            got=f"{dataset.signal.dims} {dataset.signal.dtype}",
            expected=SIGNAL.dims,
        )
    limits = {"experiment": MAX_EXPERIMENTS, "bin": MAX_BINS, "region": MAX_REGIONS}
    if any(dataset.sizes[name] > limit for name, limit in limits.items()):
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
    whole = "bin_chrom" not in dataset.coords  # not a selection of bins
    if (
        not regions.sound
        or not np.array_equal(regions.first_bin, dataset.region_first_bin.to_numpy())
        or (whole and regions.n_bins < dataset.sizes["bin"])
    ):
        raise StoreError("the store's region table is damaged", next_step="ingest again")
    return regions


def experiments_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Experiment table of an opened compendium: one row each, the schema's labels and summaries."""
    columns = (*EXPERIMENT_LABELS, *EXPERIMENT_SUMMARIES)
    table = {}
    for variable in columns:
        values = dataset[variable.name].to_numpy()
        table[variable.name] = values.astype(object) if variable.dtype == "string" else values
    return pd.DataFrame(table)


def finalise(path: str | Path, plan: Plan, fingerprints: Sequence[str]) -> pd.DataFrame:
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
    for tile, wanted in zip(plan.tiles(), fingerprints, strict=True):
        record = records.get((tile.row_group, tile.bin_range))
        if record is None or record.fingerprint != wanted:
            raise StoreError(
                f"{path}: tile {tile.row_group}/{tile.bin_range} is not written",
                next_step="run the same command again: it resumes where it stopped",
            )
    summary = summarise(plan, records)
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    for variable in EXPERIMENT_SUMMARIES:
        _write(root, variable, summary[variable.name].to_numpy())
    for variable in (v for v in EXPERIMENT_LABELS if v.name in ("source", "source_size")):
        _write(root, variable, plan.experiments[variable.name].to_numpy())
    root.attrs["status"] = "complete"
    _consolidate(path)
    return pd.concat([plan.experiments, summary], axis=1)


def summarise(plan: Plan, records: dict[tuple[int, int], Record]) -> pd.DataFrame:
    """Join the per-tile row statistics of the ledger into one row an experiment."""
    rows: list[dict[str, Any]] = []
    for row in range(plan.n_experiments):
        group, offset = divmod(row, plan.layout.chunk_rows)
        parts = [record.rows[offset] for (g, _), record in sorted(records.items()) if g == group]
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


@dataclass(frozen=True)
class StoreStatus:
    """How far a store is: its status, tiles written and in all, and `(accession, reason)` of failed rows."""

    status: str
    tiles_done: int
    tiles: int
    failed: list[tuple[str, str]]


def store_status(path: str | Path) -> StoreStatus:
    """Read how far a store is, finished or not."""
    attributes = read_attributes(path)
    records = read_ledger(path)
    try:
        signal = zarr.open_array(str(path), path=SIGNAL.name, mode="r")
        accessions = zarr.open_array(str(path), path="accession", mode="r")[:]
        ledger = zarr.open_array(str(path), path=LEDGER_PATH, mode="r")
    except Exception as error:  # zarr and its codecs raise many types
        raise StoreError(f"{path} is damaged or was never quite created", got=type(error).__name__) from error
    reasons: dict[int, str] = {}
    for (group, _), record in records.items():
        for offset, row in enumerate(record.rows):
            if row.get("error"):
                reasons.setdefault(group * signal.shards[0] + offset, str(row["error"]))
    failed = [(str(accessions[row]), why) for row, why in sorted(reasons.items()) if row < len(accessions)]
    return StoreStatus(attributes["status"], len(records), int(np.prod(ledger.shape)), failed)
