"""Choose places at which to show a track by rules, so that nobody picks places that look good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.genome.regions import BIN_SIZE, Regions
from epixs.report.comparison import Comparison, Place, Track

WINDOW = 100_000
"""Width of a chosen place, bp."""

MOST_SIGNAL, LARGEST_ERROR = "most observed signal", "largest error"
"""Reasons to show a place."""

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Windows:
    """The genome in windows of `WINDOW` bp. Windows without bins are never chosen."""

    regions: Regions

    @property
    def _first(self) -> dict[str, int]:
        """Number of each chromosome's first window."""
        ends: dict[str, int] = {}
        for chrom, end in zip(self.regions.chrom, self.regions.end, strict=True):
            ends[chrom] = max(ends.get(chrom, 0), end)
        first, numbers = 0, {}
        for chrom, end in ends.items():
            numbers[chrom] = first
            first += -(-end // WINDOW)
        return numbers

    def of_bins(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the window number of each of the bins `[start, stop)`."""
        first = self._first
        parts = [
            first[piece.chrom] + (piece.start + BIN_SIZE * np.arange(piece.n_bins)) // WINDOW
            for piece in self.regions.pieces(start, stop)
        ]
        return np.concatenate(parts)

    def bins(self, number: int) -> npt.NDArray[np.int64]:
        """Return the bins of a window."""
        chrom, first = max(
            ((chrom, first) for chrom, first in self._first.items() if first <= number),
            key=lambda item: item[1],
        )
        return self.regions.bins_of(chrom, WINDOW * (number - first), WINDOW * (number - first + 1))


def chosen_places(pair: Comparison, track: Track) -> Iterator[tuple[str, Place]]:
    """Yield a measured track's window with most observed signal, and of the rest that with most error."""
    windows = Windows(pair.regions)
    signal: Sums = np.zeros(0)
    error: Sums = np.zeros(0)
    for start, values in pair.blocks(track):
        observed, imputed = values["observed"].astype(np.float64), values["imputed"].astype(np.float64)
        known = ~(np.isnan(observed) | np.isnan(imputed))
        if not known.any():
            continue
        at = windows.of_bins(start, start + observed.size)[known]
        signal = _added(signal, at, observed[known])
        error = _added(error, at, np.square(observed - imputed)[known])
    if not error.size:
        return
    first = int(signal.argmax())
    yield MOST_SIGNAL, pair.place(windows.bins(first))
    error[first] = -1.0
    if error.max() > 0:
        yield LARGEST_ERROR, pair.place(windows.bins(int(error.argmax())))


def _added(total: Sums, at: npt.NDArray[np.int64], values: Sums) -> Sums:
    """Add values to sums by index. The sums grow to the largest index."""
    more: Sums = np.bincount(at, weights=values, minlength=total.size).astype(np.float64)
    return more + np.pad(total, (0, more.size - total.size))
