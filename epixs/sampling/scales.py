"""Estimate mean and spread of tracks that were not measured, from those of related tracks.

A track's mean and spread (arcsinh units) depend on its biosample and its assay: `log spread` is fitted as
`intercept + biosample effect + assay effect`. Both effects are pulled towards 0 (ridge), so that a single
track has limited influence. How strongly follows from the tracks: fits with several strengths are averaged,
each weighted by the probability of the tracks if effects vary as much as it assumes. A track without any
spread says nothing, and is left out.

The mean, which may be negative, is fitted on a scale that is logarithmic away from 0. A biosample's effect is
in part common to all assays, and in part to those of a class: strong ChIP-seq says little about methylation.
An assay that a species lacks takes its effect from the other species; how much of it follows from the tracks
in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

SMALLEST_SPREAD = 1e-3
LINEAR_MEAN = 1e-2
"""Mean up to which the scale of the fit of means is linear; it is logarithmic beyond."""

USUAL_MEAN, USUAL_SPREAD = (3.0, 1.0), (0.3, 0.3)
"""Strength, in tracks, of the pull of biosample and assay effects towards 0 that is expected before any track
is seen: the variance of tracks around the additive fit, relative to that of the effects. Means vary more."""

STRENGTHS = (0.05, 0.3, 2.0, 12.0)
"""Strengths that are tried, for biosamples and for assays."""

STRENGTH_SPREAD = 1.0
"""Spread (in logs) of what is expected of a strength."""

LEAST_SQUARES = 1e-6
"""Sum of squares, on the scale of the fit, that is added to that of the tracks: smaller differences between
strengths mean nothing."""

COMMON_SHARE = 0.25
"""Share of the variance of a biosample's effect that is common to all classes of assays."""

AGREEMENTS = (0.0, 0.5, 1.0)
"""Shares of the other species' assay effects that are tried as what is expected of a species' own."""


@dataclass(frozen=True)
class Effects:
    """One additive fit, which gives the expected value of a pair.

    Parameters
    ----------
    intercept
        Value if nothing is known about either label.
    biosample
        Effect of each biosample on the assays of each class, shape `(biosample, class)`; 0 without tracks.
    assay
        Effect of each assay; 0, or the prior, without tracks.
    classes
        Class number of each assay.
    """

    intercept: float
    biosample: Floats
    assay: Floats
    classes: Ints

    def of(self, biosample: npt.NDArray[np.integer], assay: npt.NDArray[np.integer]) -> Floats:
        """Return the expected values of pairs; a biosample of -1 has no effect."""
        effect = np.where(biosample >= 0, self.biosample[biosample, self.classes[assay]], 0.0)
        return np.asarray(self.intercept + effect + self.assay[assay])


Fitted = tuple[Effects, Floats, Floats]
"""Effects, and what is expected of each track, had it, or had its whole assay, not been measured."""


def fit_effects(
    values: Floats,
    biosample: Ints,
    assay: Ints,
    sizes: tuple[int, int],
    usual: Sequence[tuple[float, float]],
    elsewhere: Floats | None = None,
    classes: Ints | None = None,
) -> list[Fitted]:
    """Fit several values of tracks, each by biosample and assay.

    Parameters
    ----------
    values
        Shape `(value, track)`.
    biosample, assay
        Labels of the tracks, numbers below `sizes`.
    usual
        For each value, the expected strength of the pull of biosample effects towards 0, and of assay effects
        towards a share of those elsewhere.
    elsewhere
        Assay effects in other species, shape `(value, assay)`; 0 by default.
    classes
        Class number of each assay, shape `(assay,)`; by default all are of one class.

    Returns
    -------
    The fit of each value. What is left out has no influence on the strengths and shares either.
    """
    elsewhere = np.zeros((len(values), sizes[1])) if elsewhere is None else elsewhere
    classes = np.zeros(sizes[1], np.int32) if classes is None else classes
    n_classes = int(classes.max(initial=0)) + 1
    ends = 1 + np.cumsum([sizes[0], sizes[0] * n_classes, sizes[1]])
    columns = [
        0 * biosample,
        1 + biosample,
        ends[0] + biosample * n_classes + classes[assay],
        ends[1] + assay,
    ]
    used, place = np.unique(columns, return_inverse=True)
    design = np.zeros((biosample.size, used.size))
    design[np.arange(biosample.size), place.reshape(4, -1)] = 1.0
    level = np.searchsorted([1, *ends], used, side="right")
    agreements = np.array(AGREEMENTS if elsewhere.any() else (0.0,))
    expected = (agreements[:, None, None] * elsewhere).reshape(-1, sizes[1])
    targets = np.tile(values, (agreements.size, 1)) - expected[:, assay]
    strengths = np.array([*itertools.product(STRENGTHS, repeat=2)])
    fits: list[list[tuple[Floats, Floats]]] = [[], [], []]
    for of_biosamples, of_assays in strengths:
        pulls = [1e-6, of_biosamples / COMMON_SHARE, of_biosamples / (1 - COMMON_SHARE), of_assays]
        (weights, likely), *left_out = _fit(targets, design, np.array(pulls)[level], assay)
        found = np.zeros((len(targets), ends[-1]))
        found[:, used] = weights
        found[:, ends[1] :] += expected
        for every, parts in zip(fits, ((found, likely), *left_out), strict=True):
            shape = (agreements.size, len(values), -1)
            every += zip(*(part.reshape(shape) for part in parts), strict=True)
    off = np.log(strengths[:, None] / np.asarray(usual)) / STRENGTH_SPREAD  # (strength, value, 2)
    believed = np.repeat(-(off**2).sum(axis=2, keepdims=True) / 2, agreements.size, axis=0)
    found, without_track, without_assay = (_averaged(parts, believed) for parts in fits)
    common, of_class, of_assay = np.split(found[:, 1:], ends[:2] - 1, axis=1)
    of_biosample = common[:, :, None] + of_class.reshape(-1, sizes[0], n_classes)
    return [
        (
            Effects(float(found[k, 0]), of_biosample[k], of_assay[k], classes),
            value - without_track[k],
            value - without_assay[k],
        )
        for k, value in enumerate(values)
    ]


def _averaged(parts: Sequence[tuple[Floats, Floats]], believed: Floats) -> Floats:
    """Average over fits, by the probability of each: exp of its evidence and of what was believed before."""
    found, evidence = (np.array(every) for every in zip(*parts, strict=True))
    evidence = evidence + believed
    share = np.exp(evidence - evidence.max(axis=0))
    return np.asarray((share * found).sum(axis=0) / share.sum(axis=0))


class _Fit(NamedTuple):
    """Fits of all values with pulls of one strength: weights, and errors of tracks that are left out.

    Each comes with its evidence, and has the values in its first dimension.
    """

    weights: tuple[Floats, Floats]
    without_track: tuple[Floats, Floats]
    without_assay: tuple[Floats, Floats]


def _fit(targets: Floats, design: Floats, pull: Floats, assay: Ints) -> _Fit:
    """Fit all values with pulls of one strength.

    The evidence is the log of the probability of the tracks, up to a constant, if effects have a variance of
    `1 / pull`, relative to that of the tracks around the fit, of which nothing is known before.
    """
    n = assay.size
    lower = np.linalg.cholesky(design.T @ design + np.diag(pull))
    half = solve_triangular(lower, design.T, lower=True)
    weights = solve_triangular(lower, half @ targets.T, lower=True, trans="T").T
    error = targets - weights @ design.T
    squares = (targets * error).sum(axis=1, keepdims=True) + LEAST_SQUARES
    size = 2 * np.log(np.diag(lower)).sum() - np.log(pull).sum()
    kept = np.maximum(1.0 - (half * half).sum(axis=0), 1e-9)
    alone = error / kept
    whole_assay, rest, sizes, left = (np.empty_like(error) for _ in range(4))
    for number in np.unique(assay):
        tracks = np.flatnonzero(assay == number)
        inner = np.eye(tracks.size) - half[:, tracks].T @ half[:, tracks]
        whole_assay[:, tracks] = np.linalg.solve(inner, error[:, tracks].T).T
        rest[:, tracks] = squares - (error[:, tracks] * whole_assay[:, tracks]).sum(axis=1, keepdims=True)
        sizes[:, tracks], left[:, tracks] = size + np.linalg.slogdet(inner)[1], n - tracks.size
    return _Fit(
        (weights, _evidence(n, size, squares)),
        (alone, _evidence(n - 1, size + np.log(kept), squares - error * alone)),
        (whole_assay, _evidence(left, sizes, rest)),
    )


def _evidence(tracks: npt.ArrayLike, size: npt.ArrayLike, squares: Floats) -> Floats:
    """Log of the probability of tracks, one of which tells the intercept."""
    free = np.maximum(np.asarray(tracks) - 1, 0)
    return np.asarray(-np.asarray(size) / 2 - free / 2 * np.log(np.maximum(squares, LEAST_SQUARES)))


@dataclass(frozen=True)
class Scales:
    """Expected mean and spread of unseen tracks of one species.

    Parameters
    ----------
    mean, spread
        Fits, on the scales on which effects are additive.
    without_track, without_assay
        Mean and spread expected of each track, had it or its whole assay not been measured; shape
        `(track, 2)`, arcsinh units.
    """

    mean: Effects
    spread: Effects
    without_track: npt.NDArray[np.float32]
    without_assay: npt.NDArray[np.float32]

    def of(
        self, biosample: npt.NDArray[np.integer], assay: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float32]:
        """Return the expected mean and spread of pairs, shape `(pair, 2)`, arcsinh units."""
        return _restored(self.mean.of(biosample, assay), self.spread.of(biosample, assay))

    def of_all(self, biosample: Ints, assay: Ints, known: tuple[Ints, Ints]) -> npt.NDArray[np.float32]:
        """Return the same as `of`; but training tracks (labels `known`) count as not measured."""
        track, expected = numbers_of(biosample, assay, known), self.of(biosample, assay)
        expected[track >= 0] = self.without_track[track[track >= 0]]
        return expected


def numbers_of(biosample: Ints, assay: Ints, known: tuple[Ints, Ints]) -> npt.NDArray[np.int64]:
    """Return the number of each pair among the labels of `known` tracks; -1 for a pair that is not there."""
    number = {pair: n for n, pair in enumerate(zip(*(labels.tolist() for labels in known), strict=True))}
    pairs = zip(biosample.tolist(), assay.tolist(), strict=True)
    return np.array([number.get(pair, -1) for pair in pairs], dtype=np.int64)


def fit_scales(
    tracks: Sequence[tuple[Ints, Ints, Floats, Floats]],
    n_biosamples: Sequence[int],
    classes: Ints,
    seen: Sequence[npt.NDArray[np.bool_]] | None = None,
) -> list[Scales]:
    """Fit mean and spread of every species' tracks, each species with the others' assay effects as prior.

    Parameters
    ----------
    tracks
        For each species: biosample, assay, mean and spread of each training track.
    n_biosamples
        Number of biosamples of each species.
    classes
        Class number of each assay of all species together.
    seen
        For each species: mask of the tracks to fit; by default all. Nothing is learned from the others.
    """
    told = [spread > SMALLEST_SPREAD for *_, spread in tracks]
    told = [one & mask for one, mask in zip(told, seen or told, strict=True)]
    labels = [(biosample[m], assay[m]) for (biosample, assay, _, _), m in zip(tracks, told, strict=True)]
    values = [
        np.stack([_mean_scale(mean[m]), np.log(spread[m])])
        for (*_, mean, spread), m in zip(tracks, told, strict=True)
    ]
    fits = fit_species(values, labels, n_biosamples, (USUAL_MEAN, USUAL_SPREAD), classes)
    scales = []
    for (biosample, assay, *_), m, both in zip(tracks, told, fits, strict=True):
        unseen = []
        for left in (1, 2):  # without the track, without its assay
            expected = np.stack([fit[0].of(biosample, assay) for fit in both])
            expected[:, m] = np.stack([np.asarray(fit[left]) for fit in both])
            unseen.append(_restored(*expected))
        scales.append(Scales(both[0][0], both[1][0], *unseen))
    return scales


def fit_species(
    values: Sequence[Floats],
    labels: Sequence[tuple[Ints, Ints]],
    n_biosamples: Sequence[int],
    usual: Sequence[tuple[float, float]],
    classes: Ints,
) -> list[list[Fitted]]:
    """Fit values of each species' tracks, with the other species' assay effects as prior.

    Parameters
    ----------
    values, labels
        For each species: values of the tracks, `(value, track)`, and the biosample and the assay of each.
    n_biosamples
        Number of biosamples of each species.
    usual, classes
        As in `fit_effects`.

    Returns
    -------
    For each species, the result of `fit_effects`.
    """
    sizes = [(count, classes.size) for count in n_biosamples]
    alone = [
        fit_effects(value, *both, size, usual, classes=classes)
        for value, both, size in zip(values, labels, sizes, strict=True)
    ]
    if len(alone) == 1:
        return alone
    known = [np.bincount(assay, minlength=classes.size) > 0 for _, assay in labels]
    found = []
    for at, (value, both, size) in enumerate(zip(values, labels, sizes, strict=True)):
        others = [number for number in range(len(alone)) if number != at]
        count = np.sum([known[number] for number in others], axis=0)
        effects = [np.stack([effects.assay for effects, *_ in alone[number]]) for number in others]
        total = np.sum([known[number] * of for number, of in zip(others, effects, strict=True)], axis=0)
        found.append(fit_effects(value, *both, size, usual, total / np.maximum(count, 1), classes))
    return found


def _mean_scale(mean: Floats) -> Floats:
    return np.arcsinh(mean / LINEAR_MEAN)


def _restored(mean: Floats, spread: Floats) -> npt.NDArray[np.float32]:
    return np.stack([LINEAR_MEAN * np.sinh(mean), np.exp(spread)], axis=1).astype(np.float32)
