"""bigWig -> exact per-bin sums and covered bases.

Values are read with pyBigWig's `values()`, which raises on a damaged block; its `stats()` would turn one
into NaN without a word. The header is read here first, so that the usual accidents (an HTML error page,
an interrupted download) get a sentence of their own instead of a C library's message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numba
import numpy as np
import numpy.typing as npt
import pyBigWig

from epixs.errors import TrackError
from epixs.genome import BIN_SIZE, Assembly, Piece

Uncovered = Literal["zero", "nan"]

BIGWIG_MAGIC = 0x888FFC26
BIGBED_MAGIC = 0x8789F2EB
HEADER_BYTES = 64
WINDOW_BINS = 40_000
"""Bins read at once: 1 Mb of values, 4 MB of memory."""


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


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def _sum_bins(
    values: npt.NDArray[np.float32],
    bin_size: int,
    sums: npt.NDArray[np.float64],
    covered: npt.NDArray[np.int64],
) -> int:
    """Add per-base values into bins; returns the index of the first infinite value, or -1."""
    first_infinite = -1
    for base in range(values.size):
        value = values[base]
        if np.isnan(value):
            continue
        if np.isinf(value):
            if first_infinite < 0:
                first_infinite = base
            continue
        sums[base // bin_size] += value
        covered[base // bin_size] += 1
    return first_infinite


class Track:
    """An open bigWig file.

    Parameters
    ----------
    path
        A local file.

    Raises
    ------
    TrackError
        If the file is missing, empty, truncated or not a bigWig.

    Examples
    --------
    >>> with Track("H1.H3K4me3.bigWig") as track:               # doctest: +SKIP
    ...     signal = track.read(Piece("chr1", 0, 1000, first_bin=0))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_header(self.path)
        try:
            handle = pyBigWig.open(str(self.path))
        except RuntimeError as error:
            raise self._damaged("its header or index cannot be read") from error
        if handle is None or not handle.isBigWig():
            raise self._damaged("its header or index cannot be read")
        self._handle = handle
        self.chrom_sizes: dict[str, int] = dict(handle.chroms() or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()

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

    def read(self, piece: Piece) -> BinnedSignal:
        """Sum the track over the bins of one piece.

        Raises
        ------
        TrackError
            If the chromosome is absent, a block is damaged or a value is infinite.
        """
        if piece.chrom not in self.chrom_sizes:
            raise TrackError(
                f"{self.path} has no chromosome {piece.chrom}",
                got=f"{len(self.chrom_sizes)} chromosomes ({', '.join(list(self.chrom_sizes)[:4])}, ...)",
                expected=f"{piece.chrom}, which the regions need",
                next_step=f"leave the regions on {piece.chrom} out of the BED or replace the file",
            )
        if piece.end > self.chrom_sizes[piece.chrom]:
            raise TrackError(
                f"{self.path}: {piece.chrom} ends before the region",
                got=f"{self.chrom_sizes[piece.chrom]} bp",
                expected=f"at least {piece.end} bp",
                next_step="check that the file is on the catalog's assembly",
            )
        sums = np.zeros(piece.n_bins)
        covered = np.zeros(piece.n_bins, dtype=np.int64)
        for first in range(0, piece.n_bins, WINDOW_BINS):
            low = piece.start + first * BIN_SIZE
            high = min(piece.end, low + WINDOW_BINS * BIN_SIZE)
            try:
                values = self._handle.values(piece.chrom, low, high, numpy=True)
            except RuntimeError as error:
                raise self._damaged(f"a block of {piece.chrom}:{low}-{high} cannot be read") from error
            stop = first + WINDOW_BINS
            infinite = _sum_bins(
                np.asarray(values, dtype=np.float32), BIN_SIZE, sums[first:stop], covered[first:stop]
            )
            if infinite >= 0:
                raise TrackError(
                    f"{self.path} holds an infinite value at {piece.chrom}:{low + infinite}",
                    got=str(values[infinite]),
                    expected="finite values (NaN or no value where nothing was measured)",
                    next_step="export the track again with a finite cap",
                )
        return BinnedSignal(sums, covered)

    def _damaged(self, what: str) -> TrackError:
        return TrackError(
            f"{self.path} is damaged: {what}",
            got=f"a file of {self.path.stat().st_size} bytes",
            expected="a whole bigWig",
            next_step="download it again and compare its md5sum",
        )


def _check_header(path: Path) -> None:
    """Read the first 64 bytes of a file and say what it is if it is no whole bigWig."""
    again = "download it again and compare its md5sum"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except FileNotFoundError:
        raise TrackError(f"{path} does not exist", next_step="correct the catalog's path column") from None
    except OSError as error:
        raise TrackError(f"{path} cannot be opened: {error.strerror}") from error
    if size == 0:
        raise TrackError(f"{path} is empty", got="0 bytes", expected="a bigWig", next_step=again)
    if head.lstrip()[:1] == b"<":
        raise TrackError(
            f"{path} is an HTML or XML page", got=repr(head[:20]), expected="a bigWig", next_step=again
        )
    order = "<" if head[:4] == struct.pack("<I", BIGWIG_MAGIC) else ">"
    if head[:4] != struct.pack(f"{order}I", BIGWIG_MAGIC):
        kind = "a bigBed" if head[:4] == struct.pack("<I", BIGBED_MAGIC) else f"bytes {head[:4].hex()}"
        raise TrackError(f"{path} is not a bigWig", got=kind, expected="a bigWig", next_step=again)
    if len(head) < HEADER_BYTES:
        raise TrackError(
            f"{path} is truncated", got=f"{size} bytes", expected="a 64-byte header", next_step=again
        )
    _, _, _, chrom_tree, data, index = struct.unpack_from(f"{order}IHHQQQ", head)
    if max(chrom_tree, data, index) + 48 > size:
        raise TrackError(
            f"{path} is truncated",
            got=f"{size} bytes",
            expected=f"an index at byte {max(chrom_tree, data, index)}",
            next_step=again,
        )
