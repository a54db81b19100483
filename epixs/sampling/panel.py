"""What is known of one species' tracks as wholes, and which of them are read to impute another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

OWN_TRACKS, ASSAYS, LIKE_BIOSAMPLES = 24, 16, 12
"""Most tracks of the same biosample, most assays, and most other biosamples per assay, that are read."""

SHARPNESS = 8.0
"""Of the weights of other biosamples: a biosample whose tracks correlate better by .1 weighs 2.2 times."""

COARSE = 8
"""Tracks are correlated over means of so many bins."""


@dataclass(frozen=True)
class Panel:
    """The training tracks of one species.

    Parameters
    ----------
    biosample, assay
        Numbers of each track's labels, shape `(track,)`: within the species, and on the joint axis.
    mean, spread
        Of each track's values, arcsinh units, shape `(track,)`.
    likeness
        Correlation of tracks along the genome, shape `(track, track)`; only those of one assay, or of one
        biosample, are used.
    """

    biosample: Ints
    assay: Ints
    mean: Floats
    spread: Floats
    likeness: Floats

    def weights(self, biosample: int, assay: int) -> Floats:
        """How much the track of another biosample counts for a pair, by biosample.

        By the correlation of the tracks that both have, those of the pair's own assay left out: it must not
        matter whether the pair itself was measured.
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
    """Work out the statistics of tracks from what was read of them."""
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
    """The statistics of a panel that labels do not give, as one row of numbers; `unpacked` undoes it."""
    first, second = _pairs(panel.biosample, panel.assay)
    return np.concatenate([panel.mean, panel.spread, panel.likeness[first, second]])


def packed_size(biosample: Ints, assay: Ints) -> int:
    """How many numbers `packed` gives."""
    counts = np.concatenate([np.bincount(labels).astype(np.int64) for labels in (biosample, assay)])
    return int(2 * assay.size + (counts * (counts - 1) // 2).sum())


def unpacked(values: Floats, biosample: Ints, assay: Ints) -> Panel:
    """A panel from its labels and what `packed` gave."""
    first, second = _pairs(biosample, assay)
    n = assay.size
    likeness = np.eye(n, dtype=np.float32)
    likeness[first, second] = likeness[second, first] = values[2 * n :]
    return Panel(biosample, assay, values[:n], values[n : 2 * n], likeness)


def _pairs(biosample: Ints, assay: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of tracks of one biosample, then of one assay."""
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for labels in (biosample, assay):
        for number in np.unique(labels):
            mine = np.flatnonzero(labels == number)
            first, second = np.triu_indices(mine.size, 1)
            firsts.append(mine[first])
            seconds.append(mine[second])
    return np.concatenate(firsts), np.concatenate(seconds)


@dataclass(frozen=True)
class Reads:
    """The tracks that are read for each of some targets; -1 where there is none.

    Parameters
    ----------
    own
        Other tracks of the target's biosample, shape `(target, own)`.
    others
        Tracks of other biosamples, by assay, the target's own assay first: `(target, assay, like)`.
    weight
        How much each of `others` counts, same shape; 0 where there is none.
    """

    own: Ints
    others: Ints
    weight: Floats


def reads_of(panel: Panel, biosample: Ints, assay: Ints) -> Reads:
    """Choose the tracks that are read for pairs, which take no part in that themselves.

    Of more than are read, those of the assays that most biosamples have, and of the most similar biosamples.
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
        mine = order[(panel.biosample[order] == b) & (panel.assay[order] != a)][: own.shape[1]]
        own[at, : mine.size] = mine
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
