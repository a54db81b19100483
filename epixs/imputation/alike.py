"""Find zero-shot tracks that hardly differ from each other, or from the mean of their biosample's tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from epixs.imputation.roles import ZERO_SHOT

ALIKE = 0.95
"""Correlation from which tracks hardly differ."""

BINS, MOST_BIOSAMPLES = 1 << 16, 16
"""Number of bins, in the middle of the store, and of biosamples that are compared."""


@dataclass(frozen=True)
class Alike:
    """Zero-shot assays of a biosample whose tracks correlate by at least `ALIKE` with another of them.

    `with_mean` lists those that do so with the mean of the biosample's measured tracks, each standardised.
    """

    biosample: str
    assays: tuple[str, ...]
    with_mean: tuple[str, ...]


def alike_in(imputed: xr.Dataset, observed: xr.Dataset, roles: Sequence[str]) -> list[Alike]:
    """Compare the zero-shot tracks of an imputed store, biosample by biosample.

    Parameters
    ----------
    imputed, observed
        Stores over the same bins.
    roles
        Role of each row of the imputed store (`imputation.roles`).

    Returns
    -------
    The biosamples with tracks that hardly differ; assays are named as in the store.
    """
    labels = pd.DataFrame({name: imputed[name].to_numpy() for name in ("biosample", "assay")})
    zero_shot = labels[np.array(roles, object) == ZERO_SHOT]
    middle = max(0, imputed.sizes["bin"] // 2 - BINS // 2)
    bins, found = slice(middle, middle + BINS), []
    for biosample in zero_shot["biosample"].unique()[:MOST_BIOSAMPLES]:
        rows = zero_shot.index[zero_shot["biosample"] == biosample]
        is_measured = (observed["biosample"].to_numpy() == biosample) & (
            observed["status"].to_numpy() == "ok"
        )
        measured = observed.signal[np.flatnonzero(is_measured), bins].to_numpy()
        tracks = imputed.signal[rows.to_numpy(), bins].to_numpy()
        likeness = _correlations(np.vstack([tracks, _mean_of(measured)]))
        np.fill_diagonal(likeness, 0.0)
        names = labels["assay"][rows].to_numpy()
        others, mean = likeness[:-1, :-1].max(axis=1) >= ALIKE, likeness[:-1, -1] >= ALIKE
        if others.any() or mean.any():
            found.append(Alike(str(biosample), tuple(names[others]), tuple(names[mean])))
    return found


def _mean_of(tracks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Average standardised tracks; 0 where none has a value."""
    centred = tracks - np.nanmean(tracks, axis=1, keepdims=True) if tracks.size else tracks
    spread = np.sqrt(np.nanmean(centred**2, axis=1, keepdims=True)) if tracks.size else 1.0
    values = np.nan_to_num(centred / np.where(spread > 0, spread, 1.0)).astype(np.float64)
    return np.asarray(values.sum(axis=0) / max(1, len(values)))


def _correlations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correlate rows; 0 where one is constant."""
    centred = values - values.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = centred / np.where(size > 0, size, 1.0)
    return np.asarray(unit @ unit.T)
