"""Statistics of one species' whole tracks, and the choice of the tracks read to impute another one."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.sampling.kriging import Correlations
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

OWN_TRACKS, ASSAYS, LIKE_BIOSAMPLES = 24, 16, 12
"""Maximum number of tracks of the same biosample, of assays, and of other biosamples per assay, to read."""

SHARPNESS = 8.0
"""Sharpness of the weights of other biosamples: a correlation higher by 0.1 gives 2.2 times the weight."""

COARSE = 8
"""Number of bins per mean over which tracks are correlated."""


@dataclass(frozen=True)
class Panel:
    """The training tracks of one species.

    Parameters
    ----------
    biosample, assay
        Label numbers of each track, shape `(track,)`: within the species, and on the joint axis.
    mean, spread
        Mean and spread of each track's values, arcsinh units, shape `(track,)`.
    likeness
        Correlation of tracks along the genome, shape `(track, track)`; only pairs of the same assay, or of
        the same biosample, are used.
    """

    biosample: Ints
    assay: Ints
    mean: Floats
    spread: Floats
    likeness: Floats

    @functools.cached_property
    def correlations(self) -> Correlations:
        """Sums of the correlations, for weighted sums of tracks."""
        return Correlations(self.biosample, self.assay, self.likeness)

    def weights(self, biosample: int, assay: int) -> Floats:
        """Compute the weight of each other biosample's track for a pair.

        The weight follows from the correlation of the tracks of assays that both biosamples have. The pair's
        own assay is left out, because it must not matter whether the pair itself was measured.
        """
        others = int(self.biosample.max(initial=-1)) + 1
        total, count = np.zeros(others), np.zeros(others)
        for track in np.flatnonzero((self.biosample == biosample) & (self.assay != assay)):
            same = np.flatnonzero((self.assay == self.assay[track]) & (self.biosample != biosample))
            total[self.biosample[same]] += self.likeness[track, same]
            count[self.biosample[same]] += 1
        mean = np.where(count > 0, total / np.maximum(count, 1), 0.0)
        weights = np.exp(SHARPNESS * mean)
        weights[np.arange(others) == biosample] = 0.0
        return weights.astype(np.float32)


def panel_of(windows: Windows, biosample: Ints, assay: Ints) -> Panel:
    """Compute the statistics of tracks from windows of them."""
    bins, coarse_bins = int(windows.length.sum()), 0
    total, squares, coarse_total = (np.zeros(assay.size) for _ in range(3))
    products = np.zeros((assay.size, assay.size))
    for column, length in zip(windows.column.tolist(), windows.length.tolist(), strict=True):
        values = np.diff(windows.sums[:, column : column + length + 1], axis=1) / np.float32(STEPS_PER_UNIT)
        total += values.sum(axis=1, dtype=np.float64)
        squares += np.square(values, dtype=np.float64).sum(axis=1)
        whole = length // COARSE * COARSE
        coarse = values[:, :whole].reshape(assay.size, -1, COARSE).mean(axis=2).astype(np.float64)
        products += coarse @ coarse.T
        coarse_total += coarse.sum(axis=1)
        coarse_bins += coarse.shape[1]
    mean, coarse_mean = total / bins, coarse_total / max(1, coarse_bins)
    spread = np.sqrt(np.maximum(squares / bins - mean**2, 0.0))
    covariance = products / max(1, coarse_bins) - np.outer(coarse_mean, coarse_mean)
    sizes = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    likeness = covariance / np.outer(sizes, sizes)
    return Panel(biosample, assay, *(values.astype(np.float32) for values in (mean, spread, likeness)))


def packed(panel: Panel) -> Floats:
    """Pack the statistics of a panel, without its labels, into one row of numbers; `unpacked` undoes it."""
    first, second = _pairs(panel.biosample, panel.assay)
    return np.concatenate([panel.mean, panel.spread, panel.likeness[first, second]])


def packed_size(biosample: Ints, assay: Ints) -> int:
    """Return how many numbers `packed` gives."""
    counts = np.concatenate([np.bincount(labels).astype(np.int64) for labels in (biosample, assay)])
    return int(2 * assay.size + (counts * (counts - 1) // 2).sum())


def unpacked(values: Floats, biosample: Ints, assay: Ints) -> Panel:
    """Restore a panel from its labels and the numbers from `packed`."""
    first, second = _pairs(biosample, assay)
    n = assay.size
    likeness = np.eye(n, dtype=np.float32)
    likeness[first, second] = likeness[second, first] = values[2 * n :]
    return Panel(biosample, assay, values[:n], values[n : 2 * n], likeness)


def _pairs(biosample: Ints, assay: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List pairs of tracks of the same biosample, then of the same assay."""
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for labels in (biosample, assay):
        for number in np.unique(labels):
            tracks = np.flatnonzero(labels == number)
            first, second = np.triu_indices(tracks.size, 1)
            firsts.append(tracks[first])
            seconds.append(tracks[second])
    return np.concatenate(firsts), np.concatenate(seconds)


@dataclass(frozen=True)
class Reads:
    """The tracks that are read for each of some targets; -1 stands for no track.

    Parameters
    ----------
    own
        Other tracks of the target's biosample, shape `(target, own)`.
    others
        Tracks of other biosamples, by assay, the target's own assay first: `(target, assay, like)`.
    weight
        Weight of each of `others`, same shape; 0 for no track.
    """

    own: Ints
    others: Ints
    weight: Floats


def reads_of(panel: Panel, biosample: Ints, assay: Ints) -> Reads:
    """Choose the tracks that are read for pairs; a pair's own track is never chosen and has no influence.

    If there are too many, those of the most frequent assays and of the most similar biosamples are chosen.
    """
    often = np.bincount(panel.assay) if panel.assay.size else np.zeros(0, np.int64)
    order = np.lexsort((panel.assay, -often[panel.assay]))
    n_own = min(OWN_TRACKS, max([int((panel.biosample == b).sum()) for b in np.unique(biosample)], default=0))
    n_assays = min(ASSAYS, int((often > 0).sum()))
    n_like = min(LIKE_BIOSAMPLES, int(often.max(initial=0)))
    own = np.full((biosample.size, max(1, n_own)), -1, np.int32)
    others = np.full((biosample.size, max(1, n_assays), max(1, n_like)), -1, np.int32)
    weight = np.zeros(others.shape, np.float32)
    for at, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
        same = order[(panel.biosample[order] == b) & (panel.assay[order] != a)][: own.shape[1]]
        own[at, : same.size] = same
        likely = panel.weights(b, a)
        rest = order[panel.biosample[order] != b]
        names = list(dict.fromkeys(panel.assay[rest].tolist()))
        names.sort(key=lambda name: name != a)
        for slot, name in enumerate(names[: others.shape[1]]):
            tracks = rest[panel.assay[rest] == name]
            best = tracks[np.argsort(-likely[panel.biosample[tracks]], kind="stable")][: others.shape[2]]
            others[at, slot, : best.size] = best
            weight[at, slot, : best.size] = likely[panel.biosample[best]]
    return Reads(own, others, weight)
