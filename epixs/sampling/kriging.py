"""Predict a track as a weighted sum of others, by their expected correlations (kriging).

The tracks of two pairs are expected to correlate by the product of what their assays share and what their
biosamples share:

    (b, a) with (c, d): assays[a, d] * (1 if b is c else biosamples[b, c] * sqrt(level[a] * level[d]))

`assays` is the mean correlation of two assays within a biosample, and `level` that of an assay's tracks.
`biosamples` says how much more, or less, two biosamples correlate than is usual for assays they share. All
three come from measured correlations; those of the target itself are left out.
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
    same
        Mask of the tracks of the target's assay, shape `(n,)`.
    """

    tracks: Ints
    among: Floats
    towards: Floats
    spread: Floats
    same: npt.NDArray[np.bool_]

    def weights(self, own: Ints, others: Ints) -> tuple[Floats, Floats]:
        """Compute the weights of the tracks in `own` and in `others` (-1: none), in the same shapes.

        They are those of standardised tracks. The target's band is expected to have the mean spread of those
        of its assay. Without any track of its assay, all weights are 0: nothing tells where it is high.
        """
        of_own, of_others = np.zeros(own.shape, np.float32), np.zeros(others.shape, np.float32)
        solve(
            self.tracks, self.among, self.towards, self.spread, self.same,
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


class Correlations:
    """Sums of the measured correlations of one band, from which those of any one track can be left out.

    Parameters
    ----------
    biosample, assay
        Label numbers of each track, shape `(track,)`.
    likeness
        Correlations of the tracks' bands, shape `(track, track)`; only those of tracks of the same biosample
        or of the same assay are used.
    spread
        Spread of each track's band, relative to that of the track.
    """

    def __init__(self, biosample: Ints, assay: Ints, likeness: Floats, spread: Floats) -> None:
        self.biosample, self.assay, self.likeness, self.spread = biosample, assay, likeness, spread
        # The last row stands for a biosample without tracks.
        sizes = int(biosample.max(initial=-1)) + 2, int(assay.max(initial=-1)) + 1
        self.assays, self.n_assays = np.zeros((2, sizes[1], sizes[1]))
        self.biosamples = np.zeros((sizes[0], sizes[0]))
        self.levels, self.n_levels = np.zeros((2, sizes[1]))
        self.measured = np.zeros(sizes)
        self.measured[biosample, assay] = 1.0
        for track, (b, a) in enumerate(zip(biosample.tolist(), assay.tolist(), strict=True)):
            rest = np.flatnonzero((biosample == b) & (assay != a))
            self.assays[a, assay[rest]] += likeness[track, rest]
            self.n_assays[a, assay[rest]] += 1.0
            rest = np.flatnonzero((assay == a) & (biosample != b))
            self.biosamples[b, biosample[rest]] += likeness[track, rest]
            self.levels[a] += likeness[track, rest].sum(dtype=np.float64)
            self.n_levels[a] += rest.size
        share = 1 / (self.n_levels + 2 * PULL)
        # What the levels of the assays that two biosamples share add up to: a number, and usual levels.
        by_usual = (self.measured * (2 * PULL * share)) @ self.measured.T
        self.expected = (self.measured * (self.levels * share)) @ self.measured.T, by_usual
        self.all_assays, self.n_all_assays = float(self.assays.sum()), float(self.n_assays.sum())

    def equations(self, biosample: int, assay: int, tracks: Ints) -> Equations:
        """Set up the equations for a pair and the tracks that are read for it, some of them of its assay.

        The correlations of the pair itself, if it was measured, have no influence.
        """
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
        return Equations(tracks, among, towards, self.spread[tracks], self.assay[tracks] == assay)

    def _levels_without(self, assay: int, left_out: LeftOut) -> tuple[float, Doubles]:
        """Return the mean correlation of tracks of the same assay, and that of each assay."""
        total, count = self.levels.copy(), self.n_levels.copy()
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
        before = (self.levels[assay] + 2 * PULL * usual) / (self.n_levels[assay] + 2 * PULL)
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
        total, count = (sums[np.ix_(assays, assays)] for sums in (self.assays, self.n_assays))
        rest, likeness = self._left_out(biosample, assay, self.biosample == biosample)
        mean = (self.all_assays - 2 * likeness.sum()) / max(self.n_all_assays - 2 * rest.size, 1.0)
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
    same: npt.NDArray[np.bool_],
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
    if not same[known].any():
        return
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
    expected, count = np.float64(0), 0
    for i in range(n):
        if same[known[i]]:
            expected += spread[known[i]]
            count += 1
    for i in range(n):
        size = spread[known[i]]
        weights[i] *= expected / count / (size * max(told, 1.0)) if size >= LEAST_SPREAD else 0.0
    for slots, out in ((own, of_own), (others, of_others)):
        for slot in range(slots.size):
            at = np.searchsorted(tracks, slots[slot])
            if at < tracks.size and tracks[at] == slots[slot]:
                out[slot] = weights[place[at]]
