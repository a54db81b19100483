"""bigWigs -> compendium: tiles read straight from their files by Dask tasks, each writing whole shards."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.catalog.experiments import Catalog
from epixs.cluster.tasks import Progress, n_threads, run_tasks
from epixs.compendium.create import store_exists
from epixs.compendium.write import finalise, has_block, reopen
from epixs.errors import ConfigError
from epixs.genome.regions import Regions
from epixs.ingestion.append import grow, lost_sources
from epixs.ingestion.begin import begin
from epixs.ingestion.inputs import catalog_of, regions_from
from epixs.ingestion.tile import TileTask, ingest_tiles, runs_of, tile_task
from epixs.storage.ledger import Record, forget_record, read_ledger
from epixs.storage.location import absolute, is_url, reaching
from epixs.storage.lock import setting_up, writing
from epixs.tracks import Backend, Uncovered

UNFINISHED = "unfinished"


def pending_tasks(
    path: str | Path, tasks: Iterable[TileTask], *, retry_failed: bool = False
) -> list[TileTask]:
    """Tasks with rows that are not written, were read from other files, or (on request) failed.

    The rows of a pending task that need not be read again are kept.
    """
    records = read_ledger(path)
    held = _held_rows(records)
    pending = []
    for task in tasks:
        record = records.get((task.tile.row_group, task.tile.bin_range))
        known = held.get(task.tile.row_group, set())
        task = replace(task, rows=tuple(replace(row, held=at in known) for at, row in enumerate(task.rows)))
        if record is not None and not (
            any(e.get("bins") for e in record.rows) and not has_block(path, task.tile)
        ):
            task = _with_kept_rows(task, record, retry_failed)
            if task.is_written(record) and all(row.kept for row in task.rows):
                continue
        pending.append(task)
    return pending


def _held_rows(records: dict[tuple[int, int], Record]) -> dict[int, set[int]]:
    """Rows of each row group of which any tile could be read."""
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


def refuse_to_lose(path: str | Path, pending: Iterable[TileTask]) -> None:
    """Refuse to overwrite rows that were read before and whose source is gone now.

    Raises
    ------
    StoreError
        Naming the sources.
    """
    gone = [
        row.source
        for task in pending
        for row in task.rows
        if row.held and row.kept is None and not is_url(row.source) and not os.path.exists(row.source)
    ]
    if gone:
        raise lost_sources(str(path), gone)


def ingest(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path | None,
    path: str | Path,
    *,
    species: str | None = None,
    uncovered: Uncovered = "zero",
    client: Any = None,
    retry_failed: bool = False,
    part: tuple[int, int] | None = None,
    append: bool = False,
    backend: Backend = "epixs",
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the compendium of a catalog; run again, it resumes.

    Parameters
    ----------
    catalog, regions
        What to read and where: read already, or the paths of a catalog TSV and a BED. With `append`, regions
        may be None: those of the store.
    species
        Which species, where a path is given to a catalog that holds several.
    path
        The store to write.
    uncovered
        How bases without a value count: as `"zero"`, or left out with `"nan"`.
    client
        A `distributed.Client`; without one, tiles are read one after the other in this process.
    retry_failed
        Read again the tiles in which a row failed, even where its file has not changed.
    part
        `(i, n)`, 1 <= i <= n: only the i-th of n shares of the tiles, for job arrays without Dask. The
        run that writes the last tile of all finishes the store.
    append
        Add the catalog's experiments and the regions to the store, which keeps those it has.
    backend
        `"pybigwig"` reads local bigWigs with pyBigWig instead, slowly, to check our own reader.
    progress
        Called after each tile.

    Returns
    -------
    The experiment table; `status` is `"ok"` or says why a row could not be read. With `part`, and while tiles
    of other parts are missing, it is `"unfinished"`. `attrs["read_again"]` counts rows that were read again
    because their files had changed.

    Raises
    ------
    StoreError
        If `path` holds something else, or another run is writing it.
    TrackError
        If not one of the files can be read, so that there would be nothing to store.

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
    catalog = catalog_of(catalog, species)
    regions = None if regions is None else regions_from(regions, catalog)
    path = absolute(path)
    with reaching(path), writing(path, part):
        return _ingest(
            catalog, regions, path, uncovered, client, retry_failed, part, append, backend, progress
        )


def _ingest(
    catalog: Catalog,
    regions: Regions | None,
    path: str,
    uncovered: Uncovered,
    client: Any,
    retry_failed: bool,
    part: tuple[int, int] | None,
    append: bool,
    backend: Backend,
    progress: Callable[[Progress], None] | None,
) -> pd.DataFrame:
    with setting_up(path):
        if append and store_exists(path):
            plan, states = grow(path, catalog, regions, uncovered)
        else:
            plan, states = begin(path, catalog, regions, uncovered)
    every = [tile_task(plan, catalog.assembly, tile, states, backend) for tile in plan.tiles()]
    tasks = every if part is None else every[_share(len(every), *part)]
    pending = pending_tasks(path, tasks, retry_failed=retry_failed)
    changed = _changed_rows(read_ledger(path), pending)
    if pending:
        refuse_to_lose(path, pending)
        with setting_up(path):
            reopen(path)
            if retry_failed and part is not None:
                # Else a part that ends earlier would take these tiles for written, and finish the store.
                for task in pending:
                    forget_record(path, task.tile.row_group, task.tile.bin_range)
    total = sum(task.tile.n_values * 4 for task in tasks)
    done = total - sum(task.tile.n_values * 4 for task in pending)
    finished = len(tasks) - len(pending)
    sizes = {(t.tile.row_group, t.tile.bin_range): t.tile.n_values * 4 for t in pending}
    if progress:
        progress(Progress(finished, len(tasks), done, total))
    for results in run_tasks(ingest_tiles, path, runs_of(pending, n_threads(client)), client):
        for result in results:
            finished += 1
            done += sizes[result["tile"]]
            if progress:
                progress(Progress(finished, len(tasks), done, total))
    with setting_up(path):
        if part is not None and pending_tasks(path, every):
            return plan.experiments.assign(status=UNFINISHED)
        by_tile = {task.tile: task for task in every}
        table = finalise(path, plan, lambda tile, record: by_tile[tile].is_written(record))
    table.attrs["read_again"] = changed
    return table


def _changed_rows(records: dict[tuple[int, int], Record], pending: Iterable[TileTask]) -> int:
    """Number of experiments that were read before and whose files have changed since."""
    return len(
        {
            task.tile.first_row + at
            for task in pending
            if (record := records.get((task.tile.row_group, task.tile.bin_range))) is not None
            for at, (row, entry) in enumerate(zip(task.rows, record.rows, strict=False))
            if not entry.get("error") and not row.agrees(entry)
        }
    )


def _share(total: int, number: int, parts: int) -> slice:
    """Tiles of one part: neighbours, for they share their tracks."""
    return slice((number - 1) * total // parts, number * total // parts)
