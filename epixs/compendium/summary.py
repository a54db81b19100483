"""Statistics of a row, in one tile and in the whole store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.compendium.notes import in_words, merged_notes, notes_on_files
from epixs.compendium.plan import Plan
from epixs.compendium.schema import (
    EXPERIMENT_SUMMARIES,
    REMOVED,
)
from epixs.compiled import compiled
from epixs.errors import StoreError
from epixs.storage.fingerprint import checksum
from epixs.storage.ledger import Record
from epixs.storage.tiling import Key

STRETCH = 4096


def row_statistics(values: npt.NDArray[np.float32], bases: int, covered: int) -> dict[str, Any]:
    """Compute checksum and statistics of one row of a tile; NaN bins are not counted."""
    bins, zeros, total = _count(values)
    counted = {"checksum": checksum(values), "bins": bins, "sum": total, "zeros": zeros}
    extremes = {"min": float(np.fmin.reduce(values)), "max": float(np.fmax.reduce(values))} if bins else {}
    return counted | extremes | {"bases": bases, "covered": covered}


# Values are whole multiples of 1/2048, whose sums are exact in any order; so the compiler may reorder them.
@compiled(fastmath={"reassoc", "nsz"})
def _count(values: npt.NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """Count known bins and zeros, and sum values, in stretches, so that counts have 32 bits as values do."""
    bins, zeros, total = np.int64(0), np.int64(0), 0.0
    for first in range(0, values.size, STRETCH):
        part = values[first : first + STRETCH]
        known, nought = np.int32(0), np.int32(0)
        for i in range(part.size):
            known += np.int32(part[i] == part[i])
            nought += np.int32(part[i] == np.float32(0))
        for i in range(part.size):
            total += np.float64(part[i] if part[i] == part[i] else np.float32(0))
        bins += known
        zeros += nought
    return bins, zeros, total


def summarise(
    plan: Plan, records: Mapping[Key, Record], removed: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Join the ledger's row statistics of all tiles into one row per experiment.

    `attrs["notes"]` describes unusual features of the files in sentences.
    """
    groups: dict[int, list[Record]] = {}
    for (group, _), record in sorted(records.items()):
        groups.setdefault(group, []).append(record)
    rows: list[dict[str, Any]] = []
    notes: dict[str, dict[str, Any]] = {}
    for row, accession in enumerate(plan.experiments["accession"]):
        group, offset = divmod(row, plan.layout.chunk_rows)
        records_of_row = groups.get(group, [])
        if any(offset >= len(record.rows) for record in records_of_row):
            raise StoreError(
                f"ledger of row group {group} is damaged",
                got=f"no entry for {accession}",
                next_step="ingest again",
            )
        parts = [record.rows[offset] for record in records_of_row]
        notes[accession] = merged_notes(parts)
        entry = _summary(parts) | {"source_notes": in_words(notes[accession])}
        if removed and accession in removed:
            entry["status"] = f"{REMOVED}: {removed[accession]}"
        rows.append(entry)
    table = pd.DataFrame(rows, columns=[v.name for v in EXPERIMENT_SUMMARIES])
    table.attrs["notes"] = notes_on_files(notes, plan.uncovered)
    return table


def _summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise one row from its entries in all tiles."""
    error = next((part["error"] for part in parts if part.get("error")), None)
    entry: dict[str, Any] = {v.name: v.fill for v in EXPERIMENT_SUMMARIES}
    entry["status"] = error or "ok"
    present = [part for part in parts if not part.get("error") and part["bins"]]
    if present and not error:
        bins = sum(part["bins"] for part in present)
        entry["signal_mean"] = sum(part["sum"] for part in present) / bins
        entry["signal_min"] = min(part["min"] for part in present)
        entry["signal_max"] = max(part["max"] for part in present)
        entry["zero_fraction"] = sum(part["zeros"] for part in present) / bins
    bases = sum(part["bases"] for part in parts if not part.get("error"))
    if bases and not error:
        entry["covered_fraction"] = sum(part["covered"] for part in parts) / bases
    return entry
