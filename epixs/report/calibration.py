"""Check the calibration of intervals: count how often observed values lie within a number of spreads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from epixs.compendium.schema import SPREAD
from epixs.report.comparison import Comparison, Track
from epixs.sampling.intervals import HALF_WIDTH

MOST_SPREADS, PER_SPREAD = 5, 100
"""Maximum distance that is counted, in spreads, and number of steps per spread."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Distances of one track's observed values from the imputed ones, in spreads.

    Parameters
    ----------
    biosample, assay
        The track.
    counts
        Number of bins by distance, `PER_SPREAD` cells per spread. The last cell counts all larger distances.
    """

    biosample: str
    assay: str
    counts: npt.NDArray[np.int64]

    @property
    def bins(self) -> int:
        """Number of bins that are counted."""
        return int(self.counts.sum())

    @property
    def observed(self) -> npt.NDArray[np.float64]:
        """Share of the bins within each of `distances`; NaN without bins."""
        share: npt.NDArray[np.float64] = np.cumsum(self.counts[:-1]) / (self.bins or np.nan)
        return share

    @property
    def within_80(self) -> float:
        """Share of the bins within the interval that should hold 80 %."""
        return float(np.interp(HALF_WIDTH, distances(), self.observed))


def distances() -> npt.NDArray[np.float64]:
    """Return the distances, in spreads, that `Calibration.observed` refers to."""
    return np.arange(1, MOST_SPREADS * PER_SPREAD + 1) / PER_SPREAD


def nominal() -> npt.NDArray[np.float64]:
    """Return the share that should lie within each of `distances`: that of a normal distribution."""
    share: npt.NDArray[np.float64] = 2 * ndtr(distances()) - 1
    return share


def calibrations(pair: Comparison, tracks: list[Track]) -> Iterator[Calibration]:
    """Count distances in each measured track. Yields nothing if the imputed compendium has no spread."""
    if not pair.has_spread:
        return
    for track in tracks:
        if track.observed is None:
            continue
        counts = np.zeros(MOST_SPREADS * PER_SPREAD + 1, dtype=np.int64)
        for _, values in pair.blocks(track):
            counts += count_distances(values["observed"], values["imputed"], values[SPREAD.name])
        if counts.any():  # some tracks have no spread
            yield Calibration(track.biosample, track.assay, counts)


def count_distances(
    observed: npt.NDArray[np.float32], imputed: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Count bins by the distance of observed and imputed value in spreads. Bins that lack any do not count.

    An observed value equal to the imputed one lies within any interval, even one of zero width.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(observed.astype(np.float64) - imputed) / spread
    apart = np.where(observed == imputed, 0.0, apart)
    known = ~(np.isnan(observed) | np.isnan(imputed) | np.isnan(spread) | np.isnan(apart))
    last = MOST_SPREADS * PER_SPREAD
    cell = np.minimum(np.ceil(np.minimum(apart[known], MOST_SPREADS + 1) * PER_SPREAD) - 1, last)
    return np.bincount(np.maximum(cell, 0).astype(np.int64), minlength=last + 1)
