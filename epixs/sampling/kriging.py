"""Predict a track as a weighted sum of others, by their expected correlations (kriging).

The tracks of two pairs are expected to correlate by the product of what their assays share and what their
biosamples share:

    (b, a) with (c, d): assays[a, d] * (1 if b is c else biosamples[b, c] * sqrt(level[a] * level[d]))

`assays` is the mean correlation of two assays within a biosample, and `level` that of an assay's tracks.
`biosamples` says how much more, or less, two biosamples correlate than is usual for assays they share. All
three come from measured correlations; those of the target itself are left out. What assays have in common is
much the same in all species, so it is learned from all of them, and known of assays that a species lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
"""Strength of the pull of each correlation towards the mean of all, in pairs of tracks."""

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

    def weights(self, own: Ints, others: Ints) -> tuple[Floats, Floats]:
        """Compute the weights of the tracks in `own` and in `others` (-1: none), in the same shapes.

        They are those of standardised tracks.
        """
        of_own, of_others = np.zeros(own.shape, np.float32), np.zeros(others.shape, np.float32)
        solve(
            self.tracks, self.among, self.towards, self.spread, self.expected,
            own, others.reshape(-1), of_own, of_others.reshape(-1),
        )  # fmt: skip
        return of_own, of_others


def weights_of(bands: Sequence[Equations], own: Ints, others: Ints) -> tuple[Floats, Floats]:
    """Compute the weights of tracks in all bands, which come last in the results' shapes; 0 without bands."""
    both = (
        np.zeros((*own.shape, len(BAND_RADII)), np.float32),
        np.zeros((*others.shape, len(BAND_RADII)), np.float32),
    )
    for band, equations in enumerate(bands):
        both[0][..., band], both[1][..., band] = equations.weights(own, others)
    return both


@dataclass(frozen=True)
class Sums:
    """Sums over the tracks of each assay of one band, and their number: `[0]` and `[1]` of each array.

    Parameters
    ----------
    assays
        Correlations of tracks of two assays within a biosample, shape `(2, assay, assay)`.
    levels
        Correlations of each assay's tracks, both ways, shape `(2, assay)`.
    spreads
        Spreads of each assay's tracks, relative to those of whole tracks, shape `(2, assay)`.
    """

    assays: Doubles
    levels: Doubles
    spreads: Doubles

    def __add__(self, other: Sums) -> Sums:
        """Add those of another species."""
        return Sums(self.assays + other.assays, self.levels + other.levels, self.spreads + other.spreads)


def sums_of(biosample: Ints, assay: Ints, likeness: Floats, spread: Floats, n_assays: int) -> Sums:
    """Sum up one band of a species' tracks; parameters as in `Correlations`."""
    assays, levels, spreads = (np.zeros((2, *[n_assays] * n)) for n in (2, 1, 1))
    for track, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
        rest = np.flatnonzero((biosample == b) & (assay != a))
        assays[0, a, assay[rest]] += likeness[track, rest]
        assays[1, a, assay[rest]] += 1.0
        rest = np.flatnonzero((assay == a) & (biosample != b))
        levels[:, a] += likeness[track, rest].sum(dtype=np.float64), rest.size
        spreads[:, a] += spread[track], 1.0
    return Sums(assays, levels, spreads)


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
    sums
        Sums over these tracks (`sums_of`) and those of other species.
    """

    def __init__(self, biosample: Ints, assay: Ints, likeness: Floats, spread: Floats, sums: Sums) -> None:
        self.biosample, self.assay, self.likeness, self.spread = biosample, assay, likeness, spread
        self.sums = sums
        # The last row stands for a biosample without tracks.
        n_biosamples, n_assays = int(biosample.max(initial=-1)) + 2, sums.levels.shape[1]
        self.biosamples = np.zeros((n_biosamples, n_biosamples))
        self.measured = np.zeros((n_biosamples, n_assays))
        self.measured[biosample, assay] = 1.0
        for track, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
            rest = np.flatnonzero((assay == a) & (biosample != b))
            self.biosamples[b, biosample[rest]] += likeness[track, rest]
        total, count = sums.levels
        share = 1 / (count + 2 * PULL)
        # What the levels of the assays that two biosamples share add up to: a number, and usual levels.
        by_usual = (self.measured * (2 * PULL * share)) @ self.measured.T
        self.expected = (self.measured * (total * share)) @ self.measured.T, by_usual
        self.all_assays = sums.assays.sum(axis=(1, 2))

    def knows(self, biosample: int, assay: int) -> bool:
        """Tell whether any track of a pair's assay was measured, other than the pair itself."""
        return bool(self._spreads_without(biosample, assay)[1] > 0)

    def equations(self, biosample: int, assay: int, tracks: Ints) -> Equations:
        """Set up the equations for a pair, of an assay that is known, and the tracks that are read for it.

        The correlations of the pair itself, if it was measured, have no influence.
        """
        total, count = self._spreads_without(biosample, assay)
        biosample = min(biosample, len(self.biosamples) - 1)
        biosamples, b = np.unique([*self.biosample[tracks], biosample], return_inverse=True)
        assays, a = np.unique([*self.assay[tracks], assay], return_inverse=True)
        like = self._left_out(biosample, assay, self.assay == assay)
        usual, level = self._levels_without(assay, like)
        root = np.sqrt(np.clip(level, *LEVELS))[assays[a]]
        ratio = self._biosamples_without(biosample, assay, biosamples, like, usual, level[assay])
        shared = np.clip(ratio[np.ix_(b, b)] * np.outer(root, root), -LEVELS[1], LEVELS[1])
        shared[b[:, None] == b] = 1.0
        every = shared * self._assays_without(biosample, assay, assays)[np.ix_(a, a)]
        kept = np.sort(np.argsort(-np.abs(every[-1, :-1]), kind="stable")[:MOST_TRACKS])
        among, towards = every[np.ix_(kept, kept)].astype(np.float32), every[-1, kept].astype(np.float32)
        tracks = tracks[kept]
        return Equations(tracks, among, towards, self.spread[tracks], float(total / count))

    def _spreads_without(self, biosample: int, assay: int) -> Doubles:
        itself = self.spread[(self.biosample == biosample) & (self.assay == assay)]
        left_out = np.array([itself.sum(dtype=np.float64), itself.size])
        return np.asarray(self.sums.spreads[:, assay] - left_out)

    def _levels_without(self, assay: int, left_out: LeftOut) -> tuple[float, Doubles]:
        """Return the mean correlation of tracks of the same assay, and that of each assay."""
        total, count = self.sums.levels.copy()
        rest, likeness = left_out
        total[assay] -= 2 * likeness.sum()
        count[assay] -= 2 * rest.size
        usual = max(float(total.sum() / max(count.sum(), 1.0)), LEVELS[0])
        return usual, (total + 2 * PULL * usual) / (count + 2 * PULL)

    def _biosamples_without(
        self, biosample: int, assay: int, biosamples: Ints, left_out: LeftOut, usual: float, level: float
    ) -> Doubles:
        """Return how much more than is usual for their assays some biosamples correlate."""
        where = np.ix_(biosamples, biosamples)
        total, expected = self.biosamples[where], self.expected[0][where] + usual * self.expected[1][where]
        at, measured = int(np.searchsorted(biosamples, biosample)), self.measured[biosamples, assay]
        levels, n_levels = self.sums.levels[:, assay]
        before = (levels + 2 * PULL * usual) / (n_levels + 2 * PULL)
        expected -= before * np.outer(measured, measured)
        measured[at] = 0.0
        expected += level * np.outer(measured, measured)
        rest, likeness = left_out
        among = np.isin(self.biosample[rest], biosamples)
        there = np.searchsorted(biosamples, self.biosample[rest[among]])
        total[at, there] -= likeness[among]
        total[there, at] -= likeness[among]
        return np.asarray((total + PULL * usual) / (np.maximum(expected, 0.0) + PULL * usual))

    def _assays_without(self, biosample: int, assay: int, assays: Ints) -> Doubles:
        """Return the mean correlations of some assays within a biosample."""
        total, count = (sums[np.ix_(assays, assays)] for sums in self.sums.assays)
        rest, likeness = self._left_out(biosample, assay, self.biosample == biosample)
        all_assays, n_all_assays = self.all_assays
        mean = (all_assays - 2 * likeness.sum()) / max(n_all_assays - 2 * rest.size, 1.0)
        among = np.isin(self.assay[rest], assays)
        at, there = np.searchsorted(assays, assay), np.searchsorted(assays, self.assay[rest[among]])
        for sums, value in ((total, likeness[among]), (count, 1.0)):
            sums[at, there] -= value
            sums[there, at] -= value
        correlation = (total + PULL * mean) / (count + PULL)
        np.fill_diagonal(correlation, 1.0)
        return np.asarray(correlation)

    def _left_out(self, biosample: int, assay: int, like: npt.NDArray[np.bool_]) -> LeftOut:
        """List the other tracks among those marked, and their correlations with the pair's track, if any."""
        itself = np.flatnonzero((self.biosample == biosample) & (self.assay == assay))
        if not itself.size:
            return itself, np.zeros(0)
        rest = np.setdiff1d(np.flatnonzero(like), itself)
        return rest, self.likeness[itself[0], rest].astype(np.float64)


@compiled()
def solve(
    tracks: Ints,
    among: Floats,
    towards: Floats,
    spread: Floats,
    expected: float,
    own: Ints,
    others: Ints,
    of_own: Floats,
    of_others: Floats,
) -> None:
    """Fill in the weights of the tracks in `own` and `others`, from the equations of those that are there.

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
                out[slot] = weights[place[at]]
