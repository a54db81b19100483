"""(seed, epoch, step) -> bins, experiments and values: a pure function, over packed signal in memory.

Every position of the joint axis comes once an epoch, in an order drawn anew each epoch, with one
experiment (or more) drawn uniformly from those of its species that are known there. Some entries are
held out: blocks of (5 kbp position, experiment), chosen by seed, which are never drawn for training.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from epixs.compendium.store import open_compendium
from epixs.errors import ConfigError, TrainingError
from epixs.joint import COARSE_BINS, MEDIUM_BINS, JointAxis, SpeciesAxis

MISSING = -32768
PACKED_STEPS = 2048
PACKED_LIMIT = 32767 / PACKED_STEPS
"""Packed training values are exact up to 16 arcsinh units (4.4e6 in a track's own units), then clipped."""

MAX_DRAWS = 8
"""Draws at a position before its known experiments are counted instead."""

ENTRIES_TOGETHER = 512
"""Entries whose values are fetched from memory together."""

READ_ROWS = 16
READ_BINS = 1 << 18


@dataclass(frozen=True)
class SpeciesSignal:
    """The training experiments of one species, packed in memory.

    Parameters
    ----------
    values
        int16, shape `(bin, experiment)`, arcsinh units x 2048, -32768 where missing; bins come first so
        that all experiments of a position share a cache line.
    biosample, assay
        Numbers of each experiment on the joint axis, shape `(experiment,)`.
    block
        5 kbp position of each bin on the joint axis, shape `(bin,)`.
    """

    values: npt.NDArray[np.int16]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]
    block: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """One training step's entries, `P` positions x `E` experiments.

    Parameters
    ----------
    position
        25 bp, 250 bp and 5 kbp positions on the joint axis, int32, shape `(P, 3)`.
    biosample, assay
        Numbers on the joint axis, int32, shape `(P, E)`.
    value
        Arcsinh units, float32, shape `(P, E)`.
    weight
        1 where an entry may be trained on, else 0, float32, shape `(P, E)`.
    """

    position: npt.NDArray[np.int32]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


def memory_needed(axis: JointAxis) -> int:
    """Bytes that the packed training signal of an axis takes."""
    return sum(part.n_positions[0] * (2 * len(part.training) + 4) for part in axis.parts)


def load_signal(axis: JointAxis, part: SpeciesAxis) -> SpeciesSignal:
    """Read one species' training experiments from its store into packed memory."""
    signal = open_compendium(part.source).signal
    training = part.training
    rows = training["row"].to_numpy(dtype=np.int64)
    n_bins = part.n_positions[0]
    if signal.sizes["bin"] != n_bins or (rows.size and rows.max() >= signal.sizes["experiment"]):
        raise TrainingError(f"{part.source} changed since its axis was read", next_step="start again")
    values = np.empty((n_bins, rows.size), dtype=np.int16)
    for low in range(0, rows.size, READ_ROWS):
        chosen = rows[low : low + READ_ROWS]
        for start in range(0, n_bins, READ_BINS):
            stop = min(n_bins, start + READ_BINS)
            block = signal[chosen, start:stop].to_numpy()
            values[start:stop, low : low + READ_ROWS] = pack(block).T
    offset = axis.offsets(part.species)
    block = part.positions(np.arange(n_bins))[:, 2] + offset[2]
    return SpeciesSignal(
        values,
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
        block.astype(np.int32),
    )


def pack(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Arcsinh units to int16 steps of 1/2048; NaN becomes -32768."""
    known = np.clip(np.nan_to_num(values), -PACKED_LIMIT, PACKED_LIMIT)
    return np.where(np.isnan(values), MISSING, np.rint(known * PACKED_STEPS)).astype(np.int16)


class Sampler:
    """Draws training batches and the held-out entries of a joint axis.

    Parameters
    ----------
    axis
        What to train over.
    batch_size
        Entries a batch: positions x experiments per position.
    experiments_per_position
        1 as in the paper; more share the work that a position costs.
    held_out
        Share of (5 kbp position, experiment) blocks that are never trained on.
    species_weight
        Share of each species in an epoch: `"by_bins"` as in the paper, `"balanced"`, or numbers, as in
        `"mouse=3, human=1"`.
    seed
        Decides everything that is drawn.
    """

    def __init__(
        self,
        axis: JointAxis,
        *,
        batch_size: int = 40_000,
        experiments_per_position: int = 1,
        held_out: float = 0.02,
        species_weight: str = "by_bins",
        seed: int = 0,
    ) -> None:
        self.axis = axis
        self.experiments_per_position = experiments_per_position
        self.held_out = held_out
        self.species_weight = species_weight
        self.seed = seed
        self.signals = [load_signal(axis, part) for part in axis.parts]
        self._regions = _joint_regions(axis)
        self._ends = np.cumsum([signal.values.shape[0] for signal in self.signals])
        self.positions_per_step = min(max(1, batch_size // experiments_per_position), self.n_positions)
        self._orders: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]] = {}

    @property
    def n_positions(self) -> int:
        """Positions that an epoch visits: as many as have an experiment to train on."""
        return sum(self._visits)

    @property
    def steps_per_epoch(self) -> int:
        """Steps until an epoch has visited all its positions."""
        return -(-self.n_positions // self.positions_per_step)

    @cached_property
    def _spans(self) -> list[npt.NDArray[np.int32]]:
        """Joint bins of each species that has training experiments."""
        starts = self._ends - [signal.values.shape[0] for signal in self.signals]
        return [
            np.arange(start, end, dtype=np.int32)
            for start, end, signal in zip(starts, self._ends, self.signals, strict=True)
            if signal.biosample.size
        ]

    @cached_property
    def _visits(self) -> list[int]:
        """Positions of each of those species that an epoch visits."""
        trained = [part.species for part in self.axis.parts if len(part.training)]
        sizes = np.array([span.size for span in self._spans], dtype=np.float64)
        shares = species_shares(self.species_weight, trained, sizes)
        return [max(1, round(share * float(sizes.sum()))) for share in shares]

    def order(self, epoch: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]:
        """Joint bins in the order an epoch visits them, and how often each was visited in it before.

        Of a species that weighs more than its bins, all bins come before any comes again. None says that no
        bin comes twice.
        """
        found = self._orders.get(epoch)
        if found is None:
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            if self._visits == [span.size for span in self._spans]:
                found = generator.permutation(np.concatenate(self._spans)), None
            else:
                found = _repeated(self._spans, self._visits, generator)
            # Two, because batches of one epoch's end and of the next one's begin may be drawn side by side.
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1} | {epoch: found}
        return found

    def batch(self, epoch: int, step: int) -> Batch:
        """Entries of one step.

        The last step of an epoch is filled up from the order's beginning, where other experiments are drawn
        than at the first visit.
        """
        order, before = self.order(epoch)
        at = step * self.positions_per_step + np.arange(self.positions_per_step)
        again, at = np.divmod(at, order.size)
        visit = again if before is None else before[at] + again * (1 << 20)
        return self.draw(order[at], _draw_seed(self.seed, epoch), visit)

    def draw(
        self, bins: npt.NDArray[np.int32], draw_seed: int, visit: npt.NDArray[np.int64] | None = None
    ) -> Batch:
        """Draw experiments for joint bins; which ones depends on bin, seed and visit alone."""
        width = self.experiments_per_position
        shape = (bins.size, width)
        visits = np.zeros(bins.size, np.int64) if visit is None else visit
        biosample, assay = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        value, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        position = np.empty((bins.size, 3), np.int32)
        species = np.empty(bins.size, np.int64)
        _place(bins, self._regions, position, species)
        for index, signal in enumerate(self.signals):
            rows = np.arange(bins.size) if len(self.signals) == 1 else np.flatnonzero(species == index)
            _draw(
                signal.values, signal.biosample, signal.assay, position,
                bins, int(self._ends[index]) - signal.values.shape[0], visits, rows,
                np.uint64(draw_seed), np.uint64(self.seed), self.held_out,
                biosample, assay, value, weight,
            )  # fmt: skip
        return Batch(position, biosample, assay, value, weight)

    def held_out_entries(self, count: int) -> Batch:
        """About `count` entries that are never trained on, drawn uniformly from all such; `E` is 1.

        Raises
        ------
        TrainingError
            If there is none.
        """
        generator = np.random.Generator(np.random.PCG64([self.seed, 0xE0]))
        blocks = [_HeldOutBlocks.find(signal, self.seed, self.held_out) for signal in self.signals]
        total = sum(found.n_entries for found in blocks)
        parts = []
        for part, signal, found in zip(self.axis.parts, self.signals, blocks, strict=True):
            share = round(count * found.n_entries / total) if total else 0
            local, experiment = found.draw(signal, share, generator)
            parts.append(
                Batch(
                    part.positions(local) + self.axis.offsets(part.species),
                    signal.biosample[experiment][:, None],
                    signal.assay[experiment][:, None],
                    (signal.values[local, experiment] / np.float32(PACKED_STEPS)).astype(np.float32)[:, None],
                    np.ones((local.size, 1), np.float32),
                )
            )
        if not sum(batch.value.size for batch in parts):
            raise TrainingError(
                "no entry is held out",
                expected="a larger share",
                next_step="raise held_out in the configuration",
            )
        fields = ("position", "biosample", "assay", "value", "weight")
        return Batch(*(np.concatenate([getattr(batch, name) for batch in parts]) for name in fields))


@dataclass(frozen=True)
class _HeldOutBlocks:
    """The held-out (5 kbp position, experiment) blocks of a species: first bin, experiment, running size."""

    first: npt.NDArray[np.int64]
    experiment: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def find(cls, signal: SpeciesSignal, seed: int, share: float) -> _HeldOutBlocks:
        blocks, first, sizes = np.unique(signal.block, return_index=True, return_counts=True)
        which, experiment = _list_held_out(np.uint64(seed), blocks, signal.biosample.size, share)
        return cls(first[which], experiment, np.cumsum(sizes[which]))

    @property
    def n_entries(self) -> int:
        return int(self.ends[-1]) if self.ends.size else 0

    def draw(
        self, signal: SpeciesSignal, count: int, generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Draw bins and experiments of known entries, uniformly; fewer than `count` if few are known."""
        bins, experiments = [], []
        missing = count
        for _ in range(MAX_DRAWS):
            if missing <= 0 or not self.n_entries:
                break
            at = generator.integers(0, self.n_entries, missing)
            block = np.searchsorted(self.ends, at, side="right")
            before = np.concatenate([[0], self.ends])[block]
            local, experiment = self.first[block] + at - before, self.experiment[block]
            known = signal.values[local, experiment] != MISSING
            bins.append(local[known])
            experiments.append(experiment[known])
            missing -= int(known.sum())
        empty = [np.empty(0, np.int64)]
        return np.concatenate(bins or empty), np.concatenate(experiments or empty)


def species_shares(
    weight: str, species: list[str], sizes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Share of each species in an epoch; see `Sampler`.

    Raises
    ------
    ConfigError
        If the text is none of the three, or does not name every species.
    """
    numbers = {"by_bins": sizes, "balanced": np.ones(len(species))}.get(weight)
    if numbers is None:
        given: dict[str, float] = {}
        with contextlib.suppress(ValueError):
            for entry in weight.split(","):
                name, _, number = entry.partition("=")
                given[name.strip()] = float(number)
        numbers = np.array([given.get(name, np.nan) for name in species])
        if set(given) != set(species) or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise ConfigError(
                "species_weight",
                got=repr(weight),
                expected=f"by_bins, balanced, or a positive number for each: {'=1, '.join(species)}=1",
            )
    return np.asarray(numbers / numbers.sum(), dtype=np.float64)


def _repeated(
    spans: list[npt.NDArray[np.int32]], visits: list[int], generator: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Bins of some spans, each as often as wanted, in random order, and how often each came before."""
    bins, before = [], []
    for span, wanted in zip(spans, visits, strict=True):
        for visit in range(-(-wanted // span.size)):
            rest = wanted - visit * span.size
            bins.append(span if rest >= span.size else generator.permutation(span)[:rest])
            before.append(np.full(bins[-1].size, visit, dtype=np.int64))
    mixed = generator.permutation(sum(part.size for part in bins))
    return np.concatenate(bins)[mixed], np.concatenate(before)[mixed]


def _joint_regions(axis: JointAxis) -> npt.NDArray[np.int64]:
    """Each region's first position at all three scales on the joint axis, and its species: `(region, 4)`."""
    tables = []
    for index, part in enumerate(axis.parts):
        first = part.positions(part.regions.first_bin) + axis.offsets(part.species)
        tables.append(np.column_stack([first, np.full(len(first), index)]))
    return np.concatenate(tables).astype(np.int64)


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _place(
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


def _draw_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, 0xD]).generate_state(1, np.uint64)[0])


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[misc, unused-ignore]
def _mix(x: np.uint64) -> np.uint64:
    """Splitmix64: a counter in, 64 well-mixed bits out."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _is_held_out(seed: np.uint64, block: int, experiment: int, share: float) -> bool:
    """Whether all entries of an experiment in a 5 kbp position are held out."""
    if share <= 0.0:
        return False
    bits = _mix(
        _mix(seed ^ np.uint64(0x5EED)) + np.uint64(block) * np.uint64(0x100000001B3) + np.uint64(experiment)
    )
    return float(bits >> np.uint64(11)) * 2.0**-53 < share


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _list_held_out(
    seed: np.uint64, blocks: npt.NDArray[np.int32], n_experiments: int, share: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Index into `blocks`, and experiment, of each held-out block."""
    count = 0
    for block in blocks:
        for experiment in range(n_experiments):
            count += _is_held_out(seed, block, experiment, share)
    which, experiments = np.empty(count, np.int64), np.empty(count, np.int64)
    at = 0
    for index in range(blocks.size):
        for experiment in range(n_experiments):
            if _is_held_out(seed, blocks[index], experiment, share):
                which[at], experiments[at] = index, experiment
                at += 1
    return which, experiments


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _draw(
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
    """Fill rows of a batch: uniform over the experiments known and not held out at each bin.

    A few hundred entries at a time: first where all of them lie, then all of them fetched, so that the
    memory is asked for many at once; what turns out to be missing or held out is drawn again, one by one.
    """
    n_experiments, width = biosamples.size, biosample.shape[1]
    if n_experiments == 0:
        return
    together = max(1, ENTRIES_TOGETHER // width)
    states = np.empty((together, width), np.uint64)
    picks = np.empty((together, width), np.int64)
    found = np.empty((together, width), np.int16)
    local = np.empty(together, np.int64)
    for low in range(0, rows.size, together):
        count = min(together, rows.size - low)
        for j in range(count):
            row = rows[low + j]
            local[j] = bins[row] - first_bin
            base = _mix(_mix(draw_seed + np.uint64(visits[row])) + np.uint64(bins[row]))
            for slot in range(width):
                states[j, slot] = _mix(base + np.uint64(slot))
                picks[j, slot] = _scale(_mix(states[j, slot]), n_experiments)
        for j in range(count):
            for slot in range(width):
                found[j, slot] = values[local[j], picks[j, slot]]
        for j in range(count):
            row = rows[low + j]
            block = position[row, 2]
            for slot in range(width):
                chosen, packed = picks[j, slot], found[j, slot]
                if packed == MISSING or _is_held_out(held_out_seed, block, chosen, held_out):
                    known = values[local[j]]
                    chosen = _choose(known, block, states[j, slot], held_out_seed, held_out)
                    if chosen < 0:
                        continue
                    packed = known[chosen]
                biosample[row, slot] = biosamples[chosen]
                assay[row, slot] = assays[chosen]
                value[row, slot] = packed / PACKED_STEPS
                weight[row, slot] = 1.0


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _choose(
    row: npt.NDArray[np.int16], block: int, state: np.uint64, held_out_seed: np.uint64, held_out: float
) -> int:
    """Draw one experiment uniformly from those known and not held out at a bin; -1 if there is none."""
    for draw in range(MAX_DRAWS):
        chosen: int = _scale(_mix(state + np.uint64(draw)), row.size)
        if row[chosen] != MISSING and not _is_held_out(held_out_seed, block, chosen, held_out):
            return chosen
    # Nearly all are missing here: count those that are not, and draw one of them.
    eligible = 0
    for experiment in range(row.size):
        if row[experiment] != MISSING and not _is_held_out(held_out_seed, block, experiment, held_out):
            eligible += 1
    if eligible == 0:
        return -1
    wanted = _scale(_mix(state + np.uint64(MAX_DRAWS)), eligible)
    for experiment in range(row.size):
        if row[experiment] != MISSING and not _is_held_out(held_out_seed, block, experiment, held_out):
            if wanted == 0:
                return experiment
            wanted -= 1
    return -1


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[misc, unused-ignore]
def _scale(bits: np.uint64, count: int) -> Any:
    """Map 64 random bits to 0 .. count-1, without the bias of a remainder."""
    return np.int64((bits >> np.uint64(32)) * np.uint64(count) >> np.uint64(32))
