"""Compute statistics of predicted and observed tracks chunk by chunk, as sums that can be added.

There are two passes over the bins. The first counts how often each step occurs (`marginals`); ranks, means
and the thresholds of the highest values follow from these counts (`cuts_of`). The second sums the statistics
that need both tracks at the same bin (`joint`). Sums of steps are whole numbers, so they are exact in any
order. No track is ever sorted or held as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.evaluation.steps import MISSING, N_STEPS, OFFSET, Steps, raw_units

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOP = (0.01, 0.05)
"""Shares of the highest values that metrics look at: `mse1obs` uses the first, `catch1obs` both."""

State = TypeVar("State", "Marginals", "Joint")


def added(first: State, second: State) -> State:
    """Add the statistics of two sets of bins."""
    sums = {f.name: getattr(first, f.name) + getattr(second, f.name) for f in fields(first)}
    return type(first)(**sums)


@dataclass(frozen=True, eq=False)
class Marginals:
    """Counts of each step, over the bins at which the observed and all predicted tracks have a value.

    Parameters
    ----------
    counts
        Counts of the observed track and of each predicted one, shape `(1 + method, N_STEPS)`.
    present
        Number of bins at which each of them has a value by itself, shape `(1 + method,)`.
    """

    counts: Ints
    present: Ints

    def __add__(self, other: Marginals) -> Marginals:
        return added(self, other)


@dataclass(frozen=True, eq=False)
class Cuts:
    """Ranks, means and thresholds of whole tracks, computed from their counts; rows as in `Marginals`.

    Parameters
    ----------
    ranks
        Mean rank of the bins with a step, minus the mean of all ranks, shape `(1 + method, N_STEPS)`.
    centre
        Mean in the track's own units, shape `(1 + method,)`.
    thresholds
        Lowest step among the highest values, one column per share in `TOP`.
    """

    ranks: Floats
    centre: Floats
    thresholds: Ints


@dataclass(frozen=True, eq=False)
class Joint:
    """Sums over bins, one row per predicted track.

    Parameters
    ----------
    products, errors
        Sums of observed x predicted, and of squared differences, in steps.
    rank_products
        Sum of the products of centred ranks.
    raw_products, raw_errors
        The same in the tracks' own units; the products are of deviations from the means.
    top_errors, raw_top_errors
        Squared differences at the highest observed and at the highest predicted bins, shape `(method, 2)`.
    overlaps
        Bins in the top 1 % of both; in the top 1 % observed and 5 % predicted; the reverse: `(method, 3)`.
    top_ranks
        Sum of the centred predicted ranks of the highest observed bins, and the reverse, shape `(method, 2)`.
    peak_counts
        Counts of predicted steps at peaks, shape `(method, N_STEPS)`; `(method, 0)` without peaks.
    stratum_bins, stratum_errors, raw_stratum_errors
        Weighted number of bins in each stratum, `(stratum,)`, and squared differences, `(method, stratum)`.
    variance, variance_errors, raw_variance_errors
        Sum of the assay's variance over biosamples, `(1,)`, and squared differences weighted by it.
    """

    products: Ints
    errors: Ints
    rank_products: Floats
    raw_products: Floats
    raw_errors: Floats
    top_errors: Ints
    raw_top_errors: Floats
    overlaps: Ints
    top_ranks: Floats
    peak_counts: Ints
    stratum_bins: Ints
    stratum_errors: Ints
    raw_stratum_errors: Floats
    variance: Floats
    variance_errors: Floats
    raw_variance_errors: Floats

    def __add__(self, other: Joint) -> Joint:
        return added(self, other)


@dataclass(frozen=True, eq=False)
class Places:
    """Annotations of a chunk's bins, which do not depend on the tracks' values at them.

    Parameters
    ----------
    used
        Whether a bin counts at all, shape `(bin,)`.
    strata
        How often a bin counts in each stratum, shape `(stratum, bin)`.
    peaks
        Whether a bin is in a peak of the scored experiment, shape `(bin,)`; empty without peaks.
    variance
        Variance of the assay over its biosamples, shape `(bin,)`, NaN where unknown; empty without.
    """

    used: npt.NDArray[np.bool_]
    strata: npt.NDArray[np.int32]
    peaks: npt.NDArray[np.bool_]
    variance: Floats

    @classmethod
    def plain(cls, n_bins: int) -> Places:
        """Make bins without annotations."""
        nothing = np.empty(0)
        strata = np.empty((0, n_bins), dtype=np.int32)
        return cls(np.ones(n_bins, dtype=bool), strata, nothing.astype(bool), nothing)


def marginals(observed: Steps, predicted: Steps, places: Places | None = None) -> Marginals:
    """Count the steps of a chunk.

    Parameters
    ----------
    observed, predicted
        Steps of shape `(bin,)` and `(method, bin)`.
    places
        Annotations, which say which bins count; by default all.
    """
    has_value = [(track != MISSING) & (places is None or places.used) for track in (observed, *predicted)]
    known = np.logical_and.reduce(has_value)
    counts = np.zeros((1 + len(predicted), N_STEPS), dtype=np.int64)
    for track, row in zip((observed, *predicted), counts, strict=True):
        _count(track, known, row)
    return Marginals(counts, np.array([mask.sum() for mask in has_value], dtype=np.int64))


def cuts_of(total: Marginals, fewest: int = 1) -> Cuts:
    """Compute ranks, means and thresholds of whole tracks from the counts of their steps."""
    counts = total.counts
    n = counts.sum(axis=1, keepdims=True)
    # Tied bins share the mean of their ranks: the bins before them, plus half of (their number + 1).
    ranks = (np.cumsum(counts, axis=1) - counts) + (counts + 1) / 2 - (n + 1) / 2
    with np.errstate(invalid="ignore"):
        centre = (counts[:, 1:] @ raw_units()[1:]) / n[:, 0]
    thresholds = [[top_threshold(row, share, fewest) for share in TOP] for row in counts]
    return Cuts(ranks, centre, np.array(thresholds, dtype=np.int64))


def top_threshold(counts: Ints, share: float, fewest: int = 1) -> int:
    """Return the n-th largest step; n is a share of the bins, rounded down, and at least `fewest`.

    With `fewest=0`, n = 0 gives the smallest step, as if a sorted list of steps were indexed by `[-n]`.
    """
    n = max(fewest, int(share * int(counts.sum())))
    from_top = np.cumsum(counts[::-1])
    if not from_top[-1]:
        return N_STEPS
    last = int(np.searchsorted(from_top, n)) if n else int(np.flatnonzero(counts[::-1])[-1])
    return N_STEPS - 1 - last - OFFSET


def joint(observed: Steps, predicted: Steps, cuts: Cuts, places: Places | None = None) -> Joint:
    """Sum the statistics of a chunk that need the observed and the predicted value at the same bin.

    Parameters
    ----------
    observed, predicted
        Steps of shape `(bin,)` and `(method, bin)`.
    cuts
        Ranks, means and thresholds of the whole tracks.
    places
        Annotations; by default all bins count, and there are no strata.
    """
    places = places or Places.plain(observed.size)
    methods, strata = len(predicted), len(places.strata)

    def ints(*shape: int) -> Ints:
        return np.zeros(shape, dtype=np.int64)

    sums = Joint(
        products=ints(methods),
        errors=ints(methods),
        rank_products=np.zeros(methods),
        raw_products=np.zeros(methods),
        raw_errors=np.zeros(methods),
        top_errors=ints(methods, 2),
        raw_top_errors=np.zeros((methods, 2)),
        overlaps=ints(methods, 3),
        top_ranks=np.zeros((methods, 2)),
        peak_counts=ints(methods, N_STEPS if places.peaks.size else 0),
        stratum_bins=ints(strata),
        stratum_errors=ints(methods, strata),
        raw_stratum_errors=np.zeros((methods, strata)),
        variance=np.zeros(1),
        variance_errors=np.zeros(methods),
        raw_variance_errors=np.zeros(methods),
    )
    known = places.used & (observed != MISSING) & (predicted != MISSING).all(axis=0)
    thresholds = cuts.thresholds
    for method, steps in enumerate(predicted):
        both = (0, method + 1)
        _join(
            observed, steps, known, raw_units(), cuts.ranks[0], cuts.ranks[method + 1],
            cuts.centre[0], cuts.centre[method + 1], thresholds[both, 0], thresholds[both, 1],
            sums.top_ranks[method], sums.top_errors[method], sums.raw_top_errors[method],
            sums.overlaps[method],
            places.peaks, sums.peak_counts[method], whole := ints(2), parts := np.zeros(3),
        )  # fmt: skip
        sums.products[method], sums.errors[method] = whole
        sums.rank_products[method], sums.raw_products[method], sums.raw_errors[method] = parts
        if strata:
            _weigh(
                observed, steps, known, raw_units(), places.strata,
                sums.stratum_errors[method], sums.raw_stratum_errors[method],
            )  # fmt: skip
        if places.variance.size:
            weighted = _by_variance(observed, steps, known, raw_units(), places.variance)
            sums.variance[0], sums.variance_errors[method], sums.raw_variance_errors[method] = weighted
    if strata:
        sums.stratum_bins[:] = places.strata[:, known].sum(axis=1)
    return sums


@compiled()
def _count(steps: Any, known: Any, counts: Any) -> None:
    for i in range(steps.size):
        if known[i]:
            counts[np.int64(steps[i]) + OFFSET] += 1


@compiled()
def _join(
    observed: Any, predicted: Any, known: Any, raw: Any, observed_ranks: Any, predicted_ranks: Any,
    observed_centre: Any, predicted_centre: Any, top: Any, wide: Any,
    top_ranks: Any, top_errors: Any, raw_top_errors: Any, overlaps: Any,
    peaks: Any, peak_counts: Any, whole: Any, parts: Any,
) -> None:  # fmt: skip
    products, errors = np.int64(0), np.int64(0)
    ranks, raw_products, raw_errors = 0.0, 0.0, 0.0
    for i in range(observed.size):
        if not known[i]:
            continue
        a, b = np.int64(observed[i]), np.int64(predicted[i])
        at, bt = a + OFFSET, b + OFFSET
        error = (a - b) * (a - b)
        products += a * b
        errors += error
        ranks += observed_ranks[at] * predicted_ranks[bt]
        x, y = raw[at], raw[bt]
        raw_error = (x - y) * (x - y)
        raw_errors += raw_error
        raw_products += (x - observed_centre) * (y - predicted_centre)
        if a >= top[0]:
            top_errors[0] += error
            raw_top_errors[0] += raw_error
            overlaps[0] += b >= top[1]
            overlaps[1] += b >= wide[1]
            top_ranks[0] += predicted_ranks[bt]
        if b >= top[1]:
            top_errors[1] += error
            raw_top_errors[1] += raw_error
            overlaps[2] += a >= wide[0]
            top_ranks[1] += observed_ranks[at]
        if peaks.size and peaks[i]:
            peak_counts[bt] += 1
    whole[0], whole[1] = products, errors
    parts[0], parts[1], parts[2] = ranks, raw_products, raw_errors


@compiled()
def _weigh(
    observed: Any, predicted: Any, known: Any, raw: Any, strata: Any, errors: Any, raw_errors: Any
) -> None:
    for s in range(strata.shape[0]):
        for i in range(observed.size):
            weight = np.int64(strata[s, i])
            if weight and known[i]:
                a, b = np.int64(observed[i]), np.int64(predicted[i])
                errors[s] += weight * (a - b) * (a - b)
                raw_errors[s] += weight * (raw[a + OFFSET] - raw[b + OFFSET]) ** 2


@compiled()
def _by_variance(observed: Any, predicted: Any, known: Any, raw: Any, variance: Any) -> Any:
    total, errors, raw_errors = 0.0, 0.0, 0.0
    for i in range(observed.size):
        weight = variance[i]
        if known[i] and weight == weight:
            a, b = np.int64(observed[i]), np.int64(predicted[i])
            total += weight
            errors += weight * ((a - b) * (a - b))
            raw_errors += weight * (raw[a + OFFSET] - raw[b + OFFSET]) ** 2
    return total, errors, raw_errors
