"""Draw entries of compendia that do not fit in memory: chunk by chunk, mixed in pools.

An epoch needs one experiment at each position, not all of them. So for each range of bins that a chunk of the
store covers, one group of experiments that share a chunk is drawn, with a probability proportional to its
number of training experiments. The chunk is read, one of its experiments is drawn at each bin, and only that
value is kept: 14 bytes per position for any number of experiments. Each pool holds chunks chosen at random,
and all of its entries are mixed. While one pool is trained on, the next one is read.

Every (position, experiment) of a species is equally likely: a group with probability n / N, then one of its n
experiments with 1 / n. A draw that hits a held-out or missing value is kept with weight 0, so that
probabilities do not change. Groups are spread evenly, over the places of an epoch and over the epochs of a
place.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import COARSE_BINS, JointAxis
from epixs.compendium.read import stored_layout
from epixs.compiled import compiled
from epixs.errors import ConfigError
from epixs.sampling.batch import Batch, join_batches
from epixs.sampling.chunks import Source, open_source
from epixs.sampling.draws import (
    MISSING,
    PACKED_LIMIT,
    PACKED_STEPS,
    epoch_seed,
    is_held_out,
    joint_regions,
    mix,
    place,
    scale,
)
from epixs.sampling.memory import pack
from epixs.sampling.segments import Segments, epoch_segments, pool_starts

FEWEST_SEGMENTS = 64
"""Minimum number of chunks per pool, of different places and experiments, unless there are fewer in all."""

READERS = 2
POOLS_AT_ONCE = 2
"""Number of pools in memory: one is trained on while the next one is read."""

CANDIDATES = 1 << 16


def bytes_per_position(width: int) -> int:
    """Return the bytes of a position in a pool: bin, place in the mix, and `width` experiments and values."""
    return 8 + 6 * width


def fewest_bytes(axis: JointAxis, width: int) -> int:
    """Return the minimum memory of pools that mix well enough."""
    longest = max(stored_layout(part.source).chunk_bins for part in axis.parts)
    mixed = FEWEST_SEGMENTS * longest * POOLS_AT_ONCE * bytes_per_position(width)
    return min(mixed, most_bytes(axis, width))


def most_bytes(axis: JointAxis, width: int) -> int:
    """Return the memory of pools that each hold a whole epoch; more is of no use."""
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    return positions * POOLS_AT_ONCE * bytes_per_position(width)


@dataclass(frozen=True)
class _Pool:
    """Mixed entries: joint bin `(n,)`; experiment (numbered over species; -1: none) and packed value."""

    bins: npt.NDArray[np.int32]
    experiment: npt.NDArray[np.int32]
    value: npt.NDArray[np.int16]


class OutOfCore:
    """Draws entries of a joint axis whose stores each epoch reads again; other arguments as in `Sampler`.

    Parameters
    ----------
    memory_bytes
        Maximum memory of all pools together.

    Raises
    ------
    ConfigError
        If that is too little for mixing.
    """

    def __init__(
        self,
        axis: JointAxis,
        width: int,
        held_out: float,
        visits: dict[str, int],
        seed: int,
        memory_bytes: int,
    ) -> None:
        self.axis, self.width, self.held_out, self.seed = axis, width, held_out, seed
        self.sources: list[Source] = []
        for part in axis.parts:
            first = self.sources[-1].first_experiment + self.sources[-1].rows.size if self.sources else 0
            self.sources.append(open_source(axis, part, first))
        self._visits = [visits.get(part.species, 0) for part in axis.parts]
        self._biosample = np.concatenate([source.biosample for source in self.sources])
        self._assay = np.concatenate([source.assay for source in self.sources])
        self._regions = joint_regions(axis)
        self._pool_size = self._choose_pool_size(memory_bytes)
        self._pools: dict[tuple[int, int], Future[_Pool]] = {}
        self._plans: dict[int, tuple[Segments, npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="epixs-pool")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="epixs-read")

    def _choose_pool_size(self, memory_bytes: int) -> int:
        """Return the maximum number of positions per pool."""
        needed = fewest_bytes(self.axis, self.width)
        if memory_bytes < needed:
            raise ConfigError(
                "too little memory to mix what does not fit in memory",
                got=f"{max(0, memory_bytes) / 1e6:,.3g} MB for the training signal",
                expected=f"at least {needed / 1e6:,.3g} MB",
                next_step="raise memory_gb",
            )
        return memory_bytes // (POOLS_AT_ONCE * bytes_per_position(self.width))

    def plan(self, epoch: int) -> tuple[Segments, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Plan the segments of an epoch, each pool's first segment, and each segment's first position."""
        plan = self._plans.get(epoch)
        if plan is None:
            segments = epoch_segments(self.sources, self._visits, self.width, self.seed, epoch)
            at = np.concatenate([[0], np.cumsum(segments.stop - segments.start)])
            plan = segments, pool_starts(at, self._pool_size), at
            self._plans = {e: kept for e, kept in self._plans.items() if e == epoch - 1} | {epoch: plan}
        return plan

    def take(self, epoch: int, first: int, count: int) -> Batch:
        """Draw entries `[first, first + count)` of an epoch; beyond its end, the last pool is repeated."""
        _, starts, at = self.plan(epoch)
        ends = at[starts[1:]]
        parts = []
        while count:
            pool = min(int(np.searchsorted(ends, first, side="right")), ends.size - 1)
            low = int(at[starts[pool]])
            entries = self._pool(epoch, pool)
            offset = (first - low) % entries.bins.size
            take = min(count, entries.bins.size - offset)
            parts.append(self._batch(entries, slice(offset, offset + take)))
            first, count = first + take, count - take
        return parts[0] if len(parts) == 1 else join_batches(parts)

    def close(self) -> None:
        """Stop reading, once the chunks that are being read are done."""
        for threads in (self._readers, self._ahead):
            threads.shutdown(wait=False, cancel_futures=True)

    def _batch(self, pool: _Pool, which: slice) -> Batch:
        bins, experiment = pool.bins[which], pool.experiment[which]
        position = np.empty((bins.size, 3), np.int32)
        place(bins, self._regions, position, np.empty(bins.size, np.int64))
        weight = (experiment >= 0).astype(np.float32)
        known = np.maximum(experiment, 0)
        value = pool.value[which] * np.float32(1 / PACKED_STEPS)
        return Batch(position, self._biosample[known], self._assay[known], value, weight)

    def _pool(self, epoch: int, pool: int) -> _Pool:
        """Return a pool, start to read the next one, and forget earlier ones."""
        after = (epoch, pool + 1) if pool + 2 < self.plan(epoch)[1].size else (epoch + 1, 0)
        with self._lock:
            wanted = {(epoch, pool), after}
            for key in [key for key in self._pools if key not in wanted]:
                self._pools.pop(key).cancel()
            for key in ((epoch, pool), after):
                if key not in self._pools:
                    self._pools[key] = self._ahead.submit(self._gather, *key)
            future = self._pools[epoch, pool]
        return future.result()

    def _gather(self, epoch: int, pool: int) -> _Pool:
        """Read the chunks of a pool and draw its entries."""
        segments, starts, at = self.plan(epoch)
        low, high = int(starts[pool]), int(starts[pool + 1])
        size = int(at[high] - at[low])
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch, pool, 0xB0]))
        slots = generator.permutation(np.arange(size, dtype=np.int32))
        mixed = _Pool(
            np.empty(size, np.int32),
            np.full((size, self.width), -1, np.int32),
            np.zeros((size, self.width), np.int16),
        )
        seed = epoch_seed(self.seed, epoch)

        def fill(segment: int) -> None:
            source = self.sources[int(segments.source[segment])]
            start, stop = int(segments.start[segment]), int(segments.stop[segment])
            own = slots[at[segment] - at[low] : at[segment + 1] - at[low]]
            bins = np.arange(source.first_bin + start, source.first_bin + stop, dtype=np.int32)
            mixed.bins[own] = bins
            position = np.empty((bins.size, 3), np.int32)
            place(bins, self._regions, position, np.empty(bins.size, np.int64))
            lanes = min(self.width, source.groups.size)
            for lane in range(lanes):
                group = int(segments.group[segment, lane])
                first, end = int(source.first[group]), int(source.first[group + 1])
                _draw_from_chunk(
                    source.read(group, start, stop), source.rows[first:end], bins, position[:, 2], first,
                    source.first_experiment, np.uint64((seed + int(segments.visit[segment])) % (1 << 64)),
                    np.uint64(self.seed), self.held_out, lane, lanes, own, mixed.experiment, mixed.value,
                )  # fmt: skip

        for _ in self._readers.map(fill, range(low, high)):
            pass
        return mixed

    def held_out_entries(self, count: int) -> Batch:
        """Read about `count` entries that are never trained on: all of some held-out blocks; `E` is 1."""
        generator = np.random.Generator(np.random.PCG64([self.seed, 0xE0]))
        wanted = self._held_out_blocks(-(-count // COARSE_BINS), generator)
        parts = []
        for index, source in enumerate(self.sources):
            blocks = wanted[wanted[:, 0] == index, 1:]
            group = np.searchsorted(source.first, blocks[:, 1], side="right") - 1
            for at in np.lexsort((blocks[:, 1], blocks[:, 0])):
                parts.append(
                    self._held_out_block(source, int(blocks[at, 0]), int(blocks[at, 1]), int(group[at]))
                )
        return join_batches(parts or [_nothing()])

    def _held_out_blocks(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw held-out blocks, each equally likely: source, 5 kbp position, experiment; `(n, 3)`."""
        blocks = [int(source.part.n_positions[2]) for source in self.sources]
        sizes = [n * source.rows.size for n, source in zip(blocks, self.sources, strict=True)]
        ends = np.cumsum(sizes)
        chosen: dict[tuple[int, int, int], None] = {}
        tries = 0 if self.held_out <= 0 else int(8 * count / self.held_out) + CANDIDATES
        while len(chosen) < count and tries > 0:
            drawn = generator.integers(0, ends[-1], CANDIDATES)
            tries -= CANDIDATES
            for number in drawn:
                index = int(np.searchsorted(ends, number, side="right"))
                source = self.sources[index]
                block, experiment = divmod(int(number - (ends[index] - sizes[index])), source.rows.size)
                joint = block + int(self.axis.offsets(source.part.species)[2])
                if is_held_out(np.uint64(self.seed), joint, experiment, self.held_out):
                    chosen[index, block, experiment] = None
                    if len(chosen) == count:
                        break
        return np.array([*chosen], dtype=np.int64).reshape(-1, 3)

    def _held_out_block(self, source: Source, block: int, experiment: int, group: int) -> Batch:
        start, stop = source.part.bins_of_block(block)
        values = pack(source.read(group, start, stop)[source.rows[experiment]])
        known = np.flatnonzero(values != MISSING)
        shape = (known.size, 1)
        return Batch(
            source.part.positions(start + known) + self.axis.offsets(source.part.species),
            np.full(shape, source.biosample[experiment], np.int32),
            np.full(shape, source.assay[experiment], np.int32),
            (values[known] / np.float32(PACKED_STEPS)).astype(np.float32)[:, None],
            np.ones(shape, np.float32),
        )


@compiled()
def _draw_from_chunk(
    values: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    bins: npt.NDArray[np.int32],
    block: npt.NDArray[np.int32],
    first: int,
    first_experiment: int,
    draw_seed: np.uint64,
    held_out_seed: np.uint64,
    held_out: float,
    lane: int,
    lanes: int,
    slots: npt.NDArray[np.int32],
    experiment: npt.NDArray[np.int32],
    value: npt.NDArray[np.int16],
) -> None:
    """Draw one row at each bin for each of a lane's entries; missing or held-out draws keep the number -1."""
    seed = mix(draw_seed)
    for i in range(bins.size):
        base = mix(seed + np.uint64(bins[i]))
        for entry in range(lane, experiment.shape[1], lanes):
            pick = scale(mix(mix(base + np.uint64(entry))), rows.size)
            known = values[rows[pick], i]
            if np.isnan(known) or is_held_out(held_out_seed, block[i], first + pick, held_out):
                continue
            experiment[slots[i], entry] = first_experiment + first + pick
            bounded = min(max(known, np.float32(-PACKED_LIMIT)), np.float32(PACKED_LIMIT))
            value[slots[i], entry] = np.int16(np.rint(bounded * PACKED_STEPS))


def _nothing() -> Batch:
    """Make a batch without entries."""
    whole, real = np.empty((0, 1), np.int32), np.empty((0, 1), np.float32)
    return Batch(np.empty((0, 3), np.int32), whole, whole, real, real)
