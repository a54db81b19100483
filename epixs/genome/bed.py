"""Make regions on the 25 bp grid of BED files, whole chromosomes and intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from epixs.errors import RegionError
from epixs.genome.assembly import Assembly, is_number, read_chrom_sizes, read_lines
from epixs.genome.names import match_chromosomes
from epixs.genome.regions import BIN_SIZE, Regions

MOST_NAMED = 4

GENOME = "genome"
"""Word instead of the path of a BED: all chromosomes of the assembly, whole."""

SIZES_SUFFIXES = (".sizes", ".fai")
"""Endings of the names of files that give chromosomes and their lengths instead of intervals."""

HEADER = ("start", "chromstart", "chrom_start", "txstart")
"""Names of the second column in the header of a BED."""


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
        In the order of the rows. A merged region has the place and the name of its first part.
    notes
        One sentence if regions were merged, and one if the rows use other names of chromosomes.

    Raises
    ------
    RegionError
        If a chromosome is not in the assembly or an interval lies outside its chromosome.
    """
    if not assembly.chrom_sizes:
        raise RegionError(
            f"the lengths of the chromosomes of {assembly.name} are not known",
            next_step=f"put {assembly.name}.chrom.sizes (name, tab, length) beside the catalog, or give the "
            "paths to `epixs ingest`, which takes them from the headers of the tracks",
        )
    if not rows:
        raise RegionError("no region given", expected="at least one line of chrom, start, end")
    notes: list[str] = []
    rows = _in_names_of(assembly, rows, notes)
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
    merges: list[str] = []
    for chrom, low, high, order, name in sorted(placed):
        if merged and merged[-1][0] == chrom and low < merged[-1][2]:
            last = merged.pop()
            merged.append((chrom, last[1], max(high, last[2]), min(order, last[3]), last[4]))
            merges.append(f"{last[4]} and {name} on {chrom}")
        else:
            merged.append((chrom, low, high, order, name))
    if merges:
        some = list(dict.fromkeys(merges[:MOST_NAMED]))
        named = "; ".join(some) + ("; ..." if len(some) < len(merges) else "")
        notes.append(f"{len(merges):,} of {len(rows):,} regions overlap another and were merged: {named}")
    merged.sort(key=lambda row: row[3])
    chroms, starts, ends, _, names = zip(*merged, strict=True)
    sizes = {chrom: assembly.chrom_sizes[chrom] for chrom in dict.fromkeys(chroms)}
    return Regions(assembly.name, names, chroms, starts, ends, sizes), notes


def _in_names_of(
    assembly: Assembly, rows: list[tuple[str, int, int, str]], notes: list[str]
) -> list[tuple[str, int, int, str]]:
    """Replace the chromosome names of intervals by the assembly's own; add a note if any differ."""
    given = dict.fromkeys((row[0] for row in rows), 0)
    if given.keys() <= assembly.chrom_sizes.keys():
        return rows
    own = {name: chrom for chrom, name in match_chromosomes(given, assembly).names.items()}
    other = [f"{name} is {chrom}" for name, chrom in own.items() if name != chrom]
    if other:
        more = ", ..." if len(other) > MOST_NAMED else ""
        notes.append(
            f"the regions have other names of chromosomes than {assembly.name}: "
            f"{', '.join(other[:MOST_NAMED])}{more}"
        )
    return [(own.get(chrom, chrom), start, end, name) for chrom, start, end, name in rows]


def whole_genome(assembly: Assembly) -> Regions:
    """Make regions of all chromosomes of an assembly, whole, in its order."""
    return make_regions(assembly, _whole(assembly.chrom_sizes.items()))[0]


def read_regions(path: str | Path, assembly: Assembly) -> tuple[Regions, list[str]]:
    """Read a BED file (plain or gzipped) into regions; see `make_regions`.

    Parameters
    ----------
    path
        A BED file; or a table of chromosomes and their lengths (`hg38.chrom.sizes`, `genome.fa.fai`), which
        are taken whole; or `"genome"` for all chromosomes of the assembly.
    assembly
        Assembly of the regions.

    Raises
    ------
    RegionError
        If a line cannot be used; the message names the file and the line.
    """
    if str(path) == GENOME:
        return whole_genome(assembly), []
    path = Path(path)
    if not path.is_file():
        raise RegionError(
            f"regions file {path} {'is a folder' if path.is_dir() else 'does not exist'}",
            next_step=f"give a BED file with --regions, or `--regions {GENOME}` for all chromosomes",
        )
    rows = _whole(_sizes_in(path, assembly).items()) if holds_sizes(path) else _rows_of(path)
    try:
        return make_regions(assembly, rows)
    except RegionError as error:
        raise RegionError(f"{path}: {error.message}") from error


def holds_sizes(path: Path) -> bool:
    """Tell by a file's name whether it gives chromosomes and their lengths."""
    return path.name.removesuffix(".gz").endswith(SIZES_SUFFIXES)


def _whole(sizes: Iterable[tuple[str, int]]) -> list[tuple[str, int, int, str]]:
    return [(chrom, 0, size, chrom) for chrom, size in sizes]


def _sizes_in(path: Path, assembly: Assembly) -> dict[str, int]:
    """Read the chromosomes to take whole, and check their lengths against the assembly."""
    sizes = read_chrom_sizes(path)
    match = match_chromosomes(sizes, assembly)
    for chrom in match.other_lengths:
        raise RegionError(
            f"{path} is not of {assembly.name}: {chrom}",
            got=f"{sizes[match.names[chrom]]} bp",
            expected=f"{assembly.chrom_sizes[chrom]} bp",
        )
    return sizes


def _rows_of(path: Path) -> list[tuple[str, int, int, str]]:
    """Read the intervals of a BED; comments, track lines and a line of column names are skipped."""
    try:
        lines = read_lines(path)
    except RegionError as error:
        raise RegionError(f"{path} is not a text file", expected="a BED file") from error
    rows: list[tuple[str, int, int, str]] = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
            continue
        if not rows and len(fields) > 2 and fields[1].lower() in HEADER:
            continue
        if len(fields) < 3 or not (is_number(fields[1]) and is_number(fields[2])):
            sizes = len(fields) == 2 and is_number(fields[1])
            raise RegionError(
                f"{path}, line {number}",
                got=repr(line.strip()[:200]),
                expected="chrom, start, end [, name]",
                next_step="a table of chromosomes and their lengths is read as one if its name ends in .sizes"
                if sizes
                else None,
            )
        chrom, start, end = fields[0], int(fields[1]), int(fields[2])
        rows.append((chrom, start, end, fields[3] if len(fields) > 3 else f"{chrom}:{start}-{end}"))
    return rows
