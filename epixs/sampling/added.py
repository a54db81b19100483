"""Draw from the tracks that a store adds to a trained model, whose networks stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from epixs.axis.axis import JointAxis
from epixs.sampling.around import Target
from epixs.sampling.batch import Batch
from epixs.sampling.context import HELD_ENTRIES, ContextSampler, Mask, Numbers
from epixs.sampling.episodes import some
from epixs.sampling.panel import Panel
from epixs.sampling.species import track_labels
from epixs.sampling.unseen import LEFT_TO_SEE

FITTED_SHARE = 0.5
"""Share of the targets that are tracks of the assays whose factors are fitted; others read these tracks."""

SCORED_SHARE = 0.2
"""Share of the other new tracks that are only scored, if any factors are fitted."""

MOST_HIDDEN = 64
"""Maximum number of tracks whose assays are hidden in turn."""


class AddedTracks(ContextSampler):
    """Draws targets from one species' tracks, some of which a trained model has not seen.

    Nothing is held out from any member, because the networks do not learn. Only factors of new assays do. So
    all new tracks are unseen, except those that these factors are fitted to. The factors of an assay are
    fitted if it has at least two tracks, one of them new, and the model knew one or none. The first of its
    new tracks is not fitted to: errors are measured on it.

    Parameters
    ----------
    axis
        Axis on which only the species with new tracks has training tracks.
    before
        Axis of the trained model.
    known
        Statistics of the other species' tracks; None for the species with new tracks.
    members, targets, bins, steps_per_epoch, seed, memory_bytes
        As in `ContextSampler`. If no factors are fitted, there is one step.
    """

    def __init__(
        self,
        axis: JointAxis,
        before: JointAxis,
        known: Sequence[Panel | None],
        *,
        members: int,
        targets: int,
        bins: int,
        steps_per_epoch: int,
        seed: int = 0,
        memory_bytes: int | None = None,
    ) -> None:
        super().__init__(
            axis, members=members, targets=targets, bins=bins, steps_per_epoch=steps_per_epoch,
            held_share=0.0, episodes=0.0, seed=seed, memory_bytes=memory_bytes, known=known,
        )  # fmt: skip
        self.at = next(number for number, panel in enumerate(known) if panel is None)
        part, assay = axis.parts[self.at], self.species[self.at].panel.assay
        self.is_new_species = part.species not in before.species
        old = {*track_labels(before)}
        self.new = np.array([label not in old for label in track_labels(axis)])
        fitted, first = np.zeros_like(self.new), np.zeros_like(self.new)
        for number in np.flatnonzero(assays_to_fit(axis, before)):
            fitted |= assay == number
            first[np.flatnonzero((assay == number) & self.new)[0]] = True
        fitted &= ~first
        self.fitted = fitted
        self.scored = self.new & ~fitted
        if fitted.any():
            rest = np.flatnonzero(self.scored & ~first)
            count = int(np.ceil(SCORED_SHARE * rest.size))
            chosen = np.random.Generator(np.random.PCG64([seed, 0xADD])).permutation(rest)[:count]
            self.scored = first
            self.scored[chosen] = True
        else:
            self.steps_per_epoch = 1

    @property
    def new_assays(self) -> Mask:
        """Mask of the assays of which the model had no track in this species, shape `(assay,)`."""
        panel, every = self.species[self.at].panel, np.arange(len(self.axis.assays))
        return np.isin(every, panel.assay) & ~np.isin(every, panel.assay[~self.new])

    def held_out_entries(self, count: int) -> Batch:
        """Draw about `count` entries of new tracks that nothing is fitted to, for all members; `E` is 1."""
        wanted = [(-1, self.species[self.at].target(int(track))) for track in np.flatnonzero(self.scored)]
        return self._entries(wanted, min(count, HELD_ENTRIES), 0xE0)

    def training_targets(self, most: int) -> list[Target]:
        """List at most `most` new tracks that no factors are fitted to, at random if there are more."""
        tracks = np.flatnonzero(self.new & ~self.fitted).tolist()
        return [self.species[self.at].target(tracks[n]) for n in some(len(tracks), most, self.seed)]

    def unseen(self, hidden: bool) -> Iterator[tuple[int, int, Target]]:
        """Yield member, track and target of a new species, each with its whole assay hidden.

        Assays whose factors are fitted to tracks of this species are not among them.
        """
        panel = self.species[self.at].panel
        elsewhere = [one.panel.assay for number, one in enumerate(self.species) if number != self.at]
        shared = np.intersect1d(panel.assay, np.concatenate([np.zeros(0, np.int32), *elsewhere]))
        if not hidden or not self.is_new_species or np.unique(panel.assay).size <= LEFT_TO_SEE:
            return
        shared = np.setdiff1d(shared, panel.assay[self.fitted])
        tracks = np.flatnonzero(np.isin(panel.assay, shared)).tolist()
        for track in (tracks[number] for number in some(len(tracks), MOST_HIDDEN, self.seed)):
            assay = panel.assay[track]
            member = int(np.searchsorted(shared, assay)) % self.members
            yield member, track, self.hiding.target(self.at, track, lent=True)

    def _to_draw(self, at: int, member: int) -> tuple[Numbers, Numbers, float]:
        """List the tracks that are not scored, and those of the assays whose factors are fitted."""
        if at != self.at:
            return super()._to_draw(at, member)
        tracks = np.flatnonzero(~self.scored)
        tracks = tracks if tracks.size else super()._to_draw(at, member)[0]
        return tracks, np.flatnonzero(self.fitted), FITTED_SHARE


def assays_to_fit(axis: JointAxis, before: JointAxis) -> Mask:
    """Mark the assays whose factors are fitted, shape `(assay,)`.

    There are at least two tracks in the species with the new tracks, one of them new, and the model knew no
    track or one.
    """
    labels, known = track_labels(axis), track_labels(before)
    new = {*labels} - {*known}
    species, new_assays = {name for name, *_ in new}, {assay for *_, assay in new}
    there = Counter(assay for name, _, assay in labels if name in species)
    before_that = Counter(assay for *_, assay in known)
    fits = [assay in new_assays and there[assay] > 1 and before_that[assay] < 2 for assay in axis.assays]
    return np.array(fits)
