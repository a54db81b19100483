"""Copy some regions of a compendium into another one, with the same values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epixs.cluster.resume import run_pending, unwritten
from epixs.compendium.create import prepare_store, reopen
from epixs.compendium.plan import Plan
from epixs.compendium.read import experiments_of, open_compendium, open_signal, regions_of
from epixs.compendium.schema import EXPERIMENT_LABELS
from epixs.compendium.summary import row_statistics
from epixs.compendium.write import finalise, write_block
from epixs.genome.regions import BIN_SIZE, Regions
from epixs.ingestion.tile import tile_fingerprint
from epixs.storage.ledger import Record, read_ledger
from epixs.storage.location import absolute, reaching
from epixs.storage.lock import writing
from epixs.storage.store import Store
from epixs.storage.tiling import Key, Tile


@dataclass(frozen=True)
class CopyTask:
    """One tile to copy: its bins and rows in the source store, and the tile's fingerprint."""

    tile: Tile
    bins: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    fingerprint: str

    @property
    def key(self) -> Key:
        """The tile's place in the ledger."""
        return self.tile.key

    def is_written(self, record: Record | None) -> bool:
        """Tell whether a ledger record is that of this tile."""
        return record is not None and record.fingerprint == self.fingerprint


def copy_regions(source: str | Path, regions: Regions, out: str | Path) -> None:
    """Copy some regions of a compendium into another store; if interrupted, the same call resumes it.

    Raises
    ------
    StoreError
        If `source` is unfinished or epixs did not write it, or if `out` holds something else.
    """
    dataset = open_compendium(source)
    table, whole = experiments_of(dataset), regions_of(dataset)
    table = table[table["status"] == "ok"]
    plan = Plan(
        "observed",
        str(dataset.attrs["species"]),
        table[[variable.name for variable in EXPERIMENT_LABELS]].reset_index(drop=True),
        regions,
        dataset.attrs["uncovered"],
        {"regions_of": str(dataset.attrs["plan"])},
    )
    location = absolute(out)
    with reaching(location), writing(location):
        store, plan = prepare_store(location, plan)
        tasks = []
        for tile in plan.tiles():
            bins = tuple(_bins_of(whole, regions, tile))
            rows = tuple(map(int, table.index[tile.first_row : tile.stop_row]))
            tasks.append(CopyTask(tile, bins, rows, tile_fingerprint(plan, tile)))
        pending = unwritten(tasks, read_ledger(store))
        if pending:
            store = reopen(store)
        run_pending(store, functools.partial(_copy_tiles, absolute(source)), pending, len(tasks))
        by_tile = {task.tile: task for task in tasks}
        finalise(store, plan, lambda tile, record: by_tile[tile].is_written(record))


def _bins_of(whole: Regions, regions: Regions, tile: Tile) -> Iterator[tuple[int, int]]:
    """Yield the stretches of the source store's bins that a tile holds, in order."""
    for piece in regions.pieces(tile.first_bin, tile.stop_bin):
        bins = whole.bins_of(piece.chrom, piece.start, piece.end)
        yield int(bins[0]), int(bins[-1]) + 1


def _copy_tiles(source: str, store: Store, tasks: Sequence[CopyTask]) -> Iterator[Record]:
    signal = open_signal(source)
    for task in tasks:
        values = [_row(signal, row, task.bins) for row in task.rows]
        write_block(store, task.tile, values)
        bases = (task.tile.stop_bin - task.tile.first_bin) * BIN_SIZE
        covered = [bases * int(np.isfinite(row).sum()) // row.size for row in values]
        yield Record(
            task.fingerprint,
            [row_statistics(row, bases, known) for row, known in zip(values, covered, strict=True)],
        )


def _row(signal: object, row: int, bins: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    pieces = [signal[row, start:stop] for start, stop in bins]  # type: ignore[index]
    return np.concatenate([np.asarray(piece, dtype=np.float32) for piece in pieces])
