"""Read promoters, genes, enhancers, peaks and blacklists from BED files, and place them on an axis's bins."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epixs.catalog.tsv import read_tsv
from epixs.errors import RegionError
from epixs.evaluation.table import MOST_NAMED
from epixs.genome.assembly import is_number
from epixs.genome.regions import BIN_SIZE, Regions

PROMOTER_BINS = 80
"""Length of a promoter, upstream of its gene: 80 bins, 2 kb."""

MAX_BED_BYTES = 1 << 30
MAX_BED_LINES = 20_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A line of a BED file: 0-based and half-open; `strand` is empty where the file has none."""

    chrom: str
    start: int
    end: int
    strand: str = ""


@dataclass(frozen=True)
class Annotations:
    """Local annotation files: genes, enhancers, peaks, and a blacklist of bins that are not to be trusted.

    Parameters
    ----------
    genes
        BED file of genes. If it has six columns, the last of them the strand, promoters are known too.
    enhancers, blacklist
        BED files.
    peaks
        TSV file with the columns `biosample assay path`, the BED file of each experiment's peaks.
    """

    genes: str | Path | None = None
    enhancers: str | Path | None = None
    blacklist: str | Path | None = None
    peaks: str | Path | None = None


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often each bin of an axis is covered: `counts[k]` times from bin `starts[k]` on.

    Its size depends on the number of intervals, not on the genome.
    """

    starts: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    counts: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @classmethod
    def of(cls, starts: npt.ArrayLike, stops: npt.ArrayLike, *, once: bool) -> Coverage:
        """Cover the bins `[start, stop)` of each interval. With `once`, overlaps do not count twice."""
        edges = np.concatenate([np.asarray(starts, dtype=np.int64), np.asarray(stops, dtype=np.int64)])
        change = np.repeat([1, -1], edges.size // 2)
        places, inverse = np.unique(np.concatenate([[0], edges]), return_inverse=True)
        steps = np.zeros(places.size, dtype=np.int64)
        np.add.at(steps, inverse[1:], change)
        counts = np.cumsum(steps)
        return cls(places, np.minimum(counts, 1) if once else counts)

    def weights(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """Return how often each of the bins `[start, stop)` is covered."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        edges = np.clip(np.append(self.starts[first:last], stop), start, stop)
        return np.repeat(self.counts[first:last], np.diff(edges)).astype(np.int32)

    def bins(self, n_bins: int) -> int:
        """Count the covered bins of an axis."""
        return int(np.diff(np.append(self.starts, n_bins))[self.counts > 0].sum())


@dataclass(frozen=True, eq=False)
class Strata:
    """Annotations of one species' bins.

    Parameters
    ----------
    blacklist
        Bins that do not count at all.
    strata
        Coverage by promoters, genes and enhancers, in the order of `metrics.STRATA`; empty without files.
    peaks
        Coverage by the peaks of experiments, by `(biosample, assay)`.
    notes
        Annotations that could not be used, and why.
    """

    blacklist: Coverage
    strata: tuple[Coverage, ...]
    peaks: Mapping[tuple[str, str], Coverage]
    notes: tuple[str, ...] = ()


def read_strata(annotations: Annotations, regions: Regions, mode: str = "corrected") -> Strata:
    """Read annotation files and place them on the bins of an axis.

    `corrected`: a bin belongs to a stratum if it touches it, and counts once. `challenge`: as in the scoring
    code of the ENCODE Imputation Challenge. A bin counts once per gene. An interval ends one bin late where
    its end is a multiple of 25. Bins that touch the blacklist are deleted before genes and enhancers are
    looked up, so that those behind a deleted bin are looked up further on. A promoter that would begin
    before its chromosome is left out.

    Raises
    ------
    RegionError
        If a line cannot be used (the message names file and line), or a file has nothing on this axis.
    """
    challenge = mode == "challenge"
    blacklist = read_bed(annotations.blacklist) if annotations.blacklist else []
    genes = read_bed(annotations.genes) if annotations.genes else []
    enhancers = read_bed(annotations.enhancers) if annotations.enhancers else []
    notes = []
    if genes and not any(gene.strand in ("+", "-") for gene in genes):
        notes.append(
            f"{annotations.genes} has no strands (the sixth column of BED): promoters are not known, and "
            "mseprom is left out"
        )
    black = _by_chrom([(i.chrom, *_bins(i, challenge)) for i in blacklist])
    deleted = black if challenge else {}
    groups = [
        [(g.chrom, *_promoter(g, challenge)) for g in genes if g.strand in ("+", "-")],
        [(g.chrom, *_bins(g, challenge)) for g in genes],
        [(e.chrom, *_bins(e, challenge)) for e in enhancers],
    ]
    strata = tuple(_cover(rows, regions, deleted, once=not challenge) for rows in groups)
    for path, coverage in ((annotations.genes, strata[1]), (annotations.enhancers, strata[2])):
        if path and not coverage.bins(regions.n_bins):
            raise _nothing_there(path, regions)
    peaks = {}
    for label, path in _peak_files(annotations.peaks).items():
        rows = [(i.chrom, *_bins(i, False)) for i in read_bed(path)]
        peaks[label] = _cover(rows, regions, {}, once=True)
    left_out = _cover([(c, s, e) for c, pairs in black.items() for s, e in pairs], regions, {}, once=True)
    black_bins = left_out.bins(regions.n_bins)
    if black_bins:
        notes.append(
            f"{black_bins:,} of {regions.n_bins:,} bins touch the blacklist and are not scored; pictures of "
            "single tracks show all bins"
        )
    elif blacklist:
        notes.append(f"{annotations.blacklist} has nothing in the regions: it leaves out no bin")
    without = [" / ".join(label) for label, cover in peaks.items() if not cover.bins(regions.n_bins)]
    if without:
        more = ", ..." if len(without) > MOST_NAMED else ""
        notes.append(
            f"the peaks of {len(without)} experiments have nothing in the regions: "
            f"{', '.join(without[:MOST_NAMED])}{more}"
        )
    return Strata(
        left_out,
        strata if genes or enhancers else (),
        peaks,
        tuple(notes),
    )


def read_bed(path: str | Path) -> list[Interval]:
    """Read a BED file, plain or gzipped, with any number of further columns.

    Raises
    ------
    RegionError
        If the file or one of its lines cannot be used; the message names both.
    """
    path = Path(path)
    if not path.is_file():
        raise RegionError(f"BED file {path} does not exist")
    opener = gzip.open if path.suffix == ".gz" else open
    intervals = []
    size = 0
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                size += len(line)
                if size > MAX_BED_BYTES or number > MAX_BED_LINES:
                    raise RegionError(
                        f"{path} is too large", expected=f"at most {MAX_BED_LINES:,} lines, 1 GiB"
                    )
                fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
                if not fields or not fields[0] or fields[0].startswith(("#", "track", "browser")):
                    continue
                if len(fields) < 3 or not (is_number(fields[1]) and is_number(fields[2])):
                    raise RegionError(
                        f"{path}, line {number}", got=repr(line.strip()[:80]), expected="chrom, start, end"
                    )
                start, end = int(fields[1]), int(fields[2])
                if not 0 <= start <= end < 1 << 40:
                    raise RegionError(
                        f"{path}, line {number}", got=f"{start}-{end}", expected="0 <= start <= end"
                    )
                intervals.append(Interval(fields[0], start, end, fields[5] if len(fields) > 5 else ""))
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise RegionError(f"{path} is not a text file", expected="a BED file") from error
    return intervals


def _peak_files(table: str | Path | None) -> dict[tuple[str, str], Path]:
    if table is None:
        return {}
    rows = read_tsv(Path(table), ("biosample", "assay", "path"), what="table of peaks", error=RegionError)
    folder = Path(table).parent
    return {(str(row.biosample), str(row.assay)): folder / str(row.path) for row in rows.itertuples()}


def content_of(annotations: Annotations) -> list[str]:
    """Compute the SHA-256 of each annotation file, those that a table of peaks names included.

    Raises
    ------
    RegionError
        If one does not exist.
    """
    given = (annotations.blacklist, annotations.genes, annotations.enhancers, annotations.peaks)
    paths = [Path(path) for path in given if path] + [*_peak_files(annotations.peaks).values()]
    digests = []
    for path in paths:
        if not path.is_file():
            raise RegionError(f"annotation file {path} does not exist")
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def _nothing_there(path: str | Path, regions: Regions) -> RegionError:
    return RegionError(
        f"{path} has nothing in the regions of the store",
        expected=f"intervals on {regions.assembly}, on chromosomes such as {regions.chrom[0]}",
        next_step="check that it is of the same assembly",
    )


def _bins(interval: Interval, challenge: bool) -> tuple[int, int]:
    """Return the bins of an interval on its chromosome. The challenge adds one if `end` divides by 25."""
    first = interval.start // BIN_SIZE
    return first, interval.end // BIN_SIZE + 1 if challenge else max(first, -(-interval.end // BIN_SIZE))


def _promoter(gene: Interval, challenge: bool) -> tuple[int, int]:
    """Return the bins upstream of a gene. The challenge has none if they begin before the chromosome."""
    first, stop = _bins(gene, challenge)
    if gene.strand == "-":
        return stop, stop + PROMOTER_BINS
    low = first - PROMOTER_BINS
    return (first, first) if challenge and low < 0 else (max(0, low), first)


def _by_chrom(rows: Iterable[tuple[str, int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Sort intervals by chromosome, and merge those that overlap or touch."""
    merged: dict[str, list[tuple[int, int]]] = {}
    for chrom, start, stop in sorted(rows):
        intervals = merged.setdefault(chrom, [])
        if intervals and start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], stop))
        else:
            intervals.append((start, stop))
    return merged


def _cover(
    rows: Sequence[tuple[str, int, int]],
    regions: Regions,
    deleted: Mapping[str, Sequence[tuple[int, int]]],
    *,
    once: bool,
) -> Coverage:
    """Cover an axis with bins of chromosomes, which are looked up after the deleted bins were taken out."""
    starts, stops = [], []
    by_chrom: dict[str, list[tuple[int, int]]] = {}
    for chrom, start, stop in rows:
        if start < stop:
            by_chrom.setdefault(chrom, []).append((start, stop))
    for index, chrom in enumerate(regions.chrom):
        if chrom not in by_chrom:
            continue
        low, high = np.array(by_chrom[chrom], dtype=np.int64).T
        for kept_low, kept_high, shift in _kept(deleted.get(chrom, ())):
            first, n_bins = regions.start[index] // BIN_SIZE, int(regions.n_bins_each[index])
            a = np.maximum(np.maximum(low + shift, kept_low), first)
            b = np.minimum(np.minimum(high + shift, kept_high), first + n_bins)
            some = a < b
            starts.append(a[some] - first + regions.first_bin[index])
            stops.append(b[some] - first + regions.first_bin[index])
    nothing = np.empty(0, dtype=np.int64)
    return Coverage.of(np.concatenate([nothing, *starts]), np.concatenate([nothing, *stops]), once=once)


def _kept(deleted: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """List the stretches of bins between deleted ones, and the shift of their numbers."""
    kept, low, shift = [], 0, 0
    for start, stop in deleted:
        if low < start:
            kept.append((low, start, shift))
        low, shift = stop, shift + stop - start
    return [*kept, (low, 1 << 40, shift)]
