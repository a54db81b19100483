"""Predict a track as a weighted sum of others, by their expected correlations (kriging).

The tracks of two pairs are expected to correlate by the product of what their assays share and what their
biosamples share:

    (b, a) with (c, d): assays[a, d] * (1 if b is c else biosamples[b, c] * sqrt(level[a] * level[d]))

`assays` is the mean correlation of two assays within a biosample, and `level` that of an assay's tracks.
`biosamples` says how much more, or less, two biosamples correlate than is usual for assays they share. All
three come from measured correlations of the species; those of the target itself are left out. What an assay
that the species lacks has in common with others, and its level, come from species that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
LeftOut = tuple[npt.NDArray[np.int64], Doubles]
"""Tracks, and their correlations with the track of a pair."""

BAND_RADII = (0, 10, 1000)
"""Bins to each side of the means whose differences are the bands; the last band is the last mean itself."""

LEAST_SPREAD = 0.02
"""Spread of a band, relative to that of its track, below which it is not used."""

PULL = 1.0
"""Strength of the pull of each correlation towards that of its assays, in pairs of tracks."""

ASSAY_PULL = 10.0
"""Strength of the pull of an assay's mean correlation with others towards the mean of all."""

NOISE = 0.2
"""Variance of a track that is its own, relative to that which others can tell."""

LEVELS = (0.02, 0.98)
"""Limits of the mean correlation of an assay's tracks; the upper one is also that of any two biosamples."""

MOST_TRACKS = 64
"""Maximum number of tracks in a sum: those that are expected to correlate most with the target."""


@dataclass(frozen=True)
class Equations:
    """The linear equations that give the weights of some tracks in the prediction of one band of a target.

    Parameters
    ----------
    tracks
        Numbers of the tracks, sorted, shape `(n,)`.
    among, towards
        Expected correlations of the tracks with each other, `(n, n)`, and with the target, `(n,)`.
    spread
        Spread of the band of each track, relative to that of the track, shape `(n,)`.
    expected
        Expected relative spread of the target's band: the mean of those of its assay.
    """

    tracks: Ints
    among: Floats
    towards: Floats
    spread: Floats
    expected: float


def weights_of(bands: Sequence[Equations], own: Ints, others: Ints) -> tuple[Floats, Floats]:
    """Compute the weights of the tracks in `own` and in `others` (-1: none) in all bands.

    They are those of standardised tracks, in the same shapes, with the bands last; 0 without bands.
    """
    of_own = np.zeros((*own.shape, len(BAND_RADII)), np.float32)
    of_others = np.zeros((*others.shape, len(BAND_RADII)), np.float32)
    for band, one in enumerate(bands):
        solve(
            one.tracks, one.among, one.towards, one.spread, one.expected, own, others.ravel(),
            band, of_own, of_others.reshape(-1, len(BAND_RADII)),
        )  # fmt: skip
    return of_own, of_others


@dataclass(frozen=True)
class OfAssay:
    """What is measured of one assay: sums, and the number of their summands, `[0]` and `[1]` of each array.

    Parameters
    ----------
    assays
        Correlations of its tracks with those of each assay within a biosample, shape `(2, assay)`.
    level
        Correlations of its tracks with each other, both ways, shape `(2,)`.
    spread
        Spreads of its tracks' bands, relative to those of whole tracks, shape `(2,)`.
    """

    assays: Doubles
    level: Doubles
    spread: Doubles

    def __add__(self, other: OfAssay) -> OfAssay:
        """Add what another species has measured."""
        return OfAssay(self.assays + other.assays, self.level + other.level, self.spread + other.spread)

    def knows(self, assays: Ints) -> bool:
        """Tell whether it was measured in one biosample with any of these assays."""
        return bool((self.assays[1, assays] > 0).any())


@dataclass(frozen=True)
class Sums:
    """The same of all assays, with the assay after the first dimension of each array."""

    assays: Doubles
    levels: Doubles
    spreads: Doubles

    def of(self, assay: int) -> OfAssay:
        """Select one assay."""
        return OfAssay(self.assays[:, assay], self.levels[:, assay], self.spreads[:, assay])

    def __add__(self, other: Sums) -> Sums:
        """Add those of another species."""
        return Sums(self.assays + other.assays, self.levels + other.levels, self.spreads + other.spreads)


def no_sums(n_assays: int) -> Sums:
    """Return sums over no tracks."""
    return Sums(np.zeros((2, n_assays, n_assays)), *np.zeros((2, 2, n_assays)))


def sums_of(biosample: Ints, assay: Ints, likeness: Floats, spread: Floats, n_assays: int) -> Sums:
    """Sum up one band of a species' tracks; parameters as in `Correlations`."""
    sums = no_sums(n_assays)
    for track, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
        rest = np.flatnonzero((biosample == b) & (assay != a))
        sums.assays[0, a, assay[rest]] += likeness[track, rest]
        sums.assays[1, a, assay[rest]] += 1.0
        rest = np.flatnonzero((assay == a) & (biosample != b))
        sums.levels[:, a] += likeness[track, rest].sum(dtype=np.float64), rest.size
        sums.spreads[:, a] += spread[track], 1.0
    return sums


class Correlations:
    """Correlations of one band of a species' tracks, from which those of any one track can be left out.

    Parameters
    ----------
    biosample, assay
        Label numbers of each track, shape `(track,)`.
    likeness
        Correlations of the tracks' bands, shape `(track, track)`; only those of tracks of the same biosample
        or of the same assay are used.
    spread
        Spread of each track's band, relative to that of the track.
    elsewhere
        Sums over the tracks of other species.
    """

    def __init__(
        self, biosample: Ints, assay: Ints, likeness: Floats, spread: Floats, elsewhere: Sums
    ) -> None:
        self.biosample, self.assay, self.likeness, self.spread = biosample, assay, likeness, spread
        # The last row stands for a biosample without tracks.
        n_biosamples, n_assays = int(biosample.max(initial=-1)) + 2, elsewhere.levels.shape[1]
        self.sums, self.elsewhere = sums_of(biosample, assay, likeness, spread, n_assays), elsewhere
        self.biosamples = np.zeros((n_biosamples, n_biosamples))
        self.measured = np.zeros((n_biosamples, n_assays))
        self.measured[biosample, assay] = 1.0
        for track, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
            rest = np.flatnonzero((assay == a) & (biosample != b))
            self.biosamples[b, biosample[rest]] += likeness[track, rest]
        total, count = self.sums.levels
        share = 1 / (count + 2 * PULL)
        # What the levels of the assays that two biosamples share add up to: a number, and usual levels.
        by_usual = (self.measured * (2 * PULL * share)) @ self.measured.T
        self.expected = (self.measured * (total * share)) @ self.measured.T, by_usual
        self.with_others = self.sums.assays.sum(axis=2)
        self.all_assays = self.with_others.sum(axis=1)

    def of(self, biosample: int, assay: int) -> OfAssay:
        """Return what this species tells of an assay without the track of a biosample."""
        sums = self.sums.of(assay)
        rest, likeness = self._left_out(biosample, assay, self.biosample == biosample)
        assays = sums.assays.copy()
        assays[0, self.assay[rest]] -= likeness
        assays[1, self.assay[rest]] -= 1.0
        rest, likeness = self._left_out(biosample, assay, self.assay == assay)
        itself = self.spread[(self.biosample == biosample) & (self.assay == assay)]
        left_out = np.array(
            [[2 * likeness.sum(), 2 * rest.size], [itself.sum(dtype=np.float64), itself.size]]
        )
        return OfAssay(assays, sums.level - left_out[0], sums.spread - left_out[1])

    def equations(
        self, biosample: int, assay: int, tracks: Ints, known: OfAssay, *, lent: bool = False
    ) -> Equations:
        """Set up the equations for a pair and the tracks that are read for it.

        The correlations of the pair itself, if it was measured, have no influence.

        Parameters
        ----------
        known
            What is known of its assay, for instance what this species tells (`of`).
        lent
            Whether its tracks here, of which none is read, have no influence.
        """
        every = self._expected(biosample, assay, tracks, known, lent=lent)
        kept = np.sort(np.argsort(-np.abs(every[-1, :-1]), kind="stable")[:MOST_TRACKS])
        among, towards = every[np.ix_(kept, kept)].astype(np.float32), every[-1, kept].astype(np.float32)
        return Equations(tracks[kept], among, towards, self.spread[tracks[kept]], _mean_spread(known))

    def without_assay(self, equations: Equations, biosample: int, assay: int, known: OfAssay) -> Equations:
        """Set up the equations for the case that what is known of the assay is something else."""
        every = self._expected(biosample, assay, equations.tracks, known)
        return replace(equations, towards=every[-1, :-1].astype(np.float32), expected=_mean_spread(known))

    def _expected(
        self, biosample: int, assay: int, tracks: Ints, known: OfAssay, *, lent: bool = False
    ) -> Doubles:
        """Return the expected correlations of some tracks and, last, of a pair."""
        biosample = min(biosample, len(self.biosamples) - 1)
        biosamples, b = np.unique([*self.biosample[tracks], biosample], return_inverse=True)
        assays, a = np.unique([*self.assay[tracks], assay], return_inverse=True)
        here = no_sums(self.sums.levels.shape[1]).of(assay) if lent else self.of(biosample, assay)
        usual, level = self._levels_without(assay, here.level)
        left_out = biosamples if lent else np.array([biosample])
        ratio = self._biosamples_without(left_out, assay, biosamples, usual, level[assay])
        level[assay] = (known.level[0] + 2 * PULL * usual) / (known.level[1] + 2 * PULL)
        root = np.sqrt(np.clip(level, *LEVELS))[assays[a]]
        shared = np.clip(ratio[np.ix_(b, b)] * np.outer(root, root), -LEVELS[1], LEVELS[1])
        shared[b[:, None] == b] = 1.0
        return np.asarray(shared * self._assays_with(assay, assays, here, known)[np.ix_(a, a)])

    def _levels_without(self, assay: int, here: Doubles) -> tuple[float, Doubles]:
        """Return the mean correlation of tracks of the same assay, and that of each assay."""
        levels = self.sums.levels.copy()
        levels[:, assay] = here
        total, count = levels
        usual = max(float(total.sum() / max(count.sum(), 1.0)), LEVELS[0])
        return usual, (total + 2 * PULL * usual) / (count + 2 * PULL)

    def _biosamples_without(
        self, left_out: npt.NDArray[np.integer], assay: int, biosamples: Ints, usual: float, level: float
    ) -> Doubles:
        """Return how much more than is usual for their assays some biosamples correlate.

        An assay's tracks in the biosamples that are left out have no influence.
        """
        where = np.ix_(biosamples, biosamples)
        total, expected = self.biosamples[where], self.expected[0][where] + usual * self.expected[1][where]
        measured = self.measured[biosamples, assay]
        levels, n_levels = self.sums.levels[:, assay]
        before = (levels + 2 * PULL * usual) / (n_levels + 2 * PULL)
        expected -= before * np.outer(measured, measured)
        out = np.isin(biosamples, left_out)
        measured[out] = 0.0
        expected += level * np.outer(measured, measured)
        tracks = np.flatnonzero((self.assay == assay) & np.isin(self.biosample, biosamples))
        at = np.searchsorted(biosamples, self.biosample[tracks])
        gone = (out[at][:, None] | out[at]) & ~np.eye(tracks.size, dtype=bool)
        total[np.ix_(at, at)] -= np.where(gone, self.likeness[np.ix_(tracks, tracks)], 0.0)
        return np.asarray((total + PULL * usual) / (np.maximum(expected, 0.0) + PULL * usual))

    def _assays_with(self, assay: int, assays: Ints, here: OfAssay, known: OfAssay) -> Doubles:
        """Return the mean correlations of some assays within a biosample, given what is known of one.

        They are pulled towards what the mean correlations of both assays with all others let expect.
        """
        total, count = self.all_assays - 2 * (self.sums.assays[:, assay] - here.assays).sum(axis=1)
        mean = total / max(count, 1.0)
        of_each = self.with_others - self.sums.assays[:, assay] + known.assays
        of_each[:, assay] = known.assays.sum(axis=1)
        usual = ((of_each[0] + ASSAY_PULL * mean) / (of_each[1] + ASSAY_PULL))[assays]
        expected = np.clip(usual[:, None] + usual - mean, -LEVELS[1], LEVELS[1])
        sums, at = self.sums.assays[:, assays[:, None], assays], np.searchsorted(assays, assay)
        sums[:, at] = sums[:, :, at] = known.assays[:, assays]
        correlation = (sums[0] + PULL * expected) / (sums[1] + PULL)
        np.fill_diagonal(correlation, 1.0)
        return np.asarray(correlation)

    def _left_out(self, biosample: int, assay: int, like: npt.NDArray[np.bool_]) -> LeftOut:
        """List the other tracks among those marked, and their correlations with the pair's track, if any."""
        itself = np.flatnonzero((self.biosample == biosample) & (self.assay == assay))
        if not itself.size:
            return itself, np.zeros(0)
        rest = np.setdiff1d(np.flatnonzero(like), itself)
        return rest, self.likeness[itself[0], rest].astype(np.float64)


def _mean_spread(known: OfAssay) -> float:
    return float(known.spread[0] / max(known.spread[1], 1.0))


@compiled(nogil=False)
def solve(
    tracks: Ints,
    among: Floats,
    towards: Floats,
    spread: Floats,
    expected: float,
    own: Ints,
    others: Ints,
    band: int,
    of_own: Floats,
    of_others: Floats,
) -> None:
    """Fill in the weights of the tracks in `own` and `others`, from the equations of those that are there.

    They are those of one band, and go into a column of the results.

    No real tracks need have the expected correlations. A track that cannot correlate with those before it as
    expected, because they tell more than all of it, gets no weight. And if the sum told more than all of the
    target, all weights are lowered.
    """
    place = np.full(tracks.size, -1)
    for slots in (own, others):
        for track in slots:
            at = np.searchsorted(tracks, track)
            if at < tracks.size and tracks[at] == track:
                place[at] = 0
    known = np.flatnonzero(place == 0)
    n = known.size
    root, weights = np.zeros((n, n)), np.empty(n)
    for i in range(n):
        weights[i] = towards[known[i]]
        rest = among[known[i], known[i]] + NOISE
        for j in range(i):
            total = float(among[known[i], known[j]])
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = total / root[j, j]
            rest -= root[i, j] ** 2
            weights[i] -= root[i, j] * weights[j]
        if rest >= NOISE / 2:
            root[i, i] = np.sqrt(rest)
        else:
            root[i, :i], root[i, i], weights[i] = 0, np.inf, 0
        weights[i] /= root[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            weights[i] -= root[k, i] * weights[k]
        weights[i] /= root[i, i]
        place[known[i]] = i
    told = np.float64(0)
    for i in range(n):
        told += weights[i] * towards[known[i]]
    for i in range(n):
        size = spread[known[i]]
        weights[i] *= expected / (size * max(told, 1.0)) if size >= LEAST_SPREAD else 0.0
    for slots, out in ((own, of_own), (others, of_others)):
        for slot in range(slots.size):
            at = np.searchsorted(tracks, slots[slot])
            if at < tracks.size and tracks[at] == slots[slot]:
                out[slot, band] = weights[place[at]]
