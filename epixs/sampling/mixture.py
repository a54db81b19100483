"""What a zero-shot track is mixed from: what a network says, and two things that anyone could do without it.

Both are weighted sums of the biosample's own tracks at the bin, standardised as networks read them: their
plain mean, and a ridge regression of the wanted assay that is learned in the other species. How much each
counts is learned from assays that a species does have, each predicted by networks which have never seen it
there.

Of an assay that networks have not seen in a species, they say where it is high and where low, but too much or
too little everywhere, and with too much or too little contrast, where its tracks look unlike those of the
others. So what they say is standardised, as the other parts are, and its share is its contrast.
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
"""How much of each is taken before anything is known; parts have a spread of 1, or of less."""

PULL = 1.0
"""How strongly the shares are pulled towards `EXPECTED`: few assays can be hidden in turn."""

RIDGE = 0.1


def mean_of_tracks(panel: Panel, own: Ints) -> Floats:
    """Weights of a biosample's tracks (-1: none) that give the mean of their values, standardised."""
    weights = np.zeros(own.size, np.float32)
    known = np.flatnonzero(own >= 0)
    spread = panel.spread[own[known]].astype(np.float64)
    variance = float(spread @ panel.likeness[np.ix_(own[known], own[known])] @ spread)
    if variance > 0:
        weights[known] = spread / np.sqrt(variance)
    return weights


def regression(panels: Sequence[Panel], at: int, own: Ints, assay: int) -> Floats:
    """Weights of a biosample's tracks (-1: none) that predict an assay as in other species; else 0."""
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
    """Mean correlation of two assays over all biosamples that have both; NaN if none has."""
    if first == second:
        return 1.0
    found = [
        panel.likeness[one, two]
        for panel in panels
        for one in np.flatnonzero(panel.assay == first)
        for two in np.flatnonzero((panel.assay == second) & (panel.biosample == panel.biosample[one]))
    ]
    return float(np.mean(found)) if found else float("nan")


def mixture(parts: Sequence[npt.NDArray[np.float64]], values: Sequence[npt.NDArray[np.float64]]) -> Floats:
    """How much of each part to take, at least 0.

    Parameters
    ----------
    parts
        Per hidden track what each part says at some bins, standardised, shape `(bin, part)`.
    values
        Per track its own standardised values.
    """
    expected, size = np.array(EXPECTED), len(EXPECTED)
    if not len(parts):
        return expected.astype(np.float32)
    gram = np.mean([part.T @ part / len(part) for part in parts], axis=0) + PULL * np.eye(size)
    towards = np.mean([p.T @ v / len(p) for p, v in zip(parts, values, strict=True)], axis=0)
    root = np.linalg.cholesky(gram).T
    shares, _ = nnls(root, np.linalg.solve(root.T, towards + PULL * expected))
    return np.asarray(shares, np.float32)


def mixed(target: Target, panels: Sequence[Panel], shares: Floats, said: Floats) -> Target:
    """A target that is predicted as a mixture, if its assay has no track in its species; else as it is.

    Parameters
    ----------
    shares
        How much of each part to take, as `mixture` gives it.
    said
        Mean and spread of what the networks say of each assay, standardised, shape `(assay, 2)`.
    """
    panel = panels[target.at]
    if (panel.assay == target.assay).any():
        return target
    linear = shares[1] * mean_of_tracks(panel, target.own)
    linear += shares[2] * regression(panels, target.at, target.own, target.assay)
    share = shares[0] / said[target.assay, 1]
    mean, spread = target.scale
    scale = np.array([mean - spread * share * said[target.assay, 0], spread], np.float32)
    return dataclasses.replace(target, share=float(share), linear=linear, scale=scale)
