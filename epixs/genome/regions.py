"""Regions and bins: the places on a genome to which values belong.

Bins lie on the assembly's 25 bp grid (multiples of 25 from each chromosome's start), so that all compendia
of one assembly share bins. A region covers every bin that it touches. All coordinates are 0-based and
half-open, as in BED.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.errors import RegionError, closest
from epixs.genome.locus import parse_locus
from epixs.genome.names import own_name

BIN_SIZE = 25
"""Width of a bin in bp."""

MAX_BINS = 1 << 33
"""Maximum number of bins of regions, 70 times those of a human genome. Only a damaged file claims more."""


@dataclass(frozen=True)
class Piece:
    """Consecutive bins inside one region, with their place on a chromosome and in the compendium."""

    chrom: str
    start: int
    end: int
    first_bin: int

    @property
    def n_bins(self) -> int:
        """Number of bins, the last of which may be narrower at a chromosome's end."""
        return -(-(self.end - self.start) // BIN_SIZE)

    @property
    def widths(self) -> npt.NDArray[np.float64]:
        """Width of each bin in bp, shape `(n_bins,)`: 25, except for a chromosome's last, partial bin."""
        return bin_widths([self])


def bin_widths(pieces: Sequence[Piece]) -> npt.NDArray[np.float64]:
    """Return the width in bp of each bin of some pieces, one piece after the other; shape `(bin,)`."""
    n_bins = np.array([piece.n_bins for piece in pieces], np.int64)
    bases = np.array([piece.end - piece.start for piece in pieces], np.int64)
    widths = np.full(n_bins.sum(), BIN_SIZE, dtype=np.float64)
    widths[np.cumsum(n_bins) - 1] = bases - BIN_SIZE * (n_bins - 1)
    return widths


@dataclass(frozen=True)
class Regions:
    """The regions of one compendium, in order, on the 25 bp grid; their bins are numbered consecutively.

    Parameters
    ----------
    assembly
        Name of the assembly of the coordinates.
    name, chrom, start, end
        One entry per region; `start` is a multiple of 25, `end` too unless it is a chromosome's end.
    chrom_sizes
        Length of each of their chromosomes in bp, as far as it is known. Comparisons of regions ignore it.
    """

    assembly: str
    name: tuple[str, ...]
    chrom: tuple[str, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    chrom_sizes: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.name)

    @property
    def loci(self) -> list[str]:
        """The regions as loci, as `parse_locus` reads them."""
        return [
            f"{chrom}:{start:,}-{end:,}"
            for chrom, start, end in zip(self.chrom, self.start, self.end, strict=True)
        ]

    @property
    def sound(self) -> bool:
        """Whether the regions could be real: on the grid, not empty, and no more bins than any genome has."""
        return (
            min(self.start, default=-1) >= 0
            and not any(start % BIN_SIZE for start in self.start)
            and min(self.n_bins_each, default=0) > 0
            and self.n_bins <= MAX_BINS
        )

    @cached_property
    def n_bins_each(self) -> npt.NDArray[np.int64]:
        """Number of bins of each region, shape `(region,)`."""
        span = np.asarray(self.end, dtype=np.int64) - np.asarray(self.start, dtype=np.int64)
        return np.asarray(-(-span // BIN_SIZE), dtype=np.int64)

    @cached_property
    def first_bin(self) -> npt.NDArray[np.int64]:
        """First bin of each region, shape `(region,)`."""
        return np.concatenate([[0], np.cumsum(self.n_bins_each)[:-1]]).astype(np.int64)

    @property
    def n_bins(self) -> int:
        """Number of bins of all regions together."""
        return int(self.n_bins_each.sum())

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Cut the bins `[start, stop)` of the compendium into pieces that each lie in one region."""
        index = int(np.searchsorted(self.first_bin, start, side="right")) - 1
        while start < stop:
            first = int(self.first_bin[index])
            inside = min(stop, first + int(self.n_bins_each[index]))
            low = self.start[index] + BIN_SIZE * (start - first)
            high = min(self.end[index], self.start[index] + BIN_SIZE * (inside - first))
            yield Piece(self.chrom[index], low, high, start)
            start, index = inside, index + 1

    def bins_of(self, chrom: str, start: int, end: int) -> npt.NDArray[np.int64]:
        """Return the bins that `chrom:start-end` touches, ascending by region; there may be none."""
        bins = []
        for index in range(len(self)):
            low, high = max(start, self.start[index]), min(end, self.end[index])
            if self.chrom[index] == chrom and low < high:
                first = int(self.first_bin[index])
                bins.append(
                    np.arange(
                        first + (low - self.start[index]) // BIN_SIZE,
                        first - (-(high - self.start[index]) // BIN_SIZE),
                    )
                )
        return np.concatenate(bins).astype(np.int64) if bins else np.empty(0, dtype=np.int64)

    def extended(self, other: Regions) -> Regions:
        """Append to these regions the parts of `other` that lie in none of them."""
        rows = list(zip(self.name, self.chrom, self.start, self.end, strict=True))
        own: dict[str, list[tuple[int, int]]] = {}
        for _, chrom, start, end in sorted(rows, key=lambda row: row[2]):
            own.setdefault(chrom, []).append((start, end))
        for name, chrom, start, end in zip(other.name, other.chrom, other.start, other.end, strict=True):
            for low, high in own.get(chrom, []):
                if start < min(end, low):
                    rows.append((name, chrom, start, min(end, low)))
                start = max(start, high)
            if start < end:
                rows.append((name, chrom, start, end))
        names, chroms, starts, ends = zip(*rows, strict=True)
        sizes = {**other.chrom_sizes, **self.chrom_sizes}
        return Regions(self.assembly, names, chroms, starts, ends, sizes)

    def window(self, start: int, stop: int) -> Regions:
        """Return the bins `[start, stop)` alone, as regions of their own."""
        rows = []
        for piece in self.pieces(start, stop):
            index = int(np.searchsorted(self.first_bin, piece.first_bin, side="right")) - 1
            rows.append((self.name[index], piece.chrom, piece.start, piece.end))
        names, chroms, starts, ends = zip(*rows, strict=True)
        return Regions(self.assembly, names, chroms, starts, ends, self.chrom_sizes)

    def first_difference(self, other: Regions) -> str:
        """Describe the first region that differs from its counterpart in `other`; `""` if none does."""
        if self.assembly != other.assembly:
            return f"on {self.assembly} and not on {other.assembly}"
        own_rows, other_rows = ([*zip(r.chrom, r.start, r.end, strict=True)] for r in (self, other))
        for number, (row, other_row) in enumerate(itertools.zip_longest(own_rows, other_rows), 1):
            if row != other_row:
                texts = [f"{c}:{start:,}-{end:,}" for c, start, end in filter(None, (row, other_row))]
                if row and other_row:
                    return f"region {number} is {texts[0]} and not {texts[1]}"
                return f"region {number}, {texts[0]}, is {'added' if row else 'missing'}"
        names = [n for n, (a, b) in enumerate(zip(self.name, other.name, strict=True), 1) if a != b]
        return f"region {names[0]} is called {self.name[names[0] - 1]!r}" if names else ""

    def locate(self, locus: str) -> npt.NDArray[np.int64]:
        """Return the bins that a locus touches, ascending by region; without a `chr1`, `chr1` means `1`.

        Raises
        ------
        RegionError
            If there is no such bin; the message names the nearest region.
        """
        given, start, end = parse_locus(locus)
        chrom = own_name(given, self.chrom)
        bins = self.bins_of(chrom, start, end)
        if not bins.size:
            on_chrom = [i for i, name in enumerate(self.chrom) if name == chrom]
            near = min(on_chrom or [0], key=lambda i: max(self.start[i] - end, start - self.end[i]))
            example = f"{self.chrom[near]}:{self.start[near]:,}-{self.end[near]:,}"
            raise RegionError(
                "no bin of this compendium lies there",
                got=f"{locus!r}{'' if on_chrom else closest(chrom, set(self.chrom))}",
                expected=f"a locus in {example}, {'the nearest' if on_chrom else 'the first'} region",
            )
        return bins

    def table(self, bins: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Tabulate the coordinates of bins, `bin chrom start end region`, one row per bin.

        Raises
        ------
        RegionError
            If a bin lies outside the compendium.
        """
        wanted = np.arange(self.n_bins) if bins is None else np.asarray(bins, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.n_bins):
            raise RegionError(
                "bin outside the compendium",
                got=f"{wanted.min()} to {wanted.max()}",
                expected=f"0 to {self.n_bins - 1}",
            )
        region = np.searchsorted(self.first_bin, wanted, side="right") - 1
        start = np.asarray(self.start)[region] + BIN_SIZE * (wanted - self.first_bin[region])
        return pd.DataFrame(
            {
                "bin": wanted,
                "chrom": np.asarray(self.chrom, dtype=object)[region],
                "start": start,
                "end": np.minimum(start + BIN_SIZE, np.asarray(self.end)[region]),
                "region": np.asarray(self.name, dtype=object)[region],
            }
        )
