"""How well a panel's unmeasured tracks will be imputed, learned from rehearsals, and what to measure next.

On Fisher's scale, the Pearson correlation of an imputed track with the measured one is taken to be a sum: an
effect of its assay, a slope times the logarithm of the number of the assay's tracks in other biosamples, and
a slope times that of the number of the biosample's other tracks. They are fitted to the hidden tracks of the
rehearsals. Tracks of assays that nobody measured in the species have a fit of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.guidance.panel import Label
from epixs.sampling.agreement import fisher_scale

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]

ASSAY_RIDGE, SLOPE_RIDGE = 0.5, 1.0
"""Pull of assay effects and of slopes towards 0, in tracks."""

MEASURED, ZERO_SHOT = "measured elsewhere", "zero-shot"
"""Roles of unmeasured pairs: the species has the assay in another biosample, or not at all."""


@dataclass(frozen=True)
class Fit:
    """Fisher's z of an imputed track by its assay and the numbers of tracks beside it.

    `slopes` are those of the logarithms of the assay's and of the biosample's number of tracks.
    """

    level: float
    assay: dict[str, float]
    slopes: tuple[float, float]

    def pearson(self, assays: Sequence[str], of_assay: Counts, of_biosample: Counts) -> Doubles:
        """Expected correlations, shape `(biosample, assay)`, by the number of tracks of each."""
        effect = self.level + np.array([self.assay.get(assay, 0.0) for assay in assays])
        columns = effect + self.slopes[0] * np.log(np.maximum(1, of_assay))
        return np.asarray(np.tanh(columns + self.slopes[1] * np.log1p(of_biosample)[:, None]))


def fit_agreement(tracks: pd.DataFrame) -> Fit | None:
    """Fit hidden tracks: one row per track with `assay pearson of_assay of_biosample`; None without any.

    More tracks beside a track never make it worse: a slope that is negative by chance is 0.
    """
    known = tracks[np.isfinite(tracks["pearson"].astype(float))]
    if known.empty:
        return None
    assays = sorted(set(known["assay"]))
    z = fisher_scale(known["pearson"].to_numpy(float))
    counts = np.log(
        np.column_stack([np.maximum(1, known["of_assay"]), 1 + known["of_biosample"]]).astype(float)
    )
    of_assay = (known["assay"].to_numpy()[:, None] == np.array(assays)).astype(float)
    slopes = [0, 1]
    while True:
        design = np.column_stack([np.ones(z.size), of_assay, counts[:, slopes]])
        pull = np.array([1e-6, *[ASSAY_RIDGE] * len(assays), *[SLOPE_RIDGE] * len(slopes)])
        weights = np.linalg.solve(design.T @ design + np.diag(pull), design.T @ z)
        found = weights[1 + len(assays) :]
        if (found >= 0).all():
            break
        slopes.remove(slopes[int(np.argmin(found))])
    both = [0.0, 0.0]
    for slope, value in zip(slopes, found, strict=True):
        both[slope] = float(value)
    effects = {assay: float(weight) for assay, weight in zip(assays, weights[1:], strict=False)}
    return Fit(float(weights[0]), effects, (both[0], both[1]))


@dataclass(frozen=True)
class Outlook:
    """What the fits say of any panel of the same biosamples.

    Parameters
    ----------
    measured, zero_shot
        Fits of assays that the species has and of those that it lacks; None where no rehearsal tells.
    assays
        Assays that may be measured: the panel's, and those that can be imputed zero-shot.
    """

    measured: Fit | None
    zero_shot: Fit | None
    assays: tuple[str, ...]

    def expected(self, panel: Collection[Label], biosamples: Sequence[str]) -> pd.DataFrame:
        """Expected correlation of every unmeasured pair: columns `biosample assay role pearson`."""
        has = self._matrix(panel, biosamples)
        pearson = self._pearson(has.sum(axis=0), has.sum(axis=1))
        roles = np.where(has.any(axis=0), MEASURED, ZERO_SHOT)
        return self._table(biosamples, ~has, {"role": np.broadcast_to(roles, has.shape), "pearson": pearson})

    def next_experiments(self, panel: Collection[Label], biosamples: Sequence[str]) -> pd.DataFrame:
        """List every unmeasured pair with the gain of measuring it, the largest first.

        Returns
        -------
        `biosample assay pearson gain`: its expected correlation if it is imputed, and by how much the sum of
        the correlations over the whole matrix grows if it is measured, where a measured track counts 1.
        """
        has = self._matrix(panel, biosamples)
        of_assay, of_biosample = has.sum(axis=0), has.sum(axis=1)
        now = self._pearson(of_assay, of_biosample)
        row = np.where(has, 0.0, np.nan_to_num(self._pearson(of_assay, of_biosample + 1) - now))
        column = np.where(has, 0.0, np.nan_to_num(self._pearson(of_assay + 1, of_biosample) - now))
        others = row.sum(axis=1, keepdims=True) - row + column.sum(axis=0) - column
        table = self._table(biosamples, ~has, {"pearson": now, "gain": 1 - now + others}).dropna()
        return table.sort_values(
            ["gain", "biosample", "assay"], ascending=[False, True, True], ignore_index=True
        )

    def _matrix(self, panel: Collection[Label], biosamples: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which pairs a panel has, shape `(biosample, assay)`."""
        have = set(panel)
        return np.array([[(b, a) in have for a in self.assays] for b in biosamples])

    def _pearson(self, of_assay: Counts, of_biosample: Counts) -> Doubles:
        """Expected correlations, by the fit of each assay; NaN where there is none."""
        found = np.full((of_biosample.size, of_assay.size), np.nan)
        for fit, mask in ((self.measured, of_assay > 0), (self.zero_shot, of_assay == 0)):
            if fit is not None:
                found[:, mask] = fit.pearson(self.assays, of_assay, of_biosample)[:, mask]
        return found

    def _table(
        self, biosamples: Sequence[str], which: npt.NDArray[np.bool_], columns: dict[str, Any]
    ) -> pd.DataFrame:
        """One row per chosen pair."""
        row, column = np.nonzero(which)
        labels = {
            "biosample": np.array(biosamples, object)[row],
            "assay": np.array(self.assays, object)[column],
        }
        return pd.DataFrame(labels | {name: values[which] for name, values in columns.items()})
