"""Predict a track as a weighted sum of others, by their expected correlations (kriging).

The tracks of two pairs are expected to correlate by the product of what their assays share and what their
biosamples share:

    (b, a) with (c, d): assays[a, d] * (1 if b is c else biosamples[b, c] * sqrt(level[a] * level[d]))

`assays` is the mean correlation of two assays within a biosample, and `level` that of an assay's tracks.
`biosamples` says how much more, or less, two biosamples correlate than is usual for assays they share. All
three come from measured correlations; those of the target itself are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

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
    """The linear equations that give the weights of some tracks in the prediction of a target.

    Parameters
    ----------
    tracks
        Numbers of the tracks, sorted, shape `(n,)`.
    among, towards
        Expected correlations of the tracks with each other, `(n, n)`, and with the target, `(n,)`.
    same
        Mask of the tracks of the target's assay, shape `(n,)`.
    """

    tracks: Ints
    among: Floats
    towards: Floats
    same: npt.NDArray[np.bool_]

    def weights(self, own: Ints, others: Ints) -> tuple[Floats, Floats]:
        """Compute the weights of the tracks in `own` and in `others` (-1: none), in the same shapes.

        Without any track of the target's assay, all weights are 0: then nothing tells where it is high.
        """
        of_own, of_others = np.zeros(own.shape, np.float32), np.zeros(others.shape, np.float32)
        solve(
            self.tracks, self.among, self.towards, self.same, own, others.reshape(-1),
            of_own, of_others.reshape(-1),
        )  # fmt: skip
        return of_own, of_others


NO_EQUATIONS = Equations(
    np.zeros(0, np.int32), np.zeros((0, 0), np.float32), np.zeros(0, np.float32), np.zeros(0, np.bool_)
)


class Correlations:
    """Sums of measured correlations, from which those of any one track can be left out.

    Parameters
    ----------
    biosample, assay, likeness
        As in `Panel`: only correlations of tracks of the same biosample or of the same assay are used.
    """

    def __init__(self, biosample: Ints, assay: Ints, likeness: Floats) -> None:
        self.biosample, self.assay, self.likeness = biosample, assay, likeness
        # The last row stands for a biosample without tracks.
        sizes = int(biosample.max(initial=-1)) + 2, int(assay.max(initial=-1)) + 1
        self.within, self.n_within = np.zeros((2, sizes[1], sizes[1]))
        self.between, self.n_between = np.zeros((2, sizes[0], sizes[0]))
        self.measured = np.zeros(sizes)
        self.measured[biosample, assay] = 1.0
        for track in range(assay.size):
            same = np.flatnonzero(biosample == biosample[track])
            np.add.at(self.within[assay[track]], assay[same], likeness[track, same])
            np.add.at(self.n_within[assay[track]], assay[same], 1.0)
            same = np.flatnonzero(assay == assay[track])
            np.add.at(self.between[biosample[track]], biosample[same], likeness[track, same])
            np.add.at(self.n_between[biosample[track]], biosample[same], 1.0)
        self.all_within = float(self.within.sum() - np.trace(self.within))
        self.n_all_within = float(self.n_within.sum() - np.trace(self.n_within))
        n = self.measured.sum(axis=0)
        self.of_assay, self.n_of_assay = np.zeros(sizes[1]), n * (n - 1)
        for number in np.flatnonzero(n):
            tracks = np.flatnonzero(assay == number)
            self.of_assay[number] = likeness[np.ix_(tracks, tracks)].sum(dtype=np.float64) - n[number]

    def equations(self, biosample: int, assay: int, own: Ints, others: Ints) -> Equations:
        """Set up the equations for a pair and the tracks that are read for it, -1 for none.

        The correlations of the pair itself, if it was measured, have no influence.
        """
        tracks = np.unique(np.concatenate([own, others.reshape(-1)]))
        tracks = tracks[tracks >= 0]
        if not (self.assay[tracks] == assay).any():
            return NO_EQUATIONS
        biosample = min(biosample, len(self.between) - 1)
        biosamples, b = np.unique([*self.biosample[tracks], biosample], return_inverse=True)
        assays, a = np.unique([*self.assay[tracks], assay], return_inverse=True)
        within, n_within = (sums[np.ix_(assays, assays)] for sums in (self.within, self.n_within))
        between = self.between[np.ix_(biosamples, biosamples)]
        measured, of_assay, n_of_assay = (
            self.measured[biosamples],
            self.of_assay.copy(),
            self.n_of_assay.copy(),
        )
        all_within, n_all_within = self.all_within, self.n_all_within
        for itself in np.flatnonzero((self.biosample == biosample) & (self.assay == assay)):
            row = self.likeness[itself].astype(np.float64)
            row[itself] = 0.0
            same = np.flatnonzero((self.biosample == biosample) & (self.assay != assay))
            all_within, n_all_within = all_within - 2 * row[same].sum(), n_all_within - 2 * same.size
            same = same[np.isin(self.assay[same], assays)]
            at = np.searchsorted(assays, self.assay[same])
            for sums, value in ((within, row[same]), (n_within, 1.0)):
                sums[a[-1], at] -= value
                sums[at, a[-1]] -= value
            same = np.flatnonzero((self.assay == assay) & (self.biosample != biosample))
            of_assay[assay] -= 2 * row[same].sum()
            n_of_assay[assay] -= 2 * same.size
            same = same[np.isin(self.biosample[same], biosamples)]
            at = np.searchsorted(biosamples, self.biosample[same])
            between[b[-1], at] -= row[same]
            between[at, b[-1]] -= row[same]
            measured[b[-1], assay] = 0.0
        usual = of_assay.sum() / max(n_of_assay.sum(), 1.0)
        level = np.clip((of_assay + 2 * PULL * usual) / (n_of_assay + 2 * PULL), *LEVELS)
        ratio = between + PULL * max(usual, LEVELS[0])
        ratio /= (measured * level) @ measured.T + PULL * max(usual, LEVELS[0])
        correlation = (within + PULL * all_within / max(n_all_within, 1.0)) / (n_within + PULL)
        np.fill_diagonal(correlation, 1.0)
        root = np.sqrt(level[assays])[a]
        shared = np.minimum(ratio[np.ix_(b, b)] * np.outer(root, root), LEVELS[1])
        shared[b[:, None] == b] = 1.0
        every = correlation[np.ix_(a, a)] * shared
        kept = np.sort(np.argsort(-np.abs(every[-1, :-1]), kind="stable")[:MOST_TRACKS])
        every = every.astype(np.float32)
        return Equations(
            tracks[kept], every[np.ix_(kept, kept)], every[-1, kept], self.assay[tracks[kept]] == assay
        )


@compiled()
def solve(
    tracks: Ints,
    among: Floats,
    towards: Floats,
    same: npt.NDArray[np.bool_],
    own: Ints,
    others: Ints,
    of_own: Floats,
    of_others: Floats,
) -> None:
    """Fill in the weights of the tracks in `own` and `others`, from the equations of those that are there.

    The expected correlations need not be those of any real tracks, so pivots are kept from getting too small.
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
        for j in range(i + 1):
            total = float(among[known[i], known[j]])
            for k in range(j):
                total -= root[i, k] * root[j, k]
            if i == j:
                root[i, i] = np.sqrt(max(total + NOISE, NOISE))
            else:
                root[i, j] = total / root[j, j]
    for i in range(n):
        for k in range(i):
            weights[i] -= root[i, k] * weights[k]
        weights[i] /= root[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            weights[i] -= root[k, i] * weights[k]
        weights[i] /= root[i, i]
        place[known[i]] = i
    for slots, out in ((own, of_own), (others, of_others)):
        for slot in range(slots.size):
            at = np.searchsorted(tracks, slots[slot])
            if at < tracks.size and tracks[at] == slots[slot]:
                out[slot] = weights[place[at]]
