"""Read a bigWig as exact sums and numbers of covered bases per bin.

Values are written out base by base only where items overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.names import match_chromosomes
from epixs.genome.regions import BIN_SIZE, Piece
from epixs.tracks.bigwig import BigWig
from epixs.tracks.items import (
    FAULTS,
    FINE,
    INFINITE,
    MOST_LAID_OVER,
    OVERLAP,
    SPARE,
    TOO_DEEP,
    add_run,
    add_run_to_each,
    close_up,
    sum_bases,
)  # fmt: skip

Backend = Literal["epixs", "pybigwig"]
"""Reader of bigWigs: our own, or pyBigWig to check it (`pybigwig.py`)."""

Uncovered = Literal["zero", "nan"]

BINS_LAID_OUT = 40_000
"""Number of bins whose bases are written out at once, where items overlap."""


@dataclass(frozen=True)
class BinnedSignal:
    """The signal of one track over consecutive bins.

    Parameters
    ----------
    sums
        Sum of the values over each bin's covered bases, shape `(bin,)`, in the track's own units.
    covered
        Number of bases of each bin that have a value, shape `(bin,)`.
    without_width
        Number of items that end where they start; they add nothing.
    overlapping
        Number of items that begin before an earlier one ends. Where items overlap, the later one counts.
    """

    sums: npt.NDArray[np.float64]
    covered: npt.NDArray[np.uint8]
    without_width: int = 0
    overlapping: int = 0

    def means(self, widths: npt.NDArray[np.float64], uncovered: Uncovered) -> npt.NDArray[np.float64]:
        """Compute the mean of each bin, shape `(bin,)`.

        Parameters
        ----------
        widths
            Width of each bin in bp.
        uncovered
            `"zero"` counts a base without a value as 0. `"nan"` averages only the covered bases; a bin
            without any is NaN.
        """
        if uncovered == "zero":
            return self.sums / widths
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.covered > 0, self.sums / self.covered, np.nan)


@dataclass(frozen=True)
class Placement:
    """Differences between a file's chromosomes and those of an assembly.

    Parameters
    ----------
    absent
        Chromosomes to read that the file lacks: none of their bases has a value.
    renamed
        Chromosomes that have another name in the file: `"1 for chr1"`.
    other_lengths
        Chromosomes not to read that have another length in the file: `"chrM (16,569 bp)"`.
    """

    absent: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    other_lengths: tuple[str, ...] = ()


class Track:
    """An open bigWig file, read bin by bin.

    Parameters
    ----------
    path
        A local file or a URL (http, https, s3, gs, az), which is read by byte range.

    Raises
    ------
    TrackError
        If the file is missing, empty, truncated, damaged or not a bigWig.

    Examples
    --------
    >>> with Track("H1.H3K4me3.bigWig") as track:               # doctest: +SKIP
    ...     signal = track.read(Piece("chr1", 0, 1000, first_bin=0))
    """

    def __init__(self, path: str | Path) -> None:
        self._bigwig = BigWig(path)
        self.path = self._bigwig.path
        self.chrom_sizes = self._bigwig.chrom_sizes
        self.index_bytes = self._bigwig.index_bytes
        self._names = {chrom: chrom for chrom in self.chrom_sizes}
        self.placement = Placement()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._bigwig.close()

    def state(self) -> list[Any]:
        """Return name, size and version of the file; they change if it is replaced."""
        return self._bigwig.state()

    def check_state(self, expected: Sequence[Any]) -> None:
        """Check that the file is still the one that the run was planned with.

        Raises
        ------
        TrackError
            If it was replaced or changed since.
        """
        got = self.state()
        if expected[1] < 0:  # a row could else mix two versions of a file that was absent for a while
            raise TrackError(
                f"{self.path} could not be read when the run began, but can now",
                next_step="run the same command again",
            )
        if got != list(expected):
            raise TrackError(
                f"{self.path} changed since the run began",
                got=f"{got[1]} bytes, version {got[2]}",
                expected=f"{expected[1]} bytes, version {expected[2]}",
                next_step="run the same command again when nobody writes to it",
            )

    def check_assembly(self, assembly: Assembly, chroms: Sequence[str] = ()) -> None:
        """Find an assembly's chromosomes in the file, under any of their names; sets `placement`.

        Parameters
        ----------
        assembly
            The file is read by the assembly's names from now on.
        chroms
            Chromosomes that will be read, if not all. The file may lack some of them, because writers leave
            out chromosomes without data; none of their bases has a value.

        Raises
        ------
        TrackError
            If a chromosome to read has another length than in the assembly, if most of the others have, or
            if the file has none of the chromosomes to read.
        """
        match = match_chromosomes(self.chrom_sizes, assembly)
        wanted = [chrom for chrom in chroms if chrom in match.names] if chroms else list(match.names)
        unclear = [chrom for chrom in chroms if chrom in match.ambiguous]
        if unclear:
            raise TrackError(
                f"{self.path}: which chromosome is {unclear[0]} of {assembly.name}?",
                got="several that it could be",
                expected="one name for it",
                next_step="say so in a table of names: --chrom-alias, or "
                f"{assembly.name}.chromAlias.txt beside the catalog",
            )
        if not wanted:
            raise TrackError(
                f"{self.path} has no chromosome of {assembly.name}"
                + (" among those of the regions" if match.names else ""),
                got=", ".join(list(self.chrom_sizes)[:4]) or "no chromosome",
                expected=", ".join(list(chroms or assembly.chrom_sizes)[:4]),
                next_step="check the assembly and the chromosome names of the file; other names of the same "
                "chromosomes can be given with --chrom-alias",
            )
        wrong = set(match.other_lengths)
        others = [chrom for chrom in match.names if chrom in wrong]
        refused = [chrom for chrom in wanted if chrom in wrong]
        if not refused and 2 * len(others) > len(match.names):
            refused = others
        for chrom in refused:
            raise TrackError(
                f"{self.path} is not on {assembly.name}: {chrom}",
                got=f"{self.chrom_sizes[match.names[chrom]]} bp",
                expected=f"{assembly.chrom_sizes[chrom]} bp",
                next_step="correct the catalog's assembly or use the file of that assembly",
            )
        self._names = match.names
        renamed = [f"{match.names[chrom]} for {chrom}" for chrom in wanted if match.names[chrom] != chrom]
        absent = [chrom for chrom in chroms if chrom not in match.names]
        lengths = [f"{chrom} ({self.chrom_sizes[match.names[chrom]]:,} bp)" for chrom in others]
        self.placement = Placement(tuple(absent), tuple(renamed), tuple(lengths))

    def prefetch(self, pieces: Iterable[Piece]) -> None:
        """Announce the pieces that will be read, so that a remote file is asked for them together."""
        if self._bigwig.is_remote:
            held = [piece for piece in pieces if piece.chrom in self._names]
            self._bigwig.prefetch(*self._stretches(held).T)

    def release(self) -> None:
        """Free the bytes fetched; the file stays open, and more of it may be read later."""
        self._bigwig.release()

    def read(self, piece: Piece) -> BinnedSignal:
        """Sum the track over the bins of one piece; a chromosome that the file lacks has no value.

        Raises
        ------
        TrackError
            If a block is damaged or a value is infinite.
        """
        chrom = self._names.get(piece.chrom)
        if chrom is None:
            return BinnedSignal(np.zeros(piece.n_bins), np.zeros(piece.n_bins, dtype=np.uint8))
        if piece.end > self.chrom_sizes[chrom]:
            raise TrackError(
                f"{self.path}: {piece.chrom} ends before the region",
                got=f"{self.chrom_sizes[chrom]} bp",
                expected=f"at least {piece.end} bp",
                next_step="check that the file is on the catalog's assembly",
            )
        sums = np.zeros(piece.n_bins + SPARE)
        covered = np.zeros(piece.n_bins + SPARE, dtype=np.uint8)
        odd = np.zeros(3, dtype=np.int64)
        if not self._add(chrom, piece.start, piece.end, sums, covered, np.empty(0, dtype=np.float32), odd):
            return self._read_laid_out(chrom, piece)
        return BinnedSignal(sums[: piece.n_bins], covered[: piece.n_bins], int(odd[0]))

    def _read_laid_out(self, chrom: str, piece: Piece) -> BinnedSignal:
        """Sum over bins base by base, because later items replace the bases of earlier ones."""
        sums, covered = np.empty(piece.n_bins), np.empty(piece.n_bins, dtype=np.uint8)
        odd = np.zeros(3, dtype=np.int64)
        for first in range(0, piece.n_bins, BINS_LAID_OUT):
            stop = min(piece.n_bins, first + BINS_LAID_OUT)
            start, end = piece.start + first * BIN_SIZE, min(piece.end, piece.start + stop * BIN_SIZE)
            bases, odd[2] = np.full((stop - first) * BIN_SIZE, np.nan, dtype=np.float32), 0
            self._add(chrom, start, end, sums, covered, bases, odd)
            sums[first:stop], covered[first:stop] = sum_bases(bases)
        return BinnedSignal(sums, covered, int(odd[0]), int(odd[1]))

    def _add(
        self,
        chrom: str,
        start: int,
        end: int,
        sums: npt.NDArray[np.float64],
        covered: npt.NDArray[np.uint8],
        bases: npt.NDArray[np.float32],
        odd: npt.NDArray[np.int64],
    ) -> bool:
        """Add all items in a stretch to bins, or write them on `bases`; False if items overlap without it."""
        at = 0
        for run in self._bigwig.runs(chrom, start, end):
            fault, at = add_run(
                run.words, run.words.view(np.float32), run.first_word, run.boxes,
                self._bigwig.order == ">", self._bigwig.number(chrom), start, end, at,
                sums, covered, bases, odd,
            )  # fmt: skip
            if fault == OVERLAP:
                return False
            if fault == TOO_DEEP:
                what = f"times that items overlap near {chrom}:{at}"
                raise self._bigwig.beyond(what, MOST_LAID_OVER + 1, MOST_LAID_OVER)
            if fault == INFINITE:
                raise TrackError(
                    f"{self.path} holds an infinite value at {chrom}:{at}",
                    got="inf",
                    expected="finite values (NaN or no value where nothing was measured)",
                    next_step="export the track again with a finite cap",
                )
            if fault != FINE:
                raise self._bigwig.damaged(f"{FAULTS[fault]} near {chrom}:{at}")
        return True

    def read_all(self, pieces: Sequence[Piece]) -> BinnedSignal:
        """Sum the track over the bins of many pieces, concatenated in the order of the pieces.

        The result equals that of `read` for each piece, bit for bit. Data blocks that several pieces need are
        inflated only once.

        Raises
        ------
        TrackError
            As `read` does.
        """
        n_bins = np.array([piece.n_bins for piece in pieces], np.int64)
        stop = np.cumsum(n_bins + SPARE)
        place = np.stack([stop - n_bins - SPARE, stop], axis=1)
        sums = np.zeros(int(stop[-1]) if pieces else 0)
        covered = np.zeros(sums.size, dtype=np.uint8)
        alone, without_width = self._add_all(pieces, place, sums, covered)
        overlapping = 0
        for at in alone:
            signal = self.read(pieces[at])
            bins = slice(place[at, 0], place[at, 1] - SPARE)
            sums[bins], covered[bins] = signal.sums, signal.covered
            without_width += signal.without_width
            overlapping += signal.overlapping
        close_up(place, sums, covered)
        return BinnedSignal(sums[: n_bins.sum()], covered[: n_bins.sum()], without_width, overlapping)

    def _add_all(
        self,
        pieces: Sequence[Piece],
        place: npt.NDArray[np.int64],
        sums: npt.NDArray[np.float64],
        covered: npt.NDArray[np.uint8],
    ) -> tuple[list[int], int]:
        """Add all items of some pieces to their bins; returns the pieces that have to be read alone.

        In those pieces something is wrong or unusual, and `read` tells what. The second number returned
        counts the items without width in all other pieces.
        """
        ends = {chrom: self.chrom_sizes[name] for chrom, name in self._names.items()}
        held = np.array([piece.end <= ends.get(piece.chrom, -1) for piece in pieces], dtype=bool)
        alone: list[int] = np.flatnonzero(~held).tolist()
        stretches = self._stretches([piece for piece, is_held in zip(pieces, held, strict=True) if is_held])
        order = np.lexsort(stretches.T[::-1])
        stretches, place = stretches[order], place[held][order]
        first, stop = self._bigwig.blocks(*stretches.T)
        reached = np.maximum.accumulate(stop)
        state, odd = np.zeros((order.size, 2), np.int64), np.zeros((order.size, 3), np.int64)
        for blocks, run in self._bigwig.runs_of(first, stop):
            # The pieces, in order, from the first to the last with blocks in this run; few of them have none.
            few = slice(
                int(np.searchsorted(reached, blocks[0], side="right")),
                int(np.searchsorted(first, blocks[-1], side="right")),
            )
            in_run = np.stack([np.searchsorted(blocks, side[few]) for side in (first, stop)], axis=1)
            add_run_to_each(
                run.words, run.words.view(np.float32), run.first_word, run.boxes,
                self._bigwig.order == ">", stretches[few], in_run, place[few], state[few], sums, covered,
                odd[few],
            )  # fmt: skip
        alone.extend(np.flatnonzero(held)[order[state[:, 0] != FINE]].tolist())
        return alone, int(odd[state[:, 0] == FINE, 0].sum())

    def _stretches(self, pieces: Sequence[Piece]) -> npt.NDArray[np.int64]:
        """Tabulate each piece: number of its chromosome, first base, base after its last; `(piece, 3)`."""
        numbers = {chrom: self._bigwig.number(name) for chrom, name in self._names.items()}
        table = [(numbers[piece.chrom], piece.start, piece.end) for piece in pieces]
        return np.array(table, np.int64).reshape(-1, 3)
