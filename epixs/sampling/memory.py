"""Draw entries from packed signal that is wholly in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_compendium, open_signal
from epixs.errors import TrainingError
from epixs.sampling.batch import Batch, join_batches
from epixs.sampling.draws import (
    MAX_DRAWS,
    MISSING,
    PACKED_LIMIT,
    PACKED_STEPS,
    draw,
    epoch_seed,
    joint_regions,
    list_held_out,
    place,
)
from epixs.sampling.order import mixed_order
from epixs.sampling.windows import READ_BINS, READ_ROWS


@dataclass(frozen=True)
class SpeciesSignal:
    """The training experiments of one species, packed in memory.

    Parameters
    ----------
    values
        int16, shape `(bin, experiment)`, arcsinh units x 2048, -32768 where missing. Bins come first so
        that all experiments of a position share a cache line.
    biosample, assay
        Label numbers of each experiment on the joint axis, shape `(experiment,)`.
    block
        5 kbp position of each bin on the joint axis, shape `(bin,)`.
    """

    values: npt.NDArray[np.int16]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]
    block: npt.NDArray[np.int32]


def bytes_per_bin(experiments: int) -> int:
    """Return the bytes of a bin: packed values, 5 kbp position, and its place in the order of two epochs."""
    return 2 * experiments + 12


def memory_needed(axis: JointAxis) -> int:
    """Return the bytes of the packed training signal of an axis, with the order of epochs."""
    return sum(part.n_positions[0] * bytes_per_bin(len(part.training)) for part in axis.parts)


def load_signal(axis: JointAxis, part: SpeciesAxis) -> SpeciesSignal:
    """Read one species' training experiments from its store into packed memory."""
    sizes, signal = open_compendium(part.source).sizes, open_signal(part.source)
    training = part.training
    rows = training["row"].to_numpy(dtype=np.int64)
    n_bins = part.n_positions[0]
    first = part.first_bin
    if sizes["bin"] < first + n_bins or (rows.size and rows.max() >= sizes["experiment"]):
        raise TrainingError(f"{part.source} changed since its axis was read", next_step="start again")
    values = np.empty((n_bins, rows.size), dtype=np.int16)
    for group in np.unique(rows // READ_ROWS):
        members = np.flatnonzero(rows // READ_ROWS == group)
        low, high = int(group) * READ_ROWS, (int(group) + 1) * READ_ROWS
        for start in range(0, n_bins, READ_BINS):
            stop = min(n_bins, start + READ_BINS)
            block = signal[low:high, first + start : first + stop]
            values[start:stop, members] = pack(block[rows[members] - low]).T
    offset = axis.offsets(part.species)
    block = part.positions(np.arange(n_bins))[:, 2] + offset[2]
    return SpeciesSignal(
        values,
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
        block.astype(np.int32),
    )


def pack(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Convert arcsinh units to int16 steps of 1/2048; NaN becomes -32768."""
    known = np.clip(np.nan_to_num(values), -PACKED_LIMIT, PACKED_LIMIT)
    return np.where(np.isnan(values), MISSING, np.rint(known * PACKED_STEPS)).astype(np.int16)


class InMemory:
    """Draws entries of a joint axis whose training signal is in memory; arguments as in `Sampler`."""

    def __init__(
        self, axis: JointAxis, width: int, held_out: float, visits: dict[str, int], seed: int
    ) -> None:
        self.axis, self.width, self.held_out, self.seed = axis, width, held_out, seed
        self.signals = [load_signal(axis, part) for part in axis.parts]
        self._regions = joint_regions(axis)
        self._ends = np.cumsum([signal.values.shape[0] for signal in self.signals])
        starts = self._ends - [signal.values.shape[0] for signal in self.signals]
        self._spans = [
            np.arange(start, end, dtype=np.int32)
            for start, end, part in zip(starts, self._ends, axis.parts, strict=True)
            if part.species in visits
        ]
        self._visits = [*visits.values()]
        self._orders: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]] = {}

    def order(self, epoch: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]:
        """Return joint bins in the order of an epoch, and how often each was visited in it before."""
        order = self._orders.get(epoch)
        if order is None:
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            order = mixed_order(self._spans, self._visits, generator)
            # Two orders are kept: batches of one epoch's end and the next one's start may be drawn at once.
            self._orders = {e: kept for e, kept in self._orders.items() if e == epoch - 1} | {epoch: order}
        return order

    def take(self, epoch: int, first: int, count: int) -> Batch:
        """Draw entries `[first, first + count)` of an epoch.

        After its last position the epoch begins again, with other experiments than at the first visit.
        """
        order, before = self.order(epoch)
        again, at = np.divmod(np.arange(first, first + count), order.size)
        visit = again if before is None else before[at] + again * (1 << 20)
        # Sorted along the genome: order within a batch changes nothing, but neighbours are fetched faster.
        along = np.sort(visit << 32 | order[at])
        return self.draw((along & 0xFFFFFFFF).astype(np.int32), epoch_seed(self.seed, epoch), along >> 32)

    def draw(
        self, bins: npt.NDArray[np.int32], draw_seed: int, visit: npt.NDArray[np.int64] | None = None
    ) -> Batch:
        """Draw experiments for joint bins; which ones depends on bin, seed and visit alone."""
        shape = (bins.size, self.width)
        visits = np.zeros(bins.size, np.int64) if visit is None else visit
        biosample, assay = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        value, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        position = np.empty((bins.size, 3), np.int32)
        species = np.empty(bins.size, np.int64)
        place(bins, self._regions, position, species)
        for index, signal in enumerate(self.signals):
            rows = np.arange(bins.size) if len(self.signals) == 1 else np.flatnonzero(species == index)
            draw(
                signal.values, signal.biosample, signal.assay, position,
                bins, int(self._ends[index]) - signal.values.shape[0], visits, rows,
                np.uint64(draw_seed), np.uint64(self.seed), self.held_out,
                biosample, assay, value, weight,
            )  # fmt: skip
        return Batch(position, biosample, assay, value, weight)

    def held_out_entries(self, count: int) -> Batch:
        """Draw about `count` entries that are never trained on, uniformly from all such; `E` is 1."""
        generator = np.random.Generator(np.random.PCG64([self.seed, 0xE0]))
        blocks = [_HeldOutBlocks.find(signal, self.seed, self.held_out) for signal in self.signals]
        total = sum(held_out.n_entries for held_out in blocks)
        parts = []
        for part, signal, held_out in zip(self.axis.parts, self.signals, blocks, strict=True):
            share = round(count * held_out.n_entries / total) if total else 0
            local, experiment = held_out.draw(signal, share, generator)
            parts.append(
                Batch(
                    part.positions(local) + self.axis.offsets(part.species),
                    signal.biosample[experiment][:, None],
                    signal.assay[experiment][:, None],
                    (signal.values[local, experiment] / np.float32(PACKED_STEPS)).astype(np.float32)[:, None],
                    np.ones((local.size, 1), np.float32),
                )
            )
        return join_batches(parts)


@dataclass(frozen=True)
class _HeldOutBlocks:
    """The held-out (5 kbp position, experiment) blocks of a species: first bin, experiment, running size."""

    first: npt.NDArray[np.int64]
    experiment: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def find(cls, signal: SpeciesSignal, seed: int, share: float) -> _HeldOutBlocks:
        blocks, first, sizes = np.unique(signal.block, return_index=True, return_counts=True)
        which, experiment = list_held_out(np.uint64(seed), blocks, signal.biosample.size, share)
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
