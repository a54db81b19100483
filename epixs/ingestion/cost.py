"""Estimate the cost of an ingest, and find the files that it cannot read, before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from epixs.compendium.plan import COMPRESSION_RATIO, Plan
from epixs.compendium.read import INDEX_CHUNK
from epixs.compendium.schema import COORDINATES
from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.ingestion.tile import read_row
from epixs.storage.location import is_url
from epixs.tracks.opened import KEPT_BYTES, OpenTracks, open_checked
from epixs.tracks.remote import MAX_KEPT_BYTES, REQUESTS_AT_ONCE

PROBED_FILES, PROBED_BINS = 5, 40_000

INDEX_SHARE = 0.04
"""Ratio of the memory of a file's index to the size of the file."""

LIBRARY_BYTES = 250_000_000
"""Resident memory of an idle worker, in bytes (docs/store.md)."""


def unreadable_sources(
    plan: Plan, assembly: Assembly, progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Open every source of a plan and check its header; return the reason of each bad one, by accession.

    A few are opened at a time. Only headers and indexes are read, not the data.
    """
    chroms = tuple(dict.fromkeys(plan.regions.chrom))

    def reason(source: str) -> str | None:
        try:
            open_checked(source, assembly, chroms).close()
        except TrackError as error:
            return error.message
        return None

    reasons = {}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        answers = pool.map(reason, plan.experiments["source"])
        for number, (accession, answer) in enumerate(
            zip(plan.experiments["accession"], answers, strict=True), 1
        ):
            if answer is not None:
                reasons[accession] = answer
            if progress:
                progress(number, plan.n_experiments)
    return reasons


@dataclass(frozen=True)
class IngestCost:
    """The cost of an ingest: bytes read and written, objects, memory per worker, seconds of one core."""

    bytes_in: int
    bytes_out: int
    objects: int
    tiles: int
    worker_bytes: int
    core_seconds: float | None


def project_cost(plan: Plan, assembly: Assembly) -> IngestCost:
    """Estimate the cost of a plan from its sizes and from reading a little of its first readable file."""
    tiles = list(plan.tiles())
    largest = max(tile.n_values for tile in tiles) * 4
    return IngestCost(
        int(plan.experiments["source_size"].clip(lower=0).sum()),
        int(plan.n_bytes * COMPRESSION_RATIO),
        2 * len(tiles) + 2 * len(COORDINATES) + plan.n_bins // INDEX_CHUNK + 4,
        len(tiles),
        # The tile, its shard (while it is written), a row's sums, the open tracks, and the libraries.
        2 * largest + largest // plan.layout.chunk_rows * 6 + _open_bytes(plan) + LIBRARY_BYTES,
        _probe_seconds(plan, assembly),
    )


def _open_bytes(plan: Plan) -> int:
    """Estimate the memory of the indexes of open tracks, and of the bytes fetched ahead from a remote one."""
    largest = int(plan.experiments["source_size"].clip(lower=0).nlargest(plan.layout.chunk_rows).sum())
    kept = plan.layout.chunk_rows if plan.grid[1] > 1 else 1
    index = min(KEPT_BYTES, int(INDEX_SHARE * largest * kept / plan.layout.chunk_rows))
    return index + (MAX_KEPT_BYTES if any(map(is_url, plan.experiments["source"])) else 0)


def _probe_seconds(plan: Plan, assembly: Assembly) -> float | None:
    pieces = list(plan.regions.pieces(0, min(plan.n_bins, PROBED_BINS)))
    values = np.empty(sum(piece.n_bins for piece in pieces), dtype=np.float32)
    for source in plan.experiments["source"].head(PROBED_FILES):
        with OpenTracks(assembly, tuple(dict.fromkeys(plan.regions.chrom))) as tracks:
            try:
                read_row(source, pieces, plan.uncovered, values, tracks)  # compile and warm up
                started = time.perf_counter()
                read_row(source, pieces, plan.uncovered, values, tracks)
            except TrackError:
                continue
            return (time.perf_counter() - started) / values.size * plan.n_bins * plan.n_experiments
    return None
