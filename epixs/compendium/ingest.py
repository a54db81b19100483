"""bigWigs -> compendium: tiles read straight from their files by Dask tasks, each writing whole shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.catalog import Catalog, is_url
from epixs.compendium.ledger import Record, checksum, read_ledger, row_statistics, write_record
from epixs.compendium.plan import Plan, Tile, digest
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.compendium.store import (
    create_store,
    describe_settings,
    finalise,
    read_attributes,
    write_block,
)
from epixs.errors import StoreError, TrackError
from epixs.genome import Assembly, Piece, Regions
from epixs.tracks import Track, Uncovered
from epixs.transforms import encode

IN_FLIGHT_PER_WORKER = 4


@dataclass(frozen=True)
class TileTask:
    """All that a worker needs to read one tile; small, and the same wherever it runs."""

    tile: Tile
    sources: tuple[str, ...]
    assembly: Assembly
    pieces: tuple[Piece, ...]
    uncovered: Uncovered

    def fingerprint(self) -> str:
        """Digest of the sources (path, size, time), the pieces and the settings."""
        return digest(
            [
                [source_state(source) for source in self.sources],
                [[p.chrom, p.start, p.end, p.first_bin] for p in self.pieces],
                self.uncovered,
            ]
        )


def source_state(source: str) -> list[Any]:
    """Path, size and modification time of a source: what tells that a file was replaced."""
    try:
        found = os.stat(source)
    except OSError:
        return [source, -1, -1]
    return [source, found.st_size, found.st_mtime_ns]


def plan_ingest(catalog: Catalog, regions: Regions, uncovered: Uncovered = "zero") -> Plan:
    """Plan the compendium of a catalog over regions."""
    table = catalog.experiments
    sizes = [source_state(path)[1] for path in table["path"]]
    experiments = table.assign(source=table["path"], source_size=sizes)
    names = [variable.name for variable in EXPERIMENT_LABELS]
    return Plan("observed", catalog.species, experiments[names], regions, uncovered, {})


def tile_tasks(plan: Plan, assembly: Assembly) -> Iterator[TileTask]:
    """One task for each tile of a plan."""
    sources = plan.experiments["source"].tolist()
    for tile in plan.tiles():
        yield TileTask(
            tile,
            tuple(sources[tile.first_row : tile.stop_row]),
            assembly,
            tuple(plan.regions.pieces(tile.first_bin, tile.stop_bin)),
            plan.uncovered,
        )


def read_row(
    source: str, assembly: Assembly, pieces: Iterable[Piece], uncovered: Uncovered
) -> tuple[npt.NDArray[np.float32], int, int]:
    """Read one track over some pieces.

    Returns
    -------
    values
        Arcsinh units, shape `(bin,)`.
    bases, covered
        Bases read, and those that have a value.

    Raises
    ------
    TrackError
        If the file cannot be read as a track of the assembly.
    """
    if is_url(source):
        raise TrackError(f"{source} is remote", expected="a local file", next_step="download it first")
    values, bases, covered = [], 0, 0
    with Track(source) as track:
        track.check_assembly(assembly)
        for piece in pieces:
            signal = track.read(piece)
            values.append(encode(signal.means(piece.widths, uncovered)))
            bases += piece.end - piece.start
            covered += int(signal.covered.sum())
    return np.concatenate(values), bases, covered


def read_tile(task: TileTask) -> tuple[npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Read all rows of a tile; a row that cannot be read is NaN, with the reason in its statistics."""
    tile = task.tile
    values = np.full((tile.stop_row - tile.first_row, tile.stop_bin - tile.first_bin), np.nan, dtype=np.float32)
    rows: list[dict[str, Any]] = []
    for index, source in enumerate(task.sources):
        try:
            values[index], bases, covered = read_row(source, task.assembly, task.pieces, task.uncovered)
        except TrackError as error:
            rows.append({"error": error.message})
        else:
            rows.append(row_statistics(values[index], bases, covered))
    return values, rows


def ingest_tile(path: str, task: TileTask) -> dict[str, Any]:
    """Read a tile, write its shard, then its ledger record. Safe to repeat; returns a small dict."""
    fingerprint = task.fingerprint()
    values, rows = read_tile(task)
    write_block(path, task.tile, values)
    record = Record(fingerprint, checksum(values), rows)
    write_record(path, task.tile, record)
    return {"tile": (task.tile.row_group, task.tile.bin_range), "errors": sum("error" in row for row in rows)}


@dataclass(frozen=True)
class Progress:
    """How far an ingest is: tiles and bytes done and in all."""

    tiles_done: int
    tiles: int
    bytes_done: int
    bytes: int


def prepare_store(path: str | Path, plan: Plan) -> None:
    """Create the store of a plan, or check that what is there belongs to the same plan.

    Raises
    ------
    StoreError
        If something else is there.
    """
    target = Path(path)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        create_store(path, plan)
        return
    if target.is_dir() and not (target / "zarr.json").exists() and not _only_store_parts(target):
        raise StoreError(
            f"{path} exists and is no Zarr store", next_step="choose another --out; epixs never overwrites it"
        )
    if not (target / "zarr.json").exists():
        create_store(path, plan)
        return
    attributes = read_attributes(path)
    if attributes.get("plan") != plan.fingerprint:
        raise StoreError(
            f"{path} was made from something else",
            got=f"a difference in {describe_settings(plan.settings, attributes.get('plan_settings', {}))}",
            expected="the same catalog, regions and settings",
            next_step="choose another --out, or delete the store to make it anew",
        )
    if not (target / "ledger").exists():
        create_store(path, plan)  # interrupted while it was being created


def _only_store_parts(target: Path) -> bool:
    return all(entry.name.endswith(".partial") for entry in target.iterdir())


def pending_tasks(path: str | Path, tasks: Iterable[TileTask], *, retry_failed: bool = False) -> list[TileTask]:
    """Tasks whose tile is not written, was written from other files, or (on request) had errors."""
    records = read_ledger(path)
    pending = []
    for task in tasks:
        record = records.get((task.tile.row_group, task.tile.bin_range))
        if record is None or record.fingerprint != task.fingerprint() or (retry_failed and record.has_errors):
            pending.append(task)
    return pending


def ingest(
    catalog: Catalog,
    regions: Regions,
    path: str | Path,
    *,
    uncovered: Uncovered = "zero",
    client: Any = None,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the compendium of a catalog; run again, it resumes.

    Parameters
    ----------
    catalog, regions
        What to read and where.
    path
        The store to write.
    uncovered
        How bases without a value count: as `"zero"`, or left out with `"nan"`.
    client
        A `distributed.Client`; without one, tiles are read one after the other in this process.
    retry_failed
        Read again the tiles in which a row failed, even where its file has not changed.
    progress
        Called after each tile.

    Returns
    -------
    The experiment table; `status` is `"ok"` or says why a row could not be read.

    Raises
    ------
    StoreError
        If `path` holds something else.
    """
    plan = plan_ingest(catalog, regions, uncovered)
    prepare_store(path, plan)
    tasks = list(tile_tasks(plan, catalog.assembly))
    pending = pending_tasks(path, tasks, retry_failed=retry_failed)
    total = plan.n_experiments * plan.n_bins * 4
    done = total - sum(task.tile.n_values * 4 for task in pending)
    finished = len(tasks) - len(pending)
    sizes = {(t.tile.row_group, t.tile.bin_range): t.tile.n_values * 4 for t in pending}
    if progress:
        progress(Progress(finished, len(tasks), done, total))
    for result in _run(str(path), pending, client):
        finished += 1
        done += sizes[result["tile"]]
        if progress:
            progress(Progress(finished, len(tasks), done, total))
    return finalise(path, plan, [task.fingerprint() for task in tasks])


def _run(path: str, tasks: list[TileTask], client: Any) -> Iterator[dict[str, Any]]:
    """Run tasks with a bounded number in flight; results come as they finish."""
    if client is None:
        for task in tasks:
            yield ingest_tile(path, task)
        return
    from distributed import as_completed

    workers = max(1, sum(client.nthreads().values()))
    waiting = iter(tasks)
    first = [
        client.submit(ingest_tile, path, task, pure=False)
        for task, _ in zip(waiting, range(IN_FLIGHT_PER_WORKER * workers), strict=False)
    ]
    futures = as_completed(first)
    try:
        for future in futures:
            yield future.result()
            future.release()
            for task in waiting:
                futures.add(client.submit(ingest_tile, path, task, pure=False))
                break
    finally:
        pending: list[Future[Any]] = list(getattr(futures, "futures", []))
        client.cancel(pending)


def open_tracks(catalog: Catalog, regions: Regions, uncovered: Uncovered = "zero") -> xr.Dataset:
    """Open bigWigs lazily as the Dataset that `ingest` would write.

    Returns
    -------
    `signal` with dims `("experiment", "bin")`, float32 in arcsinh units, backed by Dask: a block reads its
    bigWigs only when it is computed.

    Raises
    ------
    TrackError
        When a block is computed whose file cannot be read (there is no quarantine without a store).
    """
    plan = plan_ingest(catalog, regions, uncovered)
    rows, spans = plan.grid
    blocks: list[list[Any]] = [[None] * spans for _ in range(rows)]
    for task in tile_tasks(plan, catalog.assembly):
        shape = (task.tile.stop_row - task.tile.first_row, task.tile.stop_bin - task.tile.first_bin)
        block = dask.delayed(_strict_tile, pure=True)(task)
        blocks[task.tile.row_group][task.tile.bin_range] = da.from_delayed(block, shape, np.float32)
    coordinates: dict[str, Any] = {
        variable.name: ("experiment", plan.experiments[variable.name].to_numpy()) for variable in EXPERIMENT_LABELS
    }
    coordinates |= {
        "region_name": ("region", np.asarray(regions.name, dtype=object)),
        "region_chrom": ("region", np.asarray(regions.chrom, dtype=object)),
        "region_start": ("region", np.asarray(regions.start, dtype=np.int64)),
        "region_end": ("region", np.asarray(regions.end, dtype=np.int64)),
        "region_first_bin": ("region", regions.first_bin),
    }
    return xr.Dataset(
        {"signal": (("experiment", "bin"), da.block(blocks), {"units": "arcsinh units"})},
        coords=coordinates,
        attrs={
            "kind": "observed",
            "species": plan.species,
            "assembly": regions.assembly,
            "uncovered": uncovered,
        },
    )


def _strict_tile(task: TileTask) -> npt.NDArray[np.float32]:
    values, rows = read_tile(task)
    for row in rows:
        if "error" in row:
            raise TrackError(row["error"])
    return values
