"""Mix zero-shot tracks from three parts: the networks' prediction, and two baselines that need no network.

Both baselines are weighted sums of the biosample's own tracks at the bin, standardised as networks read them:
their plain mean, and a ridge regression of the wanted assay that is learned in the other species. The shares
of the parts are learned from assays that a species has, each predicted by networks that have never seen it
there.

For an assay that networks have not seen in a species, they predict where it is high and where low. But if its
tracks look unlike those in the other species, the predictions are too high or too low everywhere, and have
too much or too little contrast. So the predictions are standardised, as the other parts are, and their share
decides their contrast. The best share is the correlation of the predictions with the track. What it may be is
known from the species that have the assay (`agreement.expected_share`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from epixs.sampling.agreement import expected_share
from epixs.sampling.around import Target
from epixs.sampling.panel import Panel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

PARTS = ("network", "mean of the biosample's tracks", "regression from other species")

EXPECTED = (1.0, 0.08, 0.05)
"""Share of each part before anything is learned; that of the networks is relative to their expected share."""

PULL = 4.0
"""Strength of the pull of the shares towards `EXPECTED`; that of the networks' is relative to the mean square
of their part. It is strong: a hidden assay is predicted by one member, which has practised it little, so that
networks seem worse than they are for absent assays."""

RIDGE = 0.1


def mean_of_tracks(panel: Panel, own: Ints) -> Floats:
    """Compute weights of a biosample's tracks (-1: none) that give the standardised mean of their values."""
    weights = np.zeros(own.size, np.float32)
    known = np.flatnonzero(own >= 0)
    spread = panel.spread[own[known]].astype(np.float64)
    variance = float(spread @ panel.likeness[np.ix_(own[known], own[known])] @ spread)
    if variance > 0:
        weights[known] = spread / np.sqrt(variance)
    return weights


def regression(panels: Sequence[Panel], at: int, own: Ints, assay: int) -> Floats:
    """Compute weights of a biosample's tracks (-1: none) that predict an assay as in other species, or 0."""
    weights = np.zeros(own.size, np.float32)
    known = np.flatnonzero(own >= 0)
    assays = panels[at].assay[own[known]]
    others = [panel for number, panel in enumerate(panels) if number != at]
    wanted = np.array([_correlation(others, assay, int(other)) for other in assays])
    shared = np.isfinite(wanted)
    known, assays, wanted = known[shared], assays[shared], wanted[shared]
    if known.size:
        among = np.array([[_correlation(others, int(a), int(b)) for b in assays] for a in assays])
        among = np.where(np.isfinite(among), among, 0.0)
        weights[known] = np.linalg.solve(among + RIDGE * np.eye(known.size), wanted)
    return weights


def _correlation(panels: Sequence[Panel], first: int, second: int) -> float:
    """Compute the mean correlation of two assays over all biosamples that have both; NaN if none has."""
    if first == second:
        return 1.0
    correlations = [
        panel.likeness[one, two]
        for panel in panels
        for one in np.flatnonzero(panel.assay == first)
        for two in np.flatnonzero((panel.assay == second) & (panel.biosample == panel.biosample[one]))
    ]
    return float(np.mean(correlations)) if correlations else float("nan")


def mixture(parts: Sequence[npt.NDArray[np.float64]], values: Sequence[npt.NDArray[np.float64]]) -> Floats:
    """Learn the share of each part, at least 0.

    Parameters
    ----------
    parts
        For each hidden track, the values of each part at some bins, shape `(bin, part)`: standardised, those
        of the networks times their expected share.
    values
        For each hidden track, its own standardised values.
    """
    expected, size = np.array(EXPECTED), len(EXPECTED)
    if not len(parts):
        return expected.astype(np.float32)
    gram = np.mean([part.T @ part / len(part) for part in parts], axis=0)
    towards = np.mean([p.T @ v / len(p) for p, v in zip(parts, values, strict=True)], axis=0)
    pull = PULL * np.array([max(gram[0, 0], 1e-6), *[1.0] * (size - 1)])
    root = np.linalg.cholesky(gram + np.diag(pull)).T
    shares, _ = nnls(root, np.linalg.solve(root.T, towards + pull * expected))
    return np.asarray(shares, np.float32)


def mixture_of(shares: Floats, hidden: float) -> list[float]:
    """Return the share of each part in the zero-shot tracks of an assay, from `mixture` and its agreement."""
    return [float(shares[0]) * expected_share(hidden), *(float(share) for share in shares[1:])]


def mixed(target: Target, panels: Sequence[Panel], shares: Floats, moments: Floats, hidden: Floats) -> Target:
    """Turn a target into one that is predicted as a mixture, if its assay has no track in its species.

    Parameters
    ----------
    shares
        Share of each part, from `mixture`; NaN for the networks alone, as they are.
    moments
        Mean and spread of the networks' predictions of each assay, standardised, shape `(assay, 2)`.
    hidden
        Agreement of each assay in the species that have it, when it is hidden, shape `(assay,)`.
    """
    panel = panels[target.at]
    if (panel.assay == target.assay).any() or np.isnan(shares).any():
        return target
    of_networks, of_mean, of_regression = mixture_of(shares, hidden[target.assay])
    linear = of_mean * mean_of_tracks(panel, target.own)
    linear += of_regression * regression(panels, target.at, target.own, target.assay)
    share = of_networks / moments[target.assay, 1]
    mean, spread = target.scale
    scale = np.array([mean - spread * share * moments[target.assay, 0], spread], np.float32)
    return dataclasses.replace(target, share=float(share), linear=linear, scale=scale)
