"""Targets whose assay is hidden from their species, as if it had never been measured there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.sampling.around import Target, without
from epixs.sampling.panel import equations_of
from epixs.sampling.species import Species, alike

Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Hides assays from species as zero-shot imputation would find them absent.

    Parameters
    ----------
    species
        All species, in the order of the axis.
    lacking
        Numbers of the species that lack each assay.
    alike
        Which species learn from each other what assays have in common, shape `(species, species)`.
    """

    species: Sequence[Species]
    lacking: Sequence[Sequence[int]]
    alike: npt.NDArray[np.bool_]

    @cached_property
    def known(self) -> Ints:
        """Numbers of the species whose tracks are read."""
        return np.flatnonzero([one.windows.length.size > 0 for one in self.species])

    @cached_property
    def lacking_known(self) -> tuple[Ints, Ints]:
        """First place of each assay in a list, and the list: those of `known` that lack the assay."""
        lacking = [np.intersect1d(self.known, numbers).astype(np.int64) for numbers in self.lacking]
        return np.cumsum([0, *(one.size for one in lacking)]), np.concatenate(lacking)

    def target(self, at: int, track: int, *, lent: bool = False) -> Target:
        """Make a target of a training track as if its assay were absent from its species.

        If `lent`, only what other species know of the assay counts. Else its other tracks stand for those of
        another species, if those that lack the assay would know of them.
        """
        one = self.species[at]
        target = one.target(track)
        equations = one.hidden_equations[track]
        lacking = list(self.lacking[target.assay])
        if lent:
            read = target.own, target.others
            equations = equations_of(one.bands, target.biosample, target.assay, *read, lent=True)
        elif lacking and not self.alike[lacking, at].any():
            equations = []
        target = dataclasses.replace(target, scale=one.scales.without_assay[track], equations=equations)
        return without(target, one.panel.assay != target.assay)

    def targets(self, most: int, seed: int) -> list[Target]:
        """List at most `most` training tracks of each assay and species as such targets.

        They are some that have other tracks of their biosample to read.
        """
        targets = []
        for at, one in enumerate(self.species):
            if not one.windows.sums.size:  # its tracks are not read
                continue
            for assay in np.unique(one.panel.assay):
                tracks = np.flatnonzero((one.panel.assay == assay) & (one.reads.own >= 0).any(axis=1))
                targets += [self.target(at, int(tracks[number])) for number in some(tracks.size, most, seed)]
        return targets


def episodes_of(axis: JointAxis, species: Sequence[Species]) -> Episodes:
    """Find the species that lack each assay of an axis, and those that learn from each other."""
    has = [{*one.panel.assay.tolist()} for one in species]
    lacking = [
        [at for at, assays in enumerate(has) if assay not in assays] for assay in range(len(axis.assays))
    ]
    return Episodes(species, lacking, alike(axis))


def some(count: int, most: int, seed: int) -> list[int]:
    """Draw at most `most` of the numbers below `count`, in order.

    Every n-th would not do: tracks are often sorted by biosample and assay, so it could miss whole assays.
    """
    drawn = np.random.Generator(np.random.PCG64([seed, 0x50])).permutation(count)[:most]
    return sorted(drawn.tolist())
