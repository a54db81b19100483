"""Read stretches of a store's tracks as running sums, so that the mean over any range takes two reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.compiled import compiled
from epixs.genome.regions import Regions

READ_ROWS, READ_BINS = 16, 1 << 18


@dataclass(frozen=True)
class Windows:
    """Tracks over stretches of the genome, as running sums within each piece of a region.

    Parameters
    ----------
    sums
        int32, steps of 1/2048 arcsinh units, shape `(track, column)`. A piece of `n` bins has `n + 1`
        columns; the difference of two is the sum of the bins between. Sums wrap around at 2**31, which does
        not change differences. A missing bin counts as its track's mean.
    missing
        Mask of missing bins, shape `(track, column)`; None if no bin is missing.
    column, length
        First column of each piece, and its number of bins, including the halo at its edges.
    bin
        The store's bin at which each piece begins.
    low, high
        Requested bins of each piece, counted from its beginning: `[low, high)`.
    """

    sums: npt.NDArray[np.int32]
    missing: npt.NDArray[np.bool_] | None
    column: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    bin: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]

    @cached_property
    def n_bins(self) -> int:
        """Number of requested bins."""
        return int((self.high - self.low).sum())

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Number of requested bins up to the end of each piece."""
        return np.cumsum(self.high - self.low)


def bytes_per_bin(tracks: int) -> int:
    """Return the memory of one bin of some tracks."""
    return 4 * tracks


def read_windows(
    signal: Any,
    rows: npt.NDArray[np.int64],
    fill: npt.NDArray[np.float32],
    spans: Sequence[tuple[int, int]],
    regions: Regions,
    halo: int,
    order: Literal["C", "F"] = "C",
) -> Windows:
    """Read rows of a store over spans of bins, and up to `halo` bins around them within their region.

    Parameters
    ----------
    signal
        The store's signal, `(experiment, bin)`.
    rows
        Rows to read, in the order of the tracks.
    fill
        Value of missing bins of each row, arcsinh units.
    spans
        `[start, stop)` of the store's bins.
    regions
        Regions of the store's bins.
    order
        Order of the sums in memory: all of a track together (`"C"`), to read it at neighbouring bins, or all
        tracks of a column (`"F"`), to read them at single bins. The first takes many times as long for that.
    """
    pieces = [piece for span in spans for piece in _pieces(*span, regions, halo)]
    table = np.array(pieces, dtype=np.int64).reshape(-1, 4)  # bin, length, low, high
    column = np.concatenate([[0], np.cumsum(table[:, 1] + 1)])
    sums = np.zeros((rows.size, int(column[-1])), np.int32, order=order)
    missing: npt.NDArray[np.bool_] | None = None
    for group in np.unique(rows // READ_ROWS):
        tracks = np.flatnonzero(rows // READ_ROWS == group)
        low, high = int(group) * READ_ROWS, (int(group) + 1) * READ_ROWS
        for (first, length, _, _), at in zip(table.tolist(), column.tolist(), strict=False):
            for start in range(0, length, READ_BINS):
                stop = min(length, start + READ_BINS)
                block = np.asarray(signal[low:high, first + start : first + stop], dtype=np.float32)
                unknown = np.isnan(block[rows[tracks] - low])
                if unknown.any():
                    missing = np.zeros(sums.shape, np.bool_) if missing is None else missing
                    missing[tracks, at + start : at + stop] = unknown
                _add_up(block, rows[tracks] - low, fill[tracks], tracks, sums, at + start)
    return Windows(sums, missing, column[:-1], table[:, 1], table[:, 0], table[:, 2], table[:, 3])


def _pieces(start: int, stop: int, regions: Regions, halo: int) -> list[tuple[int, int, int, int]]:
    """List the first bin, number of bins, and requested bins, of each region's piece of a span."""
    pieces = []
    for index in range(int(np.searchsorted(regions.first_bin, start, side="right")) - 1, len(regions)):
        first = int(regions.first_bin[index])
        end = first + int(regions.n_bins_each[index])
        if first >= stop:
            break
        low, high = max(first, start), min(end, stop)
        begin, finish = max(first, low - halo), min(end, high + halo)
        pieces.append((begin, finish - begin, low - begin, high - begin))
    return pieces


@compiled()
def _add_up(
    values: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    fill: npt.NDArray[np.float32],
    tracks: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int32],
    first: int,
) -> None:
    """Fill in running sums of tracks from rows of values, continuing from those in the first column."""
    total = np.empty(tracks.size, np.int64)
    for k in range(tracks.size):
        total[k] = sums[tracks[k], first]
    for i in range(values.shape[1]):
        for k in range(tracks.size):
            value = values[rows[k], i]
            if value != value:
                value = fill[k]
            total[k] += np.int64(np.rint(value * np.float32(STEPS_PER_UNIT)))
            sums[tracks[k], first + i + 1] = np.int32(total[k])
