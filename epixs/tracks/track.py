"""bigWig -> exact per-bin sums and covered bases. Bases are laid out only where items overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from epixs.compiled import compiled
from epixs.errors import TrackError
from epixs.genome.assembly import Assembly
from epixs.genome.names import match_chromosomes
from epixs.genome.regions import BIN_SIZE, Piece
from epixs.tracks.bigwig import SECTION_BYTES, BigWig

Backend = Literal["epixs", "pybigwig"]
"""What reads bigWigs: our own reader, or pyBigWig to check it (`reference.py`)."""

Uncovered = Literal["zero", "nan"]

BEDGRAPH, VARIABLE_STEP = 1, 2
HEAD_WORDS = SECTION_BYTES // 4
WORD = np.uint64(0xFFFFFFFF)

ONE, TWO, THREE = np.uint64(1), np.uint64(2), np.uint64(3)
SPARE = 3
"""Bins beyond the last, to which the kernel adds nothing."""

BINS_LAID_OUT = 40_000
"""Bins whose bases are laid out at once, where items overlap."""

MOST_LAID_OVER = 64
"""Times that the bases of a stretch may be laid over one another, on average."""

FINE, INFINITE, UNSORTED, ENDS_EARLY, NO_HEAD, ELSEWHERE, OVERLAP, TOO_DEEP = range(8)
FAULTS = {
    UNSORTED: "items are out of order, or end before they start",
    ENDS_EARLY: "a block ends early",
    NO_HEAD: "a block has no valid head",
    ELSEWHERE: "a block does not lie where the index says",
}


@dataclass(frozen=True)
class BinnedSignal:
    """What one track holds over a run of bins.

    Parameters
    ----------
    sums
        Sum of the values over each bin's covered bases, shape `(bin,)`, the track's own units.
    covered
        Bases of each bin that have a value, shape `(bin,)`.
    without_width
        Items that end where they start, and add nothing.
    overlapping
        Items that begin where an earlier one has not ended: the later one counts.
    """

    sums: npt.NDArray[np.float64]
    covered: npt.NDArray[np.uint8]
    without_width: int = 0
    overlapping: int = 0

    def means(self, widths: npt.NDArray[np.float64], uncovered: Uncovered) -> npt.NDArray[np.float64]:
        """Mean of each bin, shape `(bin,)`.

        Parameters
        ----------
        widths
            Width of each bin in bp.
        uncovered
            `"zero"` counts a base without a value as 0; `"nan"` averages the covered bases alone and
            gives NaN where there is none.
        """
        if uncovered == "zero":
            return self.sums / widths
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.covered > 0, self.sums / self.covered, np.nan)


@dataclass(frozen=True)
class Placement:
    """How a file's chromosomes lie on an assembly.

    Parameters
    ----------
    absent
        Chromosomes to be read that the file has not: no base of them has a value.
    renamed
        Those that it calls differently: `"1 for chr1"`.
    other_lengths
        Those that are not to be read and have another length in it: `"chrM (16,569 bp)"`.
    """

    absent: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    other_lengths: tuple[str, ...] = ()


@compiled()
def _add_run(
    words: npt.NDArray[Any],
    values: npt.NDArray[Any],
    first_word: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    big_endian: bool,
    number: Any,
    low: Any,
    high: Any,
    last_end: Any,
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.uint8],
    bases: npt.NDArray[np.float32],
    odd: npt.NDArray[np.int64],
) -> tuple[Any, Any]:
    """Add all items of a run of blocks to the bins of `[low, high)`.

    If `bases`, shape `(high - low,)`, has a place for each base, values are laid out there instead, later
    ones over earlier ones; else items that overlap inside `[low, high)` end the run with `OVERLAP`. `odd`
    counts items without width, items that overlap, and bases laid out.

    A block is `chromosome, start, end, step, span, (kind, count)` and its items: `start, end, value` for
    bedGraph, `start, value` for variableStep, `value` for fixedStep. Nothing in it is believed: not its
    counts, its place, nor its order.

    Returns
    -------
    What was found (`FINE` or a fault), and how far the items reached or where the fault is.
    """
    for block in range(first_word.size - 1):
        at, stop = first_word[block], first_word[block + 1]
        if stop - at < HEAD_WORDS:
            return ENDS_EARLY, np.int64(boxes[block, 0] & WORD)
        chrom, first = np.uint64(words[at]), np.int64(words[at + 1])
        step, span, packed = np.int64(words[at + 3]), np.int64(words[at + 4]), words[at + 5]
        if big_endian:
            kind, count = packed >> np.uint32(24), np.int64(packed & np.uint32(0xFFFF))
        else:
            kind, count = packed & np.uint32(0xFF), np.int64(packed >> np.uint32(16))
        if kind < 1 or kind > 3 or at + HEAD_WORDS + np.int64(4 - kind) * count > stop:
            return NO_HEAD, np.int64(boxes[block, 0] & WORD)
        begin = chrom << np.uint64(32) | np.uint64(words[at + 1])
        finish = chrom << np.uint64(32) | np.uint64(words[at + 2])
        if begin < boxes[block, 0] or finish > boxes[block, 1]:
            return ELSEWHERE, np.int64(boxes[block, 0] & WORD)
        if chrom != number:
            continue
        at += HEAD_WORDS
        end = before = first
        binned = first % BIN_SIZE == 0 and np.int64(finish & WORD) % BIN_SIZE == 0
        for i in range(count):
            if kind == BEDGRAPH:
                start, end = np.int64(words[at]), np.int64(words[at + 1])
            elif kind == VARIABLE_STEP:
                start = np.int64(words[at])
                end = start + span
            else:
                start = first + i * step
                end = start + span
            at += 4 - kind
            if start < last_end or end <= start or start < first:
                if start < first:
                    return ELSEWHERE, start
                if start < before or end < start:
                    return UNSORTED, start
                if end == start:
                    odd[0] += low <= start < high
                elif max(start, low) < min(end, last_end, high):
                    odd[1] += 1
                    if not bases.size:
                        return OVERLAP, start
            before = start
            last_end = max(last_end, end)
            if end <= low or start >= high or end == start:
                continue
            value = np.float64(values[at - 1])
            if bases.size and not np.isinf(value):
                odd[2] += min(end, high) - max(start, low)
                if odd[2] > MOST_LAID_OVER * bases.size:
                    return TOO_DEEP, start
                bases[max(start, low) - low : min(end, high) - low] = value
                continue
            if not np.isfinite(value):
                if np.isnan(value):
                    continue
                return INFINITE, start
            start, end = max(start, low) - low, min(end, high) - low
            first_bin = start // BIN_SIZE
            index, edge = np.uint64(first_bin), (first_bin + 1) * BIN_SIZE
            if binned and end <= edge:
                sums[index] += value * (end - start)
                covered[index] += end - start
                continue
            # Where items lie anyhow, whether one crosses into the next bin or two cannot be foretold:
            # adding to three bins, to some of them nothing, is faster than guessing wrong.
            width = min(end, edge) - start
            sums[index] += value * width
            covered[index] += width
            width = max(min(end - edge, BIN_SIZE), 0)
            sums[index + ONE] += value * width
            covered[index + ONE] += width
            width = max(min(end - edge - BIN_SIZE, BIN_SIZE), 0)
            sums[index + TWO] += value * width
            covered[index + TWO] += width
            edge += 2 * BIN_SIZE
            if edge < end:
                index += THREE
                full = value * BIN_SIZE
                for _ in range((end - edge) // BIN_SIZE):  # these bins are the item's alone
                    sums[index] = full
                    covered[index] = BIN_SIZE
                    index += ONE
                width = (end - edge) % BIN_SIZE
                sums[index] += value * width
                covered[index] += width
        if end > np.int64(finish & WORD):  # of the last item, as some writers have it where items overlap
            return ELSEWHERE, np.int64(boxes[block, 0] & WORD)
    return FINE, last_end


@compiled()
def _add_run_to_each(
    words: npt.NDArray[Any],
    values: npt.NDArray[Any],
    first_word: npt.NDArray[Any],
    boxes: npt.NDArray[Any],
    big_endian: bool,
    stretches: npt.NDArray[np.int64],
    blocks: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.uint8],
    odd: npt.NDArray[np.int64],
) -> None:
    """`_add_run` for each of many stretches, from the blocks of the run that belong to it.

    Parameters
    ----------
    stretches
        Number of the chromosome, first base and the one after the last; shape `(stretch, 3)`.
    blocks
        First of its blocks, counted in the run, and the one after the last; shape `(stretch, 2)`.
    place
        First of its bins in `sums` and `covered`, and the one after the last; shape `(stretch, 2)`.
    state
        What was found so far, and where the last item ended; shape `(stretch, 2)`. A stretch with a fault is
        left alone from there on.
    odd
        As in `_add_run`, shape `(stretch, 3)`.
    """
    nowhere = np.empty(0, np.float32)
    reached = np.full(boxes.shape[0], -1, np.int64)  # where the items of a block end, once they were checked
    for i in range(stretches.shape[0]):
        number, low, high = stretches[i, 0], stretches[i, 1], stretches[i, 2]
        into = slice(place[i, 0], place[i, 1])
        for block in range(max(blocks[i, 0], 0), min(blocks[i, 1], boxes.shape[0])):
            if state[i, 0] != FINE:
                break
            at = first_word[block]
            # Checked by a stretch before this one, which began no later, and so all before it as well.
            if (
                reached[block] >= 0
                and words[at] == number
                and (reached[block] <= low or words[at + 1] >= high)
            ):
                state[i, 1] = max(state[i, 1], reached[block])
                continue
            state[i, 0], state[i, 1] = _add_run(
                words, values, first_word[block : block + 2], boxes[block : block + 1], big_endian,
                number, low, high, state[i, 1], sums[into], covered[into], nowhere, odd[i],
            )  # fmt: skip
            if state[i, 0] == FINE and words[at] == number:
                reached[block] = state[i, 1]


@compiled()
def _close_up(
    place: npt.NDArray[np.int64], sums: npt.NDArray[np.float64], covered: npt.NDArray[np.uint8]
) -> None:
    """Move the bins of all stretches together, over the spare ones between them."""
    to = np.int64(0)
    for i in range(place.shape[0]):
        first, stop = place[i, 0], place[i, 1] - SPARE
        if to < first:
            for at in range(first, stop):
                sums[to + at - first] = sums[at]
                covered[to + at - first] = covered[at]
        to += stop - first


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
        """Name, size and version: what tells that the file was replaced."""
        return self._bigwig.state()

    def check_state(self, expected: Sequence[Any]) -> None:
        """Check that the file is the one that a run was planned with.

        Raises
        ------
        TrackError
            If it was replaced or changed since.
        """
        got = self.state()
        if expected[1] < 0:  # of a file that comes and goes, a row could hold two
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
        """Find an assembly's chromosomes in the file, by whichever names; `placement` says how they lie.

        Parameters
        ----------
        assembly
            Theirs are the names by which the file is read from now on.
        chroms
            Chromosomes that will be read, if not all. Of one that the file lacks, no base has a value:
            writers leave out chromosomes without data.

        Raises
        ------
        TrackError
            If a chromosome to be read has another length than in the assembly, or most others have, or the
            file has none of them.
        """
        found = match_chromosomes(self.chrom_sizes, assembly)
        wanted = [chrom for chrom in chroms if chrom in found.names] if chroms else list(found.names)
        unclear = [chrom for chrom in chroms if chrom in found.ambiguous]
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
                + (" among those of the regions" if found.names else ""),
                got=", ".join(list(self.chrom_sizes)[:4]) or "no chromosome",
                expected=", ".join(list(chroms or assembly.chrom_sizes)[:4]),
                next_step="check the assembly and the chromosome names of the file; other names of the same "
                "chromosomes can be given with --chrom-alias",
            )
        wrong = set(found.other_lengths)
        others = [chrom for chrom in found.names if chrom in wrong]
        refused = [chrom for chrom in wanted if chrom in wrong]
        if not refused and 2 * len(others) > len(found.names):
            refused = others
        for chrom in refused:
            raise TrackError(
                f"{self.path} is not on {assembly.name}: {chrom}",
                got=f"{self.chrom_sizes[found.names[chrom]]} bp",
                expected=f"{assembly.chrom_sizes[chrom]} bp",
                next_step="correct the catalog's assembly or use the file of that assembly",
            )
        self._names = found.names
        renamed = [f"{found.names[chrom]} for {chrom}" for chrom in wanted if found.names[chrom] != chrom]
        absent = [chrom for chrom in chroms if chrom not in found.names]
        lengths = [f"{chrom} ({self.chrom_sizes[found.names[chrom]]:,} bp)" for chrom in others]
        self.placement = Placement(tuple(absent), tuple(renamed), tuple(lengths))

    def prefetch(self, pieces: Iterable[Piece]) -> None:
        """Say what will be read, so that a remote file is asked for all of it together."""
        if self._bigwig.is_remote:
            held = [piece for piece in pieces if piece.chrom in self._names]
            self._bigwig.prefetch(*self._stretches(held).T)

    def release(self) -> None:
        """Let go of what was fetched and not of the file: more of it will be read later."""
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
        """Sum over bins by way of their bases: what later items cover of earlier ones, they alone tell."""
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
        """Add all items in a stretch to bins, or lay them out on bases; false where only the latter does."""
        at = 0
        for run in self._bigwig.runs(chrom, start, end):
            found, at = _add_run(
                run.words, run.words.view(np.float32), run.first_word, run.boxes,
                self._bigwig.order == ">", self._bigwig.number(chrom), start, end, at,
                sums, covered, bases, odd,
            )  # fmt: skip
            if found == OVERLAP:
                return False
            if found == TOO_DEEP:
                what = f"times that items overlap near {chrom}:{at}"
                raise self._bigwig.beyond(what, MOST_LAID_OVER + 1, MOST_LAID_OVER)
            if found == INFINITE:
                raise TrackError(
                    f"{self.path} holds an infinite value at {chrom}:{at}",
                    got="inf",
                    expected="finite values (NaN or no value where nothing was measured)",
                    next_step="export the track again with a finite cap",
                )
            if found != FINE:
                raise self._bigwig.damaged(f"{FAULTS[found]} near {chrom}:{at}")
        return True

    def read_all(self, pieces: Sequence[Piece]) -> BinnedSignal:
        """Sum the track over the bins of many pieces, which come behind one another as the pieces do.

        The same to the bit as `read` of each; but data blocks that several pieces need are inflated once.

        Raises
        ------
        TrackError
            As `read`.
        """
        n_bins = np.array([piece.n_bins for piece in pieces], np.int64)
        stop = np.cumsum(n_bins + SPARE)
        place = np.stack([stop - n_bins - SPARE, stop], axis=1)
        sums = np.zeros(int(stop[-1]) if pieces else 0)
        covered = np.zeros(sums.size, dtype=np.uint8)
        alone, without_width = self._add_all(pieces, place, sums, covered)
        overlapping = 0
        for at in alone:
            found = self.read(pieces[at])
            bins = slice(place[at, 0], place[at, 1] - SPARE)
            sums[bins], covered[bins] = found.sums, found.covered
            without_width += found.without_width
            overlapping += found.overlapping
        _close_up(place, sums, covered)
        return BinnedSignal(sums[: n_bins.sum()], covered[: n_bins.sum()], without_width, overlapping)

    def _add_all(
        self,
        pieces: Sequence[Piece],
        place: npt.NDArray[np.int64],
        sums: npt.NDArray[np.float64],
        covered: npt.NDArray[np.uint8],
    ) -> tuple[list[int], int]:
        """Add all items of some pieces to their bins; returns those that have to be read alone.

        Those are pieces with which something is wrong, or unusual: `read` says what. Of the others, the items
        without width are counted.
        """
        ends = {chrom: self.chrom_sizes[name] for chrom, name in self._names.items()}
        held = np.array([piece.end <= ends.get(piece.chrom, -1) for piece in pieces], dtype=bool)
        alone: list[int] = np.flatnonzero(~held).tolist()
        stretches = self._stretches([piece for piece, here in zip(pieces, held, strict=True) if here])
        order = np.lexsort(stretches.T[::-1])
        stretches, place = stretches[order], place[held][order]
        first, stop = self._bigwig.blocks(*stretches.T)
        reached = np.maximum.accumulate(stop)
        state, odd = np.zeros((order.size, 2), np.int64), np.zeros((order.size, 3), np.int64)
        for blocks, run in self._bigwig.runs_of(first, stop):
            # In order, the pieces that have blocks in this run are neighbours, but for some between them.
            few = slice(
                int(np.searchsorted(reached, blocks[0], side="right")),
                int(np.searchsorted(first, blocks[-1], side="right")),
            )
            in_run = np.stack([np.searchsorted(blocks, side[few]) for side in (first, stop)], axis=1)
            _add_run_to_each(
                run.words, run.words.view(np.float32), run.first_word, run.boxes,
                self._bigwig.order == ">", stretches[few], in_run, place[few], state[few], sums, covered,
                odd[few],
            )  # fmt: skip
        alone.extend(np.flatnonzero(held)[order[state[:, 0] != FINE]].tolist())
        return alone, int(odd[state[:, 0] == FINE, 0].sum())

    def _stretches(self, pieces: Sequence[Piece]) -> npt.NDArray[np.int64]:
        """Number of the chromosome, first base and the one after the last of pieces, shape `(piece, 3)`."""
        numbers = {chrom: self._bigwig.number(name) for chrom, name in self._names.items()}
        table = [(numbers[piece.chrom], piece.start, piece.end) for piece in pieces]
        return np.array(table, np.int64).reshape(-1, 3)


def sum_bases(
    bases: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Sum and number of the known values of each bin, from those of its bases, shape `(bin * 25,)`."""
    each = bases.reshape(-1, BIN_SIZE)
    known = ~np.isnan(each)
    return np.where(known, each, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1).astype(np.uint8)
