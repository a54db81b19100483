"""Entries of compendia that do not fit in memory: drawn chunk by chunk, mixed in pools.

An epoch needs one experiment at each position, not all of them. So for each run of bins that a chunk of the
store covers, one group of experiments that share a chunk is drawn, each as likely as it has training
experiments; the chunk is read, one of its experiments is drawn at each bin, and only that value is kept: 10
bytes a position, however many experiments there are. Which chunks come together is random, and all entries
of such a pool are mixed. While one pool is trained on, the next one is read.

Every (position, experiment) of a species is equally likely: a group with probability n / N, then one
of its n experiments with 1 / n. What is held out or missing keeps its draw, with weight 0. Which group is
drawn where is spread evenly, over the places of an epoch and over the epochs of a place.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import zarr

from epixs.compendium.location import reaching, zarr_store
from epixs.compendium.schema import SIGNAL
from epixs.compendium.store import open_compendium, stored_layout
from epixs.errors import ConfigError, EpixsError, TrainingError
from epixs.joint import COARSE_BINS, JointAxis, SpeciesAxis
from epixs.sampling.batch import Batch, join_batches
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

FEWEST_SEGMENTS = 64
"""Chunks that a pool holds at least, of different places and experiments, or all there are."""

READERS = 2
POOLS_AT_ONCE = 2
"""One is trained on while the next one is read."""

CANDIDATES = 1 << 16
GOLDEN = (5**0.5 - 1) / 2


def bytes_per_position(width: int) -> int:
    """Memory of a position in a pool: its bin, its place in the mix, and `width` experiments and values."""
    return 8 + 6 * width


def fewest_bytes(axis: JointAxis, width: int) -> int:
    """Least memory that pools can mix in."""
    longest = max(stored_layout(part.source).chunk_bins for part in axis.parts)
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    return min(positions, FEWEST_SEGMENTS * longest) * POOLS_AT_ONCE * bytes_per_position(width)


def most_bytes(axis: JointAxis, width: int) -> int:
    """Memory of pools that each hold a whole epoch, beyond which more is of no use."""
    positions = sum(part.n_positions[0] for part in axis.parts if len(part.training))
    return positions * POOLS_AT_ONCE * bytes_per_position(width)


@dataclass(frozen=True)
class _Source:
    """One species' store: its chunks, and where the training experiments lie in them.

    Parameters
    ----------
    array
        The signal.
    first_bin
        The species' first bin on the joint axis.
    chunk_rows, chunk_bins
        Shape of a chunk.
    groups
        Row groups that hold training experiments.
    first, rows
        Of group `g`, `rows[first[g]:first[g + 1]]` are its rows with training experiments, counted within
        the group; their place in `rows` is the number of the experiment among those of the species.
    biosample, assay
        Numbers of each experiment on the joint axis, in the order of `rows`.
    """

    array: Any
    part: SpeciesAxis
    first_bin: int
    first_experiment: int
    chunk_rows: int
    chunk_bins: int
    groups: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    biosample: npt.NDArray[np.int32]
    assay: npt.NDArray[np.int32]

    @property
    def n_bins(self) -> int:
        return self.part.n_positions[0]

    def read(self, group: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Values of a group's rows at bins `[start, stop)`."""
        low = int(self.groups[group]) * self.chunk_rows
        try:
            with reaching(self.part.source):
                values = self.array[low : low + self.chunk_rows, start:stop]
        except EpixsError:
            raise
        except Exception as error:  # zarr and its codecs raise many types
            raise TrainingError(
                f"{self.part.source} cannot be read at bins {start:,} to {stop:,}",
                got=f"{type(error).__name__}: {error}",
                next_step="check it with `epixs verify`",
            ) from error
        return np.ascontiguousarray(values, dtype=np.float32)


def _open_source(axis: JointAxis, part: SpeciesAxis, first_experiment: int) -> _Source:
    dataset = open_compendium(part.source)
    training = part.training.sort_values("row")
    row = training["row"].to_numpy(dtype=np.int64)
    n_bins = part.n_positions[0]
    if dataset.sizes["bin"] != n_bins or (row.size and row.max() >= dataset.sizes["experiment"]):
        raise TrainingError(f"{part.source} changed since its axis was read", next_step="start again")
    layout = stored_layout(part.source)
    groups, first = np.unique(row // layout.chunk_rows, return_index=True)
    return _Source(
        zarr.open_array(zarr_store(part.source), path=SIGNAL.name, mode="r"),
        part,
        int(axis.offsets(part.species)[0]),
        first_experiment,
        layout.chunk_rows,
        layout.chunk_bins,
        groups,
        np.append(first, row.size).astype(np.int64),
        row % layout.chunk_rows,
        axis.biosample_index(part.species, training["biosample"]),
        axis.assay_index(training["assay"]),
    )


@dataclass(frozen=True)
class _Segments:
    """Runs of bins, each within one chunk, in the order that an epoch reads them.

    All int64. `source`, `start`, `stop` (bins of the species), `visit` (how often these bins came before in
    the epoch) have shape `(segment,)`; `group`, one row group for each lane, `(segment, lane)`.
    """

    source: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    visit: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Pool:
    """Mixed entries: joint bin `(n,)`; experiment (numbered over species; -1: none) and packed value."""

    bins: npt.NDArray[np.int32]
    experiment: npt.NDArray[np.int32]
    value: npt.NDArray[np.int16]


class OutOfCore:
    """Entries of a joint axis whose stores are read again each epoch; other arguments as in `Sampler`.

    Parameters
    ----------
    memory_bytes
        What the pools may take together.

    Raises
    ------
    ConfigError
        If that is too little to mix by.
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
        self.sources: list[_Source] = []
        for part in axis.parts:
            first = self.sources[-1].first_experiment + self.sources[-1].rows.size if self.sources else 0
            self.sources.append(_open_source(axis, part, first))
        self._visits = [visits.get(part.species, 0) for part in axis.parts]
        self._biosample = np.concatenate([source.biosample for source in self.sources])
        self._assay = np.concatenate([source.assay for source in self.sources])
        self._regions = joint_regions(axis)
        self._pool_size = self._choose_pool_size(memory_bytes)
        self._pools: dict[tuple[int, int], Future[_Pool]] = {}
        self._plans: dict[int, tuple[_Segments, npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="epixs-pool")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="epixs-read")

    @property
    def n_positions(self) -> int:
        """Positions that an epoch visits."""
        return sum(self._visits)

    def _choose_pool_size(self, memory_bytes: int) -> int:
        """Positions of a pool, at most."""
        needed = fewest_bytes(self.axis, self.width)
        if memory_bytes < needed:
            raise ConfigError(
                "too little memory to mix what does not fit in memory",
                got=f"{max(0, memory_bytes) / 1e6:,.3g} MB for the training signal",
                expected=f"at least {needed / 1e6:,.3g} MB",
                next_step="raise memory_gb",
            )
        return memory_bytes // (POOLS_AT_ONCE * bytes_per_position(self.width))

    def plan(self, epoch: int) -> tuple[_Segments, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Segments of an epoch, the first segment of each pool, and the first position of each segment."""
        found = self._plans.get(epoch)
        if found is None:
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch, 0x5E6]))
            parts = [
                _segments_of(index, source, visits, min(self.width, source.groups.size), self.seed, epoch)
                for index, (source, visits) in enumerate(zip(self.sources, self._visits, strict=True))
                if visits
            ]
            lanes = max(part.group.shape[1] for part in parts)
            parts = [_with_lanes(part, lanes) for part in parts]
            order = generator.permutation(sum(part.start.size for part in parts))
            names = ("source", "start", "stop", "visit", "group")
            segments = _Segments(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in names))
            at = np.concatenate([[0], np.cumsum(segments.stop - segments.start)])
            found = segments, _pool_starts(at, self._pool_size), at
            self._plans = {e: plan for e, plan in self._plans.items() if e == epoch - 1} | {epoch: found}
        return found

    def take(self, epoch: int, first: int, count: int) -> Batch:
        """Entries `[first, first + count)` of an epoch; beyond its end, the last pool's again."""
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

    def _batch(self, pool: _Pool, which: slice) -> Batch:
        bins, experiment = pool.bins[which], pool.experiment[which]
        position = np.empty((bins.size, 3), np.int32)
        place(bins, self._regions, position, np.empty(bins.size, np.int64))
        weight = (experiment >= 0).astype(np.float32)
        known = np.maximum(experiment, 0)
        value = pool.value[which] * np.float32(1 / PACKED_STEPS)
        return Batch(position, self._biosample[known], self._assay[known], value, weight)

    def _pool(self, epoch: int, pool: int) -> _Pool:
        """A pool; the next one is read from here on, and earlier ones are forgotten."""
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
        found = _Pool(
            np.empty(size, np.int32),
            np.full((size, self.width), -1, np.int32),
            np.zeros((size, self.width), np.int16),
        )
        seed = epoch_seed(self.seed, epoch)

        def fill(segment: int) -> None:
            source = self.sources[int(segments.source[segment])]
            start, stop = int(segments.start[segment]), int(segments.stop[segment])
            mine = slots[at[segment] - at[low] : at[segment + 1] - at[low]]
            bins = np.arange(source.first_bin + start, source.first_bin + stop, dtype=np.int32)
            found.bins[mine] = bins
            position = np.empty((bins.size, 3), np.int32)
            place(bins, self._regions, position, np.empty(bins.size, np.int64))
            lanes = min(self.width, source.groups.size)
            for lane in range(lanes):
                group = int(segments.group[segment, lane])
                first, end = int(source.first[group]), int(source.first[group + 1])
                _draw_from_chunk(
                    source.read(group, start, stop), source.rows[first:end], bins, position[:, 2], first,
                    source.first_experiment, np.uint64((seed + int(segments.visit[segment])) % (1 << 64)),
                    np.uint64(self.seed), self.held_out, lane, lanes, mine, found.experiment, found.value,
                )  # fmt: skip

        for _ in self._readers.map(fill, range(low, high)):
            pass
        return found

    def held_out_entries(self, count: int) -> Batch:
        """About `count` entries that are never trained on: all of some held-out blocks; `E` is 1."""
        generator = np.random.Generator(np.random.PCG64([self.seed, 0xE0]))
        wanted = self._held_out_blocks(-(-count // COARSE_BINS), generator)
        parts = []
        for index, source in enumerate(self.sources):
            mine = wanted[wanted[:, 0] == index, 1:]
            group = np.searchsorted(source.first, mine[:, 1], side="right") - 1
            for at in np.lexsort((mine[:, 1], mine[:, 0])):
                parts.append(self._held_out_block(source, int(mine[at, 0]), int(mine[at, 1]), int(group[at])))
        return join_batches(parts or [_nothing()])

    def _held_out_blocks(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Some of the held-out blocks, each equally likely: source, 5 kbp position, experiment; `(n, 3)`."""
        blocks = [int(source.part.n_positions[2]) for source in self.sources]
        sizes = [n * source.rows.size for n, source in zip(blocks, self.sources, strict=True)]
        ends = np.cumsum(sizes)
        found: dict[tuple[int, int, int], None] = {}
        tries = 0 if self.held_out <= 0 else int(8 * count / self.held_out) + CANDIDATES
        while len(found) < count and tries > 0:
            drawn = generator.integers(0, ends[-1], CANDIDATES)
            tries -= CANDIDATES
            for number in drawn:
                index = int(np.searchsorted(ends, number, side="right"))
                source = self.sources[index]
                block, experiment = divmod(int(number - (ends[index] - sizes[index])), source.rows.size)
                joint = block + int(self.axis.offsets(source.part.species)[2])
                if is_held_out(np.uint64(self.seed), joint, experiment, self.held_out):
                    found[index, block, experiment] = None
                    if len(found) == count:
                        break
        return np.array([*found], dtype=np.int64).reshape(-1, 3)

    def _held_out_block(self, source: _Source, block: int, experiment: int, group: int) -> Batch:
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


def _segments_of(index: int, source: _Source, visits: int, lanes: int, seed: int, epoch: int) -> _Segments:
    """Runs of bins that visit each bin of a source equally often, and from which group is drawn there.

    Where visits are no multiple of the bins, the rest is one run that begins where that of the epoch before
    ended (the first begins anywhere), and goes on at the first bin after the last.
    """
    generator = np.random.Generator(np.random.PCG64([seed, index, 0x5E6]))
    n_bins, width = source.n_bins, source.chunk_bins
    passes, rest = divmod(visits, n_bins)
    begin = (int(generator.integers(0, n_bins)) + epoch * rest) % n_bins
    runs = [(0, n_bins, visit) for visit in range(passes)]
    runs += [(begin, min(n_bins, begin + rest), passes)] if rest else []
    runs += [(0, begin + rest - n_bins, passes)] if begin + rest > n_bins else []
    pieces = [
        (max(start, low), min(stop, low + width), visit)
        for start, stop, visit in runs
        for low in range(start // width * width, stop, width)
    ]
    start, stop, visit = np.array(pieces, dtype=np.int64).T
    columns = -(-n_bins // width)
    at = _spread((passes + 1) * columns, lanes, [seed, index, 0x5E7], epoch)[visit * columns + start // width]
    share = np.cumsum(np.diff(source.first)) / source.rows.size
    group = np.minimum(np.searchsorted(share, at, side="right"), share.size - 1)
    return _Segments(np.full(start.size, index), start, stop, visit, group)


def _spread(count: int, lanes: int, seeds: list[int], epoch: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), shape `(count, lanes)`: evenly spread in each epoch, and each of them over epochs.

    All are moved on by the golden ratio from epoch to epoch, so that every chunk column comes through all of
    its groups as evenly as can be, and no group is left out in any epoch.
    """
    generator = np.random.Generator(np.random.PCG64(seeds))
    first = [(generator.permutation(count) + generator.random()) / count for _ in range(lanes)]
    moved: npt.NDArray[np.float64] = (np.stack(first, axis=1) + epoch * GOLDEN) % 1.0
    return moved


def _with_lanes(segments: _Segments, lanes: int) -> _Segments:
    """Widen the table of groups; the added lanes are never looked at."""
    group = np.zeros((segments.start.size, lanes), np.int64)
    group[:, : segments.group.shape[1]] = segments.group
    return _Segments(segments.source, segments.start, segments.stop, segments.visit, group)


def _pool_starts(at: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """First segment of each pool, and the number of segments: pools of about equal size, none above `most`.

    `at` is the first position of each segment, and the number of positions.
    """
    total, longest = int(at[-1]), int(np.diff(at).max())
    pools = 1 if total <= most else -(-total // (most - longest))
    wanted = np.arange(pools + 1) * total / pools
    return np.unique(np.searchsorted(at, wanted))


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
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
    """Draw one row at each bin for each of a lane's entries; -1 stays where it is missing or held out."""
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
    """No entries."""
    whole, real = np.empty((0, 1), np.int32), np.empty((0, 1), np.float32)
    return Batch(np.empty((0, 3), np.int32), whole, whole, real, real)
