"""Learn how zero-shot tracks are best made from what networks predict, and from the tracks beside them.

An assay that a species lacks was measured in others: there it is hidden, and predicted. Members that have a
further assay hidden from them show how well networks do without having seen it in a species. And of what
networks predict of the absent assay itself, the size is known, and what it has in common with other tracks.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from epixs.sampling.agreement import fisher
from epixs.sampling.around import Target
from epixs.sampling.batch import Batch, Predictions
from epixs.sampling.context import TRACK_ENTRIES, ContextSampler
from epixs.sampling.mixture import (
    PARTS,
    READINGS,
    biosamples_of,
    familiar,
    mean_of_tracks,
    mixture,
    readings,
)
from epixs.sampling.relations import relations, shifted
from epixs.sampling.scales import SMALLEST_SPREAD

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

ABSENT_ENTRIES, ABSENT_TARGETS = 200_000, 512
"""Number of entries and of tracks used for all assays that species lack together, or a few of each assay."""

FEWEST_BIOSAMPLES, MOST_BIOSAMPLES = 4, 16
"""Minimum and maximum number of biosamples for each such assay."""

MOST_HIDDEN_TRACKS, FEWEST_ENTRIES = 128, 100
"""Maximum number of tracks that are predicted as if their assay were absent, if there are fewer assays, and
minimum number of entries of each."""

LEAST_DEVIATION = 0.05
"""Lower limit of the spread by which networks' predictions of an assay are divided."""


def learn_hidden(sampler: ContextSampler, predict: Predictions) -> tuple[Floats, Floats]:
    """Measure how well the networks predict each assay where it was measured, when it is hidden.

    Returns
    -------
    Agreement with the true values on Fisher's scale, mean over tracks, shape `(species, assay)`; NaN where no
    tracks are read. And the predictions' correlation with the tracks of each other assay beside them
    (`relations`), mean over tracks of all species, shape `(assay, assay)`; NaN where it is not known.
    """
    size = len(sampler.species), len(sampler.axis.assays)
    targets = sampler.hiding.targets(max(1, MOST_HIDDEN_TRACKS // max(1, size[0] * size[1])), sampler.seed)
    each = int(np.clip(ABSENT_ENTRIES // max(1, len(targets)), FEWEST_ENTRIES, TRACK_ENTRIES))
    total, count = np.zeros((2, *size))
    in_common, number = np.zeros((2, size[1], size[1]))
    for target in targets:
        batch = sampler.known_entries(-1, target, each)
        if len(batch.value):
            predicted = predict(batch).mean(axis=0)
            total[target.at, target.assay] += fisher(predicted, batch.value[:, 0])
            count[target.at, target.assay] += 1
            found = _relations(predicted, batch, size[1])
            in_common[target.assay] += np.nan_to_num(found)
            number[target.assay] += np.isfinite(found)
    return _mean(total, count), _mean(in_common, number)


def _mean(total: Doubles, count: Doubles) -> Floats:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _relations(predicted: npt.NDArray[np.floating], batch: Batch, n_assays: int) -> Doubles:
    """Correlate values with the tracks beside each entry of a batch, by assay."""
    own = batch.inputs["own"][:, 0, :, 0]
    return relations(predicted, own, batch.inputs["own_assay"], n_assays)


def learn_mixture(sampler: ContextSampler, predict: Predictions, expected: Floats) -> Floats:
    """Learn the mixture of zero-shot tracks, from the assays that are hidden from members.

    Parameters
    ----------
    expected
        Shares before anything is learned, from `mixture.expected_shares`.

    Returns
    -------
    Shares of `mixture.PARTS`, relative to those expected, shape `(species, part)`.
    """
    parts: list[list[Doubles]] = [[] for _ in sampler.species]
    values: list[list[Doubles]] = [[] for _ in sampler.species]
    for member, track, target in sampler.unseen(hidden=True):
        batch, panel = sampler.known_entries(member, target), sampler.species[target.at].panel
        if not len(batch.value):  # none of its bins has a value
            continue
        of_members = parts_of(sampler, predict, batch, member, target)
        parts[target.at].append(of_members[member] * expected[target.at, target.assay])
        spread = max(float(panel.spread[track]), SMALLEST_SPREAD)
        values[target.at].append((batch.value[:, 0].astype(np.float64) - panel.mean[track]) / spread)
    return np.stack([mixture(*of_one) for of_one in zip(parts, values, strict=True)])


def learn_absent(
    sampler: ContextSampler, predict: Predictions, shares: Floats, wanted: Floats
) -> tuple[Floats, Floats]:
    """Learn what the networks say of the assays that a species lacks.

    Parameters
    ----------
    shares
        Expected share of each part, shape `(species, assay, part)`.
    wanted
        What predictions of each assay should have in common with tracks of others, from `learn_hidden`.

    Returns
    -------
    Mean and spread of the predictions, standardised, of each way to read (`mixture.readings`), shape
    `(species, assay, reading, 2)`; 0 and 1 for assays that a species has, and NaN for ways that there are
    not. And the shares, shifted to the second way as far as predictions then have in common with other
    tracks what they should; NaN for assays that a species has.
    """
    n_assays, panels = len(sampler.axis.assays), [one.panel for one in sampler.species]
    moments = np.tile(np.array([0, 1], np.float32), (len(panels), n_assays, READINGS, 1))
    changed = np.full(shares.shape, np.nan, np.float32)
    absent = [np.setdiff1d(np.arange(n_assays), one.panel.assay) for one in sampler.species]
    count = max(1, sum(map(len, absent)))
    each = min(2 * TRACK_ENTRIES, max(100, ABSENT_ENTRIES // count))
    most = min(MOST_BIOSAMPLES, max(FEWEST_BIOSAMPLES, ABSENT_TARGETS // count))
    together = 2 * TRACK_ENTRIES // each
    for at, one in enumerate(sampler.species):
        if not one.windows.sums.size:  # its tracks are not read
            continue
        moments[at, absent[at]] = np.nan
        parts = np.full((len(PARTS), n_assays, n_assays), np.nan)
        for first, way in itertools.product(range(0, absent[at].size, together), range(READINGS)):
            targets = []
            for assay in absent[at][first : first + together].tolist():
                known = familiar(panels, at, assay)
                biosample = biosamples_of(one.panel, known, way, most)
                made = one.targets(biosample, np.full_like(biosample, assay))
                ways = [readings(target, known) for target in made]
                targets += [of_target[way] for of_target in ways if len(of_target) > way]
            if targets:
                _look_at(sampler, predict, targets, each, way, moments[at], parts)
        for assay in absent[at].tolist():
            changed[at, assay] = _shifted(shares[at, assay], parts[:, assay], wanted[assay])
    return moments, changed


def _look_at(
    sampler: ContextSampler, predict: Predictions, targets: list[Target], each: int, way: int,
    moments: Floats, parts: Doubles,
) -> None:  # fmt: skip
    """Look at the predictions of some targets' assays, read in one way.

    Parameters
    ----------
    moments, parts
        Mean and spread of each assay's predictions, shape `(assay, reading, 2)`, and what each part of them
        has in common with tracks of other assays, shape `(part, assay, assay)`, to fill in.
    """
    batch = sampler.entries_of(targets, each * len({target.assay for target in targets}))
    scale, of_mean = batch.inputs["scale"], _means(sampler, batch, targets)
    values = (predict(batch).mean(axis=0) - scale[:, 0]) / scale[:, 1]
    for assay in np.unique(batch.assay):
        of_assay = batch.assay[:, 0] == assay
        predicted, here = values[of_assay], batch.take(of_assay)
        moments[assay, way] = predicted.mean(), max(predicted.std(), LEAST_DEVIATION)
        parts[way, assay] = _relations(predicted, here, len(moments))
        if way == 0:
            parts[READINGS, assay] = _relations(of_mean[of_assay], here, len(moments))


def _means(sampler: ContextSampler, batch: Batch, targets: list[Target]) -> Doubles:
    """Compute the standardised mean of the biosample's tracks at each entry of a batch."""
    mean = np.zeros(len(batch.assay))
    for target in targets:
        one = sampler.species[target.at]
        biosample = one.first_biosample + target.biosample
        rows = (batch.biosample[:, 0] == biosample) & (batch.assay[:, 0] == target.assay)
        own = batch.inputs["own"][rows, 0, : target.own.size, 0].astype(np.float64)
        mean[rows] = own @ mean_of_tracks(one.panel, target.own)
    return mean


def _shifted(shares: Floats, parts: Doubles, wanted: Floats) -> Floats:
    """Shift the shares of an absent assay to the second way to read; if there is none, the first has all."""
    if np.isfinite(parts[READINGS - 1]).any():
        return shifted(shares, parts, wanted, READINGS - 1)
    return np.array([shares[:READINGS].sum(), 0, shares[READINGS]], np.float32)


def parts_of(
    sampler: ContextSampler, predict: Predictions, batch: Batch, member: int, target: Target
) -> Doubles:
    """Compute the parts of a zero-shot target's mixture, by each member, at the entries of a member's batch.

    They are standardised, as in imputation. If there is no second way to read, its part is that of the first.

    Returns
    -------
    Shape `(member, entry, part)`.
    """
    panels, parts = [one.panel for one in sampler.species], []
    for reading in readings(target, familiar(panels, target.at, target.assay)):
        there = batch if reading is target else sampler.known_entries(member, reading)
        members = predict(there).astype(np.float64)
        spread = np.maximum(members.std(axis=1, keepdims=True), LEAST_DEVIATION * float(target.scale[1]))
        parts.append((members - members.mean(axis=1, keepdims=True)) / spread)
    own = batch.inputs["own"][:, 0, : target.own.size, 0].astype(np.float64)
    mean = own @ mean_of_tracks(panels[target.at], target.own)
    return np.stack([parts[0], parts[-1], np.broadcast_to(mean, parts[0].shape)], axis=2)
