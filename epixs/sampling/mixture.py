"""Mix zero-shot tracks from what networks predict, and the mean of the biosample's tracks.

Their shares are learned from assays that a species has, each predicted by networks that have never seen it
there.

For an assay that networks have not seen in a species, they predict where it is high and where low. But if its
tracks look unlike those in the other species, the predictions are too high or too low everywhere, and have
too much or too little contrast. So predictions are standardised, and their share decides their contrast. The
best share is the correlation of the predictions with the track. What it may be is known from the species that
have the assay (`agreement.expected_share`).

The species may have tracks of assays that were never measured together with the absent one anywhere. Of what
they tell about it, networks have seen nothing, so a part of the prediction goes without them (`readings`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from epixs.sampling.agreement import expected_share, known_elsewhere
from epixs.sampling.around import Target, without
from epixs.sampling.panel import Panel, own_tracks

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

PARTS = ("networks", "networks without unfamiliar assays", "mean of the biosample's tracks")

MEAN_SHARE = 0.3
"""Expected share of the mean, relative to how well it agrees with other tracks."""

READINGS, FAMILIAR_SHARE = 2, 0.2
"""Number of ways in which networks read around a target, and expected share, in their prediction, of that
without unfamiliar assays, relative to the share of familiar ones among the species' tracks."""

PULL = 4.0
"""Strength of the pull of the shares towards the expected ones, relative to the mean square of each part. It
is strong: a hidden assay is predicted by one member, which has practised it little,
so that networks seem worse than they are for absent assays."""

SMALLEST_SQUARE = 1e-6
"""Lower limit of the mean square of a part."""


def familiar(panels: Sequence[Panel], at: int, assay: int) -> Mask:
    """Mark the tracks of a species whose assay another species has in one biosample with a given assay."""
    known: set[int] = set()
    for number, panel in enumerate(panels):
        if number != at:
            having = np.isin(panel.biosample, panel.biosample[panel.assay == assay])
            known.update(panel.assay[having].tolist())
    return np.isin(panels[at].assay, sorted(known - {assay}))


def familiar_share(panels: Sequence[Panel], n_assays: int) -> Doubles:
    """Share of each species' tracks that are `familiar` for each assay; 0 if all or none are.

    Shape `(species, assay)`; tracks of the assay itself do not count.
    """
    share, together = np.zeros((len(panels), n_assays)), []
    for panel in panels:
        has = np.zeros((int(panel.biosample.max(initial=-1)) + 1, n_assays), np.float32)
        has[panel.biosample, panel.assay] = 1
        together.append(has.T @ has > 0)
    for at, panel in enumerate(panels):
        known = np.zeros((n_assays, n_assays), np.bool_)
        for met in together[:at] + together[at + 1 :]:
            known |= met
        count = np.bincount(panel.assay, minlength=n_assays).astype(np.float64)
        others = np.maximum(count.sum() - count, 1)
        part = (known @ count - np.diag(known) * count) / others
        share[at] = np.where(part < 1, part, 0)
    return share


def readings(target: Target, known: Mask) -> list[Target]:
    """Return how networks read around a zero-shot target: all tracks, and those that are `familiar`.

    There is no second way if they would read the same, or nothing of the target's biosample.
    """
    own = target.own[target.own >= 0]
    read = np.concatenate([own, target.others[target.others >= 0]])
    if known[read].all() or not known[own].any():
        return [target]
    return [target, without(target, known)]


def biosamples_of(panel: Panel, known: Mask, way: int, most: int) -> Ints:
    """Choose at most `most` biosamples around which networks may read in a way (0 or 1, see `readings`)."""
    tracks = known & ~known.all() if way else np.full_like(known, True)
    every = np.unique(panel.biosample[tracks])
    return every[:: max(1, -(-every.size // most))]


def mean_of_tracks(panel: Panel, own: Ints) -> Floats:
    """Compute weights of a biosample's tracks (-1: none) that give the standardised mean of their values."""
    weights = np.zeros(own.size, np.float32)
    known = np.flatnonzero(own >= 0)
    spread = panel.spread[own[known]].astype(np.float64)
    variance = float(spread @ panel.likeness[np.ix_(own[known], own[known])] @ spread)
    if variance > 0:
        weights[known] = spread / np.sqrt(variance)
    return weights


def agreement_of_means(panel: Panel, tracks: npt.NDArray[np.integer], without: int = -1) -> Doubles:
    """Correlate some tracks with the mean of their biosample's other tracks, but for those of an assay.

    Returns
    -------
    Shape `(track,)`; NaN if there are no other tracks, or the track is constant.
    """
    agreement = np.full(tracks.size, np.nan)
    own = own_tracks(panel, panel.biosample[tracks], panel.assay[tracks], without)
    for at, (track, others) in enumerate(zip(tracks, own, strict=True)):
        if (others >= 0).any() and panel.spread[track] > 0:
            agreement[at] = mean_of_tracks(panel, others) @ panel.likeness[others, track]
    return agreement


def means_tell(panel: Panel, agreement: Doubles, classes: Ints) -> tuple[Doubles, Doubles]:
    """Sum up how well means of biosamples' tracks agree with tracks of each assay's class.

    Parameters
    ----------
    agreement
        `agreement_of_means` of all tracks.

    Returns
    -------
    For each assay, the sum of `agreement_of_means` and the number of tracks, as if the species had none of
    the assay's tracks; shape `(assay,)` each.
    """
    every = np.arange(panel.assay.size)
    total, count = np.zeros((2, classes.size))
    for assay in range(classes.size):
        there = panel.assay == assay
        alike = ~there & (classes[panel.assay] == classes[assay])
        of_alike = agreement[alike]
        beside = np.isin(panel.biosample[alike], panel.biosample[there])
        if beside.any():
            of_alike[beside] = agreement_of_means(panel, every[alike][beside], assay)
        total[assay], count[assay] = np.nansum(of_alike), np.count_nonzero(np.isfinite(of_alike))
    return total, count


def expected_shares(panels: Sequence[Panel], classes: Ints, hidden: Floats) -> Floats:
    """Return the share of each part in zero-shot tracks before anything is learned.

    That of the networks is the correlation that is expected of them, divided between the ways to read. That
    of the mean is larger the better such means agree with the species' other tracks of the assay's class:
    methylation is low where they are high. If the species has none of this class, it is as in the species
    that have the assay.

    Parameters
    ----------
    panels
        The tracks of each species.
    classes
        Class of each assay.
    hidden
        Agreement of each assay with its prediction when it is hidden, shape `(species, assay)`.

    Returns
    -------
    Shape `(species, assay, part)`, as if a species had none of the assay's tracks.
    """
    total, count, alike, number = np.zeros((4, len(panels), classes.size))
    for at, panel in enumerate(panels):
        agreement = agreement_of_means(panel, np.arange(panel.assay.size))
        alike[at], number[at] = means_tell(panel, agreement, classes)
        known = np.isfinite(agreement)
        total[at] = np.bincount(panel.assay[known], agreement[known], classes.size)
        count[at] = np.bincount(panel.assay[known], minlength=classes.size)
    elsewhere, number_elsewhere = (of.sum(axis=0) - of for of in (total, count))
    lacks = number == 0
    of_mean = np.where(lacks, elsewhere, alike) / np.maximum(np.where(lacks, number_elsewhere, number), 1)
    of_hidden = [known_elsewhere(hidden, at) for at in range(len(panels))]
    of_networks = np.array([[expected_share(one) for one in of_species] for of_species in of_hidden])
    part = FAMILIAR_SHARE * familiar_share(panels, classes.size)
    shares = [of_networks * (1 - part), of_networks * part, MEAN_SHARE * np.maximum(0.0, of_mean)]
    return np.stack(shares, axis=2).astype(np.float32)


def of_parts(expected: Floats) -> Floats:
    """Return the correlation with the track that is expected of each part, from `expected_shares`."""
    found = np.empty_like(expected)
    found[..., :READINGS] = expected[..., :READINGS].sum(axis=-1, keepdims=True)
    found[..., READINGS] = expected[..., READINGS] / MEAN_SHARE
    return found


def mixture(parts: Sequence[Doubles], values: Sequence[Doubles]) -> Floats:
    """Learn the shares of the networks and of the mean, relative to the expected ones; at least 0.

    Parameters
    ----------
    parts
        For each hidden track, the values of each of `PARTS` times its expected share, `(bin, part)`.
    values
        For each hidden track, its own standardised values.

    Returns
    -------
    Shape `(part,)`: the networks have the same, however they read. 1 if there is no hidden track.
    """
    if not len(parts):
        return np.ones(len(PARTS), np.float32)
    both = [np.stack([one[:, :READINGS].sum(axis=1), one[:, READINGS]], axis=1) for one in parts]
    gram = np.mean([part.T @ part / len(part) for part in both], axis=0)
    towards = np.mean([p.T @ v / len(p) for p, v in zip(both, values, strict=True)], axis=0)
    pull = PULL * np.maximum(np.diag(gram), SMALLEST_SQUARE)
    root = np.linalg.cholesky(gram + np.diag(pull)).T
    shares, _ = nnls(root, np.linalg.solve(root.T, towards + pull))
    return np.repeat(shares, (READINGS, 1)).astype(np.float32)


def mixed(target: Target, panel: Panel, known: Mask, shares: Floats, moments: Floats) -> list[Target]:
    """Return targets whose predictions add up to a mixture; the target itself, if its assay is not absent.

    Parameters
    ----------
    panel, known
        The species' tracks, and which are `familiar`.
    shares
        Share of each part for each assay, `(assay, part)`; NaN for the networks alone, as they are.
    moments
        Mean and spread of the networks' predictions of each assay, standardised, shape `(assay, reading, 2)`;
        NaN for a second way to read of which they are not known.
    """
    *of_networks, of_mean = shares[target.assay].tolist()
    if (panel.assay == target.assay).any() or np.isnan(shares[target.assay]).any():
        return [target]
    ways = readings(target, known)
    if len(ways) < READINGS or np.isnan(moments[target.assay]).any():
        ways, of_networks = [target], [sum(of_networks)]
    mean, spread = target.scale
    targets = []
    for reading, of_way, moment in zip(ways, of_networks, moments[target.assay], strict=False):
        share = of_way / float(moment[1])
        mean -= spread * share * moment[0]
        scale = np.array([0, spread], np.float32)
        targets.append(dataclasses.replace(reading, share=share, scale=scale))
    linear, scale = of_mean * mean_of_tracks(panel, target.own), np.array([mean, spread], np.float32)
    targets[0] = dataclasses.replace(targets[0], linear=linear, scale=scale)
    return targets
