"""One record per written tile: what went in, its checksum, and what each row held.

The ledger is a Zarr array of JSON texts, one chunk a record, so that writing a record is one atomic put on
local disk and object stores alike. A record is written after its shard: a tile without one is not done.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from epixs.compendium.plan import Tile
from epixs.compendium.schema import LEDGER_PATH
from epixs.errors import StoreError

MAX_TILES = 10_000_000


@dataclass(frozen=True)
class Record:
    """What the ledger holds of one tile.

    Parameters
    ----------
    fingerprint
        Digest of everything that went in: sources with size and time, regions, settings.
    checksum
        Of the tile's values.
    rows
        One dict a row: `error`, or `bins sum min max zeros bases covered`.
    """

    fingerprint: str
    checksum: str
    rows: list[dict[str, Any]]

    @property
    def has_errors(self) -> bool:
        """Whether a row of the tile could not be read."""
        return any(row.get("error") for row in self.rows)


def checksum(values: npt.NDArray[np.float32]) -> str:
    """Digest of a tile's values as little-endian float32."""
    data = np.ascontiguousarray(values, dtype="<f4")
    return hashlib.blake2b(data.view(np.uint8).data, digest_size=16).hexdigest()


def row_statistics(values: npt.NDArray[np.float32], bases: int, covered: int) -> dict[str, Any]:
    """Statistics of one row of a tile; NaN bins are not counted."""
    known = values[~np.isnan(values)]
    if not known.size:
        return {"bins": 0, "sum": 0.0, "zeros": 0, "bases": bases, "covered": covered}
    return {
        "bins": int(known.size),
        "sum": float(known.sum(dtype=np.float64)),
        "min": float(known.min()),
        "max": float(known.max()),
        "zeros": int((known == 0).sum()),
        "bases": bases,
        "covered": covered,
    }


def write_record(path: str | Path, tile: Tile, record: Record) -> None:
    """Enter a tile that has just been written."""
    array = zarr.open_array(str(path), path=LEDGER_PATH, mode="r+")
    array[tile.row_group, tile.bin_range] = json.dumps(asdict(record), separators=(",", ":"))


def forget_record(path: str | Path, row_group: int, bin_range: int) -> None:
    """Take a tile's record out, so that the tile is written again."""
    zarr.open_array(str(path), path=LEDGER_PATH, mode="r+")[row_group, bin_range] = ""


def read_ledger(path: str | Path) -> dict[tuple[int, int], Record]:
    """All records, by `(row_group, bin_range)`.

    Raises
    ------
    StoreError
        If a record is damaged.
    """
    try:
        array = zarr.open_array(str(path), path=LEDGER_PATH, mode="r")
        if array.size > MAX_TILES:
            raise StoreError(f"{path}: its ledger claims {array.size} tiles", expected=f"at most {MAX_TILES}")
        texts = np.asarray(array[:])
    except StoreError:
        raise
    except Exception as error:  # zarr and its codecs raise many types
        raise StoreError(
            f"{path}: its ledger cannot be read", got=type(error).__name__, next_step="ingest again"
        ) from error
    return {
        (int(group), int(span)): _parse(path, f"{group}/{span}", str(text))
        for (group, span), text in np.ndenumerate(texts)
        if text
    }


def _parse(path: str | Path, name: str, text: str) -> Record:
    try:
        record = Record(**json.loads(text))
        sound = isinstance(record.rows, list) and all(isinstance(row, dict) for row in record.rows)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{path}: ledger record {name} is damaged", next_step="ingest again") from error
    if not sound:
        raise StoreError(f"{path}: ledger record {name} is damaged", next_step="ingest again")
    return record
