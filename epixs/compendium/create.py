"""Create the store of a plan, or find the one that is there."""

from __future__ import annotations

import datetime
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from epixs.compendium.differences import differences
from epixs.compendium.plan import Plan
from epixs.compendium.read import INDEX_CHUNK, read_attributes, stored_layout
from epixs.compendium.schema import (
    BIN_INDEX,
    COORDINATES,
    EXPERIMENT_LABELS,
    KIND,
    SCHEMA_VERSION,
    SIGNAL,
    TABLES,
    Variable,
)
from epixs.compendium.shard import signal_codecs
from epixs.compendium.transform import TRANSFORM
from epixs.errors import StoreError
from epixs.genome.regions import BIN_SIZE
from epixs.storage.ledger import LEDGER_PATH, check_ledger
from epixs.storage.location import has_object, is_url, object_names, zarr_store
from epixs.storage.version import epixs_version


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
        "provenance": json.dumps(plan.provenance),
        "plan": plan.fingerprint,
        "plan_settings": json.dumps(plan.settings),
    }


def plan_coordinates(plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """Labels of a plan's experiments and regions, by the schema's names."""
    regions = plan.regions
    labels = {variable.name: plan.experiments[variable.name].to_numpy() for variable in EXPERIMENT_LABELS}
    return labels | {
        KIND.name: np.full(plan.n_experiments, plan.kind, dtype=object),
        "region_name": np.asarray(regions.name, dtype=object),
        "region_chrom": np.asarray(regions.chrom, dtype=object),
        "region_start": np.asarray(regions.start, dtype=np.int64),
        "region_end": np.asarray(regions.end, dtype=np.int64),
        "region_first_bin": regions.first_bin,
    }


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
            "coordinates": coordinates_attribute(),
            "long_name": SIGNAL.doc,
            "units": "arcsinh units",
        },
        config={"write_empty_chunks": True},
    )
    _write_labels(root, plan)
    root.create_array(LEDGER_PATH, shape=plan.grid, chunks=(1, 1), dtype="string", fill_value="")
    root.attrs.put({name: value for name, value in dict(root.attrs).items() if name != CREATING})
    consolidate(path)


def _write_labels(root: Any, plan: Plan) -> None:
    """Write all coordinates of a plan; the summaries, which only its tiles can tell, are empty."""
    labels = plan_coordinates(plan)
    for variable in TABLES:
        dtype: Any = object if variable.dtype == "string" else variable.dtype
        empty = np.full(plan.n_experiments, variable.fill, dtype=dtype)
        write_label(root, variable, labels.get(variable.name, empty))
    write_bin_index(root, plan.n_bins)


def write_bin_index(root: Any, n_bins: int) -> None:
    """Write each bin's number, a chunk at a time: about 8 kB per million bins on disk."""
    array = root.create_array(
        BIN_INDEX.name,
        shape=(n_bins,),
        chunks=(min(n_bins, INDEX_CHUNK),),
        dtype=BIN_INDEX.dtype,
        fill_value=BIN_INDEX.fill,
        compressors=BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=8),
        dimension_names=BIN_INDEX.dims,
        attributes={"long_name": BIN_INDEX.doc},
        overwrite=True,
    )
    for start in range(0, n_bins, INDEX_CHUNK):
        stop = min(n_bins, start + INDEX_CHUNK)
        array[start:stop] = np.arange(start, stop)


def write_label(root: Any, variable: Variable, values: npt.NDArray[Any]) -> None:
    """Create one coordinate and write its values."""
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


def consolidate(path: str | Path) -> None:
    """Put the metadata of all arrays into one object, which xarray reads."""
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
    root: Any = zarr.open_group(zarr_store(path), mode="r+", use_consolidated=False)
    root.attrs.put(dict(root.attrs) | {"status": "unfinished", "growth": plan.to_dict()})
    consolidate(path)
    _write_labels(root, plan)
    root[SIGNAL.name].resize((plan.n_experiments, plan.n_bins))
    root[LEDGER_PATH].resize(plan.grid)
    grown = dict(root.attrs) | store_attributes(plan)
    root.attrs.put({name: value for name, value in grown.items() if name != "growth"})  # in one write
    consolidate(path)


def coordinates_attribute() -> str:
    """What tells xarray which variables are coordinates of the signal."""
    return " ".join(variable.name for variable in COORDINATES)
