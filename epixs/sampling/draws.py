"""Kernels that draw the experiment at a bin, and the held-out blocks. They release Python's global lock."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS, JointAxis
from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.compiled import compiled

MISSING = -32768
PACKED_STEPS = STEPS_PER_UNIT
PACKED_LIMIT = 32767 / PACKED_STEPS
"""Largest packed training value, 16 arcsinh units (4.4e6 in a track's own units); larger ones are clipped."""

MAX_DRAWS = 8
"""Number of draws at a position after which its known experiments are counted instead."""

ENTRIES_TOGETHER = 512
"""Number of entries whose values are fetched from memory together."""


def epoch_seed(seed: int, epoch: int) -> int:
    """Return 64 bits from which an epoch's experiments are drawn."""
    return int(np.random.SeedSequence([seed, epoch, 0xD]).generate_state(1, np.uint64)[0])


def joint_regions(axis: JointAxis) -> npt.NDArray[np.int64]:
    """Return each region's first position on the joint axis at all scales, and species: `(region, 4)`."""
    tables = []
    for index, part in enumerate(axis.parts):
        first = part.positions(part.regions.first_bin) + axis.offsets(part.species)
        tables.append(np.column_stack([first, np.full(len(first), index)]))
    return np.concatenate(tables).astype(np.int64)


@compiled()
def place(
    bins: npt.NDArray[np.int32],
    regions: npt.NDArray[np.int64],
    position: npt.NDArray[np.int32],
    species: npt.NDArray[np.int64],
) -> None:
    """Find the positions at all scales and the species of joint bins."""
    for i in range(bins.size):
        low, high = 0, regions.shape[0]
        while high - low > 1:
            middle = (low + high) // 2
            if regions[middle, 0] <= bins[i]:
                low = middle
            else:
                high = middle
        offset = bins[i] - regions[low, 0]
        position[i, 0] = bins[i]
        position[i, 1] = regions[low, 1] + offset // MEDIUM_BINS
        position[i, 2] = regions[low, 2] + offset // COARSE_BINS
        species[i] = regions[low, 3]


@compiled(inline="always")
def mix(x: np.uint64) -> np.uint64:
    """Turn a counter into 64 well-mixed bits (Splitmix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
def is_held_out(seed: np.uint64, block: int, experiment: int, share: float) -> bool:
    """Decide whether all entries of an experiment in a 5 kbp position are held out."""
    if share <= 0.0:
        return False
    bits = mix(
        mix(seed ^ np.uint64(0x5EED)) + np.uint64(block) * np.uint64(0x100000001B3) + np.uint64(experiment)
    )
    return float(bits >> np.uint64(11)) * 2.0**-53 < share


@compiled()
def list_held_out(
    seed: np.uint64, blocks: npt.NDArray[np.int32], n_experiments: int, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """List the index into `blocks`, and the experiment, of each held-out block."""
    count = 0
    for block in blocks:
        for experiment in range(n_experiments):
            count += is_held_out(seed, block, experiment, share)
    which, experiments = np.empty(count, np.int64), np.empty(count, np.int64)
    at = 0
    for index in range(blocks.size):
        for experiment in range(n_experiments):
            if is_held_out(seed, blocks[index], experiment, share):
                which[at], experiments[at] = index, experiment
                at += 1
    return which, experiments


@compiled()
def draw(
    values: npt.NDArray[np.int16],
    biosamples: npt.NDArray[np.int32],
    assays: npt.NDArray[np.int32],
    position: npt.NDArray[np.int32],
    bins: npt.NDArray[np.int32],
    first_bin: int,
    visits: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    draw_seed: np.uint64,
    held_out_seed: np.uint64,
    held_out: float,
    biosample: npt.NDArray[np.int32],
    assay: npt.NDArray[np.int32],
    value: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
) -> None:
    """Fill rows of a batch, drawing uniformly from the experiments known and not held out at each bin.

    A few hundred entries at a time are first located and then fetched, so that many fetches from memory run
    at once. Entries that turn out to be missing or held out are drawn again, one by one.
    """
    n_experiments, width = biosamples.size, biosample.shape[1]
    if n_experiments == 0:
        return
    together = max(1, ENTRIES_TOGETHER // width)
    states = np.empty((together, width), np.uint64)
    picks = np.empty((together, width), np.int64)
    fetched = np.empty((together, width), np.int16)
    local = np.empty(together, np.int64)
    for low in range(0, rows.size, together):
        count = min(together, rows.size - low)
        for j in range(count):
            row = rows[low + j]
            local[j] = bins[row] - first_bin
            base = mix(mix(draw_seed + np.uint64(visits[row])) + np.uint64(bins[row]))
            for slot in range(width):
                states[j, slot] = mix(base + np.uint64(slot))
                picks[j, slot] = scale(mix(states[j, slot]), n_experiments)
        for j in range(count):
            for slot in range(width):
                fetched[j, slot] = values[local[j], picks[j, slot]]
        for j in range(count):
            row = rows[low + j]
            block = position[row, 2]
            for slot in range(width):
                chosen, packed = picks[j, slot], fetched[j, slot]
                if packed == MISSING or is_held_out(held_out_seed, block, chosen, held_out):
                    known = values[local[j]]
                    chosen = _choose(known, block, states[j, slot], held_out_seed, held_out)
                    if chosen < 0:
                        continue
                    packed = known[chosen]
                biosample[row, slot] = biosamples[chosen]
                assay[row, slot] = assays[chosen]
                value[row, slot] = packed / PACKED_STEPS
                weight[row, slot] = 1.0


@compiled()
def _choose(
    row: npt.NDArray[np.int16], block: int, state: np.uint64, held_out_seed: np.uint64, held_out: float
) -> int:
    """Draw one experiment uniformly from those known and not held out at a bin; -1 if there is none."""
    for draw in range(MAX_DRAWS):
        chosen: int = scale(mix(state + np.uint64(draw)), row.size)
        if row[chosen] != MISSING and not is_held_out(held_out_seed, block, chosen, held_out):
            return chosen
    # Nearly all experiments are missing here: count those that are not, and draw one of them.
    eligible = 0
    for experiment in range(row.size):
        if row[experiment] != MISSING and not is_held_out(held_out_seed, block, experiment, held_out):
            eligible += 1
    if eligible == 0:
        return -1
    wanted = scale(mix(state + np.uint64(MAX_DRAWS)), eligible)
    for experiment in range(row.size):
        if row[experiment] != MISSING and not is_held_out(held_out_seed, block, experiment, held_out):
            if wanted == 0:
                return experiment
            wanted -= 1
    return -1


@compiled(inline="always")
def scale(bits: np.uint64, count: int) -> Any:
    """Map 64 random bits to 0 .. count-1, without the bias of a remainder."""
    return np.int64((bits >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))
