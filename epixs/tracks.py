"""bigWig -> exact per-bin sums and covered bases. The bases themselves are never laid out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numba
import numpy as np
import numpy.typing as npt

from epixs.bigwig import BEDGRAPH, VARIABLE_STEP, BigWig
from epixs.errors import TrackError
from epixs.genome import BIN_SIZE, Assembly, Piece

Uncovered = Literal["zero", "nan"]

FINE, UNSORTED, INFINITE = 0, 1, 2


@dataclass(frozen=True)
class BinnedSignal:
    """What one track holds over a run of bins.

    Parameters
    ----------
    sums
        Sum of the values over each bin's covered bases, shape `(bin,)`, the track's own units.
    covered
        Bases of each bin that have a value, shape `(bin,)`.
    """

    sums: npt.NDArray[np.float64]
    covered: npt.NDArray[np.int64]

    def means(self, widths: npt.NDArray[np.int64], uncovered: Uncovered) -> npt.NDArray[np.float64]:
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


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[misc, unused-ignore]
def _signed(word: np.uint32) -> Any:
    return np.int64(word)


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _add_items(
    kind: int,
    first: int,
    step: int,
    span: int,
    count: int,
    words: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    low: int,
    high: int,
    last_end: int,
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Add a section's items to the bins of `[low, high)`.

    Returns
    -------
    What was found (`FINE`, `UNSORTED` or `INFINITE`), and the end of the last item or where the fault is.
    """
    for i in range(count):
        if kind == BEDGRAPH:
            start, end, value = _signed(words[3 * i]), _signed(words[3 * i + 1]), values[3 * i + 2]
        elif kind == VARIABLE_STEP:
            start, value = _signed(words[2 * i]), values[2 * i + 1]
            end = start + span
        else:
            start, value = first + i * step, values[i]
            end = start + span
        if start < last_end or end <= start:
            return UNSORTED, start
        last_end = end
        if end <= low or start >= high or np.isnan(value):
            continue
        if np.isinf(value):
            return INFINITE, start
        start, end = max(start, low) - low, min(end, high) - low
        while start < end:
            index = start // BIN_SIZE
            stop = min(end, (index + 1) * BIN_SIZE)
            sums[index] += float(value) * (stop - start)
            covered[index] += stop - start
            start = stop
    return FINE, last_end


class Track:
    """An open bigWig file, read bin by bin.

    Parameters
    ----------
    path
        A local file.

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
        self.path = Path(path)
        self._bigwig = BigWig(path)
        self.chrom_sizes = self._bigwig.chrom_sizes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bigwig.close()

    def check_assembly(self, assembly: Assembly) -> None:
        """Compare the file's chromosomes with the assembly's.

        Raises
        ------
        TrackError
            If a chromosome has another length than in the assembly, or no chromosome is shared.
        """
        shared = [chrom for chrom in self.chrom_sizes if chrom in assembly.chrom_sizes]
        if not shared:
            raise TrackError(
                f"{self.path} has no chromosome of {assembly.name}",
                got=", ".join(list(self.chrom_sizes)[:4]) or "no chromosome",
                expected=", ".join(list(assembly.chrom_sizes)[:4]),
                next_step="check the assembly and the chromosome names of the file",
            )
        for chrom in shared:
            if self.chrom_sizes[chrom] != assembly.chrom_sizes[chrom]:
                raise TrackError(
                    f"{self.path} is not on {assembly.name}: {chrom}",
                    got=f"{self.chrom_sizes[chrom]} bp",
                    expected=f"{assembly.chrom_sizes[chrom]} bp",
                    next_step="correct the catalog's assembly or use the file of that assembly",
                )

    def check_chromosome(self, chrom: str) -> None:
        """Check that the file has a chromosome.

        Raises
        ------
        TrackError
            If it has not.
        """
        if chrom not in self.chrom_sizes:
            raise TrackError(
                f"{self.path} has no chromosome {chrom}",
                got=f"{len(self.chrom_sizes)} chromosomes ({', '.join(list(self.chrom_sizes)[:4])}, ...)",
                expected=f"{chrom}, which the regions need",
                next_step=f"leave the regions on {chrom} out of the BED or replace the file",
            )

    def read(self, piece: Piece) -> BinnedSignal:
        """Sum the track over the bins of one piece.

        Raises
        ------
        TrackError
            If the chromosome is absent, a block is damaged, items overlap or a value is infinite.
        """
        self.check_chromosome(piece.chrom)
        if piece.end > self.chrom_sizes[piece.chrom]:
            raise TrackError(
                f"{self.path}: {piece.chrom} ends before the region",
                got=f"{self.chrom_sizes[piece.chrom]} bp",
                expected=f"at least {piece.end} bp",
                next_step="check that the file is on the catalog's assembly",
            )
        sums = np.zeros(piece.n_bins)
        covered = np.zeros(piece.n_bins, dtype=np.int64)
        at = 0
        for section in self._bigwig.sections(piece.chrom, piece.start, piece.end):
            found, at = _add_items(
                section.kind, section.start, section.step, section.span, section.count, section.words,
                section.words.view(np.float32), piece.start, piece.end, at, sums, covered,
            )  # fmt: skip
            if found == UNSORTED:
                raise self._bigwig.damaged(f"items of {piece.chrom} overlap or are out of order at {at}")
            if found == INFINITE:
                raise TrackError(
                    f"{self.path} holds an infinite value at {piece.chrom}:{at}",
                    got="inf",
                    expected="finite values (NaN or no value where nothing was measured)",
                    next_step="export the track again with a finite cap",
                )
        return BinnedSignal(sums, covered)
