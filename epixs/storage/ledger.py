"""One record per written tile: what went in, its checksum, and what each row held.

The ledger is a Zarr array of JSON texts, one chunk a record, so that writing a record is one atomic put on
local disk and object stores alike. A record is written after its shard: a tile without one is not done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from epixs.errors import StoreError
from epixs.storage.store import LEDGER_PATH, Store, reading
from epixs.storage.tiling import Key

MAX_TILES = 10_000_000


COUNTS, TEXTS = ("bins", "zeros", "bases", "covered"), ("checksum", "source", "error")


@dataclass(frozen=True)
class Record:
    """What the ledger holds of one tile.

    Parameters
    ----------
    fingerprint
        Digest of what all rows share: coordinates and settings, or a model.
    rows
        One dict a row: `checksum` of its values, `source` (digest of the path, size and version it was read
        from; not in an imputed store), and `error` or the entries of `row_statistics`; `notes` where its file
        was unusual.
    """

    fingerprint: str
    rows: list[dict[str, Any]]

    @property
    def is_forgotten(self) -> bool:
        """Whether the tile is to be written again, though its rows were read before."""
        return not self.fingerprint

    @property
    def has_errors(self) -> bool:
        """Whether a row of the tile could not be read."""
        return any(row.get("error") for row in self.rows)


def write_record(store: Store, key: Key, record: Record) -> None:
    """Enter a tile that has just been written."""
    store.array(LEDGER_PATH)[key] = json.dumps(asdict(record), separators=(",", ":"))


def forget_record(store: Store, key: Key) -> None:
    """Have a tile written again. That its rows were read before stays known: they must not be given up."""
    text = str(store.array(LEDGER_PATH)[key])
    if text:
        record = _parse(store, key, text, lambda row: type(row) is dict)
        write_record(store, key, replace(record, fingerprint=""))


def is_sound_row(row: Any) -> bool:
    """Whether a row's entry has the types of one: what a store holds is a claim."""
    if type(row) is not dict or not all(type(row.get(name, "")) is str for name in TEXTS):
        return False
    notes = row.get("notes", {})
    if type(notes) is not dict or not all(type(value) in (int, str) for value in notes.values()):
        return False
    if row.get("error"):
        return True
    numbers = ("sum", "min", "max") if row.get("bins") else ("sum",)
    counted = all(type(row.get(name)) is int and 0 <= row[name] < 1 << 62 for name in COUNTS)
    return counted and all(
        type(row.get(name)) in (int, float) and math.isfinite(row[name]) for name in numbers
    )


def read_ledger(store: Store, is_sound: Callable[[Any], bool] = is_sound_row) -> dict[Key, Record]:
    """All records, by tile; `is_sound` says whether a row's entry has the right types.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    with reading(store, "has a ledger that cannot be read", next_step="ingest again"):
        array = store.array(LEDGER_PATH)
        if array.size > MAX_TILES or array.ndim != 2:
            raise StoreError(
                f"{store}: its ledger has shape {array.shape}", expected=f"{MAX_TILES} tiles at most"
            )
        texts = np.asarray(array[:])
    return {
        (int(group), int(span)): _parse(store, (int(group), int(span)), str(text), is_sound)
        for (group, span), text in np.ndenumerate(texts)
        if text
    }


def check_written(
    store: Store, records: Mapping[Key, Record], tiles: Mapping[Key, Callable[[Record], bool]]
) -> None:
    """Check that every tile of a store is written, and from what it should be.

    Raises
    ------
    StoreError
        Naming the first tile that is not.
    """
    for key, is_done in tiles.items():
        if key not in records or not is_done(records[key]):
            raise StoreError(
                f"{store}: tile {'/'.join(map(str, key))} is not written",
                next_step="run the same command again: it resumes where it stopped",
            )


def _parse(store: Store, key: Key, text: str, is_sound: Callable[[Any], bool]) -> Record:
    try:
        record = Record(**json.loads(text))
        sound = type(record.fingerprint) is str and type(record.rows) is list
        sound = sound and all(map(is_sound, record.rows))
    except (ValueError, TypeError, RecursionError, OverflowError):
        sound = False
    if not sound:
        name = "/".join(map(str, key))
        raise StoreError(f"{store}: ledger record {name} is damaged", next_step="ingest again")
    return record
