"""Open and check the Zarr store of one species."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
import zarr

from epixs.compendium.plan import Plan, experiment_names
from epixs.compendium.schema import (
    ADDED,
    BIN_INDEX,
    COORDINATES,
    EXPERIMENT,
    EXPERIMENT_LABELS,
    EXPERIMENT_SUMMARIES,
    JSON_ATTRIBUTES,
    KIND,
    REGION_TABLE,
    REMOVED,
    SIGNAL,
    SPREAD,
    TABLES,
    Attributes,
    Provenance,
    Variable,
)
from epixs.declared import checked
from epixs.errors import StoreError, counted
from epixs.genome.regions import MAX_BINS, Regions
from epixs.storage.store import LEDGER_PATH, Store, open_store, read_json, reading
from epixs.storage.tiling import Layout, Tile

MAX_EXPERIMENTS = 1_000_000

MAX_REGIONS = 10_000_000

MAX_TILE_VALUES = 1 << 28

INDEX_CHUNK = 1 << 20
"""Number of bins per chunk of `bin_index`."""

MAX_INDEX_CHUNK = 1 << 26

RESTORE = "make it again, or restore its zarr.json files"


def open_signal(place: Store | str | Path) -> Any:
    """Open the signal as a Zarr array, which is read in the calling thread; Dask would call other workers."""
    return open_store(place).array(SIGNAL.name)


def read_block(store: Store, tile: Tile, variable: Variable = SIGNAL) -> npt.NDArray[np.float32]:
    """Read the values of one tile, shape `(rows, bins)`."""
    values = store.array(variable.name)[tile.first_row : tile.stop_row, tile.first_bin : tile.stop_bin]
    return np.asarray(values, dtype=np.float32)


def read_attributes(place: Store | str | Path) -> dict[str, Any]:
    """Read the attributes of a compendium, and parse those that hold JSON.

    Raises
    ------
    StoreError
        If there is no store, or it is not a compendium.
    """
    store = open_store(place)
    attributes = dict(store.attributes)
    if store.kind == "factors":
        raise StoreError(
            f"{place} holds genome factors, not signal",
            expected="a compendium",
            next_step="give it to `epixs impute --factors`",
        )
    if "plan" in attributes and "status" not in attributes:
        raise StoreError(
            f"{place} is no store, but a copy of a lazy Dataset",
            expected="a store that `epixs ingest` or `epixs impute` wrote",
            next_step="write it with one of them; xarray's open_zarr reads the copy",
        )
    for name in JSON_ATTRIBUTES:
        if name in attributes:
            attributes[name] = read_json(store, name, attributes[name])
    checked(Attributes, attributes, f"{place} is damaged", StoreError, "make the store again")
    return {REMOVED: {}} | attributes


def provenance_of(dataset: xr.Dataset) -> dict[str, Any]:
    """Read the attribute of an opened imputed store about its model and training; empty if there is none."""
    provenance = read_json("the store", "provenance", dataset.attrs.get("provenance", {}))
    checked(Provenance, provenance, "the store is damaged: attribute provenance", StoreError)
    return dict(provenance)


def open_compendium(place: Store | str | Path, *, unfinished: bool = False) -> xr.Dataset:
    """Open a store lazily.

    Parameters
    ----------
    place
        The store.
    unfinished
        Allow a store that is not yet complete.

    Returns
    -------
    `signal` with dims `("experiment", "bin")` in arcsinh units, and the labels; and `spread`, if the store is
    imputed and its model gives it.

    Raises
    ------
    StoreError
        If epixs did not write the store, or it is unfinished and `unfinished` is False.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> mouse = epixs.open_compendium("mouse.zarr")
    >>> dict(mouse["signal"].sizes)
    {'experiment': 27, 'bin': 2000}
    >>> mouse.epixs.sel("chr19:10,000,000-10,000,100")["bin_start"].values.tolist()
    [10000000, 10000025, 10000050, 10000075]
    """
    store = open_store(place)
    attributes = read_attributes(store)
    if not store.is_complete and not unfinished:
        raise StoreError(
            f"{place} is unfinished",
            got=f"status {attributes['status']!r}",
            expected="'complete'",
            next_step="run the command that writes it again: it resumes where it stopped",
        )
    with reading(store, "is damaged: its metadata contradict each other", RESTORE):
        zarr_store = store.group.store
        # A run killed between a change of attributes and consolidating leaves no consolidated metadata.
        group = zarr.open_group(zarr_store, mode="r")
        whole = group.metadata.consolidated_metadata is not None
        # xarray loads a variable with the name of a dimension at once, whatever size it claims to have.
        dataset: xr.Dataset = xr.open_zarr(
            zarr_store, consolidated=whole, drop_variables=[*SIGNAL.dims, *REGION_TABLE[0].dims]
        )
    _check_bounds(store, dataset)
    # Dask's chunks are those within a shard. If a copy had shards, several tasks would write one shard.
    for variable in (SIGNAL, SPREAD):
        if variable.name in dataset:
            dataset[variable.name].encoding.pop("shards", None)
    with reading(store, "is damaged: its labels cannot be read"):
        # The labels are small. Loaded, they can be compared, grouped and used as masks right away. They are
        # loaded in this thread: a task that asked its own cluster would give up its place there meanwhile.
        loaded = {
            name: labels.load(scheduler="synchronous")
            for name, labels in dataset.coords.items()
            if name != BIN_INDEX.name
        }
        ours = {v.name: coordinate(v, loaded[v.name].to_numpy()) for v in TABLES if v.name in loaded}
        dataset = dataset.assign_coords(loaded | ours)
    for variable in TABLES:
        if (
            variable is not EXPERIMENT and variable.name not in dataset.coords
        ):  # a store of an earlier version
            value = attributes["kind"] if variable is KIND else variable.fill
            dtype: Any = object if variable.dtype == "string" else variable.dtype
            values = np.full(dataset.sizes[variable.dims[0]], value, dtype=dtype)
            dataset = dataset.assign_coords({variable.name: coordinate(variable, values)})
    if "growth" not in attributes:
        _check_rows(store, dataset, attributes)
        _check_bins(store, dataset)
    names = experiment_names(experiments_of(dataset), attributes[REMOVED])
    return dataset.assign_coords(
        {
            EXPERIMENT.name: coordinate(EXPERIMENT, names),
            BIN_INDEX.name: coordinate(BIN_INDEX, lazy_bin_index(dataset.sizes["bin"])),
        }
    )


def coordinate(variable: Variable, values: Any) -> xr.Variable:
    """Make a coordinate as xarray opens it from a store; texts are Python strings."""
    if variable.dtype == "string":
        values = values.astype(object)
    return xr.Variable(variable.dims, values, {"long_name": variable.doc}, variable.encoding)


def lazy_bin_index(n_bins: int) -> Any:
    """Make `bin_index` of a whole compendium, shape `(bin,)`, computed when it is read."""
    return da.arange(n_bins, chunks=min(n_bins, INDEX_CHUNK), dtype=BIN_INDEX.dtype)


def _check_rows(store: Store, dataset: xr.Dataset, attributes: dict[str, Any]) -> None:
    """Check that a finished store's experiments and regions are those that it was made with."""
    kinds = sorted(set(map(str, dataset[KIND.name].to_numpy())))
    if kinds != [attributes["kind"]]:
        raise StoreError(
            f"{store} says it is {attributes['kind']}",
            got=f"experiments that are {' and '.join(kinds)}",
            expected=f"only {attributes['kind']} experiments",
            next_step="keep observed and imputed experiments in stores of their own, and put them together "
            "when they are read: `xarray.concat([observed, imputed], 'experiment')`",
        )
    made = attributes["status"] == "complete"
    if made and _plan_of(dataset, attributes).fingerprint != attributes["plan"]:
        raise StoreError(
            f"{store}: its experiments, regions or settings are not those that the store was made with",
            got=f"{dataset.sizes['experiment']} experiments over {dataset.sizes['region']} regions",
            expected="all of them as epixs wrote them, and no others",
            next_step="bring its labels back from a copy, or make the store again; a saved selection of a "
            "store can be read with xarray alone",
        )


def _check_bins(store: Store, dataset: xr.Dataset) -> None:
    """Check that a store holds every bin of its regions, in order.

    If a large store has its ledger, so that epixs wrote it, only the first and the last chunk of `bin_index`
    are read.
    """
    regions, n_bins = regions_of(dataset), dataset.sizes["bin"]
    wrong = f"{n_bins:,} bins" if regions.n_bins != n_bins else ""
    if not wrong and BIN_INDEX.name in dataset.coords:
        whole = n_bins <= 4 * INDEX_CHUNK or not store.has(f"{LEDGER_PATH}/zarr.json")
        wrong = "" if _is_bin_index(store, n_bins, whole) else "bins in another order, or others"
    if wrong:
        raise StoreError(
            f"{store} does not hold the bins of its regions",
            got=wrong,
            expected=f"the {regions.n_bins:,} bins of {counted(len(regions), 'region')}, in order",
            next_step="a saved selection of a store can be read with xarray alone; for a store of some "
            "regions, `epixs ingest --regions`",
        )


def _is_bin_index(store: Store, n_bins: int, whole: bool) -> bool:
    """Tell whether a store's `bin_index` is 0, 1, 2, ...; unless `whole`, only both ends are read."""
    try:
        index = store.array(BIN_INDEX.name)
        if index.shape != (n_bins,) or index.chunks[0] > MAX_INDEX_CHUNK:
            return False
        starts = range(0, n_bins, INDEX_CHUNK)
        for start in starts if whole else (starts[0], starts[-1]):
            stop = min(n_bins, start + INDEX_CHUNK)
            if not np.array_equal(index[start:stop], np.arange(start, stop)):
                return False
    except Exception:  # zarr and its codecs raise many types for a damaged array
        return False
    return True


def _check_bounds(store: Store, dataset: xr.Dataset) -> None:
    """Check the sizes that a store claims, before memory is allocated for them."""
    expected = [v.name for v in (SIGNAL, *COORDINATES) if v.name not in ADDED]
    missing = [name for name in expected if name not in dataset.variables]
    if missing:
        raise StoreError(
            f"{store} is damaged", got=f"no {', '.join(missing)}", expected="every variable of the schema"
        )
    for variable in (v for v in (SIGNAL, SPREAD) if v.name in dataset.variables):
        array = dataset[variable.name]
        if array.dims != variable.dims or array.dtype != np.float32:
            raise StoreError(
                f"{store} is damaged: {variable.name}",
                got=f"{array.dims} {array.dtype}",
                expected=variable.dims,
            )
        fill = array.encoding.get("fill_value", np.nan)
        if not np.isnan(fill):  # a missing chunk would read as if it had been measured
            raise StoreError(
                f"{store} is damaged: fill value of its {variable.name}", got=fill, expected="NaN"
            )
    limits = {"experiment": MAX_EXPERIMENTS, "bin": MAX_BINS, "region": MAX_REGIONS}
    if any(dataset.sizes[name] > limit for name, limit in limits.items()):
        raise StoreError(f"{store} claims impossible sizes", got=dict(dataset.sizes))


def regions_of(dataset: xr.Dataset) -> Regions:
    """Read all regions of an opened compendium, also after a selection.

    Raises
    ------
    StoreError
        If the region table is damaged or missing.
    """
    needed = [variable.name for variable in REGION_TABLE if variable.name not in ADDED]
    lacking = [name for name in needed if name not in dataset.coords]
    if lacking:
        raise StoreError(
            "this Dataset has no region table",
            got=f"no {', '.join(lacking)}",
            expected="the coordinates of a compendium",
            next_step="keep the Dataset: a DataArray alone, such as `ds.signal`, loses them",
        )
    chroms = tuple(map(str, dataset.region_chrom.values))
    sizes = dataset.coords.get("region_chrom_size", dataset.region_end * 0 - 1).to_numpy()
    regions = Regions(
        str(dataset.attrs["assembly"]),
        tuple(map(str, dataset.region_name.values)),
        chroms,
        tuple(map(int, dataset.region_start.values)),
        tuple(map(int, dataset.region_end.values)),
        {chrom: int(size) for chrom, size in zip(chroms, sizes, strict=True) if size >= 0},
    )
    if not regions.sound or not np.array_equal(regions.first_bin, dataset.region_first_bin.to_numpy()):
        raise StoreError("the store's region table is damaged", next_step="ingest again")
    return regions


def experiments_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Make the table of an opened compendium's experiments: one row each, the schema's labels and summaries.

    A lazy Dataset whose values are computed when they are read has no summaries.
    """
    table = {}
    summaries = [variable for variable in EXPERIMENT_SUMMARIES if variable.name in dataset]
    for variable in (*EXPERIMENT_LABELS, *summaries):
        values = dataset[variable.name].to_numpy()
        table[variable.name] = values.astype(object) if variable.dtype == "string" else values
    return pd.DataFrame(table)


def stored_plan(place: Store | str | Path) -> Plan:
    """Read the plan from which a store was made, in the store's own layout.

    Raises
    ------
    StoreError
        If the store is damaged, or epixs did not write it.
    """
    store = open_store(place)
    attributes = read_attributes(store)
    layout = stored_layout(store)
    if "growth" in attributes:  # growing was interrupted: only this attribute is certainly complete
        problem = "is damaged: attribute growth"
        with reading(store, problem):
            return replace(Plan.from_dict(attributes["growth"], f"{store} {problem}"), fixed_layout=layout)
    return replace(_plan_of(open_compendium(store, unfinished=True), attributes), fixed_layout=layout)


def _plan_of(dataset: xr.Dataset, attributes: dict[str, Any]) -> Plan:
    """Make the plan of a Dataset's labels, regions and attributes."""
    table = experiments_of(dataset)[[variable.name for variable in EXPERIMENT_LABELS]]
    return Plan(
        attributes["kind"],
        attributes["species"],
        table,
        regions_of(dataset),
        attributes["uncovered"],
        attributes.get("provenance", {}),
        chrom_alias=attributes.get("chrom_alias", {}),
    )


def stored_layout(place: Store | str | Path, signal: Any = None) -> Layout:
    """Read the shape of a store's chunks and shards; `signal` is its opened array, if the caller has it."""
    store = open_store(place)
    with reading(store, "is damaged or was not completely created"):
        signal = signal or open_signal(store)
        (rows, bins), shards = signal.chunks, signal.shards
    if not shards or shards[0] != rows or shards[1] % bins or rows * shards[1] > MAX_TILE_VALUES:
        raise StoreError(f"{place} is damaged", got=f"shards {shards}, chunks {(rows, bins)}")
    return Layout(rows, bins, shards[1])
