"""Draw batches for models that read the tracks around a bin: (seed, epoch, step) -> inputs and values."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.errors import TrainingError
from epixs.sampling.around import Reading, Target, read_contexts, without
from epixs.sampling.augment import Drawn, Pieces, Rules, draw_targets, pieces_of
from epixs.sampling.batch import Batch, InputSpec
from epixs.sampling.bins import Places, draw_bins, read_values, together
from epixs.sampling.calls import Calls, Closing
from epixs.sampling.episodes import episodes_of, some
from epixs.sampling.fill import HALO, RADII, SUMMARIES
from epixs.sampling.kriging import BAND_RADII
from epixs.sampling.order import species_shares
from epixs.sampling.panel import Panel
from epixs.sampling.scales import SMALLEST_SPREAD, Scales
from epixs.sampling.species import (
    labels_of,
    load_species,
    read_tracks,
    scales_of,
    signal_bytes,
    signal_sizes,
    tracks_of,
)
from epixs.sampling.stretches import (
    Spans,
    Stretches,
    choose_spans,
    share_of_memory,
)
from epixs.sampling.unseen import LEFT_TO_SEE, hide_assays, hold_out_by_member
from epixs.sampling.windows import Windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GAIN = 0.2
"""Spread (in logs) of the factor by which training multiplies each track around a target."""

FOCUS_SHARE = 0.4
"""Share of the targets that are of assays in focus (those that zero-shot imputation is meant for), in species
that have any."""

VERY_MANY_TRACKS = 500
"""Number of tracks beyond which all members expect the same means and spreads."""

MOST_WEIGHT = 20.0
"""Maximum weight of a track's errors, relative to that of a track with the usual spread."""

ALONE_EPISODES = 0.1
"""Maximum share of hidden assays with one species, which needs them only once a model is extended."""

HELD_ENTRIES, TRACK_ENTRIES = 20_000, 1_000
"""Maximum number of held-out entries scored, and number of entries per track that errors are learned from."""


class ContextSampler(Closing):
    """Draws targets, bins, and the tracks observed around them.

    A step has some targets, each a training track at some bins. Around each bin, the sampler reads the tracks
    of the target's biosample, and tracks of the same and of other assays in other biosamples, but never the
    target itself. The targets are dealt out to the members of a model in equal shares, in order. Each member
    has held-out tracks that it never sees, neither as a target nor around one.

    Parameters
    ----------
    axis
        Axis to train over.
    members
        Number of networks that are trained side by side.
    targets, bins
        Targets per step, a multiple of `members`, and bins per target.
    steps_per_epoch
        Steps between two scorings.
    held_share
        Share of the tracks that each member never sees.
    episodes
        Share of the targets whose assay is hidden from their species, as if it had not been measured there;
        with one species at most a tenth, for species by which a model is extended.
    focus
        Assays that zero-shot imputation is meant for: they are drawn more often, and mostly hidden.
    species_weight
        Share of each species in the targets, as in `Sampler`.
    seed
        Seed that decides everything drawn.
    memory_bytes
        Maximum memory of the tracks. If it does not hold them all, random stretches of the genome are read,
        and exchanged every few epochs. The statistics of whole tracks then come from the first stretches.
    known
        Statistics of the tracks of each species that has none on the axis, but had when a model was trained;
        None for the others.
    """

    def __init__(
        self,
        axis: JointAxis,
        *,
        members: int = 1,
        targets: int = 16,
        bins: int = 256,
        steps_per_epoch: int = 250,
        held_share: float = 0.1,
        episodes: float = 0.5,
        focus: Sequence[str] = (),
        species_weight: str = "balanced",
        seed: int = 0,
        memory_bytes: int | None = None,
        known: Sequence[Panel | None] = (),
    ) -> None:
        self.axis, self.seed, self.members = axis, seed, members
        self.targets, self.bins, self.steps_per_epoch = targets, bins, steps_per_epoch
        whole = memory_bytes is None or memory_bytes >= signal_bytes(axis)
        self._memory = None if whole else memory_bytes
        self.stretches = Stretches(self._read_pool, changing=not whole)
        self.species = load_species(axis, self.stretches.first, known)
        self._joined = self.stretches.first, pieces_of(self.stretches.first)
        self.episodes = episodes if len(axis.parts) > 1 else min(episodes, ALONE_EPISODES)
        sizes = signal_sizes(axis).astype(np.float64)
        names = [s.part.species for s, size in zip(self.species, sizes, strict=True) if size]
        shares = species_shares(species_weight, names, sizes[sizes > 0])
        every = np.zeros(len(sizes))
        every[sizes > 0] = shares
        self._shares = np.cumsum(every) / np.cumsum(every)[-1]
        self._focus = [np.isin(s.panel.assay, axis.assay_index(focus)) for s in self.species]
        self._weights = _weights_of([one.panel.spread for one in self.species])
        panels = [s.panel for s in self.species]
        self.hidden = hide_assays(panels, members, axis.assay_index(focus if held_share else []))
        self.held = hold_out_by_member(panels, members, held_share, seed, self._focus, self.hidden)
        self.hiding = episodes_of(axis, self.species)
        self._own = max(s.reads.own.shape[1] for s in self.species)
        self._assays = max(s.reads.others.shape[1] for s in self.species)
        self._calls = Calls()
        self._end = weakref.finalize(self, _end, self._calls, self.stretches)

    @property
    def positions_per_step(self) -> int:
        """Number of targets per step."""
        return self.targets

    @property
    def experiments_per_position(self) -> int:
        """Number of bins per target."""
        return self.bins

    @property
    def n_positions(self) -> int:
        """Number of entries per epoch."""
        return self.targets * self.bins * self.steps_per_epoch

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """Type and shape of each input; the first dimension is that of the targets."""
        n, size = self.bins, RADII.size
        return {
            "own": InputSpec("float32", (None, n, self._own, size)),
            "own_assay": InputSpec("int32", (None, self._own)),
            "others": InputSpec("float32", (None, n, self._assays, SUMMARIES * size)),
            "others_assay": InputSpec("int32", (None, self._assays)),
            "base": InputSpec("float32", (None, n, len(BAND_RADII))),
            "target": InputSpec("int32", (None,)),
            "named": InputSpec("float32", (None,)),
            "scale": InputSpec("float32", (None, 2)),
            "share": InputSpec("float32", (None,)),
            "linear": InputSpec("float32", (None, self._own)),
            "member": InputSpec("int32", (None,)),
        }

    def _read_pool(self, pool: int) -> list[Windows]:
        """Read windows of all species' tracks, over stretches that differ from pool to pool."""
        parts = self.axis.parts
        return [read_tracks(part, tracks_of(part), self._spans(at, pool)) for at, part in enumerate(parts)]

    def _spans(self, at: int, pool: int) -> Spans:
        """Choose the stretches of a species in a pool."""
        part = self.axis.parts[at]
        if self._memory is None:
            return [(0, part.n_positions[0])]
        memory = share_of_memory(signal_sizes(self.axis), self._memory)[at]
        key = (self.seed, pool, at)
        return choose_spans(part.n_positions[0], len(part.training), HALO, memory, key)

    def batch(self, epoch: int, step: int) -> Batch:
        """Draw the entries of one step; `P` are its targets and `E` their bins."""
        with self._calls.one():
            generator = np.random.Generator(np.random.Philox(key=[self.seed, (epoch << 32) + step]))
            pool = self.stretches.of_epoch(epoch)
            every = draw_targets(
                self._rules, self._pieces(pool), self._shares, self.targets, self.bins, generator
            )
            drawn = [
                (row * self.members // self.targets, self._reading(every, row, pool))
                for row in range(self.targets)
            ]
            batch = self._batch_of(drawn, pool)
            batch.position[:] = self._positions([one for _, one in drawn], pool, 1)
            weight = [self._weights[one.target.at][one.target.track] for _, one in drawn]
            batch.weight[:] *= np.array(weight)[:, None]
            return batch

    def held_out_entries(self, count: int) -> Batch:
        """Draw about `count` entries of tracks that members never see, with those members' inputs; `E` is 1.

        Raises
        ------
        TrainingError
            If there are no such tracks.
        """
        wanted = [
            (member, self._held_target(at, int(track), member))
            for at, held in enumerate(self.held)
            for member in range(self.members)
            if not self.hidden[member]  # nothing tells what tracks of a hidden assay are like
            for track in np.flatnonzero(held[member])
        ]
        if not wanted:
            raise TrainingError(
                "too few tracks to hold any out",
                got=f"{self.axis.n_training} training tracks",
                expected=f"some that leave {LEFT_TO_SEE} others of their biosample and of their assay",
                next_step="train a model of kind avocado, or use average activity",
            )
        return self._entries(wanted, min(count, HELD_ENTRIES), 0xE0)

    def _held_target(self, at: int, track: int, member: int) -> Target:
        """Make a target as a member sees it that holds the track out."""
        hidden = (at, int(self.species[at].panel.assay[track])) in self.hidden[member]
        target = self.hiding.target(at, track, lent=True) if hidden else self.species[at].target(track)
        scales = self._scales[member][at]
        scale = (scales.without_assay if hidden else scales.without_track)[track]
        return without(dataclasses.replace(target, scale=scale), ~self.held[at][member])

    def unseen(self, hidden: bool) -> Iterator[tuple[int, int, Target]]:
        """Yield member, track and target of tracks never seen: those of hidden assays, or the others."""
        for at, held in enumerate(self.held):
            for member in range(self.members):
                assays = [assay for species, assay in self.hidden[member] if species == at]
                for track in np.flatnonzero(held[member]).tolist():
                    if (self.species[at].panel.assay[track] in assays) == hidden:
                        yield member, track, self._held_target(at, track, member)

    def training_targets(self, most: int) -> list[Target]:
        """List at most `most` training tracks as targets, drawn at random if there are more."""
        tracks = [(one, track) for one in self.species for track in range(one.panel.assay.size)]
        chosen = [tracks[number] for number in some(len(tracks), most, self.seed)]
        return [one.target(track) for one, track in chosen]

    def known_entries(self, member: int, target: Target, count: int = TRACK_ENTRIES) -> Batch:
        """Draw about `count` entries of a target whose values are known, for a member to predict."""
        batch = self._entries([(member, target)], count, 0xE2)
        return batch.take(batch.weight[:, 0] > 0)

    def entries_of(self, targets: list[Target], count: int) -> Batch:
        """Draw about `count` entries of targets that were not measured, for all members to predict."""
        return self._entries([(-1, target) for target in targets], count, 0xE3)

    def held_out_tracks(self, count: int) -> Batch:
        """Draw about `count` entries of the experiments that the axis holds out whole; `E` is 1."""
        wanted = []
        for at, part in enumerate(self.axis.parts):
            tracks = part.experiments[part.experiments["held_out"]]
            if tracks.empty:
                continue
            windows = read_tracks(part, tracks, self._spans(at, 0))
            labels = labels_of(self.axis, part, tracks)
            wanted += [(-1, target) for target in self.species[at].targets(*labels, windows)]
        return self._entries(wanted, min(count, HELD_ENTRIES), 0xE1)

    def _to_draw(self, at: int, member: int) -> tuple[Numbers, Numbers, float]:
        """List the tracks that a member sees, those in focus, and the share of draws from these."""
        seen = ~self.held[at][member]
        return np.flatnonzero(seen), np.flatnonzero(seen & self._focus[at]), FOCUS_SHARE

    @cached_property
    def _scales(self) -> list[list[Scales]]:
        """Means and spreads that each member expects of all tracks, from those that it sees.

        If a track that a member does not see raised what it expects of others, it would learn to predict less
        for them, and then for the track, too. With very many tracks, one more does not matter.
        """
        panels, every = [one.panel for one in self.species], [one.scales for one in self.species]
        seen = [[~held[member] for held in self.held] for member in range(self.members)]
        if sum(panel.assay.size for panel in panels) > VERY_MANY_TRACKS:
            return [every] * self.members
        return [
            every if all(mask.all() for mask in masks) else scales_of(self.axis, panels, masks)
            for masks in seen
        ]

    @cached_property
    def _rules(self) -> Rules:
        """What each member draws of each species."""
        panels, reads = [one.panel for one in self.species], [one.reads for one in self.species]
        start = np.cumsum([0, *(panel.assay.size for panel in panels)])
        seen, drawn, preferred = np.zeros((3, self.members, start[-1]), np.bool_)
        share = np.zeros((self.members, len(panels)))
        own = np.full((start[-1], max(one.own.shape[1] for one in reads)), -1, np.int32)
        most = np.max([one.others.shape[1:] for one in reads], axis=0)
        others = np.full((start[-1], *most), -1, np.int32)
        for at, one in enumerate(reads):
            here = slice(start[at], start[at + 1])
            own[here, : one.own.shape[1]] = one.own
            others[here, : one.others.shape[1], : one.others.shape[2]] = one.others
            for member in range(self.members):
                seen[member, here] = ~self.held[at][member]
                tracks, instead, share[member, at] = self._to_draw(at, member)
                drawn[member, start[at] + tracks] = preferred[member, start[at] + instead] = True
        first, lacking = self.hiding.lacking_known
        beside = [np.bincount(panel.assay)[panel.assay] > 1 for panel in panels]
        return Rules(
            start, drawn, preferred, share, seen, np.concatenate(self._focus), np.concatenate(beside),
            own, others,
            np.array([one.own.shape[1] for one in reads]),
            np.concatenate([panel.biosample for panel in panels]),
            np.concatenate([panel.assay for panel in panels]),
            np.array([len(one.part.biosamples) for one in self.species]), float(self.episodes),
            first, lacking, self.hiding.known, np.array(self.hiding.alike),
        )  # fmt: skip

    def _pieces(self, pool: list[Windows]) -> Pieces:
        """Return the pieces of a pool, which are joined once for all its steps."""
        held, pieces = self._joined
        if held is not pool:
            pieces = pieces_of(pool)
            self._joined = pool, pieces
        return pieces

    def _reading(self, drawn: Drawn, row: int, pool: Sequence[Windows]) -> Reading:
        """Return a target that was drawn, and how it is read."""
        at, track = int(drawn.species[row]), int(drawn.track[row])
        one, scales = self.species[at], self._scales[row * self.members // self.targets][at]
        target = one.target(track, pool[at])
        scale, equations = scales.without_track[track], target.equations
        if drawn.hidden[row]:
            scale = scales.without_assay[track]
            equations = one.hidden_equations[track] if drawn.lent[row] else []
        own, others = drawn.own[row, : target.own.size], drawn.others[row]
        others = others[: target.others.shape[0], : target.others.shape[1]]
        target = dataclasses.replace(
            target, own=own, others=others, scale=scale, equations=equations, named=bool(drawn.named[row])
        )
        gain = np.exp(GAIN * drawn.normal[row, : one.panel.mean.size]).astype(np.float32)
        within = (drawn.first[row], drawn.length[row]) if drawn.like[row] != at else None
        return Reading(target, Places(drawn.piece[row], drawn.offset[row]), gain, within)

    def _entries(self, wanted: list[tuple[int, Target]], count: int, salt: int) -> Batch:
        """Draw entries of some targets, at bins drawn for each, one bin per row.

        However a target is read, and by whom, it has the same bins.
        """
        each = -(-count // len(wanted))
        every, drawn = [one.windows for one in self.species], []
        for member, target in wanted:
            label = target.at, target.biosample, target.assay
            generator = np.random.Generator(np.random.PCG64([self.seed, salt, *map(int, label)]))
            drawn.append((member, Reading(target, draw_bins(every[target.at], each, generator))))
        batch = self._batch_of(drawn, every)
        bins = {name for name, spec in self.input_specs.items() if len(spec.shape) > 2}
        inputs = {
            name: values.reshape(-1, 1, *values.shape[2:]) if name in bins else values.repeat(each, axis=0)
            for name, values in batch.inputs.items()
        }
        position = self._positions([one for _, one in drawn], every, each)
        labels = batch.biosample.reshape(-1, 1), batch.assay.reshape(-1, 1)
        return Batch(position, *labels, batch.value.reshape(-1, 1), batch.weight.reshape(-1, 1), inputs)

    def _batch_of(self, drawn: list[tuple[int, Reading]], windows: Sequence[Windows]) -> Batch:
        """Read all targets, for a member each, in windows of their species; each target is one row.

        The positions are not filled in.
        """
        targets = [one.target for _, one in drawn]
        batch = self._empty(len(drawn), drawn[0][1].places.offset.size)
        inputs = batch.inputs
        inputs["member"][:] = [member for member, _ in drawn]
        inputs["target"][:] = [target.assay for target in targets]
        inputs["named"][:] = [target.named for target in targets]
        inputs["scale"][:] = [target.scale for target in targets]
        inputs["share"][:] = [target.share for target in targets]
        firsts = [self.species[target.at].first_biosample + target.biosample for target in targets]
        batch.biosample[:] = np.array(firsts)[:, None]
        batch.assay[:] = inputs["target"][:, None]
        alike: dict[tuple[int, ...], list[int]] = {}
        for row, target in enumerate(targets):
            kind = target.at, id(target.windows), target.own.size, *target.others.shape
            alike.setdefault(kind, []).append(row)
        for (at, _, n_own, n_assays, _), of_kind in alike.items():
            rows, panel = np.array(of_kind), self.species[at].panel
            readings = [drawn[row][1] for row in of_kind]
            contexts = inputs["own"], inputs["others"], inputs["base"]
            own, others = read_contexts(panel, windows[at], readings, rows, *contexts)
            inputs["own_assay"][rows, :n_own] = panel.assay_or_none[own]
            inputs["others_assay"][rows, :n_assays] = panel.assay_or_none[others.max(axis=2)]
            held = targets[of_kind[0]].windows
            if held is not None:
                tracks = np.array([targets[row].track for row in of_kind])
                places = together([one.places for one in readings])
                batch.value[rows], batch.weight[rows] = read_values(held, tracks[:, None], places)
        for row, target in enumerate(targets):
            if target.linear is not None:
                inputs["linear"][row, : target.own.size] = target.linear
        return batch

    def _empty(self, targets: int, bins: int) -> Batch:
        """Make an empty batch to fill in."""
        inputs: dict[str, Any] = {}
        for name, spec in self.input_specs.items():
            inner = [bins, *spec.shape[2:]] if len(spec.shape) > 2 else spec.shape[1:]
            shape = [targets, *(int(n) for n in inner if n is not None)]
            inputs[name] = np.full(shape, 0 if spec.dtype == "float32" else -1, spec.dtype)
        labels = np.zeros((2, targets, bins), np.int32)
        value, weight = np.zeros((targets, bins), np.float32), np.zeros((targets, bins), np.float32)
        return Batch(np.zeros((targets, 3), np.int32), labels[0], labels[1], value, weight, inputs)

    def _positions(self, drawn: list[Reading], windows: Sequence[Windows], each: int) -> Ints:
        """Compute the positions on the axis of the first bins that are read for each target."""
        positions = np.empty((len(drawn), each, 3), np.int32)
        at = np.array([one.target.at for one in drawn])
        for one, there in zip(self.species, windows, strict=True):
            rows = np.flatnonzero(at == one.at)
            if rows.size:
                places = together([drawn[row].places for row in rows])
                bins = (there.bin[places.piece[:, :each]] + places.offset[:, :each]).reshape(-1)
                positions[rows] = (one.part.positions(bins) + one.first_position).reshape(rows.size, each, 3)
        return positions.reshape(len(drawn) * each, 3)


def _weights_of(spreads: Sequence[Floats]) -> list[Floats]:
    """Weight the squared errors of tracks by the inverse of their spreads; 0 for tracks without any."""
    varying = np.concatenate(spreads)[np.concatenate(spreads) > SMALLEST_SPREAD]
    typical = float(np.median(varying)) if varying.size else 1.0
    return [
        np.where(
            spread > SMALLEST_SPREAD,
            np.minimum(typical / np.maximum(spread, SMALLEST_SPREAD), MOST_WEIGHT),
            0,
        ).astype(np.float32)
        for spread in spreads
    ]


def _end(calls: Calls, stretches: Stretches) -> None:
    calls.refuse()
    calls.wait()
    stretches.close()
