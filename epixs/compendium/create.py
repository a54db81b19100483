"""Create the store of a plan, or open the existing one."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.codecs import BloscCodec

from epixs.compendium.differences import plan_differences
from epixs.compendium.plan import Plan, experiment_names
from epixs.compendium.read import INDEX_CHUNK, read_attributes, stored_layout
from epixs.compendium.schema import (
    BIN_INDEX,
    COORDINATES,
    EXPECTED_PEARSON,
    EXPERIMENT,
    EXPERIMENT_LABELS,
    KIND,
    REMOVED,
    SIGNAL,
    TABLES,
    Variable,
)
from epixs.compendium.shard import signal_codecs
from epixs.compendium.transform import TRANSFORM
from epixs.errors import StoreError
from epixs.genome.regions import BIN_SIZE
from epixs.storage.location import absolute
from epixs.storage.store import (
    LEDGER_PATH,
    SCHEMA_VERSION,
    UNFINISHED,
    Store,
    check_ledger,
    consolidate,
    find_or_make,
    make_store,
)
from epixs.storage.version import epixs_version


def store_attributes(plan: Plan) -> dict[str, Any]:
    """Make the attributes that describe a plan's signal; `schema.Attributes` explains them."""
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
        **({"chrom_alias": json.dumps(dict(plan.chrom_alias))} if plan.chrom_alias else {}),
    }


def plan_coordinates(plan: Plan, removed: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Make the labels of a plan's experiments (some may be removed) and regions, by the schema's names."""
    regions = plan.regions
    labels = {variable.name: plan.experiments[variable.name].to_numpy() for variable in EXPERIMENT_LABELS}
    return labels | {
        EXPERIMENT.name: experiment_names(plan.experiments, removed),
        KIND.name: np.full(plan.n_experiments, plan.kind, dtype=object),
        "region_name": np.asarray(regions.name, dtype=object),
        "region_chrom": np.asarray(regions.chrom, dtype=object),
        "region_start": np.asarray(regions.start, dtype=np.int64),
        "region_end": np.asarray(regions.end, dtype=np.int64),
        "region_first_bin": regions.first_bin,
        "region_chrom_size": np.array(
            [regions.chrom_sizes.get(c, -1) for c in regions.chrom], dtype=np.int64
        ),
    }


def create_store(place: str | Path, plan: Plan, *, again: bool = False) -> Store:
    """Write an empty, unfinished store for a plan: all labels, no signal.

    Missing chunks are read as NaN, so that unwritten tiles cannot be mistaken for zeros. `again` replaces a
    store of ours whose creation was interrupted.
    """
    layout = plan.layout
    attributes = store_attributes(plan) | {
        "status": UNFINISHED,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }

    def fill(store: Store) -> None:
        for variable in plan.variables:
            store.group.create_array(
                variable.name,
                shape=(plan.n_experiments, plan.n_bins),
                chunks=(layout.chunk_rows, layout.chunk_bins),
                shards=(layout.chunk_rows, layout.tile_bins),
                dtype=variable.dtype,
                fill_value=variable.fill,
                **signal_codecs(),
                dimension_names=variable.dims,
                attributes={
                    "coordinates": coordinates_attribute(),
                    "long_name": variable.doc,
                    "units": "arcsinh units",
                },
                config={"write_empty_chunks": True},
            )
        _write_labels(store.group, plan)
        if EXPECTED_PEARSON.name in plan.experiments:
            write_label(store.group, EXPECTED_PEARSON, plan.experiments[EXPECTED_PEARSON.name].to_numpy())

    return make_store(absolute(place), attributes, plan.grid, fill, again=again)


def _write_labels(root: Any, plan: Plan, removed: Collection[str] = ()) -> None:
    """Write all coordinates of a plan; the summaries stay empty until the tiles are written."""
    labels = plan_coordinates(plan, removed)
    for variable in TABLES:
        dtype: Any = object if variable.dtype == "string" else variable.dtype
        empty = np.full(plan.n_experiments, variable.fill, dtype=dtype)
        write_label(root, variable, labels.get(variable.name, empty))
    write_bin_index(root, plan.n_bins)


def write_bin_index(root: Any, n_bins: int) -> None:
    """Write each bin's number, one chunk at a time: about 8 kB per million bins on disk."""
    array = root.create_array(
        BIN_INDEX.name,
        shape=(n_bins,),
        chunks=(min(n_bins, INDEX_CHUNK),),
        dtype=BIN_INDEX.dtype,
        fill_value=BIN_INDEX.fill,
        compressors=BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=8),
        dimension_names=BIN_INDEX.dims,
        attributes=BIN_INDEX.attributes,
        overwrite=True,
    )
    for start in range(0, n_bins, INDEX_CHUNK):
        stop = min(n_bins, start + INDEX_CHUNK)
        array[start:stop] = np.arange(start, stop)


def write_label(root: Any, variable: Variable, values: npt.NDArray[Any]) -> None:
    """Create one coordinate and write its values; an existing one is replaced."""
    array = root.create_array(
        variable.name,
        shape=values.shape,
        chunks=(max(1, values.shape[0]),),
        dtype=variable.dtype,
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=variable.attributes,
        overwrite=True,
    )
    array[:] = values


def mark(store: Store, changes: Mapping[str, Any], without: str = "") -> Store:
    """Change some attributes of a compendium and remove one; returns the store with the new attributes."""
    store = store.with_attributes(changes, without)
    consolidate(store.group.store)
    return store


def reopen(store: Store) -> Store:
    """Mark a store unfinished before its tiles are written again."""
    return mark(store, {"status": UNFINISHED}) if store.is_complete else store


def prepare_store(
    place: str | Path, plan: Plan, before: Callable[[], object] = lambda: None
) -> tuple[Store, Plan]:
    """Create the store of a plan, or check that the existing one belongs to the same plan.

    `before` is called before a store is created, and may raise an error.

    Returns
    -------
    The store, and the plan in its layout.

    Raises
    ------
    StoreError
        If there is something else at `place`.
    """

    def make(again: bool) -> Store:
        before()
        return create_store(place, plan, again=again)

    store = find_or_make(absolute(place), lambda store: check_store_of(store, plan), make)
    plan = replace(plan, fixed_layout=stored_layout(store))
    check_ledger(store, plan.grid)
    return store, plan


def check_store_of(store: Store, plan: Plan) -> None:
    """Check that a store was made from a plan.

    Raises
    ------
    StoreError
        If it was not; the message names the differences.
    """
    attributes = read_attributes(store)
    if attributes["kind"] != plan.kind:
        raise StoreError(
            f"{store} holds {attributes['kind']} tracks",
            expected=f"a store of {plan.kind} tracks, or nothing yet",
            next_step="choose another --out",
        )
    if "growth" in attributes:
        raise StoreError(
            f"experiments or regions are being added to {store}",
            next_step="run the command with --append again: it resumes where it stopped",
        )
    if attributes["plan"] != plan.fingerprint:
        raise StoreError(
            f"{store} holds something else than this command would write",
            got="; ".join(plan_differences(store, plan, attributes)),
            next_step="choose another --out, add to the store with --append, or delete it to make it anew"
            if plan.kind == "observed"
            else "choose another --out, or delete the store to make it anew",
        )


def grow_store(store: Store, plan: Plan) -> Store:
    """Enlarge a store for a plan that has its experiments and regions first, and then further ones.

    First all labels of the enlarged store go into one attribute, in one atomic write. If the rest is
    interrupted, `stored_plan` takes them from there, and calling this again completes it. Full shards are not
    touched.
    """
    store = mark(store, {"status": UNFINISHED, "growth": plan.to_dict()})
    _write_labels(store.group, plan, read_attributes(store)[REMOVED])
    store.array(SIGNAL.name).resize((plan.n_experiments, plan.n_bins))
    store.array(LEDGER_PATH).resize(plan.grid)
    return mark(store, store_attributes(plan), without="growth")


def coordinates_attribute() -> str:
    """List, for xarray, the coordinates of the signal, except those of its dimensions, which xarray knows."""
    return " ".join(variable.name for variable in COORDINATES if variable.name not in SIGNAL.dims)
