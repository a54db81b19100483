"""Check a finished or unfinished store against its own ledger, and against its source files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epixs.cluster.tasks import Progress, n_threads, run_tasks, task_groups
from epixs.compendium.create import reopen
from epixs.compendium.plan import Plan
from epixs.compendium.read import read_attributes, read_block, stored_plan
from epixs.compendium.schema import SPREAD
from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.errors import StoreError
from epixs.genome.assembly import Assembly, load_assembly
from epixs.ingestion.tile import TILES_AT_ONCE, TileTask, read_tile, tile_fingerprint, tile_task
from epixs.storage.fingerprint import checksum
from epixs.storage.ledger import Record, forget_records, read_ledger
from epixs.storage.location import absolute, is_store_fault, reaching
from epixs.storage.lock import writing
from epixs.storage.store import Store, open_store
from epixs.storage.tiling import Key, Tile
from epixs.tracks import Backend
from epixs.tracks.opened import OpenTracks


@dataclass(frozen=True)
class Fault:
    """A fault of one tile.

    Parameters
    ----------
    row_group, bin_range
        Place of the tile.
    what
        Description of the fault.
    repairable
        Whether writing the tile again would help; False if its sources only cannot be read at present.
    """

    row_group: int
    bin_range: int
    what: str
    repairable: bool = True


def verify(
    path: str | Path,
    *,
    sources: bool = False,
    assembly: Assembly | None = None,
    backend: Backend = "epixs",
    repair: bool = False,
    client: Any = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Fault]:
    """Check every tile of a store against its checksum.

    Parameters
    ----------
    path
        The store, observed or imputed.
    sources
        Also read the bigWigs again, and compare their present values.
    assembly
        Assembly of the bigWigs, needed only if the store is of an early version without chromosome sizes.
    backend
        Reader of the bigWigs; `"pybigwig"` is slow and independent of our own reader.
    repair
        Mark faulty tiles as not written, so that the command that wrote the store writes them again.
    client
        A `distributed.Client` or a `concurrent.futures.ThreadPoolExecutor`; without one, tiles are checked
        one after the other in this process.
    progress
        Function called after each tile.

    Returns
    -------
    The faults; none if the store is valid.

    Raises
    ------
    StoreError
        If epixs did not write the store, the store is damaged as a whole, its labels are not those that it
        was made with, or `sources` is given for an imputed store.
    """
    with reaching(absolute(path)):
        store = open_store(path)
        checks = _checks(store, sources, assembly, backend)
        faults: list[Fault] = []
        done = 0
        groups = task_groups(checks, n_threads(client), TILES_AT_ONCE)
        for results in run_tasks(check_tiles, store, groups, client):
            faults += [fault for fault in results if fault is not None]
            for _ in results:
                done += 1
                if progress:
                    progress(Progress(done, len(checks)))
        faults.sort(key=lambda fault: (fault.row_group, fault.bin_range))
        if repair:
            forget(path, faults)
    return faults


def _checks(store: Store, sources: bool, assembly: Assembly | None, backend: Backend) -> list[_Check]:
    """Make the check of each tile of a store."""
    plan, attributes = stored_plan(store), read_attributes(store)
    if "growth" not in attributes and plan.fingerprint != attributes["plan"]:
        raise StoreError(
            f"{store}: labels, regions or settings are not those that the store was made with",
            got=f"plan {plan.fingerprint}",
            expected=f"plan {attributes['plan']}",
            next_step="bring its labels back from a copy, or make the store again",
        )
    if sources and plan.kind != "observed":
        raise StoreError(f"{store} is {plan.kind}", expected="an observed store: no other has source files")
    records = read_ledger(store)
    if sources and assembly is None:
        assembly = _assembly_of(plan)
    return [
        _Check(
            tile,
            records.get(tile.key),
            tile_fingerprint(plan, tile) if plan.kind == "observed" else None,
            tile_task(plan, assembly, tile, None, backend) if assembly else None,
        )
        for tile in plan.tiles()
    ]


def _assembly_of(plan: Plan) -> Assembly:
    """Return chromosome sizes and names as the store has them, or the known ones for an earlier version."""
    name, sizes = plan.regions.assembly, plan.regions.chrom_sizes
    if set(sizes) == set(plan.regions.chrom):
        return Assembly(name, sizes, plan.chrom_alias)
    return load_assembly(name, Path(plan.experiments["source"].iloc[0]).parent)


@dataclass(frozen=True)
class _Check:
    tile: Tile
    record: Record | None
    place: str | None
    task: TileTask | None

    @property
    def key(self) -> Key:
        return self.tile.key


def forget(path: str | Path, faults: Sequence[Fault]) -> None:
    """Mark faulty tiles as not written, so that the command that wrote the store writes them again."""
    mended = [fault for fault in faults if fault.repairable]
    if mended:
        location = absolute(path)
        with reaching(location), writing(location):
            store = reopen(open_store(location))
            forget_records(store, {(fault.row_group, fault.bin_range) for fault in mended})


def check_tiles(place: Store | str, checks: Sequence[_Check]) -> list[Fault | None]:
    """Check tiles of one row group, one after the other; their source files are opened once."""
    store = open_store(place)
    task = checks[0].task
    with task.tracks(len(checks)) if task else contextlib.nullcontext() as tracks:
        return [check_tile(store, check, tracks) for check in checks]


def check_tile(store: Store, check: _Check, tracks: OpenTracks | None) -> Fault | None:
    """Compare one tile with its record and, if a task is given, with its source files."""
    tile, record = check.tile, check.record

    def fault(what: str) -> Fault:
        return Fault(tile.row_group, tile.bin_range, what)

    if record is None or record.is_forgotten:
        return fault("is not written")
    if check.place is not None and record.fingerprint != check.place:
        return fault("was written for other regions or settings")
    try:
        values = read_block(store, tile)
        spread = read_block(store, tile, SPREAD) if SPREAD.name in store.group else None
    except Exception as error:  # codecs raise many types for damaged chunks
        if is_store_fault(error):  # not a fault of the tile
            raise
        return fault(f"cannot be read ({type(error).__name__})")
    if [checksum(row) for row in values] != [entry.get("checksum") for entry in record.rows]:
        return fault("does not have the values that were written")
    if spread is not None and [checksum(row) for row in spread] != [r.get(SPREAD.name) for r in record.rows]:
        return fault("does not have the spread that was written")
    if check.task is None:
        return None
    now, entries = read_tile(check.task, tracks)
    # Another order of summing may change the last bit, which rounding may turn into one step.
    step = 0.0 if check.task.backend == "epixs" else 1 / STEPS_PER_UNIT
    rows = list(zip(check.task.rows, entries, values, now, strict=True))
    differ = [
        row.source
        for row, entry, a, b in rows
        if "error" not in entry and not np.allclose(a, b, rtol=0.0, atol=step, equal_nan=True)
    ]
    unread = [
        f"{row.source} ({entry['error']})"
        for (row, entry, a, _) in rows
        if "error" in entry and not np.isnan(a).all()
    ]
    texts = {
        "differs from what its sources hold now": differ,
        "cannot be compared with sources that cannot be read": unread,
    }
    what = "; ".join(f"{text}: {', '.join(names[:3])}" for text, names in texts.items() if names)
    return Fault(tile.row_group, tile.bin_range, what, repairable=bool(differ)) if what else None
