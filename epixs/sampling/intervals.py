"""Learn prediction intervals, which hold most values of a track that was not measured.

Errors grow with the prediction: they are large at peaks and small between them. So the width of an interval
that holds `COVERED` of the errors is learned as a function of the prediction, both standardised by the spread
that the track is expected to have (a conformal interval within bands of the prediction). The factor by which
an assay's intervals are wider is learned from the tracks of that assay.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

COVERED = 0.8
"""Share of the bins whose value lies within an interval."""

HALF_WIDTH = 1.2816
"""Half of such an interval's width, in standard deviations of a normal distribution."""

BANDS = np.array([*np.linspace(0, 0.9, 10), 0.95, 0.98, 0.99, 0.995, 1.0])
"""Quantiles of the predictions that bound the bands for which widths are learned; few bins lie at peaks."""

KNOTS = BANDS.size - 1

PRIOR_TRACKS = 3.0
"""Weight, in tracks, of the assumption that an assay's errors are like those of the others."""

NARROWEST = 1e-3


def fit_widths(
    predicted: Sequence[npt.NDArray[np.float64]], error: Sequence[npt.NDArray[np.float64]]
) -> Floats:
    """Learn the width of intervals as a function of the prediction.

    Parameters
    ----------
    predicted, error
        Standardised predictions and errors of each track, shape `(bin,)`, with equally many bins per track.

    Returns
    -------
    Predictions, ascending, and half the width of the interval at each, in spreads, shape `(2, KNOTS)`; zeros
    if there are no tracks.
    """
    widths = np.zeros((2, KNOTS), np.float32)
    if not len(predicted):
        return widths
    at, size = np.concatenate(predicted), np.abs(np.concatenate(error))
    ends = np.searchsorted(np.sort(at), np.quantile(at, BANDS))
    ends[-1] = at.size
    order = np.argsort(at, kind="stable")
    bands = [order[first:stop] for first, stop in itertools.pairwise(ends)]
    for knot in reversed(range(KNOTS)):
        band = bands[knot]
        if band.size:
            widths[:, knot] = at[band].mean(), max(NARROWEST, conformal_quantile(size[band]))
        else:  # many predictions are equal, and in the next band
            widths[:, knot] = widths[:, knot + 1]
    return widths


def conformal_quantile(sizes: npt.NDArray[np.float64], covered: float = COVERED) -> float:
    """Find the size within which one more error lies with probability `covered`, for exchangeable errors."""
    rank = min(sizes.size, int(np.ceil((sizes.size + 1) * covered)))
    return float(np.partition(sizes, rank - 1)[rank - 1])


def half_widths(widths: Floats, predicted: Floats) -> Floats:
    """Interpolate half the width of each prediction's interval, in spreads; constant beyond the ends."""
    return np.interp(predicted, *widths).astype(np.float32)


def assay_factors(
    widths: Floats,
    predicted: Sequence[npt.NDArray[np.float64]],
    error: Sequence[npt.NDArray[np.float64]],
    assay: Sequence[int],
    n_assays: int,
) -> Floats:
    """Learn how much wider the intervals of each assay are, shape `(assay,)`; 1 for assays without track.

    With that factor, they hold `COVERED` of the errors of all its tracks together.
    """
    factors = np.ones(n_assays, np.float32)
    for number in set(assay):
        ratios = [
            np.abs(errors) / half_widths(widths, at.astype(np.float32))
            for at, errors, of in zip(predicted, error, assay, strict=True)
            if of == number
        ]
        wider = max(conformal_quantile(np.concatenate(ratios)), NARROWEST)
        factors[number] = wider ** (len(ratios) / (len(ratios) + PRIOR_TRACKS))
    return factors
