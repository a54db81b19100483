"""Kernels that add the items of a bigWig's data blocks to the bins in which they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.genome.regions import BIN_SIZE
from epixs.tracks.bigwig import SECTION_BYTES

BEDGRAPH, VARIABLE_STEP = 1, 2
HEAD_WORDS = SECTION_BYTES // 4
WORD = np.uint64(0xFFFFFFFF)

ONE, TWO, THREE = np.uint64(1), np.uint64(2), np.uint64(3)
SPARE = 3
"""Number of bins allocated beyond the last one: the kernel writes to them, but adds only zeros."""

MOST_LAID_OVER = 64
"""Maximum number of items per base of a stretch, on average, where items overlap."""

FINE, INFINITE, UNSORTED, ENDS_EARLY, NO_HEAD, ELSEWHERE, OVERLAP, TOO_DEEP = range(8)
FAULTS = {
    UNSORTED: "items are out of order, or end before they start",
    ENDS_EARLY: "a block ends early",
    NO_HEAD: "a block has no valid head",
    ELSEWHERE: "a block does not lie where the index says",
}


@compiled()
def add_run(
    words: npt.NDArray[Any],
    values: npt.NDArray[Any],
    first_word: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    big_endian: bool,
    number: Any,
    low: Any,
    high: Any,
    last_end: Any,
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.uint8],
    bases: npt.NDArray[np.float32],
    odd: npt.NDArray[np.int64],
) -> tuple[Any, Any]:
    """Add all items of a run of blocks to the bins of `[low, high)`.

    If `bases` has shape `(high - low,)`, values are written there instead, later ones over earlier ones. If
    it is empty, the first items that overlap inside `[low, high)` end the run with `OVERLAP`. `odd` counts
    items without width, items that overlap, and bases written.

    A block is `chromosome, start, end, step, span, (kind, count)` and its items: `start, end, value` for
    bedGraph, `start, value` for variableStep, `value` for fixedStep. Its counts, its place and its order are
    all checked.

    Returns
    -------
    `FINE` or the fault found, and the end of the last item or the place of the fault.
    """
    for block in range(first_word.size - 1):
        at, stop = first_word[block], first_word[block + 1]
        if stop - at < HEAD_WORDS:
            return ENDS_EARLY, np.int64(boxes[block, 0] & WORD)
        chrom, first = np.uint64(words[at]), np.int64(words[at + 1])
        step, span, packed = np.int64(words[at + 3]), np.int64(words[at + 4]), words[at + 5]
        if big_endian:
            kind, count = packed >> np.uint32(24), np.int64(packed & np.uint32(0xFFFF))
        else:
            kind, count = packed & np.uint32(0xFF), np.int64(packed >> np.uint32(16))
        if kind < 1 or kind > 3 or at + HEAD_WORDS + np.int64(4 - kind) * count > stop:
            return NO_HEAD, np.int64(boxes[block, 0] & WORD)
        begin = chrom << np.uint64(32) | np.uint64(words[at + 1])
        finish = chrom << np.uint64(32) | np.uint64(words[at + 2])
        if begin < boxes[block, 0] or finish > boxes[block, 1]:
            return ELSEWHERE, np.int64(boxes[block, 0] & WORD)
        if chrom != number:
            continue
        at += HEAD_WORDS
        end = before = first
        binned = first % BIN_SIZE == 0 and np.int64(finish & WORD) % BIN_SIZE == 0
        for i in range(count):
            if kind == BEDGRAPH:
                start, end = np.int64(words[at]), np.int64(words[at + 1])
            elif kind == VARIABLE_STEP:
                start = np.int64(words[at])
                end = start + span
            else:
                start = first + i * step
                end = start + span
            at += 4 - kind
            if start < last_end or end <= start or start < first:
                if start < first:
                    return ELSEWHERE, start
                if start < before or end < start:
                    return UNSORTED, start
                if end == start:
                    odd[0] += low <= start < high
                elif max(start, low) < min(end, last_end, high):
                    odd[1] += 1
                    if not bases.size:
                        return OVERLAP, start
            before = start
            last_end = max(last_end, end)
            if end <= low or start >= high or end == start:
                continue
            value = np.float64(values[at - 1])
            if bases.size and not np.isinf(value):
                odd[2] += min(end, high) - max(start, low)
                if odd[2] > MOST_LAID_OVER * bases.size:
                    return TOO_DEEP, start
                bases[max(start, low) - low : min(end, high) - low] = value
                continue
            if not np.isfinite(value):
                if np.isnan(value):
                    continue
                return INFINITE, start
            start, end = max(start, low) - low, min(end, high) - low
            first_bin = start // BIN_SIZE
            index, edge = np.uint64(first_bin), (first_bin + 1) * BIN_SIZE
            if binned and end <= edge:
                sums[index] += value * (end - start)
                covered[index] += end - start
                continue
            # If items are not aligned to bins, the processor cannot predict how many bins one crosses. Always
            # adding to three bins, zeros to some of them, is faster than wrong predictions.
            width = min(end, edge) - start
            sums[index] += value * width
            covered[index] += width
            width = max(min(end - edge, BIN_SIZE), 0)
            sums[index + ONE] += value * width
            covered[index + ONE] += width
            width = max(min(end - edge - BIN_SIZE, BIN_SIZE), 0)
            sums[index + TWO] += value * width
            covered[index + TWO] += width
            edge += 2 * BIN_SIZE
            if edge < end:
                index += THREE
                full = value * BIN_SIZE
                for _ in range((end - edge) // BIN_SIZE):  # no other item has bases in these bins
                    sums[index] = full
                    covered[index] = BIN_SIZE
                    index += ONE
                width = (end - edge) % BIN_SIZE
                sums[index] += value * width
                covered[index] += width
        if end > np.int64(finish & WORD):  # `end` of the last item: so some writers define it for overlaps
            return ELSEWHERE, np.int64(boxes[block, 0] & WORD)
    return FINE, last_end


@compiled()
def add_run_to_each(
    words: npt.NDArray[Any],
    values: npt.NDArray[Any],
    first_word: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    big_endian: bool,
    stretches: npt.NDArray[np.int64],
    blocks: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.uint8],
    odd: npt.NDArray[np.int64],
) -> None:
    """Apply `add_run` to each of many stretches, with those blocks of the run that belong to it.

    Parameters
    ----------
    stretches
        Number of the chromosome, first base and the base after the last; shape `(stretch, 3)`.
    blocks
        First block of the stretch, counted in the run, and the block after the last; shape `(stretch, 2)`.
    place
        First bin of the stretch in `sums` and `covered`, and the bin after the last; shape `(stretch, 2)`.
    state
        `FINE` or the fault found so far, and the end of the last item; shape `(stretch, 2)`. After a fault
        the rest of the stretch is skipped.
    odd
        Counts as in `add_run`, shape `(stretch, 3)`.
    """
    nowhere = np.empty(0, np.float32)
    reached = np.full(boxes.shape[0], -1, np.int64)  # end of each block's items, once they were checked
    for i in range(stretches.shape[0]):
        number, low, high = stretches[i, 0], stretches[i, 1], stretches[i, 2]
        into = slice(place[i, 0], place[i, 1])
        for block in range(max(blocks[i, 0], 0), min(blocks[i, 1], boxes.shape[0])):
            if state[i, 0] != FINE:
                break
            at = first_word[block]
            # An earlier stretch, which began no later, has checked this block, and so all blocks before it.
            if (
                reached[block] >= 0
                and words[at] == number
                and (reached[block] <= low or words[at + 1] >= high)
            ):
                state[i, 1] = max(state[i, 1], reached[block])
                continue
            state[i, 0], state[i, 1] = add_run(
                words, values, first_word[block : block + 2], boxes[block : block + 1], big_endian,
                number, low, high, state[i, 1], sums[into], covered[into], nowhere, odd[i],
            )  # fmt: skip
            if state[i, 0] == FINE and words[at] == number:
                reached[block] = state[i, 1]


@compiled()
def close_up(
    place: npt.NDArray[np.int64], sums: npt.NDArray[np.float64], covered: npt.NDArray[np.uint8]
) -> None:
    """Move the bins of all stretches together, over the `SPARE` bins between them."""
    to = np.int64(0)
    for i in range(place.shape[0]):
        first, stop = place[i, 0], place[i, 1] - SPARE
        if to < first:
            for at in range(first, stop):
                sums[to + at - first] = sums[at]
                covered[to + at - first] = covered[at]
        to += stop - first


def sum_bases(
    bases: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Sum and count the known values of each bin, from the values of all bases, shape `(bin * 25,)`."""
    each = bases.reshape(-1, BIN_SIZE)
    known = ~np.isnan(each)
    return np.where(known, each, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1).astype(np.uint8)
