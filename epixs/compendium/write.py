"""Create, fill, grow and finish the Zarr store of one species."""

from __future__ import annotations

import datetime
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr

from epixs.compendium.differences import differences
from epixs.compendium.ledger import Record, check_ledger, read_ledger
from epixs.compendium.location import has_object, object_names, put_object, sweep, zarr_store
from epixs.compendium.plan import Plan, Tile
from epixs.compendium.schema import (
    ADDED,
    BIN_INDEX,
    COORDINATES,
    EXPERIMENT_LABELS,
    EXPERIMENT_SUMMARIES,
    KIND,
    LEDGER_PATH,
    REMOVED,
    SIGNAL,
    TABLES,
    Variable,
)
from epixs.compendium.shard import encode_shard, is_encodable, signal_codecs
from epixs.compendium.store import (
    INDEX_CHUNK,
    open_signal,
    plan_coordinates,
    read_attributes,
    store_attributes,
    stored_layout,
    stored_plan,
)
from epixs.errors import StoreError
from epixs.sources import is_url

CREATING = "creating"
"""Attribute of a store whose creation has not ended: it holds no signal yet."""


def create_store(path: str | Path, plan: Plan, *, again: bool = False) -> None:
    """Write an empty, unfinished store for a plan: all labels, no signal.

    `again` replaces a store of ours whose creation was cut short; nothing else is ever overwritten.

    Every missing chunk reads as NaN, so that what is not yet written can never pass for zeros.
    """
    layout = plan.layout
    attributes = store_attributes(plan) | {
        "status": "unfinished",
        CREATING: True,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    root = zarr.create_group(zarr_store(path), zarr_format=3, attributes=attributes, overwrite=again)
    root.create_array(
        SIGNAL.name,
        shape=(plan.n_experiments, plan.n_bins),
        chunks=(layout.chunk_rows, layout.chunk_bins),
        shards=(layout.chunk_rows, layout.tile_bins),
        dtype=SIGNAL.dtype,
        fill_value=SIGNAL.fill,
        **signal_codecs(),
        dimension_names=SIGNAL.dims,
        attributes={
            "coordinates": _coordinates_attribute(),
            "long_name": SIGNAL.doc,
            "units": "arcsinh units",
        },
        config={"write_empty_chunks": True},
    )
    _write_labels(root, plan)
    root.create_array(LEDGER_PATH, shape=plan.grid, chunks=(1, 1), dtype="string", fill_value="")
    root.attrs.put({name: value for name, value in dict(root.attrs).items() if name != CREATING})
    _consolidate(path)


def _write_labels(root: Any, plan: Plan) -> None:
    """Write all coordinates of a plan; the summaries, which only its tiles can tell, are empty."""
    labels = plan_coordinates(plan)
    for variable in TABLES:
        dtype: Any = object if variable.dtype == "string" else variable.dtype
        empty = np.full(plan.n_experiments, variable.fill, dtype=dtype)
        _write(root, variable, labels.get(variable.name, empty))
    _write_bin_index(root, plan.n_bins)


def _write_bin_index(root: Any, n_bins: int) -> None:
    """Write each bin's number, a chunk at a time: about 8 kB per million bins on disk."""
    array = root.create_array(
        BIN_INDEX.name,
        shape=(n_bins,),
        chunks=(min(n_bins, INDEX_CHUNK),),
        dtype=BIN_INDEX.dtype,
        fill_value=BIN_INDEX.fill,
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=8),
        dimension_names=BIN_INDEX.dims,
        attributes={"long_name": BIN_INDEX.doc},
        overwrite=True,
    )
    for start in range(0, n_bins, INDEX_CHUNK):
        stop = min(n_bins, start + INDEX_CHUNK)
        array[start:stop] = np.arange(start, stop)


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
        zarr.consolidate_metadata(zarr_store(path))


def prepare_store(path: str | Path, plan: Plan) -> Plan:
    """Create the store of a plan, or check that what is there belongs to the same plan.

    Returns
    -------
    The plan in the layout of the store.

    Raises
    ------
    StoreError
        If something else is there.
    """
    if not store_exists(path):
        create_store(path, plan)
        return plan
    check_store_of(path, plan)
    if read_attributes(path).get(CREATING):
        create_store(path, plan, again=True)
        return plan
    check_ledger(path, plan.grid)
    return replace(plan, fixed_layout=stored_layout(path))


def check_store_of(path: str | Path, plan: Plan) -> None:
    """Check that a store was made by a plan.

    Raises
    ------
    StoreError
        Naming the differences.
    """
    attributes = read_attributes(path)
    if attributes["kind"] != plan.kind:
        raise StoreError(
            f"{path} holds {attributes['kind']} tracks",
            expected=f"a store of {plan.kind} tracks, or nothing yet",
            next_step="choose another --out",
        )
    if "growth" in attributes:
        raise StoreError(
            f"experiments or regions are being added to {path}",
            next_step="run the command with --append again: it resumes where it stopped",
        )
    if attributes["plan"] != plan.fingerprint:
        raise StoreError(
            f"{path} was made from something else",
            got="; ".join(differences(path, plan, attributes)),
            next_step="choose another --out, add to the store with --append, or delete it to make it anew"
            if plan.kind == "observed"
            else "choose another --out, or delete the store to make it anew",
        )


def store_exists(path: str | Path) -> bool:
    """Whether there is a Zarr group at a path, rather than nothing yet.

    Raises
    ------
    StoreError
        If something else is there, which must not be written over.
    """
    if has_object(path, "zarr.json"):
        return True
    if not is_url(str(path)):
        if not Path(path).exists():
            return False
        if not Path(path).is_dir():
            raise StoreError(f"{path} is a file", expected="a store, or nothing yet")
    # zarr leaves files like this one when its very first write is cut short
    if not all(re.fullmatch(r"zarr\.[0-9a-f]{32}\.partial", name) for name in object_names(path)):
        raise StoreError(
            f"{path} exists and is not a Zarr group",
            next_step="choose another --out; epixs never overwrites what it did not write",
        )
    return False


def grow_store(path: str | Path, plan: Plan) -> None:
    """Make room for what `plan` has beyond a store's own experiments and regions, which come first in it.

    All labels of the grown store go into one attribute first, in one atomic write: if the rest is cut short,
    `stored_plan` takes them from there and growing again completes it. Shards that are full are not touched.
    """
    root = zarr.open_group(zarr_store(path), mode="r+", use_consolidated=False)
    root.attrs.put(dict(root.attrs) | {"status": "unfinished", "growth": plan.to_dict()})
    _consolidate(path)
    _write_labels(root, plan)
    root[SIGNAL.name].resize((plan.n_experiments, plan.n_bins))
    root[LEDGER_PATH].resize(plan.grid)
    grown = dict(root.attrs) | store_attributes(plan)
    root.attrs.put({name: value for name, value in grown.items() if name != "growth"})  # in one write
    _consolidate(path)


def write_block(path: str | Path, tile: Tile, values: Sequence[npt.NDArray[np.float32]]) -> None:
    """Write one tile's values, rows of shape `(bin,)`: always a whole shard, never part of one.

    Two tasks that write parts of one shard lose rows without a word (zarr-python #3682).

    Raises
    ------
    StoreError
        If the values are not exactly one tile, or the tile not exactly one shard.
    """
    array = open_signal(path)
    layout = stored_layout(path, array)
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
            f"{path}: tile {tile} is not one whole shard",
            got=got,
            expected=f"{len(expected)} rows of shape {expected[0]}",
        )
    if not is_encodable(array):
        raise StoreError(f"{path} is damaged: codecs of its signal", next_step="make the store again")
    put_object(path, _shard_key(tile), encode_shard(values, layout))


def has_block(path: str | Path, tile: Tile) -> bool:
    """Whether a tile's shard is there at all."""
    return has_object(path, _shard_key(tile))


def _shard_key(tile: Tile) -> str:
    return f"{SIGNAL.name}/c/{tile.row_group}/{tile.bin_range}"


def reopen(path: str | Path) -> None:
    """Mark a store unfinished before its tiles are written again."""
    root = zarr.open_group(zarr_store(path), mode="r+", use_consolidated=False)
    if root.attrs["status"] != "unfinished":
        root.attrs["status"] = "unfinished"
        _consolidate(path)


def finalise(path: str | Path, plan: Plan, is_done: Callable[[Tile, Record], bool]) -> pd.DataFrame:
    """Check that every tile is written, put the summaries in and mark the store complete.

    Parameters
    ----------
    path, plan
        The store and what it holds.
    is_done
        Whether a tile's record is what the plan wants there.

    Returns
    -------
    The experiment table with its summaries; `status` says which rows could not be read.

    Raises
    ------
    StoreError
        If a tile is missing or was written from something else.
    """
    records = read_ledger(path)
    for tile in plan.tiles():
        record = records.get((tile.row_group, tile.bin_range))
        if record is None or not is_done(tile, record):
            raise StoreError(
                f"{path}: tile {tile.row_group}/{tile.bin_range} is not written",
                next_step="run the same command again: it resumes where it stopped",
            )
    root = zarr.open_group(zarr_store(path), mode="r+", use_consolidated=False)
    attributes = read_attributes(path)
    summary = summarise(plan, records, attributes[REMOVED])
    files = [variable for variable in EXPERIMENT_LABELS if variable.name in ("source", "source_size")]
    columns = {v: summary[v.name].to_numpy() for v in EXPERIMENT_SUMMARIES}
    columns |= {v: plan.experiments[v.name].to_numpy() for v in files}
    changed = {v: values for v, values in columns.items() if not _holds(root, v, values)}
    lacking = any(name not in root for name in ADDED)
    if changed or lacking or attributes["status"] != "complete":
        reopen(path)
        for variable, values in changed.items():
            _put(root, variable, values)
        if lacking:
            _add_coordinates(root, plan)
        root.attrs["status"] = "complete"
        _consolidate(path)
    sweep(path)
    return pd.concat([plan.experiments, summary], axis=1)


def _add_coordinates(root: Any, plan: Plan) -> None:
    """Give a store of an earlier version the coordinates that it lacks."""
    _write(root, KIND, plan_coordinates(plan)[KIND.name])
    _write_bin_index(root, plan.n_bins)
    root[SIGNAL.name].attrs["coordinates"] = _coordinates_attribute()


def _coordinates_attribute() -> str:
    """What tells xarray which variables are coordinates of the signal."""
    return " ".join(variable.name for variable in COORDINATES)


def _holds(root: Any, variable: Variable, values: npt.NDArray[Any]) -> bool:
    """Whether a label has these values already."""
    try:
        stored = np.asarray(root[variable.name][:])
    except Exception:  # zarr and its codecs raise many types for a damaged array
        return False
    if variable.dtype == "string":
        return list(map(str, stored)) == list(map(str, values))
    return stored.shape == values.shape and np.array_equal(stored, values, equal_nan=stored.dtype.kind == "f")


def _put(root: Any, variable: Variable, values: npt.NDArray[Any]) -> None:
    """Replace the values of a label; in one write where it has its size already."""
    try:
        in_place = root[variable.name].shape == root[variable.name].chunks == values.shape
    except Exception:  # zarr raises many types for a damaged array
        in_place = False
    if in_place:
        root[variable.name][:] = values
    else:
        _write(root, variable, values)


def summarise(
    plan: Plan, records: dict[tuple[int, int], Record], removed: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Join the per-tile row statistics of the ledger into one row an experiment."""
    groups: dict[int, list[Record]] = {}
    for (group, _), record in sorted(records.items()):
        groups.setdefault(group, []).append(record)
    rows: list[dict[str, Any]] = []
    for row, accession in enumerate(plan.experiments["accession"]):
        group, offset = divmod(row, plan.layout.chunk_rows)
        records_of_row = groups.get(group, [])
        if any(offset >= len(record.rows) for record in records_of_row):
            raise StoreError(
                f"ledger of row group {group} is damaged",
                got=f"no entry for {accession}",
                next_step="ingest again",
            )
        entry = _summary([record.rows[offset] for record in records_of_row])
        if removed and accession in removed:
            entry["status"] = f"{REMOVED}: {removed[accession]}"
        rows.append(entry)
    return pd.DataFrame(rows, columns=[v.name for v in EXPERIMENT_SUMMARIES])


def _summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One row's summary from its entries in all tiles."""
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
    bases = sum(part["bases"] for part in parts if not part.get("error"))
    if bases and not error:
        entry["covered_fraction"] = sum(part["covered"] for part in parts) / bases
    return entry


def remove_experiments(path: str | Path, accessions: Sequence[str], reason: str) -> None:
    """Mark experiments of a finished store as removed: their `status` says why, and nothing here uses them.

    Their values stay, so that the mark can be taken back with `restore_experiments`.

    Raises
    ------
    StoreError
        If an accession is not in the store, or the store is unfinished.
    """
    _mark(path, accessions, lambda marks: marks | dict.fromkeys(accessions, reason))


def restore_experiments(path: str | Path, accessions: Sequence[str]) -> list[str]:
    """Take back what `remove_experiments` did; returns the accessions that had been removed.

    Raises
    ------
    StoreError
        If an accession is not in the store, or the store is unfinished.
    """
    before = _mark(path, accessions, lambda marks: {k: v for k, v in marks.items() if k not in accessions})
    return [accession for accession in accessions if accession in before]


def _mark(
    path: str | Path, accessions: Sequence[str], change: Callable[[dict[str, str]], dict[str, str]]
) -> dict[str, str]:
    """Change the marks of removed experiments; returns those that there were."""
    attributes = read_attributes(path)
    if attributes["kind"] != "observed":
        raise StoreError(f"{path} is {attributes['kind']}", expected="a store of observed experiments")
    if attributes["status"] != "complete":
        raise StoreError(f"{path} is unfinished", next_step="run the command that writes it again")
    plan = stored_plan(path)
    known = set(plan.experiments["accession"])
    unknown = [name for name in accessions if name not in known]
    if unknown:
        raise StoreError(
            f"{path} has no such experiment",
            got=", ".join(unknown[:5]),
            expected="accessions as `epixs info` lists them",
        )
    root = zarr.open_group(zarr_store(path), mode="r+", use_consolidated=False)
    marks = change(attributes[REMOVED])
    _refuse_twins(path, plan.experiments, marks)
    root.attrs[REMOVED] = json.dumps(marks)
    summary = summarise(plan, read_ledger(path), marks)
    status = next(v for v in EXPERIMENT_SUMMARIES if v.name == "status")
    _put(root, status, summary["status"].to_numpy())
    _consolidate(path)
    return dict(attributes[REMOVED])


def _refuse_twins(path: str | Path, experiments: pd.DataFrame, marks: Mapping[str, str]) -> None:
    """Refuse to leave two experiments of one (biosample, assay) that are not removed."""
    present = experiments[~experiments["accession"].isin(marks)]
    twins = present[present.duplicated(["biosample", "assay"], keep=False)]
    if len(twins):
        row = twins.iloc[0]
        raise StoreError(
            f"{path} would hold {row['biosample']} / {row['assay']} twice",
            got=", ".join(twins["accession"].iloc[:2]),
            expected="one experiment for each biosample and assay",
            next_step="remove the other one first",
        )
