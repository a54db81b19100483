"""Read the progress of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epixs.compendium.notes import in_words, merged_notes
from epixs.compendium.read import read_attributes, stored_layout
from epixs.compendium.schema import REMOVED
from epixs.storage.ledger import read_progress
from epixs.storage.store import LEDGER_PATH, Store, open_store, reading


@dataclass(frozen=True)
class StoreStatus:
    """Progress of a store, and its unusual experiments.

    Parameters
    ----------
    status
        `"unfinished"` or `"complete"`.
    tiles_done, tiles
        Numbers of tiles written and of all tiles.
    experiments
        Number of rows of the store.
    failed, removed
        `(accession, reason)` of experiments that could not be read, and of those that were removed.
    noted
        `(accession, note)` of experiments whose files were unusual in a way that concerns their values.
    """

    status: str
    tiles_done: int
    tiles: int
    experiments: int
    failed: list[tuple[str, str]]
    removed: list[tuple[str, str]]
    noted: list[tuple[str, str]]


def store_status(place: Store | str | Path) -> StoreStatus:
    """Read the progress of a store, finished or not."""
    store = open_store(place)
    attributes = read_attributes(store)
    done, remarkable = read_progress(store)
    rows = stored_layout(store).chunk_rows
    with reading(store, "is damaged or was not completely created"):
        accessions, ledger = store.array("accession")[:], store.array(LEDGER_PATH)
    reasons: dict[int, str] = {}
    parts: dict[int, list[dict[str, Any]]] = {}
    for (group, _), record in remarkable.items():
        for offset, row in enumerate(record.rows):
            if row.get("notes"):
                parts.setdefault(group * rows + offset, []).append(row)
            if row.get("error"):
                reasons.setdefault(group * rows + offset, str(row["error"]))
    marks = attributes[REMOVED]
    names = [str(accession) for accession in accessions]
    return StoreStatus(
        attributes["status"],
        done,
        ledger.size,
        len(names),
        [
            (names[at], why)
            for at, why in sorted(reasons.items())
            if at < len(names) and names[at] not in marks
        ],
        [(name, marks[name]) for name in names if name in marks],
        [
            (names[at], text)
            for at, rows_noted in sorted(parts.items())
            if at < len(names) and at not in reasons and (text := in_words(merged_notes(rows_noted)))
        ],
    )
