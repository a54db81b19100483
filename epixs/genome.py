"""Assemblies, regions and bins: where on a genome a number belongs.

Bins lie on the assembly's 25 bp grid (multiples of 25 from each chromosome's start), so that any two
compendia of one assembly share bins. A region covers every bin it touches. All coordinates are
0-based and half-open, as in BED.
"""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.errors import RegionError, closest

BIN_SIZE = 25
MAX_BINS = 1 << 33
"""Width of a bin in bp."""

MAX_NOTES = 20
MAX_CHROMOSOME = 2**32 - 1
"""Largest coordinate a bigWig can hold."""

_LOCUS = re.compile(r"^\s*([^\s:]+)\s*(?::\s*([\d,]+)\s*-\s*([\d,]+)\s*)?$")


def reference_folder() -> Path:
    """Folder of the packaged reference data: `catalog/` of a checkout, `epixs/_catalog` of a wheel."""
    here = Path(__file__).resolve().parent
    packaged = here / "_catalog"
    return packaged if packaged.is_dir() else here.parent / "catalog"


@dataclass(frozen=True)
class Assembly:
    """A genome assembly: its name and the length of each of its chromosomes in bp."""

    name: str
    chrom_sizes: Mapping[str, int]


def known_assemblies() -> list[str]:
    """Names of the assemblies whose chromosome sizes come with epixs."""
    suffix = ".chrom.sizes"
    found = (reference_folder() / "chrom_sizes").glob(f"*{suffix}")
    return sorted(path.name.removesuffix(suffix) for path in found)


OTHER_NAMES = {"GRCh38": "hg38", "GRCh37": "hg19", "GRCm38": "mm10", "NCBIM37": "mm9"}


def load_assembly(name: str, beside: Path | None = None) -> Assembly:
    """Find the chromosome sizes of an assembly.

    Parameters
    ----------
    name
        For instance `"hg38"`.
    beside
        Folder that is searched first for `NAME.chrom.sizes`, so that any genome can be used by
        putting that file beside the catalog.

    Raises
    ------
    RegionError
        If the name is not known, or its file is not a table of names and lengths.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise RegionError("assembly name", got=repr(name), expected="letters, digits, '_', '.' and '-'")
    folders = ([beside] if beside else []) + [reference_folder() / "chrom_sizes"]
    for folder in folders:
        path = folder / f"{name}.chrom.sizes"
        if path.is_file():
            return Assembly(name, read_chrom_sizes(path))
    if name in OTHER_NAMES:
        raise RegionError("assembly name", got=repr(name), expected=f"{OTHER_NAMES[name]}, as UCSC names it")
    raise RegionError(
        "unknown assembly",
        got=repr(name),
        expected=f"one of {', '.join(known_assemblies())}",
        next_step=f"for another genome, put {name}.chrom.sizes (name, tab, length) beside the catalog",
    )


def read_chrom_sizes(path: Path) -> dict[str, int]:
    """Length of each chromosome, from a table of names and lengths.

    Raises
    ------
    RegionError
        If the file cannot be read, or is not such a table.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RegionError(f"{path} cannot be read", got=error.strerror or type(error).__name__) from error
    sizes: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 2 or not _is_number(fields[1]) or not 0 < int(fields[1]) <= MAX_CHROMOSOME:
            raise RegionError(f"{path}, line {number}", got=repr(line), expected="a name, a tab and a length")
        if sizes.setdefault(fields[0], int(fields[1])) != int(fields[1]):
            raise RegionError(
                f"{path}, line {number}: {fields[0]} again", got=fields[1], expected=sizes[fields[0]]
            )
    if not sizes:
        raise RegionError(f"{path} names no chromosome", expected="lines of a name, a tab and a length")
    return sizes


@dataclass(frozen=True)
class Piece:
    """A run of bins inside one region: where it lies on a chromosome and in the compendium."""

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
        """Width of each bin in bp, shape `(n_bins,)`: 25 but for a chromosome's last, partial one."""
        widths = np.full(self.n_bins, BIN_SIZE, dtype=np.float64)
        widths[-1] = (self.end - self.start) - BIN_SIZE * (self.n_bins - 1)
        return widths


@dataclass(frozen=True)
class Regions:
    """The regions of one compendium, in order, on the 25 bp grid; their bins are numbered through.

    Parameters
    ----------
    assembly
        Name of the assembly the coordinates are on.
    name, chrom, start, end
        One entry a region; `start` is a multiple of 25, `end` too unless it is a chromosome's end.
    """

    assembly: str
    name: tuple[str, ...]
    chrom: tuple[str, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.name)

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
        """Bins of each region, shape `(region,)`."""
        span = np.asarray(self.end, dtype=np.int64) - np.asarray(self.start, dtype=np.int64)
        return np.asarray(-(-span // BIN_SIZE), dtype=np.int64)

    @cached_property
    def first_bin(self) -> npt.NDArray[np.int64]:
        """First bin of each region, shape `(region,)`."""
        return np.concatenate([[0], np.cumsum(self.n_bins_each)[:-1]]).astype(np.int64)

    @property
    def n_bins(self) -> int:
        """Bins of all regions together."""
        return int(self.n_bins_each.sum())

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Cut the bins `[start, stop)` of the compendium into runs that each lie in one region."""
        index = int(np.searchsorted(self.first_bin, start, side="right")) - 1
        while start < stop:
            first = int(self.first_bin[index])
            inside = min(stop, first + int(self.n_bins_each[index]))
            low = self.start[index] + BIN_SIZE * (start - first)
            high = min(self.end[index], self.start[index] + BIN_SIZE * (inside - first))
            yield Piece(self.chrom[index], low, high, start)
            start, index = inside, index + 1

    def bins_of(self, chrom: str, start: int, end: int) -> npt.NDArray[np.int64]:
        """Bins that the stretch `chrom:start-end` touches, ascending by region; may be empty."""
        found = []
        for index in range(len(self)):
            low, high = max(start, self.start[index]), min(end, self.end[index])
            if self.chrom[index] == chrom and low < high:
                first = int(self.first_bin[index])
                found.append(
                    np.arange(
                        first + (low - self.start[index]) // BIN_SIZE,
                        first - (-(high - self.start[index]) // BIN_SIZE),
                    )
                )
        return np.concatenate(found).astype(np.int64) if found else np.empty(0, dtype=np.int64)

    def extended(self, other: Regions) -> Regions:
        """These regions, and after them the parts of others that lie in none of these."""
        rows = list(zip(self.name, self.chrom, self.start, self.end, strict=True))
        mine: dict[str, list[tuple[int, int]]] = {}
        for _, chrom, start, end in sorted(rows, key=lambda row: row[2]):
            mine.setdefault(chrom, []).append((start, end))
        for name, chrom, start, end in zip(other.name, other.chrom, other.start, other.end, strict=True):
            for low, high in mine.get(chrom, []):
                if start < min(end, low):
                    rows.append((name, chrom, start, min(end, low)))
                start = max(start, high)
            if start < end:
                rows.append((name, chrom, start, end))
        names, chroms, starts, ends = zip(*rows, strict=True)
        return Regions(self.assembly, names, chroms, starts, ends)

    def window(self, start: int, stop: int) -> Regions:
        """The bins `[start, stop)` alone, as regions of their own."""
        rows = []
        for piece in self.pieces(start, stop):
            index = int(np.searchsorted(self.first_bin, piece.first_bin, side="right")) - 1
            rows.append((self.name[index], piece.chrom, piece.start, piece.end))
        names, chroms, starts, ends = zip(*rows, strict=True)
        return Regions(self.assembly, names, chroms, starts, ends)

    def first_difference(self, other: Regions) -> str:
        """The first region that is not the same in others, as it is here and there; empty if all are."""
        if self.assembly != other.assembly:
            return f"on {self.assembly} and not on {other.assembly}"
        mine, theirs = ([*zip(r.chrom, r.start, r.end, strict=True)] for r in (self, other))
        for number, (here, there) in enumerate(itertools.zip_longest(mine, theirs), 1):
            if here != there:
                texts = [f"{c}:{start:,}-{end:,}" for c, start, end in filter(None, (here, there))]
                if here and there:
                    return f"region {number} is {texts[0]} and not {texts[1]}"
                return f"region {number}, {texts[0]}, is {'added' if here else 'missing'}"
        names = [n for n, (a, b) in enumerate(zip(self.name, other.name, strict=True), 1) if a != b]
        return f"region {names[0]} is called {self.name[names[0] - 1]!r}" if names else ""

    def locate(self, locus: str) -> npt.NDArray[np.int64]:
        """Bins that a locus touches, ascending by region.

        Raises
        ------
        RegionError
            If there is none, naming the nearest region.
        """
        chrom, start, end = parse_locus(locus)
        bins = self.bins_of(chrom, start, end)
        if not bins.size:
            here = [i for i, name in enumerate(self.chrom) if name == chrom]
            near = min(here or [0], key=lambda i: max(self.start[i] - end, start - self.end[i]))
            example = f"{self.chrom[near]}:{self.start[near]:,}-{self.end[near]:,}"
            raise RegionError(
                "no bin of this compendium lies there",
                got=f"{locus!r}{'' if here else closest(chrom, set(self.chrom))}",
                expected=f"a locus in {example}, {'the nearest' if here else 'the first'} region",
            )
        return bins

    def table(self, bins: npt.ArrayLike | None = None) -> pd.DataFrame:
        """Coordinates of bins as a table `bin chrom start end region`, one row a bin.

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


def make_regions(assembly: Assembly, rows: list[tuple[str, int, int, str]]) -> tuple[Regions, list[str]]:
    """Put intervals on the 25 bp grid and merge those that share a bin.

    Parameters
    ----------
    assembly
        Gives the chromosomes and their ends.
    rows
        `(chrom, start, end, name)`, 0-based and half-open.

    Returns
    -------
    regions
        In the order of the rows; a merged region stands where its first part stood.
    notes
        One sentence for each merge; a merged region keeps its first part's name.

    Raises
    ------
    RegionError
        If a chromosome is not in the assembly or an interval lies outside its chromosome.
    """
    if not rows:
        raise RegionError("no region given", expected="at least one line of chrom, start, end")
    placed = []
    for order, (chrom, start, end, name) in enumerate(rows):
        size = assembly.chrom_sizes.get(chrom)
        if size is None:
            raise RegionError(
                f"region {name}: chromosome",
                got=repr(chrom),
                expected=f"one of {assembly.name}: {', '.join(list(assembly.chrom_sizes)[:4])}, ...",
                next_step="check that the BED and the catalog are on the same assembly",
            )
        if not 0 <= start < end <= size:
            raise RegionError(
                f"region {name}: interval",
                got=f"{chrom}:{start}-{end}",
                expected=f"0 <= start < end <= {size} (the length of {chrom} in {assembly.name})",
            )
        low, high = start // BIN_SIZE * BIN_SIZE, min(size, -(-end // BIN_SIZE) * BIN_SIZE)
        placed.append((chrom, low, high, order, name))
    merged: list[tuple[str, int, int, int, str]] = []
    notes: list[str] = []
    for chrom, low, high, order, name in sorted(placed):
        if merged and merged[-1][0] == chrom and low < merged[-1][2]:
            last = merged.pop()
            merged.append((chrom, last[1], max(high, last[2]), min(order, last[3]), last[4]))
            if len(notes) < MAX_NOTES:
                notes.append(f"regions {last[4]} and {name} overlap on {chrom} and were merged")
        else:
            merged.append((chrom, low, high, order, name))
    if len(placed) - len(merged) > MAX_NOTES:
        notes.append(f"and {len(placed) - len(merged) - MAX_NOTES} more overlapping regions were merged")
    merged.sort(key=lambda row: row[3])
    chroms, starts, ends, _, names = zip(*merged, strict=True)
    return Regions(assembly.name, names, chroms, starts, ends), notes


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", text) is not None


def read_regions(path: str | Path, assembly: Assembly) -> tuple[Regions, list[str]]:
    """Read a BED file (plain or gzipped) into regions; see `make_regions`.

    Raises
    ------
    RegionError
        Naming the file and line that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise RegionError(f"regions file {path} does not exist", next_step="give a BED file with --regions")
    rows = []
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                fields = line.split()
                if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
                    continue
                if len(fields) < 3 or not (_is_number(fields[1]) and _is_number(fields[2])):
                    raise RegionError(
                        f"{path}, line {number}",
                        got=repr(line.strip()),
                        expected="chrom, start, end [, name]",
                    )
                chrom, start, end = fields[0], int(fields[1]), int(fields[2])
                rows.append((chrom, start, end, fields[3] if len(fields) > 3 else f"{chrom}:{start}-{end}"))
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise RegionError(f"{path} is not a text file", expected="a BED file") from error
    try:
        return make_regions(assembly, rows)
    except RegionError as error:
        raise RegionError(f"{path}: {error.message}") from error


def parse_locus(text: str, chrom_sizes: Mapping[str, int] | None = None) -> tuple[str, int, int]:
    """Read `"chr19:3,000,000-3,100,000"` (0-based, half-open, commas optional) or a bare `"chr19"`.

    Raises
    ------
    RegionError
        If the text is neither, or its start does not lie before its end.

    Examples
    --------
    >>> parse_locus("chr19:3,000,000-3,100,000")
    ('chr19', 3000000, 3100000)
    """
    match = _LOCUS.match(text)
    if match is None:
        raise RegionError("locus", got=repr(text), expected="for instance 'chr19:3,000,000-3,100,000'")
    chrom = match.group(1)
    if match.group(2) is None:
        return chrom, 0, chrom_sizes[chrom] if chrom_sizes and chrom in chrom_sizes else MAX_CHROMOSOME
    start, end = (int(match.group(i).replace(",", "") or 0) for i in (2, 3))
    if start >= end:
        raise RegionError("locus", got=repr(text), expected="a start before its end")
    return chrom, start, end
