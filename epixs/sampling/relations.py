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
"""Variance, or product of two variances, below which it is taken for 0."""

CHANCE, CHANCE_PULL = 0.2, 2.0
"""Expected difference of such correlations between species, and the strength, in correlations, of the pull of
the measured difference towards it."""

SHIFTS = np.linspace(0, 1, 101)[:, None]
"""Shifts that are compared."""

SHIFT_PULL = 0.04
"""Strength of the pull towards the expected shares: of a shift that changes correlations by the root of this,
0.2, half is made."""


def relations(predicted: npt.NDArray[np.floating], own: Floats, assay: Ints, n_assays: int) -> Doubles:
    """Correlate predictions with the tracks beside them, by assay.

    Parameters
    ----------
    predicted
        Predictions, shape `(entry,)`.
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


def correlations(parts: Doubles) -> Doubles:
    """Correlate vectors: `(part, entry)` -> `(part, part)`; 0 for a constant one and others."""
    centred = parts - parts.mean(axis=1, keepdims=True)
    variance = np.square(centred).mean(axis=1)
    unit = np.sqrt(np.where(variance > CONSTANT, variance, np.inf))[:, None]
    found: Doubles = centred / unit @ (centred / unit).T / parts.shape[1]
    np.fill_diagonal(found, 1.0)
    return found


def chance(here: npt.NDArray[np.floating], elsewhere: npt.NDArray[np.floating]) -> float:
    """Return how much correlations usually differ between a species and others.

    Parameters
    ----------
    here, elsewhere
        Correlations of predictions of each hidden assay with tracks of each, shape `(assay, assay)`; NaN
        where not known.
    """
    difference = (here - elsewhere)[np.isfinite(here) & np.isfinite(elsewhere)].astype(np.float64)
    total = float(difference @ difference) + CHANCE_PULL * CHANCE**2
    return float(np.sqrt(total / (difference.size + CHANCE_PULL)))


def shifted(
    shares: Floats, parts: Doubles, alike: Doubles, wanted: npt.NDArray[np.floating], enough: float, to: int
) -> Floats:
    """Shift shares from all parts of a prediction to one, if its correlations come closer to the wanted ones.

    Parameters
    ----------
    shares
        Expected share of each part, shape `(part,)`. Their sum stays.
    parts, alike
        Correlations of each part with tracks of each assay, shape `(part, assay)`, NaN where not known; and
        of the parts with each other, shape `(part, part)`.
    wanted
        Correlations of predictions in species that have the assay, shape `(assay,)`; NaN where not known.
    enough
        Difference from these that is taken for chance, and not corrected.
    to
        The part that can gain.
    """
    total = float(shares.sum())
    known = np.isfinite(parts).all(axis=0) & np.isfinite(wanted)
    if total <= 0 or not known.any():
        return shares
    by_shift = (1 - SHIFTS) * shares + SHIFTS * total * np.eye(shares.size)[to]
    spread = np.sqrt(np.einsum("sp,pq,sq->s", by_shift, alike, by_shift).clip(CONSTANT))
    missing = np.abs(by_shift @ parts[:, known] / spread[:, None] - wanted[known])
    costs = np.square(np.maximum(missing - enough, 0)).mean(axis=1) + SHIFT_PULL * np.square(SHIFTS[:, 0])
    return np.asarray(by_shift[np.argmin(costs)], np.float32)
