"""Items of a bigWig's data blocks, added to the bins in which they lie: the kernels that reading rests on."""

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
"""Bins beyond the last, to which the kernel adds nothing."""

MOST_LAID_OVER = 64
"""Times that the bases of a stretch may be laid over one another, on average."""

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

    If `bases`, shape `(high - low,)`, has a place for each base, values are laid out there instead, later
    ones over earlier ones; else items that overlap inside `[low, high)` end the run with `OVERLAP`. `odd`
    counts items without width, items that overlap, and bases laid out.

    A block is `chromosome, start, end, step, span, (kind, count)` and its items: `start, end, value` for
    bedGraph, `start, value` for variableStep, `value` for fixedStep. Nothing in it is believed: not its
    counts, its place, nor its order.

    Returns
    -------
    What was found (`FINE` or a fault), and how far the items reached or where the fault is.
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
            # Where items lie anyhow, whether one crosses into the next bin or two cannot be foretold:
            # adding to three bins, to some of them nothing, is faster than guessing wrong.
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
                for _ in range((end - edge) // BIN_SIZE):  # these bins are the item's alone
                    sums[index] = full
                    covered[index] = BIN_SIZE
                    index += ONE
                width = (end - edge) % BIN_SIZE
                sums[index] += value * width
                covered[index] += width
        if end > np.int64(finish & WORD):  # of the last item, as some writers have it where items overlap
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
    """`add_run` for each of many stretches, from the blocks of the run that belong to it.

    Parameters
    ----------
    stretches
        Number of the chromosome, first base and the one after the last; shape `(stretch, 3)`.
    blocks
        First of its blocks, counted in the run, and the one after the last; shape `(stretch, 2)`.
    place
        First of its bins in `sums` and `covered`, and the one after the last; shape `(stretch, 2)`.
    state
        What was found so far, and where the last item ended; shape `(stretch, 2)`. A stretch with a fault is
        left alone from there on.
    odd
        As in `add_run`, shape `(stretch, 3)`.
    """
    nowhere = np.empty(0, np.float32)
    reached = np.full(boxes.shape[0], -1, np.int64)  # where the items of a block end, once they were checked
    for i in range(stretches.shape[0]):
        number, low, high = stretches[i, 0], stretches[i, 1], stretches[i, 2]
        into = slice(place[i, 0], place[i, 1])
        for block in range(max(blocks[i, 0], 0), min(blocks[i, 1], boxes.shape[0])):
            if state[i, 0] != FINE:
                break
            at = first_word[block]
            # Checked by a stretch before this one, which began no later, and so all before it as well.
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
    """Move the bins of all stretches together, over the spare ones between them."""
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
    """Sum and number of the known values of each bin, from those of its bases, shape `(bin * 25,)`."""
    each = bases.reshape(-1, BIN_SIZE)
    known = ~np.isnan(each)
    return np.where(known, each, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1).astype(np.uint8)
