"""Batches for models that read the tracks observed around a bin: (seed, epoch, step) -> inputs and values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.compendium.read import open_signal
from epixs.compiled import compiled
from epixs.sampling.panel import Panel, Reads, reads_of
from epixs.sampling.scales import Scales, fit_scales
from epixs.sampling.windows import STEPS_PER_UNIT, Windows, read_windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

RADII = np.array([0, 2, 10, 40, 200], dtype=np.int64)
"""Tracks are read as means over so many bins to each side: 25 bp, 125 bp, 525 bp, 2 kb and 10 kb."""

HALO = int(RADII[-1])
SUMMARIES = 4
"""What is read of an assay's tracks in other biosamples: mean, weighted mean, spread and largest value."""

RUN_BINS, RUN_SPAN = 32, 256
"""Bins drawn together, and the stretch over which they are spread: neighbours share what memory fetches."""

COARSE = 8
"""Tracks are correlated over means of so many bins."""

OWN_DROPPED, BIOSAMPLES_DROPPED, GAIN = 0.2, 0.4, 0.2
"""Share of a target's own tracks, and of other biosamples, that training leaves out, and the spread (in logs)
of the factor by which it misreads each track: without that, a network learns the few tracks by heart."""


@dataclass(frozen=True)
class Context:
    """Inputs of some targets at some bins, `G` targets x `N` bins.

    Parameters
    ----------
    own
        The target's biosample: standardised means around each bin, float32, `(G, N, track, radius)`.
    own_assay
        Their assays, -1 where there is no track, int32, `(G, track)`.
    others
        The other biosamples: `SUMMARIES` per assay and radius, float32, `(G, N, assay, 4 * radius)`.
    others_assay
        Their assays, -1 where there is no track, int32, `(G, assay)`.
    assay
        Assay of each target, int32, `(G,)`.
    scale
        Mean and spread that each target is expected to have, arcsinh units, float32, `(G, 2)`.
    """

    own: Floats
    own_assay: Ints
    others: Floats
    others_assay: Ints
    assay: Ints
    scale: Floats


@dataclass(frozen=True)
class ContextBatch:
    """One training step's entries: inputs, and the values they are to be turned into.

    Parameters
    ----------
    inputs
        `G` targets x `N` bins.
    value
        Arcsinh units, float32, `(G, N)`.
    weight
        1 where the value is known, else 0, float32, `(G, N)`.
    """

    inputs: Context
    value: Floats
    weight: Floats


@dataclass
class Species:
    """One species' training tracks: where they are stored, what is known of them, and which are read."""

    part: SpeciesAxis
    panel: Panel
    scales: Scales
    reads: Reads
    rows: npt.NDArray[np.int64]
    fill: Floats
    windows: Windows | None = field(default=None)


def open_species(axis: JointAxis) -> list[Species]:
    """Read all species' tracks into memory, and work out their statistics."""
    found = []
    for part in axis.parts:
        training = part.training.sort_values("row")
        rows = training["row"].to_numpy(dtype=np.int64)
        fill = training["signal_mean"].to_numpy(dtype=np.float32)
        windows = read_windows(
            open_signal(part.source), rows, fill, [(0, part.n_positions[0])], part.regions, 0
        )
        number = {name: i for i, name in enumerate(part.biosamples)}
        biosample = np.array([number[name] for name in training["biosample"]], np.int32)
        panel = panel_of(windows, biosample, axis.assay_index(training["assay"]))
        found.append((part, panel, rows, fill, windows))
    tracks = [
        (panel.biosample, panel.assay, panel.mean.astype(np.float64), panel.spread.astype(np.float64))
        for _, panel, *_ in found
    ]
    scales = fit_scales(tracks, [len(part.biosamples) for part in axis.parts], len(axis.assays))
    return [
        Species(part, panel, scale, reads_of(panel, panel.biosample, panel.assay), rows, fill, windows)
        for (part, panel, rows, fill, windows), scale in zip(found, scales, strict=True)
    ]


def panel_of(windows: Windows, biosample: Ints, assay: Ints) -> Panel:
    """Work out the statistics of tracks from what was read of them."""
    n = int(windows.length.sum())
    total, squares = np.zeros(assay.size), np.zeros(assay.size)
    products = np.zeros((assay.size, assay.size))
    coarse_total, coarse_count = np.zeros(assay.size), 0
    for column, length in zip(windows.column.tolist(), windows.length.tolist(), strict=True):
        values = np.diff(windows.sums[:, column : column + length + 1], axis=1) / np.float32(STEPS_PER_UNIT)
        total += values.sum(axis=1, dtype=np.float64)
        squares += np.square(values, dtype=np.float64).sum(axis=1)
        whole = length // COARSE * COARSE
        coarse = values[:, :whole].reshape(assay.size, -1, COARSE).mean(axis=2)
        products += coarse.astype(np.float64) @ coarse.T
        coarse_total += coarse.sum(axis=1)
        coarse_count += coarse.shape[1]
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0.0))
    coarse_mean = coarse_total / max(1, coarse_count)
    covariance = products / max(1, coarse_count) - np.outer(coarse_mean, coarse_mean)
    sizes = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    likeness = covariance / np.outer(sizes, sizes)
    return Panel(
        biosample, assay, mean.astype(np.float32), spread.astype(np.float32), likeness.astype(np.float32)
    )


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
    own_out: Floats,
    others_out: Floats,
) -> None:
    """Fill in the inputs of one target at some bins: `(bin, track, radius)`, `(bin, assay, 4 * radius)`.

    `column`, `length` and `offset` say for each bin in which piece it lies and where. Values are
    standardised by their track's mean and spread (steps), and multiplied by its gain.
    """
    n, size = offset.size, radii.size
    for slot in range(own.size):
        track = own[slot]
        if track < 0:
            own_out[:, slot] = 0
            continue
        scale = own_gain[slot] / spread[track]
        for s in range(size):
            for i in range(n):
                low = max(0, offset[i] - radii[s])
                high = min(length[i], offset[i] + radii[s] + 1)
                total = np.int32(sums[track, column[i] + high] - sums[track, column[i] + low])
                own_out[i, slot, s] = (total / np.float32(high - low) - mean[track]) * scale
    summed = np.empty((4, n), np.float32)
    for slot in range(others.shape[0]):
        for s in range(size):
            summed[:3] = 0
            summed[3] = -np.inf
            count, weights = np.float32(0), np.float32(0)
            for k in range(others.shape[1]):
                track = others[slot, k]
                if track < 0:
                    continue
                scale = others_gain[slot, k] / spread[track]
                share = weight[slot, k]
                count += np.float32(1)
                weights += share
                for i in range(n):
                    low = max(0, offset[i] - radii[s])
                    high = min(length[i], offset[i] + radii[s] + 1)
                    total = np.int32(sums[track, column[i] + high] - sums[track, column[i] + low])
                    value = (total / np.float32(high - low) - mean[track]) * scale
                    summed[0, i] += value
                    summed[1, i] += share * value
                    summed[2, i] += value * value
                    summed[3, i] = max(summed[3, i], value)
            for i in range(n):
                if count == 0:
                    for j in range(4):
                        others_out[i, slot, j * size + s] = 0
                    continue
                average = summed[0, i] / count
                others_out[i, slot, s] = average
                others_out[i, slot, size + s] = summed[1, i] / weights
                variance = max(np.float32(0), summed[2, i] / count - average * average)
                others_out[i, slot, 2 * size + s] = np.sqrt(variance)
                others_out[i, slot, 3 * size + s] = summed[3, i]


class ContextSampler:
    """Draws batches of targets with the tracks around them.

    Parameters
    ----------
    species
        From `open_species`.
    targets, bins
        Targets per step, and bins per target.
    members
        Networks that are trained side by side; targets are dealt out to them in equal shares.
    held
        Per species, tracks that a member never sees: bool, `(member, track)`.
    episodes
        Share of the targets whose assay is hidden from their species.
    shares
        Share of each species in the targets.
    """

    def __init__(
        self, species: list[Species], *, targets: int, bins: int, members: int = 1,
        held: list[npt.NDArray[np.bool_]] | None = None, episodes: float = 0.0,
        shares: npt.NDArray[np.float64] | None = None, steps_per_epoch: int = 250, seed: int = 0,
    ) -> None:  # fmt: skip
        self.species, self.targets, self.bins, self.members = species, targets, bins, members
        self.held = held or [np.zeros((members, s.rows.size), np.bool_) for s in species]
        self.episodes, self.seed, self.steps_per_epoch = episodes, seed, steps_per_epoch
        self.shares = np.full(len(species), 1 / len(species)) if shares is None else shares
        self.own = max(s.reads.own.shape[1] for s in species)
        self.assays = max(s.reads.others.shape[1] for s in species)

    def batch(self, epoch: int, step: int) -> ContextBatch:
        """Entries of one step."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed, (epoch << 32) + step]))
        batch = self.empty(self.targets)
        for group in range(self.targets):
            member = group * self.members // self.targets
            at = int(generator.choice(len(self.species), p=self.shares))
            species = self.species[at]
            free = np.flatnonzero(~self.held[at][member])
            target = int(generator.choice(free))
            where = self._places(species, generator)
            self.fill(batch, group, at, target, ~self.held[at][member], where, generator)
        return batch

    def empty(self, targets: int) -> ContextBatch:
        """A batch that is to be filled in."""
        size = RADII.size
        inputs = Context(
            np.zeros((targets, self.bins, self.own, size), np.float32),
            np.full((targets, self.own), -1, np.int32),
            np.zeros((targets, self.bins, self.assays, SUMMARIES * size), np.float32),
            np.full((targets, self.assays), -1, np.int32),
            np.zeros(targets, np.int32),
            np.zeros((targets, 2), np.float32),
        )
        shape = (targets, self.bins)
        return ContextBatch(inputs, np.zeros(shape, np.float32), np.ones(shape, np.float32))

    def _places(self, species: Species, generator: np.random.Generator) -> tuple[Any, Any]:
        """Piece and offset of bins, drawn in runs."""
        windows = species.windows
        assert windows is not None
        sizes = windows.high - windows.low
        runs = -(-self.bins // RUN_BINS)
        drawn = np.sort(generator.integers(0, sizes.sum(), runs))
        ends = np.cumsum(sizes)
        piece = np.searchsorted(ends, drawn, side="right")
        span = np.minimum(RUN_SPAN, sizes[piece])
        start = np.minimum(drawn - (ends[piece] - sizes[piece]), sizes[piece] - span)
        offset = start[:, None] + np.arange(RUN_BINS) * span[:, None] // RUN_BINS + windows.low[piece][:, None]
        return np.repeat(piece, RUN_BINS)[: self.bins], offset.reshape(-1)[: self.bins]

    def fill(
        self, batch: ContextBatch, group: int, at: int, target: int, seen: npt.NDArray[np.bool_],
        where: tuple[Any, Any], generator: np.random.Generator | None,
    ) -> None:  # fmt: skip
        """Fill in one target; without a generator nothing is dropped, misread or hidden by chance."""
        species = self.species[at]
        windows, panel, reads = species.windows, species.panel, species.reads
        assert windows is not None
        piece, offset = where
        own, others = reads.own[target].copy(), reads.others[target].copy()
        gain = np.ones(panel.assay.size, np.float32)
        scale = species.scales.without_track[target]
        use = seen.copy()
        if generator is not None:
            gain = np.exp(GAIN * generator.standard_normal(gain.size)).astype(np.float32)
            kept = generator.random(int(panel.biosample.max()) + 1) >= BIOSAMPLES_DROPPED
            own[generator.random(own.size) < OWN_DROPPED] = -1
            if generator.random() < self.episodes:
                use &= panel.assay != panel.assay[target]
                scale = species.scales.without_assay[target]
            left = np.where((others >= 0) & use[others] & kept[panel.biosample[others]], others, -1)
            empty = (left < 0).all(axis=1)
            others = np.where(empty[:, None], others, left)
        own = np.where((own >= 0) & use[own], own, -1).astype(np.int32)
        others = np.where((others >= 0) & use[others], others, -1).astype(np.int32)
        inputs = batch.inputs
        n_own, n_assays = own.size, others.shape[0]
        steps = np.float32(STEPS_PER_UNIT)
        fill_context(
            windows.sums, windows.column[piece], windows.length[piece], offset, RADII,
            panel.mean * steps, np.maximum(panel.spread, 1e-3) * steps,
            own, gain[own], others, reads.weight[target], gain[others],
            inputs.own[group, :, :n_own], inputs.others[group, :, :n_assays],
        )  # fmt: skip
        inputs.own_assay[group, :n_own] = np.where(own >= 0, panel.assay[own], -1)
        first = others.max(axis=1)
        inputs.others_assay[group, :n_assays] = np.where(first >= 0, panel.assay[first], -1)
        inputs.assay[group] = panel.assay[target]
        inputs.scale[group] = scale
        column = windows.column[piece] + offset
        # The difference of two sums that may have run over.
        steps_here = (windows.sums[target, column + 1] - windows.sums[target, column]).astype(np.int32)
        batch.value[group] = steps_here / steps
        if windows.missing is not None:
            batch.weight[group] = ~windows.missing[target, column]
