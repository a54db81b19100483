"""Mix zero-shot tracks from two parts: the networks' prediction, and the mean of the biosample's tracks.

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

from epixs.sampling.agreement import expected_share
from epixs.sampling.around import Target, without
from epixs.sampling.panel import Panel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

PARTS = ("network", "mean of the biosample's tracks")

MEAN_SHARE = 0.3
"""Share of the mean before anything is learned, relative to how well it agrees with the species' tracks."""

READINGS, FAMILIAR_SHARE = 2, 0.4
"""Number of ways in which networks read around a target, and share of the prediction without unfamiliar
assays, relative to that of familiar ones among the biosample's tracks."""

PULL = 4.0
"""Strength of the pull of the shares towards the expected ones; that of the networks' is relative to the mean
square of their part. It is strong: a hidden assay is predicted by one member, which has practised it little,
so that networks seem worse than they are for absent assays."""


def familiar(panels: Sequence[Panel], at: int, assay: int) -> Mask:
    """Mark the tracks of a species whose assay another species has in one biosample with a given assay."""
    known: set[int] = set()
    for number, panel in enumerate(panels):
        if number != at:
            having = np.isin(panel.biosample, panel.biosample[panel.assay == assay])
            known.update(panel.assay[having].tolist())
    return np.isin(panels[at].assay, sorted(known - {assay}))


def readings(target: Target, known: Mask) -> list[tuple[float, Target]]:
    """Return how networks read around a zero-shot target, with the share of each way; they add up to 1.

    The first way is to read all tracks, the second, if there is one, to read those that are `familiar`.
    """
    own = target.own[target.own >= 0]
    read = np.concatenate([own, target.others[target.others >= 0]])
    if known[read].all() or not known[own].any():
        return [(1.0, target)]
    share = FAMILIAR_SHARE * float(known[own].mean())
    return [(1 - share, target), (share, without(target, known))]


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


def expected_shares(panel: Panel, own: Ints) -> Floats:
    """Return the shares of a species' zero-shot tracks before anything is learned.

    The better the means of the biosamples' tracks agree with each other track of the species, the larger is
    the share of the mean. That of the networks is relative to their expected share.

    Parameters
    ----------
    own
        Other tracks of each track's biosample (-1: none), shape `(track, slot)`.
    """
    agreement = [
        float(mean_of_tracks(panel, others) @ panel.likeness[others, track])
        for track, others in enumerate(own)
        if (others >= 0).any()
    ]
    return np.array([1.0, MEAN_SHARE * max(0.0, float(np.mean(agreement or [0.0])))], np.float32)


def mixture(
    parts: Sequence[npt.NDArray[np.float64]], values: Sequence[npt.NDArray[np.float64]], expected: Floats
) -> Floats:
    """Learn the share of each part, at least 0.

    Parameters
    ----------
    parts
        For each hidden track, the values of each part at some bins, shape `(bin, part)`; those of the
        networks times their expected share.
    values
        For each hidden track, its own standardised values.
    expected
        The shares if there is no hidden track, from `expected_shares`.
    """
    if not len(parts):
        return expected
    gram = np.mean([part.T @ part / len(part) for part in parts], axis=0)
    towards = np.mean([p.T @ v / len(p) for p, v in zip(parts, values, strict=True)], axis=0)
    pull = PULL * np.array([max(gram[0, 0], 1e-6), 1.0])
    root = np.linalg.cholesky(gram + np.diag(pull)).T
    shares, _ = nnls(root, np.linalg.solve(root.T, towards + pull * expected))
    return np.asarray(shares, np.float32)


def mixture_of(shares: Floats, hidden: float) -> list[float]:
    """Return the share of each part in the zero-shot tracks of an assay, from `mixture` and its agreement."""
    return [float(shares[0]) * expected_share(hidden), *(float(share) for share in shares[1:])]


def mixed(
    target: Target, panel: Panel, known: Mask, shares: Floats, moments: Floats, hidden: Floats
) -> list[Target]:
    """Return targets whose predictions add up to a mixture; the target itself, if its assay is not absent.

    Parameters
    ----------
    panel, known
        The species' tracks, and which are `familiar`.
    shares
        Share of each part, from `mixture`; NaN for the networks alone, as they are.
    moments
        Mean and spread of the networks' predictions of each assay, standardised, shape `(assay, reading, 2)`;
        NaN for a second way to read of which they are not known.
    hidden
        Agreement of each assay in the species that have it, when it is hidden, shape `(assay,)`.
    """
    if (panel.assay == target.assay).any() or np.isnan(shares).any():
        return [target]
    of_networks, of_mean = mixture_of(shares, hidden[target.assay])
    ways = readings(target, known)
    if np.isnan(moments[target.assay, : len(ways)]).any():
        ways = [(1.0, target)]
    mean, spread = target.scale
    targets = []
    for (part, reading), moment in zip(ways, moments[target.assay, : len(ways)], strict=True):
        share = of_networks * part / float(moment[1])
        mean -= spread * share * moment[0]
        scale = np.array([0, spread], np.float32)
        targets.append(dataclasses.replace(reading, share=share, scale=scale))
    linear, scale = of_mean * mean_of_tracks(panel, target.own), np.array([mean, spread], np.float32)
    targets[0] = dataclasses.replace(targets[0], linear=linear, scale=scale)
    return targets
