"""Read tracks with pyBigWig, to check our own reader.

Choose it by `backend="pybigwig"` in `open_tracks`, `ingest` and `verify`. It is slow, because it reads every
base. A damaged file can crash the whole process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epixs.errors import TrackError
from epixs.genome.regions import BIN_SIZE, Piece
from epixs.storage.location import is_url
from epixs.tracks.items import sum_bases
from epixs.tracks.source import source_state
from epixs.tracks.track import BINS_LAID_OUT, BinnedSignal, Placement, Track


class ReferenceTrack(Track):
    """A local bigWig read with pyBigWig, with the interface of `Track`."""

    index_bytes = 0

    def __init__(self, path: str | Path) -> None:
        import pyBigWig

        self.path = str(path)
        if is_url(self.path):
            raise TrackError(f"{path} is remote", expected="a local file for backend 'pybigwig'")
        try:
            self._file = pyBigWig.open(self.path)
            self.chrom_sizes = dict(self._file.chroms())
            self._names = {chrom: chrom for chrom in self.chrom_sizes}
            self.placement = Placement()
        except (RuntimeError, OSError, AttributeError, TypeError) as error:
            raise TrackError(f"{path} cannot be read with pyBigWig", got=str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def state(self) -> list[Any]:
        """Return name, size and modification time."""
        return source_state(self.path)

    def prefetch(self, pieces: Iterable[Piece]) -> None:
        """Do nothing: nothing is fetched ahead."""

    def release(self) -> None:
        """Do nothing: nothing was fetched ahead."""

    def read_all(self, pieces: Sequence[Piece]) -> BinnedSignal:
        """Sum the track over the bins of many pieces, one after the other."""
        signals = [self.read(piece) for piece in pieces]
        sums, covered = (np.concatenate([getattr(s, name) for s in signals]) for name in ("sums", "covered"))
        return BinnedSignal(sums, covered)

    def read(self, piece: Piece) -> BinnedSignal:
        """Sum the track over the bins of one piece, base by base."""
        sums, covered = np.zeros(piece.n_bins), np.zeros(piece.n_bins, dtype=np.uint8)
        chrom = self._names.get(piece.chrom)
        if chrom is None:
            return BinnedSignal(sums, covered)
        for first in range(0, piece.n_bins, BINS_LAID_OUT):
            bins = min(BINS_LAID_OUT, piece.n_bins - first)
            start = piece.start + first * BIN_SIZE
            values = np.full(bins * BIN_SIZE, np.nan)
            end = min(piece.end, start + values.size)
            values[: end - start] = self._file.values(chrom, start, end, numpy=True)
            if np.isinf(values).any():
                raise TrackError(f"{self.path} holds an infinite value", got="inf", expected="finite values")
            sums[first : first + bins], covered[first : first + bins] = sum_bases(values)
        return BinnedSignal(sums, covered)
