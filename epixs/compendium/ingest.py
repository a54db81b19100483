"""bigWigs -> compendium: tiles read straight from their files by Dask tasks, each writing whole shards."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.catalog import Catalog, read_catalog
from epixs.cluster import run_tasks
from epixs.compendium.lazy import lazy_dataset
from epixs.compendium.ledger import Record, checksum, read_ledger, row_statistics, write_record
from epixs.compendium.lock import setting_up, writing
from epixs.compendium.plan import COMPRESSION_RATIO, Plan, Progress, Tile, digest
from epixs.compendium.schema import COORDINATES, EXPERIMENT_LABELS
from epixs.compendium.store import finalise, has_block, prepare_store, reopen, write_block
from epixs.errors import ConfigError, StoreError, TrackError
from epixs.genome import Assembly, Piece, Regions, read_regions
from epixs.sources import is_url, source_state, source_states
from epixs.tracks import Track, Uncovered
from epixs.transforms import encode

UNFINISHED = "unfinished"
PROBED_FILES, PROBED_BINS = 5, 40_000
LIBRARY_BYTES = 250_000_000
"""Resident memory of a worker that has done nothing yet (docs/store.md)."""


@dataclass(frozen=True)
class TileTask:
    """All that a worker needs to read one tile; small, and the same wherever it runs."""

    tile: Tile
    sources: tuple[str, ...]
    assembly: Assembly
    pieces: tuple[Piece, ...]
    chroms: tuple[str, ...]
    uncovered: Uncovered
    states: tuple[Sequence[Any], ...] = ()

    def fingerprint(self) -> str:
        """Digest of the sources (path, size, version), the pieces and the settings."""
        return digest(
            [
                [list(state) for state in self.states],
                [[p.chrom, p.start, p.end, p.first_bin] for p in self.pieces],
                self.uncovered,
            ]
        )


def plan_ingest(
    catalog: Catalog,
    regions: Regions,
    uncovered: Uncovered = "zero",
    states: Sequence[Sequence[Any]] | None = None,
) -> Plan:
    """Plan the compendium of a catalog over regions; `states` are those of its files, if known already."""
    table = catalog.experiments
    sizes = [state[1] for state in states or source_states(table["path"])]
    experiments = table.assign(source=table["path"], source_size=sizes).reset_index(drop=True)
    names = [variable.name for variable in EXPERIMENT_LABELS]
    return Plan("observed", catalog.species, experiments[names], regions, uncovered, {})


def tile_task(
    plan: Plan, assembly: Assembly, tile: Tile, states: Sequence[Sequence[Any]] | None = None
) -> TileTask:
    """All that a worker needs to read a tile of a plan; with `states`, only from files still in them."""
    return TileTask(
        tile,
        tuple(plan.experiments["source"].iloc[tile.first_row : tile.stop_row]),
        assembly,
        tuple(plan.regions.pieces(tile.first_bin, tile.stop_bin)),
        tuple(dict.fromkeys(plan.regions.chrom)),
        plan.uncovered,
        tuple(states[tile.first_row : tile.stop_row]) if states else (),
    )


def tile_tasks(plan: Plan, assembly: Assembly, states: Sequence[Sequence[Any]]) -> list[TileTask]:
    """One task for each tile of a plan, from files in the given states."""
    return [tile_task(plan, assembly, tile, states) for tile in plan.tiles()]


def read_row(
    source: str,
    assembly: Assembly,
    pieces: Iterable[Piece],
    chroms: Iterable[str],
    uncovered: Uncovered,
    state: Sequence[Any] | None = None,
) -> tuple[npt.NDArray[np.float32], int, int]:
    """Read one track over some pieces.

    `chroms` are all that the compendium needs, so that a track without one of them fails in every tile and
    leaves no half row. With `state`, the file has to be in that state before and after.

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
    values, bases, covered = [], 0, 0
    with Track(source) as track:
        track.check_assembly(assembly)
        for chrom in chroms:
            track.check_chromosome(chrom)
        if state is not None:
            track.check_state(state)
        pieces = list(pieces)
        track.prefetch(pieces)
        for piece in pieces:
            signal = track.read(piece)
            values.append(encode(signal.means(piece.widths, uncovered)))
            bases += piece.end - piece.start
            covered += int(signal.covered.sum())
        if state is not None:
            track.check_state(state)
    return np.concatenate(values), bases, covered


def read_tile(task: TileTask) -> tuple[npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Read all rows of a tile; a row that cannot be read is NaN, with the reason in its statistics."""
    tile = task.tile
    values = np.full(
        (tile.stop_row - tile.first_row, tile.stop_bin - tile.first_bin), np.nan, dtype=np.float32
    )
    rows: list[dict[str, Any]] = []
    for index, source in enumerate(task.sources):
        state = task.states[index] if task.states else None
        known = state is not None and state[1] >= 0  # else it was not there when the run began
        try:
            values[index], bases, covered = read_row(
                source, task.assembly, task.pieces, task.chroms, task.uncovered, state if known else None
            )
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


def pending_tasks(
    path: str | Path, tasks: Iterable[TileTask], *, retry_failed: bool = False
) -> list[TileTask]:
    """Tasks whose tile is not written, was written from other files, or (on request) had errors."""
    records = read_ledger(path)
    pending = []
    for task in tasks:
        record = records.get((task.tile.row_group, task.tile.bin_range))
        if (
            record is None
            or record.fingerprint != task.fingerprint()
            or (retry_failed and record.has_errors)
            or (any(row.get("bins") for row in record.rows) and not has_block(path, task.tile))
        ):
            pending.append(task)
    return pending


def refuse_to_lose(path: str | Path, pending: Iterable[TileTask]) -> None:
    """Refuse to overwrite rows that were read before and whose source is gone now.

    Raises
    ------
    StoreError
        Naming the sources.
    """
    records = read_ledger(path)
    gone = []
    for task in pending:
        record = records.get((task.tile.row_group, task.tile.bin_range))
        if record is None or len(record.rows) != len(task.sources):
            continue
        for source, row in zip(task.sources, record.rows, strict=True):
            if not row.get("error") and not is_url(source) and not os.path.exists(source):
                gone.append(source)
    if gone:
        names = list(dict.fromkeys(gone))
        raise StoreError(
            f"{len(names)} source(s) of rows that {path} already holds are gone",
            got=", ".join(names[:3]),
            expected="the files the rows were read from",
            next_step="bring them back (is a disk not mounted?), or ingest what is left into another store",
        )


def read_inputs(
    catalog: Catalog | str | Path, regions: Regions | str | Path, species: str | None
) -> tuple[Catalog, Regions]:
    """Read a catalog and a BED where paths are given; overlapping regions are merged."""
    if not isinstance(catalog, Catalog):
        catalog = read_catalog(catalog, species, check_files=False)
    if not isinstance(regions, Regions):
        regions, _ = read_regions(regions, catalog.assembly)
    return catalog, regions


def ingest(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path,
    path: str | Path,
    *,
    species: str | None = None,
    uncovered: Uncovered = "zero",
    client: Any = None,
    retry_failed: bool = False,
    part: tuple[int, int] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> pd.DataFrame:
    """Write the compendium of a catalog; run again, it resumes.

    Parameters
    ----------
    catalog, regions
        What to read and where: read already, or the paths of a catalog TSV and a BED.
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
        `(i, n)`, 1 <= i <= n: only every n-th tile, for job arrays without Dask. The run that writes the last
        tile of all finishes the store.
    progress
        Called after each tile.

    Returns
    -------
    The experiment table; `status` is `"ok"` or says why a row could not be read. With `part`, and while tiles
    of other parts are missing, it is `"unfinished"`.

    Raises
    ------
    StoreError
        If `path` holds something else, or another run is writing it.
    """
    if part is not None and not 1 <= part[0] <= part[1]:
        raise ConfigError("part", got=f"{part[0]}/{part[1]}", expected="I/N with 1 <= I <= N")
    catalog, regions = read_inputs(catalog, regions, species)
    # Workers may have another working directory.
    path = str(path) if "://" in str(path) else os.path.abspath(path)
    with writing(path, part):
        return _ingest(catalog, regions, path, uncovered, client, retry_failed, part, progress)


def _ingest(
    catalog: Catalog,
    regions: Regions,
    path: str,
    uncovered: Uncovered,
    client: Any,
    retry_failed: bool,
    part: tuple[int, int] | None,
    progress: Callable[[Progress], None] | None,
) -> pd.DataFrame:
    states = source_states(catalog.experiments["path"])
    plan = plan_ingest(catalog, regions, uncovered, states)
    with setting_up(path):
        prepare_store(path, plan)
    every = tile_tasks(plan, catalog.assembly, states)
    tasks = every if part is None else every[part[0] - 1 :: part[1]]
    pending = pending_tasks(path, tasks, retry_failed=retry_failed)
    if pending:
        refuse_to_lose(path, pending)
        reopen(path)
    total = sum(task.tile.n_values * 4 for task in tasks)
    done = total - sum(task.tile.n_values * 4 for task in pending)
    finished = len(tasks) - len(pending)
    sizes = {(t.tile.row_group, t.tile.bin_range): t.tile.n_values * 4 for t in pending}
    if progress:
        progress(Progress(finished, len(tasks), done, total))
    for result in run_tasks(ingest_tile, path, pending, client):
        finished += 1
        done += sizes[result["tile"]]
        if progress:
            progress(Progress(finished, len(tasks), done, total))
    with setting_up(path):
        if part is not None and pending_tasks(path, every):
            return plan.experiments.assign(status=UNFINISHED)
        return finalise(path, plan, [task.fingerprint() for task in every])


@dataclass(frozen=True)
class IngestCost:
    """What an ingest will take: bytes read and written, objects, memory of a worker, seconds of one core."""

    bytes_in: int
    bytes_out: int
    objects: int
    tiles: int
    worker_bytes: int
    core_seconds: float | None


def project_cost(plan: Plan, assembly: Assembly) -> IngestCost:
    """Project the cost of a plan from its sizes and from reading a little of its first readable file."""
    tiles = list(plan.tiles())
    largest = max(tile.n_values for tile in tiles) * 4
    return IngestCost(
        int(plan.experiments["source_size"].clip(lower=0).sum()),
        int(plan.n_bytes * COMPRESSION_RATIO),
        2 * len(tiles) + 2 * len(COORDINATES) + 4,
        len(tiles),
        # The tile, its copy while a shard is encoded, a row's sums, and the libraries.
        2 * largest + largest // plan.layout.chunk_rows * 6 + LIBRARY_BYTES,
        _probe_seconds(plan, assembly),
    )


def _probe_seconds(plan: Plan, assembly: Assembly) -> float | None:
    piece = next(plan.regions.pieces(0, min(plan.n_bins, PROBED_BINS)))
    for source in plan.experiments["source"].head(PROBED_FILES):
        try:
            read_row(source, assembly, [piece], (), plan.uncovered)  # compile and warm up
            started = time.perf_counter()
            read_row(source, assembly, [piece], (), plan.uncovered)
        except TrackError:
            continue
        return (time.perf_counter() - started) / piece.n_bins * plan.n_bins * plan.n_experiments
    return None


def open_tracks(
    catalog: Catalog | str | Path,
    regions: Regions | str | Path,
    uncovered: Uncovered = "zero",
    *,
    species: str | None = None,
) -> xr.Dataset:
    """Open bigWigs lazily as the Dataset that `ingest` would write.

    Parameters
    ----------
    catalog, regions, species, uncovered
        As in `ingest`.

    Returns
    -------
    `signal` with dims `("experiment", "bin")`, float32 in arcsinh units, backed by Dask: a block reads its
    bigWig only when it is computed.

    Raises
    ------
    TrackError
        When a block is computed whose file cannot be read (there is no quarantine without a store).
    """
    catalog, regions = read_inputs(catalog, regions, species)
    assembly = catalog.assembly
    # Nothing remote is asked before a block is computed.
    states = [[path, -1, -1] if is_url(path) else source_state(path) for path in catalog.experiments["path"]]
    plan = plan_ingest(catalog, regions, uncovered, states)
    return lazy_dataset(
        plan, lambda tile: functools.partial(_strict_tile, tile_task(plan, assembly, tile)), rows=1
    )


def _strict_tile(task: TileTask) -> npt.NDArray[np.float32]:
    values, rows = read_tile(task)
    for row in rows:
        if "error" in row:
            raise TrackError(row["error"])
    return values
