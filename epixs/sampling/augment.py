"""Draw the training targets of a step in one compiled call: tracks, what is left out of them, and bins."""

from __future__ import annotations

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

LENT = 0.5
"""Share of the hidden targets for which something is known of what their assay has in common with others, if
every species has the assay."""

RUN_BINS, RUN_SPAN = 8, 256
"""Number of bins drawn together, and of bins they are spread over: neighbours share fetches from memory."""


class Rules(NamedTuple):
    """What one member draws of one species.

    Parameters
    ----------
    tracks, preferred, share
        Numbers of the tracks to draw from, and of some that are drawn from instead in a share of the draws.
    seen, in_focus
        Masks of the tracks that the member sees, and of those of assays in focus.
    own, others
        The tracks that are read for each track, as in `Reads`.
    biosample, assay, n_biosamples
        Labels of the tracks, and number of biosamples of the species.
    episodes
        Share of the targets whose assay is hidden.
    first, lacking
        The species that lack each assay and have tracks: `lacking[first[assay] : first[assay + 1]]`.
    known
        All species that have tracks.
    lent
        Whether each species knows what this one's assays have in common, shape `(species,)`.
    """

    tracks: Ints
    preferred: Ints
    share: float
    seen: Mask
    in_focus: Mask
    own: Tracks
    others: Tracks
    biosample: Tracks
    assay: Tracks
    n_biosamples: int
    episodes: float
    first: Ints
    lacking: Ints
    known: Ints
    lent: Mask


class Pieces(NamedTuple):
    """The pieces of a species' windows, as in `Windows`, and their shares in its bins, added up."""

    ends: Ints
    low: Ints
    high: Ints
    length: Ints
    chance: Doubles


def pieces_of(windows: Windows) -> Pieces:
    """Return the pieces of windows. Without any, nothing may be drawn from them."""
    chance = np.cumsum(windows.length / max(windows.length.sum(), 1))
    # Copies, because all species must have arrays of the same types: views are other types.
    ends, low, high, length = map(np.array, (windows.ends, windows.low, windows.high, windows.length))
    return Pieces(ends, low, high, length, chance / chance[-1:])


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
    hidden: Mask
    like: Ints
    lent: Mask
    piece: Ints
    offset: Ints
    first: Ints
    length: Ints


def draw_targets(
    rules: tuple[Rules, ...],
    pieces: tuple[Pieces, ...],
    shares: Doubles,
    targets: int,
    bins: int,
    generator: np.random.Generator,
) -> Drawn:
    """Draw targets, dealt out to the members in equal shares, in order.

    Parameters
    ----------
    rules
        Rules of each member in the first species, then in the second, and so on.
    pieces
        Pieces of each species.
    shares
        Share of each species in the targets, added up.
    """
    n_own, n_tracks = (
        max(sizes) for sizes in zip(*((r.own.shape[1], r.assay.size) for r in rules), strict=True)
    )
    others = np.max([one.others.shape[1:] for one in rules], axis=0)
    n = targets
    drawn = Drawn(
        np.empty(n, np.int64), np.empty(n, np.int64), np.full((n, n_own), -1, np.int32),
        np.full((n, *others), -1, np.int32), np.zeros((n, n_tracks)), np.zeros(n, np.bool_),
        np.empty(n, np.int64), np.zeros(n, np.bool_), *(np.empty((n, bins), np.int64) for _ in range(4)),
    )  # fmt: skip
    _draw(rules, pieces, shares, generator, drawn)
    return drawn


@compiled(nogil=False)
def _draw(
    rules: tuple[Rules, ...],
    pieces: tuple[Pieces, ...],
    shares: Doubles,
    generator: np.random.Generator,
    out: Drawn,
) -> None:
    """Fill in the targets of a step."""
    targets, members = out.species.size, len(rules) // len(pieces)
    for row in range(targets):
        at = np.searchsorted(shares, generator.random(), side="right")
        one, there = rules[at * members + row * members // targets], pieces[at]
        among = one.tracks
        if one.preferred.size > 0 and generator.random() < one.share:
            among = one.preferred
        track = among[generator.integers(0, among.size)]
        out.species[row], out.track[row] = at, track
        out.normal[row, : one.assay.size] = generator.standard_normal(one.assay.size)
        kept = generator.random(one.own.shape[1]) >= OWN_DROPPED
        episodes = FOCUS_EPISODES if one.in_focus[track] else one.episodes
        hidden = one.episodes > 0 and generator.random() < episodes
        left = generator.random(one.n_biosamples) >= BIOSAMPLES_DROPPED
        assay = one.assay[track]
        seen = one.seen & ((one.assay != assay) | (not hidden))
        own, others = leave_out(one.own[track], one.others[track], seen, kept, left, one.biosample)
        out.own[row, : own.size] = own
        out.others[row, : others.shape[0], : others.shape[1]] = others
        lacking = one.lacking[one.first[assay] : one.first[assay + 1]]
        species = lacking if hidden and lacking.size > 0 else one.known
        like = species[generator.integers(0, species.size)]
        out.hidden[row], out.like[row] = hidden, like
        if hidden:
            # If no species lacks the assay, chance decides: which species will, nobody knows.
            out.lent[row] = one.lent[like] if lacking.size > 0 else generator.random() < LENT
        _draw_runs(there, generator, out.piece[row], out.offset[row])
        _limit(
            there, pieces[like], like != at, generator,
            out.piece[row], out.offset[row], out.first[row], out.length[row],
        )  # fmt: skip


@compiled(nogil=False)
def _draw_runs(there: Pieces, generator: np.random.Generator, piece: Ints, offset: Ints) -> None:
    """Draw groups of `RUN_BINS` bins, each from a drawn bin on, or up to the last requested one."""
    drawn = np.sort(generator.integers(0, there.ends[-1], -(-piece.size // RUN_BINS)))
    for i in range(piece.size):
        bin = drawn[i // RUN_BINS]
        at = np.searchsorted(there.ends, bin, side="right")
        size = there.high[at] - there.low[at]
        span = min(RUN_SPAN, size)
        start = min(bin - (there.ends[at] - size), size - span) + there.low[at]
        piece[i], offset[i] = at, start + i % RUN_BINS * span // RUN_BINS


@compiled(nogil=False)
def _limit(
    there: Pieces, like: Pieces, limited: bool, generator: np.random.Generator, piece: Ints, offset: Ints,
    first: Ints, length: Ints,
) -> None:  # fmt: skip
    """Fill in the bins that are read around each bin: all of its piece, or as many as of another species."""
    for i in range(piece.size):
        first[i], length[i] = 0, there.length[piece[i]]
    if limited:
        regions, before = generator.random(piece.size), generator.random(piece.size)
        for i in range(piece.size):
            drawn = like.length[np.searchsorted(like.chance, regions[i], side="right")]
            whole = length[i]
            length[i] = min(drawn, whole)
            first[i] = min(max(offset[i] - np.int64(before[i] * length[i]), 0), whole - length[i])
