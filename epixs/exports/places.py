"""List the bins of a compendium in genome order, block by block, with their coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epixs.errors import RegionError
from epixs.genome.regions import BIN_SIZE, Regions

BLOCK_BINS = 1 << 19
"""Maximum number of bins that are read and written at a time."""


class Place(NamedTuple):
    """Consecutive bins, both on a chromosome and in the compendium."""

    chrom: int
    start: int
    end: int
    first_bin: int

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return -(-(self.end - self.start) // BIN_SIZE)


def places_in_order(
    regions: Regions, chrom_sizes: Mapping[str, int], only: Regions | None = None
) -> list[Place]:
    """List the bins of a compendium in the order of an assembly's chromosomes.

    Parameters
    ----------
    regions
        Regions of the compendium.
    chrom_sizes
        Length of each chromosome of the assembly.
    only
        If given, only bins that these regions touch are listed; there may be none.

    Raises
    ------
    RegionError
        If a region lies outside the assembly's chromosomes.
    """
    number = {name: index for index, name in enumerate(chrom_sizes)}
    places = []
    wanted: dict[str, list[tuple[int, int]]] = {}
    for chrom, start, end in zip(only.chrom, only.start, only.end, strict=True) if only else ():
        wanted.setdefault(chrom, []).append((start, end))
    first_bins = regions.first_bin.tolist()
    for chrom, start, end, first in zip(regions.chrom, regions.start, regions.end, first_bins, strict=True):
        if chrom not in number or end > chrom_sizes[chrom]:
            raise RegionError(
                f"chromosome sizes of {regions.assembly}",
                got=f"a region {chrom}:{start:,}-{end:,}, and {chrom} "
                + (f"has {chrom_sizes[chrom]:,} bases" if chrom in number else "is not among them"),
                expected="the sizes of the assembly that the store was made with",
                next_step="give them with --chrom-sizes",
            )
        for low, high in wanted.get(chrom, []) if only else [(start, end)]:
            low, high = max(low, start), min(high, end)
            if low < high:
                places.append(Place(number[chrom], low, high, first + (low - start) // BIN_SIZE))
    return sorted(places)


def n_outside(wanted: Regions, held: Sequence[Regions]) -> int:
    """Count the wanted regions that touch none of those held."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for regions in held:
        for chrom, start, end in zip(regions.chrom, regions.start, regions.end, strict=True):
            spans.setdefault(chrom, []).append((start, end))
    starts = {chrom: np.array(sorted(start for start, _ in its)) for chrom, its in spans.items()}
    ends = {chrom: np.maximum.accumulate([end for _, end in sorted(its)]) for chrom, its in spans.items()}

    def touches(chrom: str, start: int, end: int) -> bool:
        before = int(np.searchsorted(starts[chrom], end)) if chrom in starts else 0
        return before > 0 and bool(ends[chrom][before - 1] > start)

    return sum(not touches(*region) for region in zip(wanted.chrom, wanted.start, wanted.end, strict=True))


def blocks_of(places: list[Place], most: int = BLOCK_BINS) -> Iterator[list[Place]]:
    """Cut places into blocks of at most `most` bins."""
    block: list[Place] = []
    left = most
    for chrom, start, end, first in places:
        while start < end:
            stop = min(end, start + left * BIN_SIZE)
            block.append(Place(chrom, start, stop, first))
            left -= block[-1].n_bins
            first += block[-1].n_bins
            start = stop
            if not left:
                yield block
                block, left = [], most
    if block:
        yield block


def stretches_of(block: list[Place]) -> list[tuple[int, int]]:
    """List the bins `[start, stop)` of a block as a store holds them. Neighbours there are joined."""
    stretches: list[tuple[int, int]] = []
    for place in block:
        if stretches and stretches[-1][1] == place.first_bin:
            stretches[-1] = stretches[-1][0], place.first_bin + place.n_bins
        else:
            stretches.append((place.first_bin, place.first_bin + place.n_bins))
    return stretches


def coordinates(block: list[Place]) -> tuple[npt.NDArray[np.int64], ...]:
    """Compute chromosome, start and end of each bin of a block: arrays of one shape."""
    counts = np.array([place.n_bins for place in block])
    chrom, start, end = (
        np.repeat(np.array(column, dtype=np.int64), counts) for column in list(zip(*block, strict=True))[:3]
    )
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    start += BIN_SIZE * inside
    return chrom, start, np.minimum(start + BIN_SIZE, end)
