"""The plan of a factor store: everything that decides its content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from epixs.axis.axis import COARSE_BINS, MEDIUM_BINS, JointAxis, SpeciesAxis
from epixs.storage.fingerprint import digest

ARRAYS = ("factors_25bp", "factors_250bp", "factors_5kbp")

PER_POSITION = (COARSE_BINS, COARSE_BINS // MEDIUM_BINS, 1)


@dataclass(frozen=True)
class FactorPlan:
    """Everything that decides the content of a factor store.

    Parameters
    ----------
    axis
        Axis of one species: its regions, and the experiments that the factors are fitted to.
    model
        Fingerprint of the model.
    sizes
        Number of factors at each scale.
    block_positions
        Number of 5 kbp positions per block.
    settings
        Settings of the fit.
    """

    axis: JointAxis
    model: str
    sizes: tuple[int, int, int]
    block_positions: int
    settings: dict[str, Any]

    @property
    def part(self) -> SpeciesAxis:
        """The species."""
        return self.axis.parts[0]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.part.n_positions[2] // self.block_positions)

    @property
    def floats_per_position(self) -> int:
        """Number of factors of one 5 kbp position, at all scales."""
        return sum(n * k for n, k in zip(PER_POSITION, self.sizes, strict=True))

    @property
    def n_bytes(self) -> int:
        """Bytes of all factors."""
        return 4 * self.floats_per_position * self.part.n_positions[2]

    def shapes(self, positions: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array for a number of 5 kbp positions."""
        small, middle, large = self.sizes
        inner = ((PER_POSITION[0], small), (PER_POSITION[1], middle), (large,))
        return {name: (positions, *rest) for name, rest in zip(ARRAYS, inner, strict=True)}

    def span(self, block: int) -> tuple[int, int]:
        """Return the 5 kbp positions `[first, stop)` of a block."""
        first = block * self.block_positions
        return first, min(first + self.block_positions, self.part.n_positions[2])

    def bins(self, block: int) -> tuple[int, int]:
        """Return the bins `[first, stop)` of a block."""
        first, stop = self.span(block)
        return self.part.bins_of_block(first)[0], self.part.bins_of_block(stop - 1)[1]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Values, by name, that a resumed run must share."""
        return {
            "species": self.part.species,
            "regions": regions_identity(self.part),
            "store": self.part.plan,
            "experiments": digest(self.part.training[["biosample", "assay"]].to_numpy().tolist()),
            "model": self.model,
            "sizes": list(self.sizes),
            "block_positions": self.block_positions,
            "settings": self.settings,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Digest of `identity`."""
        return digest(self.identity)


def regions_identity(part: SpeciesAxis) -> str:
    """Describe in a short text where a species' bins lie."""
    regions = part.regions
    places = [list(regions.chrom), list(regions.start), list(regions.end)]
    return f"{len(regions)} on {regions.assembly} with {regions.n_bins} bins ({digest(places)})"
