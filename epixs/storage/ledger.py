"""The ledger: one record per written tile, with its sources, and the checksum and statistics of each row.

The ledger is a Zarr array of JSON texts with one chunk per record. Writing a record is therefore one atomic
put, on local disk and in object stores. A record is written after its shard: a tile without one is not done.

Reading so many objects from an object store takes minutes. Once some have gathered, `compact` moves records
into one object, `COMPACTED`: lines `row_group/bin_range <tab> JSON text`, packed by zstd. First it replaces
that object, in one atomic write, by its content and the records; then it deletes their own objects. At every
moment, a record is in an object of its own, in `COMPACTED`, or the same in both. If a record has an object of
its own, that one counts, because new records are written there. docs/reliability.md gives the argument.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numcodecs.zstd import Zstd

from epixs.declared import Count, Finite, checked, parsed
from epixs.errors import StoreError
from epixs.storage.store import LEDGER_PATH, Store, reading
from epixs.storage.tiling import Key

MAX_TILES = 10_000_000

COMPACTED = f"{LEDGER_PATH}/compacted.zst"
"""Name of the object that holds the records of many tiles."""

MOVED = "in compacted.zst"
"""Fill value of the ledger's array once records have moved out of its chunks. If `COMPACTED` is missing then,
they are lost."""

FEW = 64
"""Number of records that may stay in objects of their own, because reading so few is fast."""

RUN_OF_TILES = 1024
"""Number of tiles of a run after which their records are moved."""

FRAME = struct.Struct("<IIII")
"""Header of each frame of `COMPACTED`, itself a frame that zstd skips: magic number, length (8 bytes), and as
content the sizes of the frame that follows, packed and unpacked."""

PLACE = re.compile(rb"(\d{1,8})/(\d{1,8})")

SKIPPED, SKIPPED_BYTES, MAX_FRAME = 0x184D2A50, 8, 1 << 28

FRAME_LINES = 1024
"""Number of lines per frame."""


class Notes(TypedDict, total=False):
    """Unusual features of a row's file: numbers, and names of the first few chromosomes."""

    absent: Count
    first_absent: str
    renamed: str
    other_lengths: str
    without_width: Count
    overlapping: Count


class Row(TypedDict, total=False):
    """The ledger's entry for one row of a tile of tracks.

    `checksum` is that of its values. `source` is the digest of its file's path, size and version; imputed
    rows lack it. Then come `error` or the entries of `row_statistics`, and `notes` if its file was unusual.
    """

    checksum: str
    source: str
    error: str
    notes: Notes
    bins: Count
    zeros: Count
    bases: Count
    covered: Count
    sum: Finite
    min: Finite
    max: Finite


@dataclass(frozen=True)
class Record:
    """The ledger's record of one tile.

    Parameters
    ----------
    fingerprint
        Digest of all that the rows share: coordinates and settings, or a model.
    rows
        One entry per row; for tracks, a `Row`.
    """

    fingerprint: str
    rows: list[dict[str, Any]]

    @property
    def is_forgotten(self) -> bool:
        """Whether the tile is to be written again, although its rows were read before."""
        return not self.fingerprint

    @property
    def is_remarkable(self) -> bool:
        """Whether a row of the tile has an error or notes."""
        return any(row.get("error") or row.get("notes") for row in self.rows)


def write_record(store: Store, key: Key, record: Record) -> None:
    """Write the record of a tile that has just been written."""
    store.array(LEDGER_PATH)[key] = json.dumps(asdict(record), separators=(",", ":"))


def forget_records(store: Store, keys: Container[Key]) -> None:
    """Mark tiles to be written again, but keep their rows' entries.

    Rows that were read before must not be given up.
    """
    for key, record in read_ledger(store, dict).items():
        if key in keys:
            write_record(store, key, replace(record, fingerprint=""))


def read_ledger(store: Store, row: Any = Row) -> dict[Key, Record]:
    """Read all records, by tile; `row` is the declared type of a row's entry.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    texts = _texts(store)
    return {key: _parse(store, key, texts[key], row) for key in sorted(texts)}


def read_progress(store: Store) -> tuple[int, dict[Key, Record]]:
    """Count the tiles done, and read the records of those that have a row with an error or notes.

    The other records are not parsed: for 100,000 tiles, that would take most of the time.
    """
    texts = _texts(store)
    done = sum(not text.startswith(b'{"fingerprint":""') for text in texts.values())
    looked_at = sorted(
        key
        for key, text in texts.items()
        if b'"error":' in text
        or b'"notes":' in text
        or not (text.startswith(b'{"fingerprint":"') and text.endswith(b"]}"))
    )
    records = {key: _parse(store, key, texts[key], Row) for key in looked_at}
    return done, {key: record for key, record in records.items() if record.is_remarkable}


def compact(store: Store, mine: Container[Key] | None = None, few: int = FEW) -> None:
    """Move records from objects of their own into `COMPACTED`, if they are more than `few`.

    A run may move only the records of the tiles that it writes (`mine`; None for all), and only one run may
    do so at a time (`lock.setting_up`). A run that is killed meanwhile leaves some records in both places.
    """
    with reading(store, "has a ledger that cannot be read", next_step="ingest again"):
        array = _array(store)
        tags = {key: tag for key, tag in _alone(store).items() if mine is None or key in mine}
        if len(tags) <= few:
            return
        # A record that is not one line is damaged: it stays in its object, where its reader finds it.
        moved = {key: text for key, text in _read_alone(array, tags).items() if b"\n" not in text}
        if not moved:
            return
        held = _read_compacted(store, array)
        if moved.keys() & {key for key, _ in held}:  # they were written again
            parts = _packed((dict(_read_compacted(store, array)) | moved).items())
        else:
            parts = itertools.chain([store.get(COMPACTED) or b""], _packed(moved.items()))
    store.put(COMPACTED, parts)
    if array.metadata.fill_value != MOVED:
        _say_that_records_moved(store)
    now = _alone(store)
    same = [key for key in moved if now.get(key) == tags[key]]
    if same:
        store.delete([f"{LEDGER_PATH}/c/{group}/{span}" for group, span in same])


def _say_that_records_moved(store: Store) -> None:
    key = f"{LEDGER_PATH}/zarr.json"
    metadata = json.loads(store.get(key) or b"{}")
    store.put(key, [json.dumps(metadata | {"fill_value": MOVED}, indent=2).encode()])


def _texts(store: Store) -> dict[Key, bytes]:
    """Read the JSON text of each record."""
    with reading(store, "has a ledger that cannot be read", next_step="ingest again"):
        array = _array(store)
        # In this order, a record that another process is moving meanwhile is found in one of the two places.
        alone = _read_alone(array, _alone(store))
        return dict(_read_compacted(store, array)) | alone


def _array(store: Store) -> Any:
    array = store.array(LEDGER_PATH)
    if array.size > MAX_TILES or array.ndim != 2:
        raise StoreError(
            f"{store}: its ledger has shape {array.shape}", expected=f"{MAX_TILES} tiles at most"
        )
    return array


def _alone(store: Store) -> dict[Key, str]:
    """List the records that have an object of their own, with a tag that changes if one is written again."""
    chunks = store.listed(f"{LEDGER_PATH}/c")
    names = {name: PLACE.fullmatch(name.encode()) for name in chunks}
    return {(int(m[1]), int(m[2])): chunks[name] for name, m in names.items() if m}


def _read_alone(array: Any, keys: Iterable[Key]) -> dict[Key, bytes]:
    """Read the texts of those records of some tiles that still have objects of their own."""
    inside = [key for key in keys if key[0] < array.shape[0] and key[1] < array.shape[1]]
    if not inside:
        return {}
    groups, spans = zip(*inside, strict=True)
    texts = array.get_coordinate_selection((np.array(groups), np.array(spans)))
    return {
        key: str(text).encode()
        for key, text in zip(inside, np.ravel(texts), strict=True)
        if text not in ("", MOVED)
    }


def _read_compacted(store: Store, array: Any) -> Iterator[tuple[Key, bytes]]:
    """Read the texts of the records in `COMPACTED`; of two records of one tile the later one counts.

    Raises
    ------
    StoreError
        If they are lost or damaged.
    """
    data = store.get(COMPACTED)
    if data is None:
        if array.metadata.fill_value == MOVED:
            raise _damaged(store, "nothing")
        return
    for lines in _unpacked(store, data):
        for line in lines:
            place, _, text = line.partition(b"\t")
            match = PLACE.fullmatch(place)
            key = (int(match[1]), int(match[2])) if match else (-1, -1)
            if not (match and key[0] < array.shape[0] and key[1] < array.shape[1]):
                raise _damaged(store, "a malformed line")
            yield key, text


def _unpacked(store: Store, data: bytes) -> Iterator[list[bytes]]:
    """Yield the lines of each frame. Sizes are claims: at most `MAX_FRAME` bytes are allocated."""
    at = 0
    while at < len(data):
        head = data[at : at + FRAME.size]
        magic, held, packed, size = FRAME.unpack(head) if len(head) == FRAME.size else (0, 0, 0, 0)
        at += FRAME.size + packed
        if (magic, held) != (SKIPPED, SKIPPED_BYTES) or at > len(data) or size > MAX_FRAME:
            raise _damaged(store, "a malformed frame")
        text = np.empty(size, np.uint8)
        Zstd().decode(data[at - packed : at], out=text)
        lines = text.tobytes().split(b"\n")
        if lines.pop():
            raise _damaged(store, "a line without an end")
        yield lines


def _packed(texts: Iterable[tuple[Key, bytes]]) -> Iterator[bytes]:
    """Pack the lines of some records into frames."""
    waiting = iter(sorted(texts))
    while few := list(itertools.islice(waiting, FRAME_LINES)):
        lines = b"".join(b"%d/%d\t%s\n" % (*key, text) for key, text in few)
        frame = Zstd(level=1, checksum=True).encode(lines)
        yield FRAME.pack(SKIPPED, SKIPPED_BYTES, len(frame), len(lines)) + frame


def _damaged(store: Store, what: str) -> StoreError:
    return StoreError(
        f"{store}: its ledger is missing or damaged",
        got=f"{what} in {COMPACTED}",
        next_step="bring it back from a copy, or make the store again elsewhere",
    )


def check_written(
    store: Store, records: Mapping[Key, Record], tiles: Mapping[Key, Callable[[Record], bool]]
) -> None:
    """Check that every tile of a store is written, and from the right sources.

    Raises
    ------
    StoreError
        If a tile is not; the message names the first one.
    """
    for key, is_done in tiles.items():
        if key not in records or not is_done(records[key]):
            raise StoreError(
                f"{store}: tile {'/'.join(map(str, key))} is not written",
                next_step="run the same command again: it resumes where it stopped",
            )


def _parse(store: Store, key: Key, text: bytes, row: Any) -> Record:
    problem = f"{store}: ledger record {'/'.join(map(str, key))} is damaged"
    next_step = "make the store again elsewhere"
    record: Record = parsed(Record, text, problem, StoreError, next_step)
    checked(list[row], record.rows, f"{problem}: rows", StoreError, next_step)
    for at, entry in enumerate(record.rows if row is Row else ()):
        numbers = ["bins", "zeros", "bases", "covered", "sum", *(["min", "max"] if entry.get("bins") else [])]
        lacking = [name for name in numbers if name not in entry]
        if lacking and not entry.get("error"):
            raise StoreError(f"{problem}: rows[{at}]", got=f"no {lacking[0]}", next_step=next_step)
    return record
