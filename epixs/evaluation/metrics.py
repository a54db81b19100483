"""Metrics: each a pure function of an observed and an imputed track, shape `(bin,)`, arcsinh units.

Bins where either is NaN must be removed before (`both_known`). Definitions follow the ENCODE Imputation
Challenge (Schreiber et al. 2023), which computed them on -log10 p; here they are on arcsinh units.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Track = npt.NDArray[np.float32] | npt.NDArray[np.float64]


TOP_FRACTION = 0.01


def both_known(*tracks: Track) -> npt.NDArray[np.bool_]:
    """Bins at which no track is NaN."""
    known = np.ones(tracks[0].shape, dtype=bool)
    for track in tracks:
        known &= ~np.isnan(track)
    return known


def mse(observed: Track, imputed: Track) -> float:
    """Mean squared error."""
    if not observed.size:
        return float("nan")
    difference = np.asarray(observed, dtype=np.float64) - imputed
    return float(np.mean(difference * difference))


def pearson(observed: Track, imputed: Track) -> float:
    """Pearson correlation; NaN where a track is constant."""
    if observed.size < 2:
        return float("nan")
    # scipy.stats.pearsonr takes four times as long on a million bins, and warns of constant tracks.
    a = np.asarray(observed, dtype=np.float64) - np.mean(observed, dtype=np.float64)
    b = np.asarray(imputed, dtype=np.float64) - np.mean(imputed, dtype=np.float64)
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def spearman(observed: Track, imputed: Track) -> float:
    """Spearman rank correlation, ties sharing their mean rank."""
    return pearson(rankdata(observed), rankdata(imputed))


def top_bins(track: Track, fraction: float = TOP_FRACTION) -> npt.NDArray[np.bool_]:
    """Mask of the bins whose value is among the highest `fraction` of values.

    The threshold is the n-th largest value, n = `fraction` of the bins rounded down, at least 1. Every bin at
    or above it counts, so that bins whose values tie are all in or all out: whatever the order of the bins.
    """
    if not track.size:
        return np.zeros(0, dtype=bool)
    count = max(1, int(fraction * track.size))
    threshold = np.partition(track, track.size - count)[track.size - count]
    return np.asarray(track >= threshold)


def mse_top_observed(observed: Track, imputed: Track) -> float:
    """Mean squared error over the 1 % of bins with the highest observed signal (`mse1obs`)."""
    top = top_bins(observed)
    return mse(observed[top], imputed[top])


def mse_top_imputed(observed: Track, imputed: Track) -> float:
    """Mean squared error over the 1 % of bins with the highest imputed signal (`mse1imp`)."""
    top = top_bins(imputed)
    return mse(observed[top], imputed[top])


METRICS = {
    "mse": mse,
    "pearson": pearson,
    "spearman": spearman,
    "mse1obs": mse_top_observed,
    "mse1imp": mse_top_imputed,
}
"""Every metric by the name it has in tables."""


CORRELATIONS = ("pearson", "spearman")
"""Metrics that do not exist where a track is constant."""


def score(observed: Track, imputed: Track) -> dict[str, float]:
    """All metrics over the bins that both tracks know."""
    known = both_known(observed, imputed)
    if not known.all():
        observed, imputed = observed[known], imputed[known]
    return {name: metric(observed, imputed) for name, metric in METRICS.items()}
