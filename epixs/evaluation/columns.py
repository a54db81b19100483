"""Read signal as steps, one column of bins at a time, so that a pass over a store needs little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from epixs.compendium.read import open_signal
from epixs.compiled import compiled
from epixs.evaluation.steps import MISSING, Steps, raw_units, to_steps
from epixs.storage.store import Store, open_store, reading

COLUMN_BYTES = 64_000_000
"""Memory of the steps of one column. Two columns are held: the next is read while one is scored."""

LAZY_CHUNK = 16_384
"""Number of bins that are read together from a lazy Dataset."""


@dataclass(frozen=True, eq=False)
class Signal:
    """The signal of one store, or of a lazy Dataset.

    Parameters
    ----------
    array
        A Zarr array or an `xarray.DataArray`, shape `(experiment, bin)`, arcsinh units.
    chunk
        Rows and bins that are best read together.
    """

    array: Any
    chunk: tuple[int, int]
    store: Store | None = None

    @classmethod
    def open(cls, place: Store | str | Path | xr.Dataset) -> Signal:
        """Open the signal of a store by its path, or take that of a Dataset."""
        if isinstance(place, xr.Dataset):
            return cls(place["signal"], (1, LAZY_CHUNK))
        store = open_store(place)
        array = open_signal(store)
        return cls(array, tuple(array.chunks), store)

    @property
    def n_bins(self) -> int:
        """Bins of the whole axis."""
        return int(self.array.shape[1])

    def read(self, rows: Iterable[int], start: int, stop: int) -> dict[int, Steps]:
        """Read the steps of some rows at the bins `[start, stop)`. Rows of one chunk are read together."""
        steps: dict[int, Steps] = {}
        for _, group in groupby(sorted(set(rows)), key=lambda row: row // self.chunk[0]):
            near = list(group)
            block = to_steps(self._values(near[0], near[-1] + 1, start, stop))
            steps |= {row: block[row - near[0]] for row in near}
        return steps

    def _values(self, first: int, last: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        if self.store is None:
            return np.asarray(self.array[first:last, start:stop], dtype=np.float32)
        with reading(self.store, "is damaged: its signal cannot be read"):
            return np.asarray(self.array[first:last, start:stop], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of steps over some tracks at each bin, and the number of tracks that have a value there."""

    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    def without(self, track: Steps) -> Sums:
        """Subtract one of the tracks. The result is exact, because steps are whole numbers."""
        known = track != MISSING
        steps = np.where(known, track, 0).astype(np.int64)
        return Sums(self.total - steps, self.squares - steps * steps, self.count - known)


RawSums = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]
"""Total, sum of squares and number of values at each bin, in the tracks' own units."""


@dataclass(frozen=True, eq=False)
class Column:
    """The steps that a pass holds for the bins `[start, stop)`.

    Parameters
    ----------
    observed, imputed
        Steps by row of the observed and of the imputed store.
    """

    start: int
    stop: int
    observed: Mapping[int, Steps]
    imputed: Mapping[int, Steps] = field(default_factory=dict)
    _sums: dict[tuple[int, ...], Sums] = field(default_factory=dict)
    _raw_sums: dict[tuple[int, ...], RawSums] = field(default_factory=dict)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.stop - self.start

    def sums(self, rows: tuple[int, ...]) -> Sums:
        """Sum over some observed rows. The sums are computed once per column."""
        if rows not in self._sums:
            self._sums[rows] = sums_of([self.observed[row] for row in rows])
        return self._sums[rows]

    def raw_sums(self, rows: tuple[int, ...]) -> RawSums:
        """As `sums`, in the tracks' own units."""
        if rows not in self._raw_sums:
            self._raw_sums[rows] = raw_sums_of([self.observed[row] for row in rows])
        return self._raw_sums[rows]


def sums_of(tracks: Sequence[Steps]) -> Sums:
    """Sum some tracks at each bin."""
    total, squares, count = (np.zeros(tracks[0].size, dtype=np.int64) for _ in range(3))
    for track in tracks:
        _add(track, total, squares, count)
    return Sums(total, squares, count)


def raw_sums_of(tracks: Sequence[Steps]) -> RawSums:
    """As `sums_of`, in the tracks' own units: total, squares and count."""
    total, squares = np.zeros(tracks[0].size), np.zeros(tracks[0].size)
    count = np.zeros(tracks[0].size, dtype=np.int64)
    for track in tracks:
        _add_raw(track, raw_units(), total, squares, count)
    return total, squares, count


def column_width(n_rows: int, chunk_bins: int) -> int:
    """Return the number of bins of a column with `n_rows` rows: whole chunks, at least one."""
    return max(1, COLUMN_BYTES // (2 * max(1, n_rows) * chunk_bins)) * chunk_bins


def columns(
    observed: Signal, rows: Iterable[int], imputed: Signal | None = None, imputed_rows: Iterable[int] = ()
) -> Iterator[Column]:
    """Yield all columns of some rows in order. The next one is read while one is in use."""
    rows, imputed_rows = sorted(set(rows)), sorted(set(imputed_rows))
    width = column_width(len(rows) + len(imputed_rows), observed.chunk[1])
    starts = range(0, observed.n_bins, width)

    def read(start: int) -> Column:
        stop = min(observed.n_bins, start + width)
        predicted = imputed.read(imputed_rows, start, stop) if imputed else {}
        return Column(start, stop, observed.read(rows, start, stop), predicted)

    with ThreadPoolExecutor(1) as reader:
        coming: Future[Column] | None = reader.submit(read, starts[0])
        for after in [*starts[1:], None]:
            assert coming is not None
            column = coming.result()
            coming = reader.submit(read, after) if after is not None else None
            yield column


@compiled()
def _add(track: Any, total: Any, squares: Any, count: Any) -> None:
    for i in range(track.size):
        step = np.int64(track[i])
        known = np.int64(step != MISSING)
        total[i] += known * step
        squares[i] += known * step * step
        count[i] += known


@compiled()
def _add_raw(track: Any, raw: Any, total: Any, squares: Any, count: Any) -> None:
    for i in range(track.size):
        if track[i] != MISSING:
            value = raw[np.int64(track[i]) + 32768]
            total[i] += value
            squares[i] += value * value
            count[i] += 1
