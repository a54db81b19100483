"""Learn from tracks that the networks of a context model have never seen.

For each such track, both the prediction of a network that has not seen it and the true values are known. So
they show how zero-shot tracks are best mixed, how large errors are, and how well predictions agree with the
true values.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from epixs.sampling.agreement import fisher
from epixs.sampling.around import Target
from epixs.sampling.batch import Batch
from epixs.sampling.context import TRACK_ENTRIES, ContextSampler
from epixs.sampling.intervals import NARROWEST, assay_factors, conformal_quantile, fit_widths
from epixs.sampling.mixture import (
    PARTS,
    READINGS,
    biosamples_of,
    familiar,
    mean_of_tracks,
    mixture,
    readings,
)
from epixs.sampling.panel import Panel
from epixs.sampling.relations import relations, shifted
from epixs.sampling.scales import SMALLEST_SPREAD

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MOST_TRACKS = 64
"""Maximum number of training tracks that errors are learned from."""

TRAINING_ENTRIES, MOST_TRACK_ENTRIES = 64_000, 4_000
"""Maximum number of entries that errors are learned from: of all training tracks, and of each of them."""

ABSENT_ENTRIES, ABSENT_TARGETS = 200_000, 512
"""Number of entries and of tracks used for all assays that species lack together, or a few of each assay."""

FEWEST_BIOSAMPLES, MOST_BIOSAMPLES = 4, 16
"""Minimum and maximum number of biosamples for each such assay."""

MOST_HIDDEN_TRACKS, FEWEST_ENTRIES = 128, 100
"""Maximum number of tracks that are predicted as if their assay were absent, if there are fewer assays, and
minimum number of entries of each."""

TRUST_PULL = 2.0
"""Strength, in tracks, of the pull of the trust in networks towards 1."""

LEAST_DEVIATION = 0.05
"""Lower limit of the spread by which networks' predictions of an assay are divided."""

Predictions = Callable[[Batch], Floats]
"""Function that gives each member's predictions for a batch: arcsinh units, shape `(member, P)`."""


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
        of_members = _parts(sampler, predict, batch, member, target)
        parts[target.at].append(of_members[member] * expected[target.at, target.assay])
        spread = max(float(panel.spread[track]), SMALLEST_SPREAD)
        values[target.at].append((batch.value[:, 0].astype(np.float64) - panel.mean[track]) / spread)
    return np.stack([mixture(*of_one) for of_one in zip(parts, values, strict=True)])


def learn_trust(sampler: ContextSampler, predict: Predictions) -> float:
    """Learn how far the networks' differences from the weighted sums around a bin should be followed.

    From few tracks, networks learn differences that are right for these tracks only. On tracks that a member
    has never seen, its differences are compared with those of the true values. Those of the mean of all
    members are smaller, because where members do not agree, they cancel.

    Parameters
    ----------
    predict
        Predicts with differences that are followed as they are.

    Returns
    -------
    The factor of the differences for which the errors of the mean are smallest, 0 to 1; 1 if nothing is held
    out.
    """
    right, size = [], []
    for member, track, target in sampler.unseen(hidden=False):
        batch = sampler.known_entries(member, target)
        if not len(batch.value):
            continue
        base = batch.inputs["base"][:, 0].sum(axis=1)
        members, value = (one - base for one in _standard(batch, target, predict))
        seen = ~sampler.held[target.at][:, track]
        cancels = _apart(members, member, seen) * (1 - 1 / len(members)) if seen.any() else 0.0
        squares, variance = float(np.square(members[member]).mean()), float(target.scale[1]) ** 2
        right.append(variance * float((members[member] * value).mean()))
        size.append(variance * max(squares - cancels, LEAST_DEVIATION * squares))
    if not sum(size) > 0:
        return 1.0
    pull = TRUST_PULL * float(np.mean(size))
    return float(np.clip((sum(right) + pull) / (sum(size) + pull), 0.0, 1.0))


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


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Keeps how large errors are, and how well predictions agree with the true values.

    Parameters
    ----------
    widths
        Widths of the intervals of measured and of zero-shot assays (`intervals.fit_widths`), shape
        `(2, 2, KNOTS)`.
    assay_errors
        How much wider they are for each measured assay, shape `(species, assay)`.
    agreement
        Agreement of each training track on Fisher's scale, as if the networks had not seen it; NaN where it
        is not known. Shape `(track,)`, all species one after the other.
    """

    widths: Floats
    assay_errors: Floats
    agreement: Floats


def learn_reliability(
    sampler: ContextSampler,
    predict: Predictions,
    shares: Floats,
    kept: Reliability | None = None,
) -> Reliability:
    """Learn how large errors are, and how well predictions agree with the true values.

    For measured assays, the errors are those of training tracks, each predicted with the mean and spread that
    would be expected had it not been measured. These errors are too small and the agreement is too good,
    because the networks have seen the tracks. Tracks that some members have seen and one has not show by how
    much. For zero-shot assays, the errors are those on assays that are hidden from members.

    Parameters
    ----------
    shares
        Share of each part in zero-shot tracks: those expected times those from `learn_mixture`, shape
        `(species, assay, part)`.
    kept
        What a model had learned before it was extended. Its widths are kept, and so is the agreement of the
        tracks that are not among the sampler's targets.
    """
    larger, lower = _unseen_and_seen(sampler, predict)
    targets, tracks = sampler.training_targets(MOST_TRACKS), []
    entries = int(np.clip(TRAINING_ENTRIES // max(1, len(targets)), TRACK_ENTRIES, MOST_TRACK_ENTRIES))
    for target in targets:
        batch = sampler.known_entries(-1, target, entries)
        if not len(batch.value):
            continue
        members, value = _standard(batch, target, predict)
        members = members[_have_seen(sampler, target)]
        expected = larger * _of_one_more(sampler.species[target.at].panel, target)
        tracks.append(_Errors(target, members.mean(axis=0), value, expected))
    maybe = (_hidden_errors(sampler, predict, shares, *one) for one in sampler.unseen(hidden=True))
    widths = [_widths_of(errors) for errors in (tracks, [one for one in maybe if one])]
    if kept:
        widths = [old if old[1].any() else new for old, new in zip(kept.widths, widths, strict=True)]
    factors = []
    for at in range(len(sampler.species)):
        errors = [one for one in tracks if one.target.at == at]
        columns = [one.predicted for one in errors], [one.error for one in errors]
        assays = [one.target.assay for one in errors]
        factors.append(assay_factors(widths[0], *columns, assays, len(sampler.axis.assays)))
    agreement = _agreement(sampler, tracks, lower, kept)
    return Reliability(np.stack(widths), np.stack(factors), np.concatenate(agreement))


def _widths_of(errors: list[_Errors]) -> Floats:
    return fit_widths([one.predicted for one in errors], [one.error for one in errors])


def _agreement(
    sampler: ContextSampler, tracks: list[_Errors], lower: float, kept: Reliability | None
) -> list[Floats]:
    """Return the agreement of each species' training tracks, as if the networks had seen none of them."""
    sizes = [one.panel.assay.size for one in sampler.species]
    every = kept.agreement.copy() if kept else np.full(sum(sizes), np.nan, np.float32)
    agreement = np.split(every, np.cumsum(sizes)[:-1])
    for one in tracks:
        agreement[one.target.at][one.target.track] = one.agreement + lower
    return agreement


@dataclasses.dataclass(frozen=True)
class _Errors:
    """Predictions and values of a target, standardised, and a factor to multiply its errors by."""

    target: Target
    predicted: Doubles
    value: Doubles
    larger: float

    @property
    def agreement(self) -> float:
        return fisher(self.predicted, self.value)

    @property
    def error(self) -> Doubles:
        return (self.value - self.predicted) * self.larger


def _standard(batch: Batch, target: Target, predict: Predictions) -> tuple[Doubles, Doubles]:
    """Standardise the members' predictions and the true values: `(member, entry)` and `(entry,)`."""
    mean, spread = target.scale.astype(np.float64)
    return (predict(batch) - mean) / spread, (batch.value[:, 0] - mean) / spread


def _unseen_and_seen(sampler: ContextSampler, predict: Predictions) -> tuple[float, float]:
    """Estimate how much larger errors are, and how much lower the agreement, on tracks no member has seen."""
    sizes, sizes_seen, differences = [], [], []
    for member, track, target in sampler.unseen(hidden=False):
        batch = sampler.known_entries(member, target)
        seen = ~sampler.held[target.at][:, track]
        if not (len(batch.value) and seen.any()):
            continue
        members, value = _standard(batch, target, predict)
        unseen = value - members[member]
        sizes.append(np.abs(unseen) * _of_the_unseen_mean(unseen, members, member, seen))
        sizes_seen.append(np.abs(value - members[seen].mean(axis=0)))
        alone = np.mean([fisher(one, value) for one in members[seen]])
        differences.append(fisher(members[member], value) - alone)
    if not sizes:
        return 1.0, 0.0
    larger, smaller = (conformal_quantile(np.concatenate(one)) for one in (sizes, sizes_seen))
    return larger / max(smaller, NARROWEST), float(np.mean(differences))


def _have_seen(sampler: ContextSampler, target: Target) -> npt.NDArray[np.bool_]:
    """Tell which members have seen a training track; all, if none has."""
    seen = ~sampler.held[target.at][:, target.track]
    return seen if seen.any() else ~seen


def _of_one_more(panel: Panel, target: Target) -> float:
    """Estimate the error of a track that nobody measured, relative to that of a training track.

    A training track is predicted from the others of its biosample and of its assay. These are one fewer than
    there are for a track that nobody measured. What is common to n tracks, pulled towards 0 as by one track
    of 0 (as expected scales are), is known up to a variance of 1 / (n + 1).
    """
    same_biosample, same_assay = panel.biosample == target.biosample, panel.assay == target.assay
    tracks = np.array([np.count_nonzero(same_biosample), np.count_nonzero(same_assay)])
    with_it, without_it = (1 + float((1 / (n + 1)).sum()) for n in (tracks, tracks - 1))
    return float(np.sqrt(with_it / without_it))


def _hidden_errors(
    sampler: ContextSampler, predict: Predictions, shares: Floats, member: int, _: int, target: Target
) -> _Errors | None:
    """Compute the errors of a zero-shot target, predicted by the member from which its assay is hidden.

    None if no bin that was drawn has a value.
    """
    batch = sampler.known_entries(member, target)
    if not len(batch.value):
        return None
    mean, spread = target.scale.astype(np.float64)
    members = _parts(sampler, predict, batch, member, target) @ shares[target.at, target.assay]
    value = (batch.value[:, 0] - mean) / spread
    return _Errors(target, members[member], value, _of_the_mean(value - members[member], members))


def _parts(
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


def _of_the_mean(error: Doubles, members: Doubles) -> float:
    """Estimate the error of the mean of all members, relative to that of one of them.

    The members' predictions have shape `(member, entry)`.
    """
    if len(members) < 2:
        return 1.0
    return _without(float(members.var(axis=0, ddof=1).mean()), error, len(members))


def _of_the_unseen_mean(error: Doubles, members: Doubles, member: int, seen: npt.NDArray[np.bool_]) -> float:
    """Estimate the same for a track that no member has seen, from one that only `member` has not.

    Members that have seen the track differ less than such members would, and `member` differs more from them,
    because they have learned the track. The middle of both estimates is taken.
    """
    apart = _apart(members, member, seen)
    return float(np.sqrt(_of_the_mean(error, members) * _without(apart, error, len(members))))


def _apart(members: Doubles, member: int, seen: npt.NDArray[np.bool_]) -> float:
    """Return the mean square of a member's distance from what the mean of many others would be."""
    apart = float(np.square(members[member] - members[seen].mean(axis=0)).mean())
    if seen.sum() > 1:
        apart -= float(members[seen].var(axis=0, ddof=1).mean()) / int(seen.sum())
    return apart


def _without(variance: float, error: Doubles, members: int) -> float:
    """Return how averaging shrinks errors: it removes all but a share of the variance between members."""
    differ = max(variance, 0.0) * (1 - 1 / members)
    return float(np.sqrt(np.clip(1 - differ / max(float(np.square(error).mean()), 1e-12), 0.25, 1.0)))
