"""Kernels that fill in means of tracks around bins; they know nothing of stores or species."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.lanes import COLUMNS, LANES, difference, larger, load, prefetch, root, spread, store
from epixs.sampling.kriging import BAND_RADII

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

RADII = np.array([0, 2, 10, 40, 200, 1000, 5000], dtype=np.int64)
"""Bins to each side over which means of tracks are read: over 25 bp, 125 bp, 525 bp, 2 kb, 10 kb, 50 kb and
250 kb."""

BAND = np.array([BAND_RADII.index(radius) if radius in BAND_RADII else -1 for radius in RADII.tolist()])
"""Band that begins with the mean over each radius; -1 for none."""

HALO = int(RADII[-1])
SUMMARIES = 4
"""Number of summaries of an assay's tracks in other biosamples: mean, weighted mean, spread, maximum."""

AHEAD, PER_LINE = 2, 16
"""Number of bins that `fill_context` fetches from memory before it reads them, without which it would mostly
wait; and number of tracks in a cache line."""


@compiled()
def fill_context(
    sums: npt.NDArray[np.int32],
    column: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
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
    """Fill in the inputs for one target at some bins.

    They have the shapes `(bin, track, radius)`, `(bin, assay, 4 * radius)` and `(bin, band)`; the last are
    sums of the bands of all tracks, multiplied by `own_share`, `(track, band)`, or `others_share`.

    `column` and `length` describe the piece of each bin, and `offset` its place in the piece. The mean of
    each track is subtracted from its values, in steps, and the rest multiplied by its factor.
    """
    base_out[:] = 0
    for slot in range(own.size):
        if own[slot] < 0:
            own_out[:, slot] = 0
    size = radii.size
    # Of other arrays, values of one column lie apart, and the next columns of a track nearby.
    by_column = sums.strides[0] < sums.strides[1]
    lines = _some_per_line(own, others) if by_column else np.empty(0, own.dtype)
    for i in range(-AHEAD, offset.size):
        if i + AHEAD < offset.size:
            _fetch(sums, column[i + AHEAD], length[i + AHEAD], offset[i + AHEAD], radii, lines)
        if i < 0:
            continue
        for s in range(size):
            low = column[i] + max(0, offset[i] - radii[s])
            high = column[i] + min(length[i], offset[i] + radii[s] + 1)
            share, band = np.float32(1) / np.float32(high - low), BAND[s]
            for slot in range(own.size):
                track = own[slot]
                if track < 0:
                    continue
                total = np.float32(np.int32(sums[track, high] - sums[track, low]))
                value = (total * share - mean[track]) * factor[track]
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
                    value = (total * share - mean[track]) * factor[track]
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
def fill_contexts(
    sums: npt.NDArray[np.int32],
    column: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    radii: npt.NDArray[np.int64],
    mean: Floats,
    factor: Floats,
    own: Ints,
    others: Ints,
    weight: Floats,
    own_share: Floats,
    others_share: Floats,
    which: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    own_out: Floats,
    others_out: Floats,
    base_out: Floats,
) -> None:
    """Fill in the inputs for several targets, as `fill_context` does for one.

    Each has one of `rows` of the results, and one row, `which`, of the factors.
    """
    for n, row in enumerate(rows):
        fill_context(
            sums, column[n], length[n], offset[n], radii, mean, factor[which[n]],
            own[n], others[n], weight[n], own_share[n], others_share[n],
            own_out[row, :, : own.shape[1]], others_out[row, :, : others.shape[1]], base_out[row],
        )  # fmt: skip


@compiled()
def _some_per_line(own: Ints, others: Ints) -> Ints:
    """List some of the tracks, sorted, such that each other one lies in a cache line of a column with one.

    Of tracks within a line's length of each other, these are the first and the last: where lines begin
    depends on the column.
    """
    tracks = np.sort(np.concatenate((own, others.reshape(-1))))
    tracks = tracks[tracks >= 0]
    taken, count = np.empty_like(tracks), 0
    for number, track in enumerate(tracks):
        first = count == 0 or track - taken[count - 1] >= PER_LINE
        last = number == tracks.size - 1
        if first or last or tracks[number + 1] - taken[count - 1] >= PER_LINE:
            taken[count] = track
            count += 1
    return taken[:count]


@compiled()
def _fetch(
    sums: npt.NDArray[np.int32],
    column: int,
    length: int,
    offset: int,
    radii: npt.NDArray[np.int64],
    lines: Ints,
) -> None:
    """Fetch from memory what `fill_context` will read around a bin."""
    for radius in radii:
        low, high = column + max(0, offset - radius), column + min(length, offset + radius + 1)
        for track in lines:
            prefetch(sums, track, low)
            prefetch(sums, track, high)


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
