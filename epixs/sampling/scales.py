"""Level and spread of tracks that nobody measured, from those of the tracks around them.

A track's mean and spread (arcsinh units) are its biosample's and its assay's: `log spread` is fitted as
`intercept + biosample effect + assay effect`, with both effects pulled towards 0 (ridge), so that what one
track alone says is believed in part. The mean, which may be negative, is fitted on a scale that is
logarithmic away from 0. A biosample's effect is in part common to all assays, in part to those of a class:
strong ChIP-seq says little of methylation. An assay that a species lacks takes over its effect from the other
species, as far as the effects of assays that both have agree.
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
"""Means are fitted on a scale that is linear up to here and logarithmic beyond."""

MEAN_RIDGE, SPREAD_RIDGE = (3.0, 1.0), (0.3, 0.3)
"""Pull of biosample and assay effects towards 0, in tracks: more so for means."""

COMMON_SHARE = 0.25
"""Of the variance of a biosample's effect: what is common to all classes of assays."""

PRIOR_AGREEMENT, PRIOR_TRACKS = 0.5, 1.0
"""How far an assay's effects agree between species before anything is known of that, and for how much of
the other species' effects (summed squares) this counts."""


@dataclass(frozen=True)
class Effects:
    """One additive fit: what a pair's value is expected to be.

    Parameters
    ----------
    intercept
        Value where nothing is known of either label.
    biosample
        Effect of each biosample on the assays of each class, shape `(biosample, class)`.
    assay
        Effect of each assay. Both are 0 where no track says anything.
    classes
        Number of each assay's class.
    """

    intercept: float
    biosample: Floats
    assay: Floats
    classes: Ints

    def of(self, biosample: npt.NDArray[np.integer], assay: npt.NDArray[np.integer]) -> Floats:
        """Expected values of pairs; a biosample of -1 has no effect."""
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
        Pull of biosample and of assay effects towards 0 and towards the prior.
    prior
        Assay effects that are expected before any track is seen, shape `(assay,)`; 0 by default.
    classes
        Number of each assay's class, shape `(assay,)`; one class of all by default.

    Returns
    -------
    The effects; what each track would be expected to be had it not been measured; and had its whole assay
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
        mine = np.flatnonzero(assay == number)
        inner = np.eye(mine.size) - hat[np.ix_(mine, mine)]
        without_assay[mine] = value[mine] - np.linalg.solve(inner, residual[mine])
    common, of_class, of_assay = np.split(weights[1:], ends[:2] - 1)
    of_biosample = common[:, None] + of_class.reshape(sizes[0], n_classes)
    return (
        Effects(float(weights[0]), of_biosample, np.asarray(of_assay + prior), classes),
        without_track,
        without_assay,
    )


@dataclass(frozen=True)
class Scales:
    """Mean and spread that unseen tracks of one species are expected to have.

    Parameters
    ----------
    mean, spread
        Fits, on the scales on which they are additive.
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
        """Expected mean and spread of pairs, shape `(pair, 2)`, arcsinh units."""
        return _restored(self.mean.of(biosample, assay), self.spread.of(biosample, assay))

    def of_all(self, biosample: Ints, assay: Ints, known: tuple[Ints, Ints]) -> npt.NDArray[np.float32]:
        """The same; of pairs that are training tracks (`known`: their labels), had they not been measured."""
        number = {pair: n for n, pair in enumerate(zip(*(labels.tolist() for labels in known), strict=True))}
        found = self.of(biosample, assay)
        for at, pair in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
            if pair in number:
                found[at] = self.without_track[number[pair]]
        return found


def fit_scales(
    tracks: list[tuple[Ints, Ints, Floats, Floats]], n_biosamples: list[int], classes: Ints
) -> list[Scales]:
    """Fit mean and spread of every species' tracks, each species with the others' assay effects as prior.

    Parameters
    ----------
    tracks
        Per species: biosample, assay, mean and spread of each training track.
    n_biosamples
        Labels of each species.
    classes
        Number of the class of each assay of all species together.
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
    """Fit one value per track of every species, each species with the others' assay effects as prior.

    Parameters
    ----------
    values, labels
        Per species: one value per track, and the biosample and the assay of each.
    n_biosamples
        Labels of each species.
    ridge, classes
        As in `fit_effects`.

    Returns
    -------
    Per species what `fit_effects` gives.
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
    """Assay effects that other species suggest for one: 0 for assays that none of them has."""
    others = [number for number in range(len(effects)) if number != at]
    if not others:
        return np.zeros_like(effects[at])
    count = np.sum([known[number] for number in others], axis=0)
    total = np.sum([np.where(known[number], effects[number], 0.0) for number in others], axis=0)
    theirs = total / np.maximum(count, 1)
    shared = known[at] & (count > 0)
    agreement = (float(effects[at][shared] @ theirs[shared]) + PRIOR_AGREEMENT * PRIOR_TRACKS) / (
        float(theirs[shared] @ theirs[shared]) + PRIOR_TRACKS
    )
    return np.asarray(np.clip(agreement, 0.0, 1.0) * theirs)


def _mean_scale(mean: Floats) -> Floats:
    return np.arcsinh(mean / LINEAR_MEAN)


def _spread_scale(spread: Floats) -> Floats:
    return np.log(np.maximum(spread, SMALLEST_SPREAD))


def _restored(mean: Floats, spread: Floats) -> npt.NDArray[np.float32]:
    return np.stack([LINEAR_MEAN * np.sinh(mean), np.exp(spread)], axis=1).astype(np.float32)
