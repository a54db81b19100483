"""How far a store is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from epixs.compendium.read import read_attributes, stored_layout
from epixs.compendium.schema import (
    REMOVED,
)
from epixs.errors import StoreError
from epixs.storage.ledger import LEDGER_PATH, read_ledger
from epixs.storage.location import zarr_store


@dataclass(frozen=True)
class StoreStatus:
    """How far a store is.

    Parameters
    ----------
    status
        `"unfinished"` or `"complete"`.
    tiles_done, tiles
        Tiles written and in all.
    experiments
        Rows of the store.
    failed, removed
        `(accession, reason)` of those that could not be read, and of those that were removed.
    """

    status: str
    tiles_done: int
    tiles: int
    experiments: int
    failed: list[tuple[str, str]]
    removed: list[tuple[str, str]]


def store_status(path: str | Path) -> StoreStatus:
    """Read how far a store is, finished or not."""
    attributes = read_attributes(path)
    records = read_ledger(path)
    rows = stored_layout(path).chunk_rows
    try:
        accessions = np.asarray(zarr.open_array(zarr_store(path), path="accession", mode="r")[:])
        ledger = zarr.open_array(zarr_store(path), path=LEDGER_PATH, mode="r")
    except Exception as error:  # zarr and its codecs raise many types
        raise StoreError(f"{path} is damaged or was never quite created", got=type(error).__name__) from error
    reasons: dict[int, str] = {}
    for (group, _), record in records.items():
        for offset, row in enumerate(record.rows):
            if row.get("error"):
                reasons.setdefault(group * rows + offset, str(row["error"]))
    marks = attributes[REMOVED]
    names = [str(accession) for accession in accessions]
    return StoreStatus(
        attributes["status"],
        sum(not record.is_forgotten for record in records.values()),
        int(np.prod(ledger.shape)),
        len(names),
        [
            (names[at], why)
            for at, why in sorted(reasons.items())
            if at < len(names) and names[at] not in marks
        ],
        [(name, marks[name]) for name in names if name in marks],
    )
