"""Draw the training targets of a step in one compiled call: tracks, what is left out of them, and bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.sampling.around import leave_out
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int64]
Tracks = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

OWN_DROPPED, BIOSAMPLES_DROPPED = 0.3, 0.4
"""Shares of a target's own tracks and of other biosamples that training leaves out. Otherwise, a network
learns its few tracks by heart."""

FOCUS_EPISODES = 0.9
"""Share of the targets of assays in focus (those that zero-shot imputation is meant for) that are hidden."""

UNNAMED = 0.1
"""Share of the targets whose assay is not named to the network, which has only its other tracks to go by: so
it learns to impute assays with too few tracks to learn factors from."""

LENT = 0.5
"""Share of the hidden targets for which something is known of what their assay has in common with others, if
every species has the assay."""

RUN_BINS, RUN_SPAN = 8, 256
"""Number of bins drawn together, and of bins they are spread over: neighbours share fetches from memory."""


class Rules(NamedTuple):
    """What the members draw of all species. The tracks of a species follow those of the one before.

    Parameters
    ----------
    start
        First track of each species, and the number of all tracks, shape `(species + 1,)`.
    drawn, preferred
        Masks of the tracks that each member draws from, and of some that it draws from instead in a share of
        the draws, shape `(member, track)`.
    share
        That share, shape `(member, species)`.
    seen, in_focus, beside
        Masks of the tracks that each member sees, shape `(member, track)`, of those of assays in focus, and
        of those that have another track of their assay beside them.
    own, others
        The tracks that are read for each track, as in `Reads`, numbered within their species. The shapes are
        those of the species that needs most; the rest is -1.
    slots
        Number of `own` slots of each species.
    biosample, assay
        Labels of the tracks.
    n_biosamples
        Number of biosamples of each species.
    episodes
        Share of the targets whose assay is hidden.
    first, lacking
        The species that lack each assay and have tracks: `lacking[first[assay] : first[assay + 1]]`.
    known
        All species that have tracks.
    lent
        Whether a species knows what another's assays have in common, shape `(species, other)`.
    """

    start: Ints
    drawn: Mask
    preferred: Mask
    share: Doubles
    seen: Mask
    in_focus: Mask
    beside: Mask
    own: Tracks
    others: Tracks
    slots: Ints
    biosample: Tracks
    assay: Tracks
    n_biosamples: Ints
    episodes: float
    first: Ints
    lacking: Ints
    known: Ints
    lent: Mask


class Pieces(NamedTuple):
    """The pieces of all species' windows, as in `Windows`, and their shares in its bins, added up.

    Those of a species are `first[species]` to `first[species + 1]`.
    """

    first: Ints
    ends: Ints
    low: Ints
    high: Ints
    length: Ints
    chance: Doubles


def pieces_of(pool: Sequence[Windows]) -> Pieces:
    """Join the pieces of all species' windows. Without any, nothing may be drawn from a species."""

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(one, name) for one in pool]).astype(np.int64)

    first = np.cumsum([0, *(one.length.size for one in pool)])
    chance = [np.cumsum(one.length / max(one.length.sum(), 1)) for one in pool]
    shares = np.concatenate([one / one[-1:] for one in chance])
    return Pieces(first, joined("ends"), joined("low"), joined("high"), joined("length"), shares)


class Drawn(NamedTuple):
    """The targets of a step.

    Parameters
    ----------
    species, track
        Each target's species, and its track.
    own, others
        The tracks that are read, as in `Reads`; those that are left out are -1.
    normal
        A normal number for each track of the species.
    named
        Whether its assay is named.
    hidden, like, lent
        Whether its assay is hidden from its species; as which species it is read, one that lacks the assay if
        it is hidden and there is one; and whether that one knows what the assay has in common with others.
    piece, offset
        Piece of each bin, and its place there, shape `(target, bin)`.
    first, length
        The bins around each bin that are read: the first of its piece, and their number, same shape. They are
        as many as a region of the species `like` has. Little can be read around a bin in short regions. A
        network that imputes them must know that, even if it has seen the assay in long ones only.
    """

    species: Ints
    track: Ints
    own: Tracks
    others: Tracks
    normal: Doubles
    named: Mask
    hidden: Mask
    like: Ints
    lent: Mask
    piece: Ints
    offset: Ints
    first: Ints
    length: Ints


def draw_targets(
    rules: Rules,
    pieces: Pieces,
    shares: Doubles,
    targets: int,
    bins: int,
    generator: np.random.Generator,
) -> Drawn:
    """Draw targets, dealt out to the members in equal shares, in order.

    `shares` are those of the species in the targets, added up.
    """
    n, n_tracks = targets, int(np.diff(rules.start).max())
    drawn = Drawn(
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, *rules.own.shape[1:]), np.int32),
        np.empty((n, *rules.others.shape[1:]), np.int32), np.zeros((n, n_tracks)),
        np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.empty(n, np.int64), np.zeros(n, np.bool_),
        *(np.empty((n, bins), np.int64) for _ in range(4)),
    )  # fmt: skip
    _draw(rules, pieces, shares, generator, drawn)
    return drawn


@compiled(nogil=False)
def _draw(rules: Rules, pieces: Pieces, shares: Doubles, generator: np.random.Generator, out: Drawn) -> None:
    """Fill in the targets of a step."""
    targets, members = out.species.size, rules.seen.shape[0]
    for row in range(targets):
        at, member = np.searchsorted(shares, generator.random(), side="right"), row * members // targets
        here = slice(rules.start[at], rules.start[at + 1])
        all_assays, biosample = rules.assay[here], rules.biosample[here]
        among = np.flatnonzero(rules.drawn[member, here])
        preferred = np.flatnonzero(rules.preferred[member, here])
        if preferred.size > 0 and generator.random() < rules.share[member, at]:
            among = preferred
        track = among[generator.integers(0, among.size)]
        number, assay = rules.start[at] + track, all_assays[track]
        out.species[row], out.track[row] = at, track
        out.normal[row, : biosample.size] = generator.standard_normal(biosample.size)
        kept = generator.random(rules.slots[at]) >= OWN_DROPPED
        episodes = FOCUS_EPISODES if rules.in_focus[number] else rules.episodes
        hidden = rules.episodes > 0 and generator.random() < episodes
        named = hidden or not rules.beside[number] or generator.random() >= UNNAMED
        left = generator.random(rules.n_biosamples[at]) >= BIOSAMPLES_DROPPED
        seen = rules.seen[member, here] & ((all_assays != assay) | (not hidden))
        own, others = leave_out(rules.own[number], rules.others[number], seen, kept, left, biosample)
        out.own[row], out.others[row] = own, others
        lacking = rules.lacking[rules.first[assay] : rules.first[assay + 1]]
        species = lacking if hidden and lacking.size > 0 else rules.known
        like = species[generator.integers(0, species.size)]
        out.named[row], out.hidden[row], out.like[row] = named, hidden, like
        if hidden:
            # If no species lacks the assay, chance decides: which species will, nobody knows.
            out.lent[row] = rules.lent[like, at] if lacking.size > 0 else generator.random() < LENT
        _draw_runs(pieces, at, generator, out.piece[row], out.offset[row])
        _limit(
            pieces, at, like, generator,
            out.piece[row], out.offset[row], out.first[row], out.length[row],
        )  # fmt: skip


@compiled(nogil=False)
def _draw_runs(pieces: Pieces, at: int, generator: np.random.Generator, piece: Ints, offset: Ints) -> None:
    """Draw groups of `RUN_BINS` bins, each from a drawn bin on, or up to the last requested one."""
    here = slice(pieces.first[at], pieces.first[at + 1])
    ends, low, high = pieces.ends[here], pieces.low[here], pieces.high[here]
    drawn = np.sort(generator.integers(0, ends[-1], -(-piece.size // RUN_BINS)))
    for i in range(piece.size):
        bin = drawn[i // RUN_BINS]
        one = np.searchsorted(ends, bin, side="right")
        size = high[one] - low[one]
        span = min(RUN_SPAN, size)
        start = min(bin - (ends[one] - size), size - span) + low[one]
        piece[i], offset[i] = one, start + i % RUN_BINS * span // RUN_BINS


@compiled(nogil=False)
def _limit(
    pieces: Pieces, at: int, like: int, generator: np.random.Generator, piece: Ints, offset: Ints,
    first: Ints, length: Ints,
) -> None:  # fmt: skip
    """Fill in the bins that are read around each bin: all of its piece, or as many as of another species."""
    for i in range(piece.size):
        first[i], length[i] = 0, pieces.length[pieces.first[at] + piece[i]]
    if like != at:
        other = slice(pieces.first[like], pieces.first[like + 1])
        lengths, chance = pieces.length[other], pieces.chance[other]
        regions, before = generator.random(piece.size), generator.random(piece.size)
        for i in range(piece.size):
            drawn = lengths[np.searchsorted(chance, regions[i], side="right")]
            whole = length[i]
            length[i] = min(drawn, whole)
            first[i] = min(max(offset[i] - np.int64(before[i] * length[i]), 0), whole - length[i])
