"""Check zero-shot predictions by what they have in common with the tracks beside them.

In the species that have an assay, its predictions (when it is hidden) correlate so much with the tracks of
each other assay beside them. They should do so elsewhere, too. Predictions that follow tracks of which
networks have not learned what they tell about the assay correlate too much with what those tracks have in
common with all others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

FEWEST_ENTRIES = 50
"""Minimum number of entries that a correlation is computed from."""

CONSTANT = 1e-12
"""Product of two variances below which one of them is taken for 0."""

CHANCE = 0.1
"""Difference of a correlation from the wanted one that is taken for chance, and not corrected."""

SHIFT_PULL = 0.04
"""Strength of the pull towards the expected shares: of a shift that changes correlations by the root of this,
0.2, half is made."""


def relations(predicted: npt.NDArray[np.floating], own: Floats, assay: Ints, n_assays: int) -> Doubles:
    """Correlate predictions with the tracks beside them, by assay.

    Parameters
    ----------
    predicted
        Standardised predictions, shape `(entry,)`.
    own, assay
        Values of the tracks of each entry's biosample, and their assay (-1: no track), `(entry, slot)`.

    Returns
    -------
    Shape `(assay,)`; NaN where there are too few entries.
    """
    values = np.broadcast_to(np.asarray(predicted, np.float64)[:, None], own.shape)
    read = assay >= 0
    number, x, y = assay[read], values[read], own[read].astype(np.float64)
    count = np.bincount(number, minlength=n_assays)

    def mean(of: Doubles) -> Doubles:
        return np.bincount(number, of, n_assays) / np.maximum(count, 1)

    covariance = mean(x * y) - mean(x) * mean(y)
    variance = (mean(x * x) - mean(x) ** 2) * (mean(y * y) - mean(y) ** 2)
    known = (count >= FEWEST_ENTRIES) & (variance > CONSTANT)
    return np.where(known, covariance / np.sqrt(np.where(known, variance, 1.0)), np.nan)


def shifted(shares: Floats, parts: Doubles, wanted: npt.NDArray[np.floating], to: int) -> Floats:
    """Shift shares from all parts of a prediction to one, if its correlations come closer to the wanted ones.

    Parameters
    ----------
    shares
        Expected share of each part, shape `(part,)`. Their sum stays.
    parts
        Correlations of each part with tracks of each assay, shape `(part, assay)`; NaN where not known.
    wanted
        Correlations of predictions in species that have the assay, shape `(assay,)`; NaN where not known.
    to
        The part that can gain.
    """
    total = float(shares.sum())
    known = np.isfinite(parts).all(axis=0) & np.isfinite(wanted)
    if total <= 0 or not known.any():
        return shares
    now = shares.astype(np.float64) / total @ parts[:, known]
    change, missing = parts[to, known] - now, wanted[known] - now
    missing = np.sign(missing) * np.maximum(np.abs(missing) - CHANCE, 0)
    best = np.mean(change * missing) / (np.mean(np.square(change)) + SHIFT_PULL)
    shift = float(np.clip(best, 0, 1))
    return np.asarray((1 - shift) * shares + shift * total * np.eye(shares.size)[to], np.float32)
