"""Targets whose assay is hidden from their species, as if it had never been measured there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.sampling.around import Target, without
from epixs.sampling.bins import Places
from epixs.sampling.kriging import Equations
from epixs.sampling.panel import hidden_equations
from epixs.sampling.species import Species, alike
from epixs.sampling.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LENT = 0.5
"""Share of the hidden targets for which something is known of what their assay has in common with others, if
every species has the assay."""


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
            label = target.biosample, target.assay
            equations = hidden_equations(one.bands, one.equations[track], *label, lent=True)
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

    def known_of_hidden(
        self, target: Target, like: int, generator: np.random.Generator
    ) -> tuple[Floats, Sequence[Equations]]:
        """Return scale and equations of a training target as the species `like` would know them.

        Its assay is hidden; the sampler leaves out the assay's tracks.
        """
        one = self.species[target.at]
        lent = self._is_lent(target, like, generator)
        equations = one.hidden_equations[target.track] if lent else ()
        return one.scales.without_assay[target.track], equations

    def _is_lent(self, target: Target, like: int, generator: np.random.Generator) -> bool:
        """Tell whether a species would know what a hidden assay has in common with others.

        If no species lacks the assay, chance decides: which species will, nobody knows.
        """
        if like in self.lacking[target.assay]:
            return bool(self.alike[like, target.at])
        return bool(generator.random() < LENT)

    def like(self, target: Target, hidden: bool, generator: np.random.Generator) -> int:
        """Draw the species as whose a target is read: one that lacks the assay, if it is hidden."""
        known = [at for at, one in enumerate(self.species) if one.windows.length.size]
        lacking = [at for at in known if hidden and at in self.lacking[target.assay]]
        return one_of(lacking or known, generator)

    def within(
        self, like: int, windows: Windows, where: Places, generator: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Draw the bins around each bin that are read, as many as a region of the species `like` has.

        Little can be read around a bin in short regions. A network that imputes them must know that, even if
        it has seen the assay in long ones only.

        Returns
        -------
        The first of these bins in its piece, and their number, shape `(bin,)` each.
        """
        sizes = self.species[like].windows.length
        drawn = generator.choice(sizes, where.offset.size, p=sizes / sizes.sum())
        length = np.minimum(drawn, windows.length[where.piece])
        before = (generator.random(where.offset.size) * length).astype(np.int64)
        return np.clip(where.offset - before, 0, windows.length[where.piece] - length), length


def episodes_of(axis: JointAxis, species: Sequence[Species]) -> Episodes:
    """Find the species that lack each assay of an axis, and those that learn from each other."""
    has = [{*one.panel.assay.tolist()} for one in species]
    lacking = [
        [at for at, assays in enumerate(has) if assay not in assays] for assay in range(len(axis.assays))
    ]
    return Episodes(species, lacking, alike(axis))


def one_of(numbers: Sequence[int] | Ints, generator: np.random.Generator) -> int:
    """Draw one of some numbers."""
    return int(numbers[int(generator.integers(len(numbers)))])


def some(count: int, most: int, seed: int) -> list[int]:
    """Draw at most `most` of the numbers below `count`, in order.

    Every n-th would not do: tracks are often sorted by biosample and assay, so it could miss whole assays.
    """
    drawn = np.random.Generator(np.random.PCG64([seed, 0x50])).permutation(count)[:most]
    return sorted(drawn.tolist())
