"""Mix zero-shot tracks from three parts: the networks' prediction, and two baselines that need no network.

Both baselines are weighted sums of the biosample's own tracks at the bin, standardised as networks read them:
their plain mean, and a ridge regression of the wanted assay that is learned in the other species. The shares
of the parts are learned from assays that a species has, each predicted by networks that have never seen it
there.

For an assay that networks have not seen in a species, they predict where it is high and where low. But if its
tracks look unlike those in the other species, the predictions are too high or too low everywhere, and have
too much or too little contrast. So the predictions are standardised, as the other parts are, and their share
decides their contrast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from epixs.sampling.around import Target
from epixs.sampling.panel import Panel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

PARTS = ("network", "mean of the biosample's tracks", "regression from other species")

EXPECTED = (0.3, 0.08, 0.05)
"""Share of each part before anything is learned; parts have a spread of 1 or less."""

PULL = 1.0
"""Strength of the pull of the shares towards `EXPECTED`: few assays can be hidden in turn."""

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
        For each hidden track, the standardised values of each part at some bins, shape `(bin, part)`.
    values
        For each hidden track, its own standardised values.
    """
    expected, size = np.array(EXPECTED), len(EXPECTED)
    if not len(parts):
        return expected.astype(np.float32)
    gram = np.mean([part.T @ part / len(part) for part in parts], axis=0) + PULL * np.eye(size)
    towards = np.mean([p.T @ v / len(p) for p, v in zip(parts, values, strict=True)], axis=0)
    root = np.linalg.cholesky(gram).T
    shares, _ = nnls(root, np.linalg.solve(root.T, towards + PULL * expected))
    return np.asarray(shares, np.float32)


def mixed(target: Target, panels: Sequence[Panel], shares: Floats, moments: Floats) -> Target:
    """Turn a target into one that is predicted as a mixture, if its assay has no track in its species.

    Parameters
    ----------
    shares
        Share of each part, from `mixture`.
    moments
        Mean and spread of the networks' predictions of each assay, standardised, shape `(assay, 2)`.
    """
    panel = panels[target.at]
    if (panel.assay == target.assay).any():
        return target
    linear = shares[1] * mean_of_tracks(panel, target.own)
    linear += shares[2] * regression(panels, target.at, target.own, target.assay)
    share = shares[0] / moments[target.assay, 1]
    mean, spread = target.scale
    scale = np.array([mean - spread * share * moments[target.assay, 0], spread], np.float32)
    return dataclasses.replace(target, share=float(share), linear=linear, scale=scale)
