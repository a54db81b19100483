"""Read the tracks observed around a bin as inputs for a target; the target itself is never read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.sampling.bins import Places, together
from epixs.sampling.fill import RADII, SUMMARIES, fill_contexts
from epixs.sampling.kriging import BAND_RADII, Correlations, Equations, weights_of
from epixs.sampling.panel import Panel, equations_of, reads_of
from epixs.sampling.scales import Scales
from epixs.sampling.windows import Windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Target:
    """A track to predict, with the tracks to read, its expected mean and spread, and its values if known.

    Parameters
    ----------
    at
        Number of its species.
    biosample, assay
        Numbers within the species and on the joint axis.
    own, others, weight
        As in `Reads`, of this target alone.
    scale
        Expected mean and spread, arcsinh units.
    equations
        Equations for the weights of the tracks in the sums that predict the target's bands, if any.
    named
        Whether its assay is named to the network, or it has only the assay's other tracks to go by.
    windows, track
        Windows that hold its values, and its row in them; None if it was not measured.
    share, linear
        Factor of a network's prediction, and weights of the own tracks that are added to it.
    """

    at: int
    biosample: int
    assay: int
    own: Ints
    others: Ints
    weight: Floats
    scale: Floats
    equations: Sequence[Equations] = ()
    named: bool = True
    windows: Windows | None = None
    track: int = -1
    share: float = 1.0
    linear: Floats | None = None


class Reading(NamedTuple):
    """A target, the bins to read around, and how to read.

    Parameters
    ----------
    target, places
        The target and the bins.
    gain
        Factor of the values of each track; by default 1.
    within
        The only bins that are read around each bin: the first in its piece, and their number; by default all.
    """

    target: Target
    places: Places
    gain: Floats | None = None
    within: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None


def read_contexts(
    panel: Panel, windows: Windows, readings: Sequence[Reading], rows: npt.NDArray[np.int64],
    own_out: Floats, others_out: Floats, base_out: Floats,
) -> tuple[Ints, Ints]:  # fmt: skip
    """Fill in the inputs for targets of one species, each at as many bins of `windows`.

    The shapes are those of `fill_context`, after a first dimension of which each target has one of `rows`.

    Returns
    -------
    The tracks read for each target, as in `Reads`.
    """
    piece, offset = together([one.places for one in readings])
    column, length = windows.column[piece], windows.length[piece]
    for number, one in enumerate(readings):
        if one.within is not None:
            column[number] += one.within[0]
            offset[number] -= one.within[0]
            length[number] = one.within[1]
    targets = [one.target for one in readings]
    shares = [weights_of(one.equations, one.own, one.others) for one in targets]
    own, others = np.stack([one.own for one in targets]), np.stack([one.others for one in targets])
    mean, spread = panel.in_steps
    gains, which = [np.ones(spread.size, np.float32)], np.zeros(len(readings), np.int64)
    for number, one in enumerate(readings):
        if one.gain is not None:
            which[number] = len(gains)
            gains.append(one.gain)
    fill_contexts(
        windows.sums, column, length, offset, RADII, mean, np.stack(gains) / spread,
        own, others, np.stack([one.weight for one in targets]),
        np.stack([of_own for of_own, _ in shares]), np.stack([of_others for _, of_others in shares]),
        which, rows, own_out, others_out, base_out,
    )  # fmt: skip
    return own, others


def read_context(panel: Panel, windows: Windows, reading: Reading) -> tuple[Floats, Floats, Floats]:
    """Read the inputs for one target, in the shapes of `fill_context`."""
    bins, target, size = reading.places.offset.size, reading.target, RADII.size
    own = np.empty((1, bins, target.own.size, size), np.float32)
    others = np.empty((1, bins, target.others.shape[0], SUMMARIES * size), np.float32)
    base = np.empty((1, bins, len(BAND_RADII)), np.float32)
    read_contexts(panel, windows, [reading], np.zeros(1, np.int64), own, others, base)
    return own[0], others[0], base[0]


def targets_of(
    panel: Panel, scales: Scales, bands: Sequence[Correlations], at: int, biosample: Ints, assay: Ints,
    alone: Mask, windows: Windows | None = None,
) -> list[Target]:  # fmt: skip
    """Make targets of pairs, training tracks or not; no track is ever read for itself.

    Assays that are `alone` (`sampling.panel.alone_in`) are not named, but where they are absent.
    """
    named = ~alone[assay] | ~np.isin(assay, panel.assay)
    reads, scale = (
        reads_of(panel, biosample, assay),
        scales.of_all(biosample, assay, (panel.biosample, panel.assay)),
    )
    return [
        Target(
            at, int(biosample[n]), int(assay[n]), reads.own[n], reads.others[n], reads.weight[n], scale[n],
            equations_of(bands, int(biosample[n]), int(assay[n]), reads.own[n], reads.others[n]),
            bool(named[n]), windows, n,
        )
        for n in range(biosample.size)
    ]  # fmt: skip


def without(target: Target, seen: Mask) -> Target:
    """Return a target with only the seen tracks to read."""
    own = np.where(among(target.own, seen), target.own, -1).astype(np.int32)
    others = np.where(among(target.others, seen), target.others, -1).astype(np.int32)
    return dataclasses.replace(target, own=own, others=others)


def among(tracks: Ints, mask: Mask) -> Mask:
    """Mark the tracks that are in a mask; -1 stands for no track."""
    return np.asarray((tracks >= 0) & mask[tracks])


@compiled(nogil=False)
def leave_out(
    own: Ints, others: Ints, seen: Mask, kept: Mask, left: Mask, biosample: Ints
) -> tuple[Ints, Ints]:
    """Return the tracks that training reads for a target: -1 for those that it leaves out.

    These are all tracks that are not `seen`, `own` ones that are not `kept`, and `others` of biosamples that
    are not `left`; but if these are all of an assay, none of them for that reason.
    """
    own_read, others_read = np.full_like(own, -1), np.full_like(others, -1)
    for slot, track in enumerate(own):
        if track >= 0 and seen[track] and kept[slot]:
            own_read[slot] = track
    for slot in range(others.shape[0]):
        any_left = False
        for track in others[slot]:
            any_left |= track >= 0 and seen[track] and left[biosample[track]]
        for k, track in enumerate(others[slot]):
            if track >= 0 and seen[track] and (left[biosample[track]] or not any_left):
                others_read[slot, k] = track
    return own_read, others_read
