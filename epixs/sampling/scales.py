"""Estimate mean and spread of tracks that were not measured, from those of related tracks.

A track's mean and spread (arcsinh units) depend on its biosample and its assay: `log spread` is fitted as
`intercept + biosample effect + assay effect`. Both effects are pulled towards 0 (ridge), so that a single
track has limited influence. The mean, which may be negative, is fitted on a scale that is logarithmic away
from 0. A biosample's effect is in part common to all assays, and in part to those of a class: strong ChIP-seq
says little about methylation. An assay that a species lacks takes its effect from the
other species: the more the effects of their common assays agree, the more of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

SMALLEST_SPREAD = 1e-3
LINEAR_MEAN = 1e-2
"""Mean up to which the scale of the fit of means is linear; it is logarithmic beyond."""

MEAN_RIDGE, SPREAD_RIDGE = (3.0, 1.0), (0.3, 0.3)
"""Strength, in tracks, of the pull of biosample and assay effects towards 0; stronger for means."""

COMMON_SHARE = 0.25
"""Share of the variance of a biosample's effect that is common to all classes of assays."""

PRIOR_AGREEMENT, PRIOR_TRACKS = 0.5, 1.0
"""Prior agreement of assay effects between species, and its weight in summed squares of the other species'
effects."""


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


def fit_effects(
    value: Floats,
    biosample: Ints,
    assay: Ints,
    sizes: tuple[int, int],
    ridge: tuple[float, float],
    prior: Floats | None = None,
    classes: Ints | None = None,
) -> tuple[Effects, Floats, Floats]:
    """Fit values by biosample and assay.

    Parameters
    ----------
    value, biosample, assay
        One entry per track; labels are numbers below `sizes`.
    ridge
        Strength of the pull of biosample effects towards 0 and of assay effects towards the prior.
    prior
        Assay effects that are expected before any track is seen, shape `(assay,)`; 0 by default.
    classes
        Class number of each assay, shape `(assay,)`; by default all are of one class.

    Returns
    -------
    The effects; the expected value of each track, had it not been measured; and the same, had its whole assay
    not been measured.
    """
    prior = np.zeros(sizes[1]) if prior is None else prior
    classes = np.zeros(sizes[1], np.int32) if classes is None else classes
    n_classes = int(classes.max(initial=0)) + 1
    rows = np.arange(value.size)
    ends = 1 + np.cumsum([sizes[0], sizes[0] * n_classes, sizes[1]])
    design = np.zeros((value.size, ends[-1]))
    design[:, 0] = 1.0
    design[rows, 1 + biosample] = 1.0
    design[rows, ends[0] + biosample * n_classes + classes[assay]] = 1.0
    design[rows, ends[1] + assay] = 1.0
    pulls = [1e-6, ridge[0] / COMMON_SHARE, ridge[0] / (1 - COMMON_SHARE), ridge[1]]
    pull = np.repeat(pulls, np.diff([0, 1, *ends]))
    target = value - prior[assay]
    solved = np.linalg.solve(
        design.T @ design + np.diag(pull), np.column_stack([design.T @ target, design.T])
    )
    weights, hat = solved[:, 0], design @ solved[:, 1:]
    residual = target - design @ weights
    without_track = value - residual / np.maximum(1.0 - np.diag(hat), 1e-9)
    without_assay = np.empty_like(value)
    for number in np.unique(assay):
        tracks = np.flatnonzero(assay == number)
        inner = np.eye(tracks.size) - hat[np.ix_(tracks, tracks)]
        without_assay[tracks] = value[tracks] - np.linalg.solve(inner, residual[tracks])
    common, of_class, of_assay = np.split(weights[1:], ends[:2] - 1)
    of_biosample = common[:, None] + of_class.reshape(sizes[0], n_classes)
    return (
        Effects(float(weights[0]), of_biosample, np.asarray(of_assay + prior), classes),
        without_track,
        without_assay,
    )


@dataclass(frozen=True)
class Scales:
    """Expected mean and spread of unseen tracks of one species.

    Parameters
    ----------
    mean, spread
        Fits, on the scales on which effects are additive.
    without_track, without_assay
        Mean and spread expected of each training track, had it or its whole assay not been measured;
        shape `(track, 2)`, arcsinh units.
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
    tracks: list[tuple[Ints, Ints, Floats, Floats]], n_biosamples: list[int], classes: Ints
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
    """
    labels = [(biosample, assay) for biosample, assay, _, _ in tracks]
    means = fit_species(
        [_mean_scale(mean) for *_, mean, _ in tracks], labels, n_biosamples, MEAN_RIDGE, classes
    )
    spreads = fit_species(
        [_spread_scale(spread) for *_, spread in tracks], labels, n_biosamples, SPREAD_RIDGE, classes
    )
    return [
        Scales(mean, spread, _restored(mean_track, spread_track), _restored(mean_assay, spread_assay))
        for (mean, mean_track, mean_assay), (spread, spread_track, spread_assay) in zip(
            means, spreads, strict=True
        )
    ]


def fit_species(
    values: Sequence[Floats],
    labels: Sequence[tuple[Ints, Ints]],
    n_biosamples: Sequence[int],
    ridge: tuple[float, float],
    classes: Ints,
) -> list[tuple[Effects, Floats, Floats]]:
    """Fit one value per track of each species, with the other species' assay effects as prior.

    Parameters
    ----------
    values, labels
        For each species: one value per track, and the biosample and the assay of each.
    n_biosamples
        Number of biosamples of each species.
    ridge, classes
        As in `fit_effects`.

    Returns
    -------
    For each species, the result of `fit_effects`.
    """
    sizes = [(count, classes.size) for count in n_biosamples]
    alone = [
        fit_effects(value, *both, size, ridge, classes=classes)[0].assay
        for value, both, size in zip(values, labels, sizes, strict=True)
    ]
    known = [np.bincount(assay, minlength=classes.size) > 0 for _, assay in labels]
    return [
        fit_effects(value, *both, size, ridge, _prior(alone, known, at), classes)
        for at, (value, both, size) in enumerate(zip(values, labels, sizes, strict=True))
    ]


def _prior(effects: list[Floats], known: list[npt.NDArray[np.bool_]], at: int) -> Floats:
    """Estimate assay effects for one species from the others: 0 for assays that none of them has."""
    others = [number for number in range(len(effects)) if number != at]
    if not others:
        return np.zeros_like(effects[at])
    count = np.sum([known[number] for number in others], axis=0)
    total = np.sum([np.where(known[number], effects[number], 0.0) for number in others], axis=0)
    mean = total / np.maximum(count, 1)
    shared = known[at] & (count > 0)
    agreement = (float(effects[at][shared] @ mean[shared]) + PRIOR_AGREEMENT * PRIOR_TRACKS) / (
        float(mean[shared] @ mean[shared]) + PRIOR_TRACKS
    )
    return np.asarray(np.clip(agreement, 0.0, 1.0) * mean)


def _mean_scale(mean: Floats) -> Floats:
    return np.arcsinh(mean / LINEAR_MEAN)


def _spread_scale(spread: Floats) -> Floats:
    return np.log(np.maximum(spread, SMALLEST_SPREAD))


def _restored(mean: Floats, spread: Floats) -> npt.NDArray[np.float32]:
    return np.stack([LINEAR_MEAN * np.sinh(mean), np.exp(spread)], axis=1).astype(np.float32)
