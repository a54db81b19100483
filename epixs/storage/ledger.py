"""One record per written tile: what went in, its checksum, and what each row held.

The ledger is a Zarr array of JSON texts, one chunk a record, so that writing a record is one atomic put on
local disk and object stores alike. A record is written after its shard: a tile without one is not done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from epixs.errors import StoreError
from epixs.storage.location import zarr_store
from epixs.storage.tiling import Tile

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
        from; not in an imputed store), and `error` or the entries of `row_statistics`.
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


def check_ledger(path: str | Path, grid: tuple[int, int]) -> None:
    """Check that the ledger has a place for each tile.

    Raises
    ------
    StoreError
        If it is missing or has another shape: what was written is then not known.
    """
    try:
        shape: Any = zarr.open_array(zarr_store(path), path=LEDGER_PATH, mode="r").shape
    except Exception as error:  # zarr raises many types
        shape = type(error).__name__
    if shape != grid:
        raise StoreError(
            f"{path}: its ledger is missing or damaged",
            got=shape,
            expected=f"shape {grid}",
            next_step=f"bring {LEDGER_PATH} back from a copy, or make the store again elsewhere",
        )


def write_record(path: str | Path, tile: Tile, record: Record) -> None:
    """Enter a tile that has just been written."""
    array = zarr.open_array(zarr_store(path), path=LEDGER_PATH, mode="r+")
    array[tile.row_group, tile.bin_range] = json.dumps(asdict(record), separators=(",", ":"))


def forget_record(path: str | Path, row_group: int, bin_range: int) -> None:
    """Have a tile written again. That its rows were read before stays known: they must not be given up."""
    array = zarr.open_array(zarr_store(path), path=LEDGER_PATH, mode="r+")
    text = str(array[row_group, bin_range])
    if text:
        forgotten = replace(
            _parse(path, f"{row_group}/{bin_range}", text, lambda row: type(row) is dict), fingerprint=""
        )
        array[row_group, bin_range] = json.dumps(asdict(forgotten), separators=(",", ":"))


def is_sound_row(row: Any) -> bool:
    """Whether a row's entry has the types of one: what a store holds is a claim."""
    if type(row) is not dict or not all(type(row.get(name, "")) is str for name in TEXTS):
        return False
    if row.get("error"):
        return True
    numbers = ("sum", "min", "max") if row.get("bins") else ("sum",)
    counted = all(type(row.get(name)) is int and 0 <= row[name] < 1 << 62 for name in COUNTS)
    return counted and all(
        type(row.get(name)) in (int, float) and math.isfinite(row[name]) for name in numbers
    )


def read_ledger(
    path: str | Path, is_sound: Callable[[Any], bool] = is_sound_row
) -> dict[tuple[int, int], Record]:
    """All records, by `(row_group, bin_range)`; `is_sound` says whether a row's entry has the right types.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    try:
        array = zarr.open_array(zarr_store(path), path=LEDGER_PATH, mode="r")
        if array.size > MAX_TILES or array.ndim != 2:
            raise StoreError(
                f"{path}: its ledger has shape {array.shape}", expected=f"{MAX_TILES} tiles at most"
            )
        texts = np.asarray(array[:])
    except StoreError:
        raise
    except Exception as error:  # zarr and its codecs raise many types
        raise StoreError(
            f"{path}: its ledger cannot be read", got=type(error).__name__, next_step="ingest again"
        ) from error
    return {
        (int(group), int(span)): _parse(path, f"{group}/{span}", str(text), is_sound)
        for (group, span), text in np.ndenumerate(texts)
        if text
    }


def _parse(path: str | Path, name: str, text: str, is_sound: Callable[[Any], bool]) -> Record:
    try:
        record = Record(**json.loads(text))
        sound = type(record.fingerprint) is str and type(record.rows) is list
        sound = sound and all(map(is_sound, record.rows))
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise StoreError(f"{path}: ledger record {name} is damaged", next_step="ingest again") from error
    if not sound:
        raise StoreError(f"{path}: ledger record {name} is damaged", next_step="ingest again")
    return record


LEDGER_PATH = "ledger/record"
