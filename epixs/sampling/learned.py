"""Learn from tracks that the networks of a context model have never seen.

For each such track, both the prediction of a network that has not seen it and the true values are known. So
they show how far networks are to be trusted, how large errors are, and how well predictions agree with the
true values.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from epixs.sampling.agreement import fisher
from epixs.sampling.around import Target
from epixs.sampling.batch import Batch, Predictions
from epixs.sampling.context import TRACK_ENTRIES, ContextSampler
from epixs.sampling.intervals import NARROWEST, assay_factors, conformal_quantile, fit_widths
from epixs.sampling.panel import Panel
from epixs.sampling.zero_shot import parts_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MOST_TRACKS = 64
"""Maximum number of training tracks that errors are learned from."""

TRAINING_ENTRIES, MOST_TRACK_ENTRIES = 64_000, 4_000
"""Maximum number of entries that errors are learned from: of all training tracks, and of each of them."""

TRUST_PULL = 2.0
"""Strength, in tracks, of the pull of the trust in networks towards 1."""

LEAST_OF_THEIR_OWN = 0.05
"""Lower limit of the part of members' differences, in squares, that is left in their mean."""


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
        size.append(variance * max(squares - cancels, LEAST_OF_THEIR_OWN * squares))
    if not sum(size) > 0:
        return 1.0
    pull = TRUST_PULL * float(np.mean(size))
    return float(np.clip((sum(right) + pull) / (sum(size) + pull), 0.0, 1.0))


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
    sizes, sizes_seen, differences = [], [], list[float]()
    for member, track, target in sampler.unseen(hidden=False):
        batch = sampler.known_entries(member, target)
        seen = ~sampler.held[target.at][:, track]
        if not (len(batch.value) and seen.any()):
            continue
        members, value = _standard(batch, target, predict)
        unseen = value - members[member]
        sizes.append(np.abs(unseen) * _of_the_unseen_mean(unseen, members, member, seen))
        sizes_seen.append(np.abs(value - members[seen].mean(axis=0)))
        if np.ptp(value) > 0:
            alone = float(np.mean([fisher(one, value) for one in members[seen]]))
            differences.append(fisher(members[member], value) - alone)
    if not sizes:
        return 1.0, 0.0
    larger, smaller = (conformal_quantile(np.concatenate(one)) for one in (sizes, sizes_seen))
    return larger / max(smaller, NARROWEST), float(np.mean(differences or 0.0))


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
    members = parts_of(sampler, predict, batch, member, target) @ shares[target.at, target.assay]
    value = (batch.value[:, 0] - mean) / spread
    return _Errors(target, members[member], value, _of_the_mean(value - members[member], members))


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
