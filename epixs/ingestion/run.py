"""Write a compendium from bigWigs: each task reads tiles directly from the files and writes whole shards."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.catalog.experiments import Catalog
from epixs.cluster.resume import run_pending
from epixs.cluster.tasks import Progress
from epixs.compendium.create import reopen
from epixs.compendium.plan import Plan
from epixs.compendium.write import finalise, has_block
from epixs.errors import ConfigError
from epixs.genome.regions import Regions
from epixs.ingestion.append import grow, lost_sources
from epixs.ingestion.begin import begin
from epixs.ingestion.inputs import read_inputs
from epixs.ingestion.tile import TILES_AT_ONCE, TileTask, ingest_tiles, tile_task
from epixs.storage.ledger import Record, compact, forget_records, read_ledger
from epixs.storage.location import absolute, is_url, reaching
from epixs.storage.lock import is_alone, setting_up, writing
from epixs.storage.store import UNFINISHED, Store, open_store, store_exists
from epixs.storage.tiling import Key
from epixs.tracks import Backend, Uncovered


def pending_tasks(
    store: Store, tasks: Iterable[TileTask], records: Mapping[Key, Record], *, retry_failed: bool = False
) -> list[TileTask]:
    """Return the tasks with rows that are not written, were read from other files, or (on request) failed.

    Rows of such a task that need not be read again are marked to be kept.
    """
    held = _held_rows(records)
    pending = []
    for task in tasks:
        record = records.get(task.key)
        known = held.get(task.tile.row_group, set())
        task = replace(task, rows=tuple(replace(row, held=at in known) for at, row in enumerate(task.rows)))
        if record is not None and not (
            any(e.get("bins") for e in record.rows) and not has_block(store, task.tile)
        ):
            task = _with_kept_rows(task, record, retry_failed)
            if task.is_written(record) and all(row.kept for row in task.rows):
                continue
        pending.append(task)
    return pending


def _held_rows(records: Mapping[Key, Record]) -> dict[int, set[int]]:
    """Return, for each row group, the rows that could be read in any tile."""
    held: dict[int, set[int]] = {}
    for (group, _), record in records.items():
        good = {at for at, entry in enumerate(record.rows) if not entry.get("error")}
        held.setdefault(group, set()).update(good)
    return held


def _with_kept_rows(task: TileTask, record: Record, retry_failed: bool) -> TileTask:
    same_place = record.fingerprint == task.fingerprint()
    rows = []
    for row, entry in itertools.zip_longest(task.rows, record.rows[: len(task.rows)], fillvalue=None):
        if row is not None and entry is not None:
            good = not entry.get("error")
            keep = same_place and row.agrees(entry) and (good or not retry_failed)
            row = replace(row, kept=entry if keep else None)
        rows.append(row)
    return replace(task, rows=tuple(row for row in rows if row is not None))


def refuse_to_lose(store: Store, pending: Iterable[TileTask]) -> None:
    """Refuse to overwrite rows that were read before and whose source is now gone.

    Raises
    ------
    StoreError
        If there are such rows; the message names their sources.
    """
    gone = [
        row.source
        for task in pending
        for row in task.rows
        if row.held and row.kept is None and not is_url(row.source) and not os.path.exists(row.source)
    ]
    if gone:
        raise lost_sources(store, gone)


def ingest(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path | None,
    path: str | Path,
    *,
    species: str | None = None,
    chrom_alias: str | Path | None = None,
    uncovered: Uncovered = "zero",
    client: Any = None,
    retry_failed: bool = False,
    part: tuple[int, int] | None = None,
    append: bool = False,
    backend: Backend = "epixs",
    plan: Plan | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the compendium of a catalog; if it is interrupted, the same call resumes it.

    Parameters
    ----------
    catalog, regions
        The catalog and the regions, or the paths of a catalog TSV and a BED. Instead of a BED, regions may be
        a table of chromosomes and their lengths, or `"genome"` for all chromosomes, whole. With `append`,
        they may be None: those of the store.
    species
        The species to take, if `catalog` is a path and holds several.
    chrom_alias
        Other names of chromosomes (a chromAlias table of UCSC), if `catalog` is a path.
    path
        The store to write.
    uncovered
        How bases without a value count: as 0 with `"zero"`, or not at all with `"nan"`.
    client
        A `distributed.Client` or a `concurrent.futures.ThreadPoolExecutor`; without one, tiles are read one
        after the other in this process.
    retry_failed
        Read again the tiles in which a row failed, even if its file has not changed.
    part
        `(i, n)` with 1 <= i <= n: write only the i-th of n shares of the tiles, for job arrays without Dask.
        The run that writes the last missing tile finishes the store.
    append
        Add the catalog's experiments and the regions to the store, which keeps its own.
    backend
        `"pybigwig"` reads local bigWigs with pyBigWig instead, slowly, to check our own reader.
    plan
        A plan from `preview`, made just before, so that the files are not asked again.
    progress
        Function called after each tile.

    Returns
    -------
    The experiment table; `status` is `"ok"` or says why a row could not be read. With `part`, it is
    `"unfinished"` as long as tiles of other shares are missing. `attrs["read_again"]` counts the rows that
    were read again because their files had changed. `attrs["notes"]` describes unusual features of files.

    Raises
    ------
    StoreError
        If `path` holds something else, or another run is writing it.
    TrackError
        If none of the files can be read.

    Examples
    --------
    >>> import epixs
    >>> files = epixs.simulate("world", size="tiny")
    >>> chosen = epixs.make_catalog("world/metadata.tsv", "catalog.tsv")
    >>> table = epixs.ingest("catalog.tsv", "world/mouse.bed", "mouse.zarr", species="mouse")
    >>> table["status"].unique().tolist()
    ['ok']
    >>> epixs.status("mouse.zarr").status
    'complete'
    """
    if part is not None and not 1 <= part[0] <= part[1]:
        raise ConfigError("part", got=f"{part[0]}/{part[1]}", expected="I/N with 1 <= I <= N")
    catalog, regions, notes = read_inputs(
        catalog, regions, path, species=species, chrom_alias=chrom_alias, append=append
    )
    location = absolute(path)
    with reaching(location), writing(location, part):
        with setting_up(location):
            if append and store_exists(location):
                store, plan = grow(open_store(location), catalog, regions, uncovered, plan)
            else:
                store, plan = begin(location, catalog, regions, uncovered, plan)
        all_tasks = [tile_task(plan, catalog.assembly, tile, plan.states, backend) for tile in plan.tiles()]
        tasks = all_tasks if part is None else all_tasks[_share(len(all_tasks), *part)]
        records = read_ledger(store)
        pending = pending_tasks(store, tasks, records, retry_failed=retry_failed)
        if pending:
            refuse_to_lose(store, pending)
            with setting_up(location):
                store = reopen(store.refreshed())
                if retry_failed and part is not None:
                    # Else a share that ends earlier would see these tiles as written, and finish the store.
                    forget_records(store, {task.key for task in pending})
        run_pending(
            store, ingest_tiles, pending, len(tasks), client=client, progress=progress, at_once=TILES_AT_ONCE,
            mine=None if part is None else {task.key for task in tasks},
        )  # fmt: skip
        with setting_up(location):
            store = store.refreshed()
            if part is not None and pending_tasks(store, all_tasks, read_ledger(store)):
                return plan.experiments.assign(status=UNFINISHED)
            by_tile = {task.tile: task for task in all_tasks}
            table = finalise(store, plan, lambda tile, record: by_tile[tile].is_written(record))
            if part is not None and is_alone(location, part):
                compact(store)
    table.attrs["notes"] = notes + table.attrs["notes"]
    table.attrs["read_again"] = _changed_rows(records, pending)
    return table


def _changed_rows(records: Mapping[Key, Record], pending: Iterable[TileTask]) -> int:
    """Count the experiments that were read before and whose files have changed since."""
    return len(
        {
            task.tile.first_row + at
            for task in pending
            if (record := records.get(task.key)) is not None
            for at, (row, entry) in enumerate(zip(task.rows, record.rows, strict=False))
            if not entry.get("error") and not row.agrees(entry)
        }
    )


def _share(total: int, number: int, parts: int) -> slice:
    """Select the tiles of one share: neighbours, because they read the same tracks."""
    return slice((number - 1) * total // parts, number * total // parts)
