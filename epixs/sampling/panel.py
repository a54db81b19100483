"""Statistics of one species' whole tracks, and the choice of the tracks read to impute another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.sampling.kriging import BAND_RADII, Correlations, Equations, no_sums, sums_of
from epixs.sampling.scales import SMALLEST_SPREAD
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

OWN_TRACKS, ASSAYS, LIKE_BIOSAMPLES = 24, 16, 12
"""Maximum number of tracks of the same biosample, of assays, and of other biosamples per assay, to read."""

SHARPNESS = 8.0
"""Sharpness of the weights of other biosamples: a correlation higher by 0.1 gives 2.2 times the weight."""

COARSE = 8
"""Number of bins per mean over which tracks are correlated; of bands, one bin in as many is taken."""


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
    band_likeness, band_spread
        Correlations of the bands of tracks (`sampling.kriging`), `(band, track, track)`, and their spreads,
        relative to those of the tracks, shape `(band, track)`.
    """

    biosample: Ints
    assay: Ints
    mean: Floats
    spread: Floats
    likeness: Floats
    band_likeness: Floats
    band_spread: Floats

    @cached_property
    def assay_or_none(self) -> Ints:
        """The assay of each track and, last, so that track -1 has it, -1."""
        return np.append(self.assay, np.int32(-1))

    @cached_property
    def in_steps(self) -> tuple[Floats, Floats]:
        """Mean and spread of each track in steps of the stored values; no spread is 0."""
        steps = np.float32(STEPS_PER_UNIT)
        return self.mean * steps, np.maximum(self.spread, np.float32(SMALLEST_SPREAD)) * steps

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


class _Covariance:
    """Adds up values of tracks, of shape `(track, place)`, for their spreads and correlations."""

    def __init__(self, tracks: int) -> None:
        self.count, self.total, self.products, self.squares = np.zeros((4, tracks, tracks))

    def add(self, values: Floats, known: npt.NDArray[np.float64] | None = None) -> None:
        """Add values, all of them or only those that are `known`: 1 for each that is, else 0."""
        wide = values.astype(np.float64)
        if known is None:
            self.count += wide.shape[1]
            self.total += wide.sum(axis=1)[:, None]
            self.squares += np.square(wide).sum(axis=1)[:, None]
        else:
            wide *= known
            self.count += known @ known.T
            self.total += wide @ known.T
            self.squares += np.square(wide) @ known.T
        self.products += wide @ wide.T

    def result(self) -> tuple[npt.NDArray[np.float64], Floats]:
        """Return the tracks' spreads, and their correlations where both are known."""
        count = np.maximum(self.count, 1.0)
        mean = self.total / count
        variance = np.maximum(self.squares / count - mean**2, 1e-12)
        covariance = self.products / count - mean * mean.T
        likeness = covariance / np.sqrt(variance * variance.T)
        return np.sqrt(np.diag(variance)), np.clip(likeness, -1.0, 1.0).astype(np.float32)


def panel_of(windows: Windows, biosample: Ints, assay: Ints) -> Panel:
    """Compute the statistics of tracks from windows of them, at the bins that are not missing."""
    steps = np.float32(STEPS_PER_UNIT)
    count, total, squares = np.zeros((3, assay.size))
    coarse, *bands = (_Covariance(assay.size) for _ in range(1 + len(BAND_RADII)))
    for column, length in zip(windows.column.tolist(), windows.length.tolist(), strict=True):
        sums = windows.sums[:, column : column + length + 1]
        values = np.diff(sums, axis=1) / steps
        known = (
            None if windows.missing is None else (~windows.missing[:, column : column + length]).astype(float)
        )
        count += length if known is None else known.sum(axis=1)
        total += (values if known is None else values * known).sum(axis=1, dtype=np.float64)
        squares += np.square(values if known is None else values * known, dtype=np.float64).sum(axis=1)
        whole = length // COARSE * COARSE
        parts = (assay.size, -1, COARSE)
        in_parts = None if known is None else known[:, :whole].reshape(parts).max(axis=2)
        coarse.add(values[:, :whole].reshape(parts).mean(axis=2), in_parts)
        at = np.arange(0, length, COARSE)
        edges = [(np.maximum(at - radius, 0), np.minimum(at + radius + 1, length)) for radius in BAND_RADII]
        # Sums may wrap around; their difference is still right.
        means = [
            (sums[:, high] - sums[:, low]) / (high - low).astype(np.float32) / steps for low, high in edges
        ]
        for band, mean, wider in zip(bands, means, [*means[1:], np.float32(0)], strict=True):
            band.add(mean - wider, None if known is None else known[:, at])
    mean = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    spreads, likeness = zip(*(band.result() for band in bands), strict=True)
    relative = np.stack(spreads) / np.maximum(spread, SMALLEST_SPREAD)
    return Panel(
        biosample, assay, mean.astype(np.float32), spread.astype(np.float32), coarse.result()[1],
        np.stack(likeness), relative.astype(np.float32),
    )  # fmt: skip


def bands_of(panel: Panel, others: Sequence[Panel], n_assays: int) -> list[Correlations]:
    """Set up the correlations of each band of a species.

    Parameters
    ----------
    others
        Tracks of other species, from which it learns what assays that it lacks have in common with others.
    n_assays
        Number of assays on the joint axis.
    """
    bands = []
    for band in range(len(BAND_RADII)):
        here, *there = (
            (one.biosample, one.assay, one.band_likeness[band], one.band_spread[band])
            for one in (panel, *others)
        )
        elsewhere = sum((sums_of(*measured, n_assays) for measured in there), no_sums(n_assays))
        bands.append(Correlations(*here, elsewhere))
    return bands


def equations_of(
    bands: Sequence[Correlations], biosample: int, assay: int, own: Ints, others: Ints, *, lent: bool = False
) -> list[Equations]:
    """Set up the equations for the bands of a pair; `own` and `others` (-1: none) are read for it.

    If no track of its assay is read, what other species know of it counts; without that, there are none. If
    the assay is `lent`, its tracks here are not read, and have no influence: as if there were none.
    """
    tracks = np.unique(np.concatenate([own, others.reshape(-1)]))
    tracks = tracks[(tracks >= 0) & ~(lent & (bands[0].assay[tracks] == assay))]
    assays = bands[0].assay[tracks]
    known = [band.of(biosample, assay) if assay in assays else band.elsewhere.of(assay) for band in bands]
    if assay not in assays and not all(one.knows(assays) for one in known):
        return []
    every = zip(bands, known, strict=True)
    return [band.equations(biosample, assay, tracks, one, lent=lent) for band, one in every]


def hidden_equations(
    bands: Sequence[Correlations], equations: Sequence[Equations], biosample: int, assay: int
) -> list[Equations]:
    """Set up the equations for a training track whose assay is hidden, from its own (`equations_of`).

    The assay's other tracks, which are not read, then stand for those that another species knows. There are
    none if nothing is known.
    """
    known = [band.of(biosample, assay) + band.elsewhere.of(assay) for band in bands]
    every = list(zip(bands, equations, known, strict=True)) if equations else []
    if not all(one.knows(band.assay[old.tracks]) for band, old, one in every):
        return []
    return [band.without_assay(old, biosample, assay, one) for band, old, one in every]


def packed(panel: Panel) -> Floats:
    """Pack the statistics of a panel, without its labels, into one row of numbers; `unpacked` undoes it."""
    first, second = _pairs(panel.biosample, panel.assay)
    every = [panel.likeness[None], panel.band_likeness]
    likeness = [one[:, first, second].reshape(-1) for one in every]
    return np.concatenate([panel.mean, panel.spread, panel.band_spread.reshape(-1), *likeness])


def packed_size(biosample: Ints, assay: Ints) -> int:
    """Return how many numbers `packed` gives."""
    counts = np.concatenate([np.bincount(labels).astype(np.int64) for labels in (biosample, assay)])
    bands = len(BAND_RADII)
    return int((2 + bands) * assay.size + (1 + bands) * (counts * (counts - 1) // 2).sum())


def unpacked(values: Floats, biosample: Ints, assay: Ints) -> Panel:
    """Restore a panel from its labels and the numbers from `packed`."""
    first, second = _pairs(biosample, assay)
    n, bands = assay.size, len(BAND_RADII)
    mean, spread, *band_spread = values[: (2 + bands) * n].reshape(2 + bands, n)
    likeness = np.tile(np.eye(n, dtype=np.float32), (1 + bands, 1, 1))
    measured = values[(2 + bands) * n :].reshape(1 + bands, first.size)
    likeness[:, first, second] = likeness[:, second, first] = measured
    return Panel(biosample, assay, mean, spread, likeness[0], likeness[1:], np.stack(band_spread))


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


def alone_in(panels: Sequence[Panel], n_assays: int) -> npt.NDArray[np.bool_]:
    """Mark the assays that have no two tracks in any species: no target had another track of it beside it."""
    counts = [np.bincount(panel.assay, minlength=n_assays) for panel in panels]
    return np.asarray(np.max(counts, axis=0) < 2)


def own_tracks(panel: Panel, biosample: Ints, assay: Ints, without: int = -1) -> Ints:
    """Choose the other tracks of pairs' biosamples, at most `OWN_TRACKS`, those of the most frequent assays.

    Tracks of the assay `without` are not chosen either.

    Returns
    -------
    Shape `(pair, own)`; -1 stands for no track.
    """
    order, _ = _by_frequency(panel)
    most = max([int((panel.biosample == b).sum()) for b in np.unique(biosample)], default=0)
    own = np.full((biosample.size, max(1, min(OWN_TRACKS, most))), -1, np.int32)
    for at, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
        others = (panel.assay[order] != a) & (panel.assay[order] != without)
        same = order[(panel.biosample[order] == b) & others][: own.shape[1]]
        own[at, : same.size] = same
    return own


def _by_frequency(panel: Panel) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order tracks by how frequent their assay is, and count those of each assay."""
    often = np.bincount(panel.assay) if panel.assay.size else np.zeros(0, np.int64)
    return np.lexsort((panel.assay, -often[panel.assay])), often


def reads_of(panel: Panel, biosample: Ints, assay: Ints) -> Reads:
    """Choose the tracks that are read for pairs; a pair's own track is never chosen and has no influence.

    If there are too many, those of the most frequent assays and of the most similar biosamples are chosen.
    """
    order, often = _by_frequency(panel)
    n_assays = min(ASSAYS, int((often > 0).sum()))
    n_like = min(LIKE_BIOSAMPLES, int(often.max(initial=0)))
    others = np.full((biosample.size, max(1, n_assays), max(1, n_like)), -1, np.int32)
    weight = np.zeros(others.shape, np.float32)
    for at, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
        likely = panel.weights(b, a)
        rest = order[panel.biosample[order] != b]
        names = list(dict.fromkeys(panel.assay[rest].tolist()))
        names.sort(key=lambda name: name != a)
        for slot, name in enumerate(names[: others.shape[1]]):
            tracks = rest[panel.assay[rest] == name]
            best = tracks[np.argsort(-likely[panel.biosample[tracks]], kind="stable")][: others.shape[2]]
            others[at, slot, : best.size] = best
            weight[at, slot, : best.size] = likely[panel.biosample[best]]
    return Reads(own_tracks(panel, biosample, assay), others, weight)
