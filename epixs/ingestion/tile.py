"""One tile of an observed store: read its rows from their sources, and write its shard and its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compendium.plan import Plan
from epixs.compendium.read import read_block
from epixs.compendium.summary import row_statistics
from epixs.compendium.transform import encode
from epixs.compendium.write import write_block
from epixs.errors import StoreError, TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.regions import Piece, bin_widths
from epixs.storage.fingerprint import checksum, digest
from epixs.storage.ledger import Record
from epixs.storage.location import is_store_fault
from epixs.storage.store import Store
from epixs.storage.tiling import Key, Tile
from epixs.tracks import Backend, Placement, Uncovered
from epixs.tracks.opened import KEPT_BYTES, OpenTracks

Rows = list[npt.NDArray[np.float32]]
"""Values of a tile by row, each of shape `(bin,)`."""

State = Sequence[Any]
"""Path or URL, size and version of a source; they change if it is replaced."""

NAMED = 3
"""Maximum number of unusual chromosomes of a file that the ledger names."""

TILES_AT_ONCE = 8
"""Number of tiles of one row group that one worker reads in turn, so that it opens their tracks only once."""


@dataclass(frozen=True)
class Row:
    """The source of one row of a tile.

    Parameters
    ----------
    source
        Path or URL of its bigWig.
    state
        State that the source must have, before and after reading; None for any.
    kept
        Ledger entry of the row, if the store holds it already and it is only copied.
    held
        Whether the store holds values of this row that must not be replaced by an error.
    """

    source: str
    state: State | None = None
    kept: dict[str, Any] | None = None
    held: bool = False

    def agrees(self, entry: dict[str, Any]) -> bool:
        """Tell whether a ledger entry was read from this source in this state."""
        return self.state is None or entry.get("source") == digest(list(self.state))


@dataclass(frozen=True)
class RowRead:
    """The result of reading one row, beside its values.

    Parameters
    ----------
    bases, covered
        Number of bases read, and of those that have a value.
    notes
        Unusual features of the file, as the ledger holds them; `compendium.notes` puts them into words.
    """

    bases: int
    covered: int
    notes: dict[str, Any]


@dataclass(frozen=True)
class TileTask:
    """All that a worker needs to read one tile; small, and the same for every kind of client.

    Parameters
    ----------
    tile
        The tile.
    rows
        Source of each of its rows.
    assembly, uncovered
        As in the plan.
    backend
        Reader of the bigWigs. It is not part of the fingerprint, because the values are the same.
    pieces
        The tile's bins on the genome.
    chroms
        All chromosomes of the store, so that a track of another assembly fails in every tile and no row is
        half read.
    """

    tile: Tile
    rows: tuple[Row, ...]
    assembly: Assembly
    pieces: tuple[Piece, ...]
    chroms: tuple[str, ...]
    uncovered: Uncovered
    backend: Backend = "epixs"

    @property
    def key(self) -> Key:
        """The tile's place in the ledger."""
        return self.tile.key

    def fingerprint(self) -> str:
        """Compute the digest of what all rows share: the pieces and the settings."""
        return _fingerprint(self.pieces, self.uncovered)

    def tracks(self, tiles: int = 1) -> OpenTracks:
        """Return the opener of the tile's tracks; it keeps them open if a worker reads several `tiles`."""
        return OpenTracks(self.assembly, self.chroms, self.backend, KEPT_BYTES if tiles > 1 else 0)

    def is_written(self, record: Record | None) -> bool:
        """Tell whether a ledger record is that of this tile, read from these sources."""
        return (
            record is not None
            and record.fingerprint == self.fingerprint()
            and len(record.rows) == len(self.rows)
            and all(row.agrees(entry) for row, entry in zip(self.rows, record.rows, strict=True))
        )


def tile_fingerprint(plan: Plan, tile: Tile) -> str:
    """Compute the fingerprint of a tile's task."""
    return _fingerprint(plan.regions.pieces(tile.first_bin, tile.stop_bin), plan.uncovered)


def _fingerprint(pieces: Iterable[Piece], uncovered: Uncovered) -> str:
    return digest([[[p.chrom, p.start, p.end, p.first_bin] for p in pieces], uncovered])


def tile_task(
    plan: Plan,
    assembly: Assembly,
    tile: Tile,
    states: Sequence[State | None] | None = None,
    backend: Backend = "epixs",
) -> TileTask:
    """Make the task of reading a tile of a plan; with `states`, files must still be in these states."""
    sources = plan.experiments["source"].iloc[tile.first_row : tile.stop_row]
    known = states[tile.first_row : tile.stop_row] if states else [None] * len(sources)
    return TileTask(
        tile,
        tuple(Row(source, state) for source, state in zip(sources, known, strict=True)),
        assembly,
        tuple(plan.regions.pieces(tile.first_bin, tile.stop_bin)),
        tuple(dict.fromkeys(plan.regions.chrom)),
        plan.uncovered,
        backend,
    )


def read_row(
    source: str,
    pieces: Iterable[Piece],
    uncovered: Uncovered,
    values: npt.NDArray[np.float32],
    tracks: OpenTracks,
    state: State | None = None,
) -> RowRead:
    """Read one track over some pieces into `values`, shape `(bin,)`, arcsinh units.

    Returns
    -------
    The number of bases with a value, and unusual features of the file.

    Raises
    ------
    TrackError
        If the file cannot be read as a track of the assembly, or is not in `state` before and after.
    """
    pieces = list(pieces)
    with tracks.borrow(source) as track:
        if state is not None:
            track.check_state(state)
        track.prefetch(pieces)
        signal = track.read_all(pieces)
        if state is not None:
            track.check_state(state)
        notes = _placed(track.placement)
    widths = bin_widths(pieces)
    values[:] = encode(signal.means(widths, uncovered))
    notes |= {"without_width": signal.without_width, "overlapping": signal.overlapping}
    known = {name: value for name, value in notes.items() if value}
    return RowRead(int(widths.sum()), int(signal.covered.sum()), known)


def _placed(placement: Placement) -> dict[str, Any]:
    """Make the ledger's notes on how a file's chromosomes differ from the assembly."""
    return {
        "absent": len(placement.absent),
        "first_absent": _first(placement.absent),
        "renamed": _first(placement.renamed),
        "other_lengths": _first(placement.other_lengths),
    }


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def read_tile(task: TileTask, tracks: OpenTracks | None = None) -> tuple[Rows, list[dict[str, Any]]]:
    """Read the rows of a tile from their sources; rows that are kept stay NaN.

    A row that cannot be read is NaN, with the reason in its ledger entry. Some of `tracks` may be open
    already. Each row is an array of its own: arrays of that size reuse the memory of the last tile's rows.
    """
    if tracks is None:
        with task.tracks() as tracks:
            return read_tile(task, tracks)
    tile = task.tile
    values = [np.empty(tile.stop_bin - tile.first_bin, dtype=np.float32) for _ in task.rows]
    entries: list[dict[str, Any]] = []
    for row, into in zip(task.rows, values, strict=True):
        if row.kept is not None:
            into.fill(np.nan)
            entries.append(row.kept)
            continue
        try:
            read = read_row(row.source, task.pieces, task.uncovered, into, tracks, row.state)
        except TrackError as error:
            into.fill(np.nan)
            entry: dict[str, Any] = {"checksum": checksum(into), "error": error.message}
        else:
            entry = row_statistics(into, read.bases, read.covered)
            entry |= {"notes": read.notes} if read.notes else {}
        entries.append(entry | ({"source": digest(list(row.state))} if row.state else {}))
    return values, entries


def ingest_tiles(store: Store, tasks: Sequence[TileTask]) -> Iterator[Record]:
    """Write tiles of one row group, one after the other; yields the ledger record of each. Safe to repeat.

    Raises
    ------
    StoreError
        If a row that the store holds can no longer be read; nothing is overwritten.
    """
    with tasks[0].tracks(len(tasks)) as tracks:
        for task in tasks:
            yield ingest_tile(store, task, tracks)


def ingest_tile(store: Store, task: TileTask, tracks: OpenTracks) -> Record:
    """Read a tile and write its shard; returns its ledger record. Safe to repeat.

    Raises
    ------
    StoreError
        If a row that the store holds can no longer be read; nothing is overwritten.
    """
    held = _copy_kept(store, task)
    task = replace(task, rows=tuple(row for row, _ in held))
    values, entries = read_tile(task, tracks)
    for index, (row, copy) in enumerate(held):
        if copy is not None:
            values[index] = copy
        elif row.held and "error" in entries[index]:
            raise StoreError(
                f"{store} holds a row whose source can no longer be read",
                got=entries[index]["error"],
                expected="a track, as it was when the row was read",
                next_step="bring the file back, or leave it out and ingest the others into another store",
            )
    write_block(store, task.tile, values)
    return Record(task.fingerprint(), entries)


def _copy_kept(store: Store, task: TileTask) -> list[tuple[Row, npt.NDArray[np.float32] | None]]:
    """Return the rows, with the values of those to keep; a kept row that is damaged has to be read again."""
    if not any(row.kept for row in task.rows):
        return [(row, None) for row in task.rows]
    try:
        values = read_block(store, task.tile)
    except Exception as error:  # codecs raise many types for a damaged shard
        if is_store_fault(error):
            raise
        values = np.full((len(task.rows), 0), np.nan, dtype=np.float32)
    held: list[tuple[Row, npt.NDArray[np.float32] | None]] = []
    for row, copy in zip(task.rows, values, strict=True):
        if row.kept is not None and row.kept.get("checksum") == checksum(copy):
            held.append((row, copy))
        else:
            held.append((replace(row, kept=None), None))
    return held
