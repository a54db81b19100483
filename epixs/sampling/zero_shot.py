"""Learn how zero-shot tracks are best made from what networks predict, and from the tracks beside them.

An assay that a species lacks was measured in others: there it is hidden, and predicted. Members that have a
further assay hidden from them show how well networks do without having seen it in a species. And of what
networks predict of the absent assay itself, the size is known, and what it has in common with other tracks.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from epixs.sampling.agreement import ease, expected_agreement, fisher, known_elsewhere
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
    of_parts,
    readings,
)
from epixs.sampling.panel import Panel
from epixs.sampling.relations import chance, correlations, relations, shifted
from epixs.sampling.scales import SMALLEST_SPREAD

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

ABSENT_ENTRIES, ABSENT_TARGETS = 200_000, 512
"""Number of entries and of tracks used for all assays that species lack together, or a few of each assay."""

FEWEST_BIOSAMPLES, MOST_BIOSAMPLES = 4, 16
"""Minimum and maximum number of biosamples for each such assay."""

MOST_HIDDEN_TRACKS, FEWEST_ENTRIES, MOST_ENTRIES = 128, 100, 4_000
"""Maximum number of tracks that are predicted as if their assay were absent, if there are fewer assays, and
minimum and maximum number of entries of each: of few, a mark with rare peaks has too few peaks."""

LEAST_DEVIATION = 0.05
"""Lower limit of the spread by which networks' predictions of an assay are divided."""


def learn_hidden(sampler: ContextSampler, predict: Predictions) -> tuple[Floats, Floats]:
    """Measure how well the networks predict each assay where it was measured, when it is hidden.

    Returns
    -------
    Agreement with the true values on Fisher's scale, mean over tracks, shape `(species, assay)`; NaN where no
    tracks are read. And the predictions' correlation with the tracks of each other assay beside them
    (`relations`), mean over tracks, shape `(species, assay, assay)`; NaN where it is not known.
    """
    size = len(sampler.species), len(sampler.axis.assays)
    targets = sampler.hiding.targets(max(1, MOST_HIDDEN_TRACKS // max(1, size[0] * size[1])), sampler.seed)
    each = int(np.clip(ABSENT_ENTRIES // max(1, len(targets)), FEWEST_ENTRIES, MOST_ENTRIES))
    total, count = np.zeros((2, *size))
    in_common, number = np.zeros((2, *size, size[1]))
    for target in targets:
        batch = sampler.known_entries(-1, target, each)
        if len(batch.value):
            predicted = predict(batch).mean(axis=0)
            agreement = fisher(predicted, batch.value[:, 0])
            total[target.at, target.assay] += np.nan_to_num(agreement)
            count[target.at, target.assay] += np.isfinite(agreement)
            found = _relations(predicted, batch, size[1])
            in_common[target.at, target.assay] += np.nan_to_num(found)
            number[target.at, target.assay] += np.isfinite(found)
    return _mean(total, count), _mean(in_common, number)


def _mean(total: Doubles, count: Doubles) -> Floats:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _relations(predicted: npt.NDArray[np.floating], batch: Batch, n_assays: int) -> Doubles:
    """Correlate values with the tracks beside each entry of a batch, by assay."""
    own = batch.inputs["own"][:, 0, :, 0]
    return relations(predicted, own, batch.inputs["own_assay"], n_assays)


def learn_mixture(sampler: ContextSampler, predict: Predictions, expected: Floats) -> tuple[Floats, Floats]:
    """Learn the mixture of zero-shot tracks, from the assays that are hidden from members.

    Parameters
    ----------
    expected
        Shares before anything is learned, from `mixture.expected_shares`.

    Returns
    -------
    Shares of `mixture.PARTS`, relative to those expected, shape `(species, part)`. And how many times better
    than expected such mixtures agree with the tracks, `(species,)`.
    """
    parts: list[list[Doubles]] = [[] for _ in sampler.species]
    values: list[list[Doubles]] = [[] for _ in sampler.species]
    assays: list[list[int]] = [[] for _ in sampler.species]
    for member, track, target in sampler.unseen(hidden=True):
        batch, panel = sampler.known_entries(member, target), sampler.species[target.at].panel
        if not len(batch.value) or np.ptp(batch.value) == 0:  # its bins have no values, or say nothing
            continue
        of_members = parts_of(sampler, predict, batch, member, target)
        parts[target.at].append(of_members[member] * expected[target.at, target.assay])
        spread = max(float(panel.spread[track]), SMALLEST_SPREAD)
        values[target.at].append((batch.value[:, 0].astype(np.float64) - panel.mean[track]) / spread)
        assays[target.at].append(target.assay)
    learned = [mixture(*of_one) for of_one in zip(parts, values, strict=True)]
    every = zip(learned, parts, values, assays, expected, strict=True)
    return np.stack(learned), np.array([_ease(*of_one) for of_one in every], np.float32)


def _ease(
    shares: Floats, parts: list[Doubles], values: list[Doubles], assays: list[int], expected: Floats
) -> float:
    """Compute how many times better than expected mixtures agree with the hidden tracks of a species.

    Parameters
    ----------
    shares, parts, values
        Learned shares, and what they were learned from (`mixture.mixture`).
    assays, expected
        Assay of each hidden track, and the shares that are expected for each assay, `(assay, part)`.
    """
    found, wanted = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    for part, value, assay in zip(parts, values, assays, strict=True):
        found[assay].append(fisher(part @ shares, value))
        of_assay = shares * expected[assay]
        wanted[assay].append(expected_agreement(of_assay, of_parts(expected[assay]), correlations(part.T)))
    return ease(found, wanted)


def learn_absent(
    sampler: ContextSampler, predict: Predictions, expected: Floats, learned: Floats, in_common: Floats
) -> tuple[Floats, Floats, Floats]:
    """Learn what the networks say of the assays that a species lacks.

    Parameters
    ----------
    expected, learned
        Share of each part before anything is learned, shape `(species, assay, part)`, and relative to it,
        from `learn_mixture`.
    in_common
        What predictions of each assay have in common with tracks of others where it was measured, from
        `learn_hidden`.

    Returns
    -------
    Mean and spread of the predictions, standardised, of each way to read (`mixture.readings`), shape
    `(species, assay, reading, 2)`; 0 and 1 for assays that a species has, and NaN for ways that there are
    not. The shares, shifted to the second way as far as predictions then have in common with other tracks
    what they should; NaN for assays that a species has. And how well such mixtures are expected to agree with
    the tracks, on Fisher's scale, `(species, assay)`; NaN for assays that a species has.
    """
    n_assays, panels = len(sampler.axis.assays), [one.panel for one in sampler.species]
    moments = np.tile(np.array([0, 1], np.float32), (len(panels), n_assays, READINGS, 1))
    shares, agreement = (np.full(shape, np.nan, np.float32) for shape in (expected.shape, expected.shape[:2]))
    read = [at for at, one in enumerate(sampler.species) if one.windows.sums.size]
    absent = {at: np.setdiff1d(np.arange(n_assays), panels[at].assay) for at in read}
    count = max(1, sum(map(len, absent.values())))
    most = min(MOST_BIOSAMPLES, max(FEWEST_BIOSAMPLES, ABSENT_TARGETS // count))
    entries = min(2 * TRACK_ENTRIES, ABSENT_ENTRIES // count)
    for at in read:
        wanted = known_elsewhere(in_common, at)
        enough = chance(in_common[at], wanted)
        n = min(most, np.unique(panels[at].biosample).size)
        each = max(FEWEST_ENTRIES, entries // n)
        together = max(1, 2 * TRACK_ENTRIES // (n * each))
        for first in range(0, absent[at].size, together):
            assays = absent[at][first : first + together]
            found, parts, alike = _look_at(sampler, predict, at, assays, most, each)
            moments[at, assays] = found
            for place, assay in enumerate(assays.tolist()):
                mixed, second = learned[at] * expected[at, assay], READINGS - 1
                if np.isfinite(found[place, second]).all():
                    told = parts[place], alike[place], wanted[assay], enough
                    mixed = shifted(mixed, *told, second)
                else:  # the first way has all that is expected of networks
                    mixed[:READINGS] = mixed[:READINGS].sum(), *[0] * second
                shares[at, assay] = mixed
                of_assay = of_parts(expected[at, assay])
                agreement[at, assay] = expected_agreement(mixed, of_assay, alike[place])
    return moments, shares, agreement


def _look_at(
    sampler: ContextSampler, predict: Predictions, at: int, assays: Ints, most: int, each: int
) -> tuple[Floats, Doubles, Doubles]:
    """Look at the predictions of some assays that a species lacks.

    Parameters
    ----------
    most, each
        Maximum number of biosamples of each assay, and number of entries of each of them.

    Returns
    -------
    Mean and spread of each assay's predictions, `(assay, reading, 2)`, NaN for ways that there are not. What
    each part of its mixture has in common with tracks of all assays, `(assay, part, every assay)`, and with
    the other parts, `(assay, part, part)`: means of correlations by biosample. Where there is no second way,
    its part is that of the first.
    """
    one, panels = sampler.species[at], [one.panel for one in sampler.species]
    n_assays, n_parts = len(sampler.axis.assays), len(PARTS)
    moments = np.full((assays.size, READINGS, 2), np.nan, np.float32)
    total, count = np.zeros((2, assays.size, n_parts, n_assays))
    alike, number = np.zeros((assays.size, n_parts, n_parts)), np.zeros(assays.size)
    masks = [familiar(panels, at, assay) for assay in assays]
    for way in range(READINGS):
        ways: list[tuple[int, list[Target]]] = []
        for place, (assay, known) in enumerate(zip(assays, masks, strict=True)):
            biosample = biosamples_of(one.panel, known, way, most)
            targets = one.targets(biosample, np.full_like(biosample, assay))
            every = [readings(target, known) for target in targets]
            ways += [(place, of_target) for of_target in every if len(of_target) > way]
        if not ways:
            continue
        places = np.array([place for place, _ in ways])
        batches = [sampler.entries_of([of[n] for _, of in ways], each * len(ways)) for n in range(way + 1)]
        values = [_standard(predict(batch).mean(axis=0), batch).reshape(-1, each) for batch in batches]
        for place in np.unique(places):
            of_assay = values[way][places == place]
            moments[place, way] = of_assay.mean(), max(of_assay.std(), LEAST_DEVIATION)
        for of_places in (total, count, alike, number):
            of_places[np.unique(places)] = 0  # where there are more ways, these count
        for row, (place, (target, *_)) in enumerate(ways):
            batch = batches[0].take(np.repeat(np.arange(len(ways)) == row, each))
            of_ways = [values[min(n, way)][row] for n in range(READINGS)]
            parts = np.stack([*of_ways, _mean_of(batch, target, one.panel)])
            found = np.stack([_relations(part, batch, n_assays) for part in parts])
            total[place] += np.nan_to_num(found)
            count[place] += np.isfinite(found)
            alike[place] += correlations(parts)
            number[place] += 1
    in_common = _mean(total, count).astype(np.float64)
    return moments, in_common, alike / np.maximum(number, 1)[:, None, None]


def _standard(predicted: npt.NDArray[np.floating], batch: Batch) -> Doubles:
    """Standardise predictions by the mean and spread that are expected of their targets."""
    mean, spread = batch.inputs["scale"].T.astype(np.float64)
    return np.asarray((predicted - mean) / spread)


def _mean_of(batch: Batch, target: Target, panel: Panel) -> Doubles:
    """Compute the standardised mean of the biosample's tracks at each entry of a target's batch."""
    own = batch.inputs["own"][:, 0, : target.own.size, 0].astype(np.float64)
    return np.asarray(own @ mean_of_tracks(panel, target.own))


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
    mean = _mean_of(batch, target, panels[target.at])
    return np.stack([parts[0], parts[-1], np.broadcast_to(mean, parts[0].shape)], axis=2)
