"""Read the tracks observed around a bin as inputs for a target; the target itself is never read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.compiled import compiled
from epixs.lanes import COLUMNS, LANES, difference, larger, load, root, spread, store
from epixs.sampling.kriging import BAND_RADII, Correlations, Equations, weights_of
from epixs.sampling.panel import Panel, equations_of, reads_of
from epixs.sampling.scales import SMALLEST_SPREAD, Scales
from epixs.sampling.windows import Windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

RADII = np.array([0, 2, 10, 40, 200, 1000, 5000], dtype=np.int64)
"""Bins to each side over which means of tracks are read: over 25 bp, 125 bp, 525 bp, 2 kb, 10 kb, 50 kb and
250 kb."""

BAND = np.array([BAND_RADII.index(radius) if radius in BAND_RADII else -1 for radius in RADII.tolist()])
"""Band that begins with the mean over each radius; -1 for none."""

HALO = int(RADII[-1])
SUMMARIES = 4
"""Number of summaries of an assay's tracks in other biosamples: mean, weighted mean, spread, maximum."""


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
    windows: Windows | None = None
    track: int = -1
    share: float = 1.0
    linear: Floats | None = None


@compiled()
def fill_context(
    sums: npt.NDArray[np.int32],
    column: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    radii: npt.NDArray[np.int64],
    mean: Floats,
    spread: Floats,
    own: Ints,
    own_gain: Floats,
    others: Ints,
    weight: Floats,
    others_gain: Floats,
    own_share: Floats,
    others_share: Floats,
    own_out: Floats,
    others_out: Floats,
    base_out: Floats,
) -> None:
    """Fill in the inputs for one target at some bins.

    They have the shapes `(bin, track, radius)`, `(bin, assay, 4 * radius)` and `(bin, band)`; the last are
    sums of the bands of all tracks, multiplied by `own_share`, `(track, band)`, or `others_share`.

    `column` and `length` describe the piece of each bin, and `offset` its place in the piece. Values are
    standardised by their track's mean and spread, in steps, and multiplied by its gain.
    """
    base_out[:] = 0
    own_factor, others_factor = np.empty(own.shape, np.float32), np.empty(others.shape, np.float32)
    for slot in range(own.size):
        if own[slot] < 0:
            own_out[:, slot] = 0
        else:
            own_factor[slot] = own_gain[slot] / spread[own[slot]]
    for slot in range(others.shape[0]):
        for k in range(others.shape[1]):
            if others[slot, k] >= 0:
                others_factor[slot, k] = others_gain[slot, k] / spread[others[slot, k]]
    size = radii.size
    for i in range(offset.size):
        for s in range(size):
            low = column[i] + max(0, offset[i] - radii[s])
            high = column[i] + min(length[i], offset[i] + radii[s] + 1)
            share, band = np.float32(1) / np.float32(high - low), BAND[s]
            for slot in range(own.size):
                track = own[slot]
                if track < 0:
                    continue
                total = np.float32(np.int32(sums[track, high] - sums[track, low]))
                value = (total * share - mean[track]) * own_factor[slot]
                own_out[i, slot, s] = value
                if band >= 0:
                    base_out[i, band] += own_share[slot, band] * value
                if band > 0:
                    base_out[i, band - 1] -= own_share[slot, band - 1] * value
            for slot in range(others.shape[0]):
                added, weighted, squares = np.float32(0), np.float32(0), np.float32(0)
                count, weights, largest = np.float32(0), np.float32(0), np.float32(-np.inf)
                for k in range(others.shape[1]):
                    track = others[slot, k]
                    if track < 0:
                        continue
                    total = np.float32(np.int32(sums[track, high] - sums[track, low]))
                    value = (total * share - mean[track]) * others_factor[slot, k]
                    added += value
                    weighted += weight[slot, k] * value
                    squares += value * value
                    largest = max(largest, value)
                    count += np.float32(1)
                    weights += weight[slot, k]
                    if band >= 0:
                        base_out[i, band] += others_share[slot, k, band] * value
                    if band > 0:
                        base_out[i, band - 1] -= others_share[slot, k, band - 1] * value
                if count == 0:
                    for j in range(SUMMARIES):
                        others_out[i, slot, j * size + s] = 0
                    continue
                average = added / count
                variance = max(np.float32(0), squares / count - average * average)
                others_out[i, slot, s] = average
                others_out[i, slot, size + s] = weighted / weights
                others_out[i, slot, 2 * size + s] = np.sqrt(variance) if count > 1 else np.float32(0)
                others_out[i, slot, 3 * size + s] = largest


@compiled()
def fill_columns(
    sums: npt.NDArray[np.int32],
    column: int,
    length: int,
    offset: int,
    radii: npt.NDArray[np.int64],
    mean: Floats,
    factor: Floats,
    own: Ints,
    others: Ints,
    weight: Floats,
    own_share: Floats,
    others_share: Floats,
    own_out: Floats,
    others_out: Floats,
    base_out: Floats,
) -> None:
    """Fill in the inputs for one target at `COLUMNS` neighbouring bins of a piece, from `offset` on.

    The numbers are those of `fill_context`, as `(track, radius, bin)`, `(assay, 4 * radius, bin)` and
    `(band, bin)`. Bins beyond the end of the piece get the numbers of its last bin.
    """
    size = radii.size
    base_out[:] = 0
    values = np.empty(COLUMNS, np.float32)
    for slot in range(own.size):
        track = own[slot]
        if track < 0:
            own_out[slot] = 0
            continue
        for s in range(size):
            _fill_means(sums, track, column, length, offset, radii[s], mean[track], factor[track], values)
            at = (slot * size + s) * COLUMNS
            for i in range(0, COLUMNS, LANES):
                store(own_out, at + i, load(values, i))
            _add_to_bands(base_out, BAND[s], own_share[slot], values)
    nothing = spread(np.float32(0))
    for slot in range(others.shape[0]):
        for s in range(size):
            count, weights = np.float32(0), np.float32(0)
            first = (slot * SUMMARIES * size + s) * COLUMNS
            step = size * COLUMNS
            for k in range(others.shape[1]):
                track = others[slot, k]
                if track < 0:
                    continue
                _fill_means(sums, track, column, length, offset, radii[s], mean[track], factor[track], values)
                share = spread(weight[slot, k])
                for i in range(0, COLUMNS, LANES):
                    value, at = load(values, i), first + i
                    begun = count > 0
                    total = load(others_out, at) if begun else nothing
                    weighted = load(others_out, at + step) if begun else nothing
                    squares = load(others_out, at + 2 * step) if begun else nothing
                    largest = load(others_out, at + 3 * step) if begun else value
                    store(others_out, at, total + value)
                    store(others_out, at + step, weighted + share * value)
                    store(others_out, at + 2 * step, squares + value * value)
                    store(others_out, at + 3 * step, larger(largest, value))
                _add_to_bands(base_out, BAND[s], others_share[slot, k], values)
                count += np.float32(1)
                weights += weight[slot, k]
            for i in range(0, COLUMNS, LANES):
                at = first + i
                if count == 0:
                    for j in range(SUMMARIES):
                        store(others_out, at + j * step, nothing)
                    continue
                average = load(others_out, at) / spread(count)
                variance = load(others_out, at + 2 * step) / spread(count) - average * average
                store(others_out, at, average)
                store(others_out, at + step, load(others_out, at + step) / spread(weights))
                store(others_out, at + 2 * step, root(larger(variance, nothing)))


@compiled()
def _add_to_bands(out: Floats, band: int, share: Floats, values: Floats) -> None:
    """Add the means of a track to the band that begins with them, and take them from the one before."""
    for number, sign in ((band, np.float32(1)), (band - 1, np.float32(-1))):
        if number >= 0 and share[number] != 0:
            factor = spread(sign * share[number])
            for i in range(number * COLUMNS, (number + 1) * COLUMNS, LANES):
                store(out, i, load(out, i) + factor * load(values, i - number * COLUMNS))


@compiled()
def _fill_means(
    sums: npt.NDArray[np.int32], track: int, column: int, length: int, offset: int, radius: int,
    mean: np.float32, factor: np.float32, out: Floats,
) -> None:  # fmt: skip
    """Fill in the standardised means of one track around `COLUMNS` neighbouring bins."""
    low, high = offset - radius, offset + radius + 1
    first = track * sums.shape[1] + column
    if low >= 0 and high + COLUMNS - 1 <= length:
        size, middle, gain = spread(np.float32(high - low)), spread(mean), spread(factor)
        for i in range(0, COLUMNS, LANES):
            total = difference(sums, first + high + i, first + low + i)
            store(out, i, (total / size - middle) * gain)
        return
    for i in range(COLUMNS):
        at = min(offset + i, length - 1)
        low, high = max(0, at - radius), min(length, at + radius + 1)
        total = np.float32(np.int32(sums[track, column + high] - sums[track, column + low]))
        out[i] = (total / np.float32(high - low) - mean) * factor


def read_context(
    panel: Panel, windows: Windows, piece: npt.NDArray[np.int64], offset: npt.NDArray[np.int64],
    target: Target, own_out: Floats, others_out: Floats, base_out: Floats, gain: Floats | None = None,
    within: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
) -> None:  # fmt: skip
    """Fill in the inputs for one target at bins of `windows`, as `fill_context` does.

    Nothing is read outside `within`: for each bin, the first bin of its piece that is read, and their number;
    all by default.
    """
    gain = np.ones(panel.mean.size, np.float32) if gain is None else gain
    steps = np.float32(STEPS_PER_UNIT)
    spread = np.maximum(panel.spread, np.float32(SMALLEST_SPREAD)) * steps
    first, length = within or (np.zeros_like(offset), windows.length[piece])
    column = windows.column[piece] + first
    fill_context(
        windows.sums, column, length, offset - first, RADII, panel.mean * steps, spread,
        target.own, gain[target.own], target.others, target.weight, gain[target.others],
        *weights_of(target.equations, target.own, target.others), own_out, others_out, base_out,
    )  # fmt: skip


def targets_of(
    panel: Panel, scales: Scales, bands: Sequence[Correlations], at: int, biosample: Ints, assay: Ints,
    windows: Windows | None = None,
) -> list[Target]:  # fmt: skip
    """Make targets of pairs, training tracks or not; no track is ever read for itself."""
    reads, scale = (
        reads_of(panel, biosample, assay),
        scales.of_all(biosample, assay, (panel.biosample, panel.assay)),
    )
    return [
        Target(
            at, int(biosample[n]), int(assay[n]), reads.own[n], reads.others[n], reads.weight[n], scale[n],
            equations_of(bands, int(biosample[n]), int(assay[n]), reads.own[n], reads.others[n]),
            windows, n,
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
