"""BED files and intervals -> regions on the 25 bp grid."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from epixs.errors import RegionError
from epixs.genome.assembly import Assembly, is_number
from epixs.genome.regions import BIN_SIZE, Regions

MAX_NOTES = 20


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
                if len(fields) < 3 or not (is_number(fields[1]) and is_number(fields[2])):
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
