"""Recipes of baselines. A recipe names the rows it reads, and is a pure function of one column of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from epixs.compendium.transform import STEPS_PER_UNIT
from epixs.evaluation.columns import Column, Signal, Sums
from epixs.evaluation.steps import LIMIT, MISSING, Steps, round_steps


class Recipe(Protocol):
    """A rule that computes a predicted track bin by bin."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the observed store that it reads."""
        ...

    @property
    def imputed_rows(self) -> tuple[int, ...]:
        """Rows of the imputed store that it reads."""
        ...

    def values(self, column: Column) -> Steps:
        """Predict the steps at a column's bins, shape `(bin,)`."""
        ...


@dataclass(frozen=True)
class Imputed:
    """A row of the imputed store."""

    row: int

    rows: ClassVar[tuple[int, ...]] = ()

    @property
    def imputed_rows(self) -> tuple[int, ...]:
        """The one row."""
        return (self.row,)

    def values(self, column: Column) -> Steps:
        """The imputed steps."""
        return column.imputed[self.row]


@dataclass(frozen=True)
class Copy:
    """One observed track as it is."""

    row: int

    imputed_rows: ClassVar[tuple[int, ...]] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """The one row."""
        return (self.row,)

    def values(self, column: Column) -> Steps:
        """The observed steps."""
        return column.observed[self.row]


@dataclass(frozen=True)
class Mean:
    """The mean at each bin, in arcsinh units, of the tracks that have a value there.

    Parameters
    ----------
    rows
        The tracks.
    without
        The track to leave out, one of `rows`.
    """

    rows: tuple[int, ...]
    without: int | None = None

    imputed_rows: ClassVar[tuple[int, ...]] = ()

    def sums(self, column: Column) -> Sums:
        """Sum over the tracks. The sums over all `rows` are shared by the baselines of a column."""
        sums = column.sums(self.rows)
        return sums if self.without is None else sums.without(column.observed[self.without])

    def values(self, column: Column) -> Steps:
        """The mean, rounded to whole steps."""
        sums = self.sums(column)
        with np.errstate(invalid="ignore"):
            return round_steps(sums.total / np.where(sums.count > 0, sums.count, np.nan))

    def variance(self, column: Column) -> npt.NDArray[np.float64]:
        """Variance of the tracks at each bin, squared steps; NaN where fewer than two have a value."""
        sums = self.sums(column)
        some = np.where(sums.count > 1, sums.count, np.nan)
        with np.errstate(invalid="ignore"):
            return (sums.squares - sums.total**2 / some) / some

    def raw_variance(self, column: Column) -> npt.NDArray[np.float64]:
        """As `variance`, in the tracks' own units."""
        total, squares, count = column.raw_sums(self.used)
        some = np.where(count > 1, count, np.nan)
        with np.errstate(invalid="ignore"):
            return np.maximum(0, squares / some - (total / some) ** 2)

    @property
    def used(self) -> tuple[int, ...]:
        """The tracks without the one that is left out."""
        return tuple(row for row in self.rows if row != self.without)


@dataclass(frozen=True)
class RawMean(Mean):
    """The mean of some tracks, taken in their own units and given in arcsinh units."""

    def values(self, column: Column) -> Steps:
        """The arcsinh of the mean, rounded to whole steps."""
        total, _, count = column.raw_sums(self.used)
        with np.errstate(invalid="ignore"):
            return round_steps(np.arcsinh(total / np.where(count > 0, count, np.nan)) * STEPS_PER_UNIT)


@dataclass(frozen=True)
class Affine:
    """A weighted sum of tracks, in steps. A missing value counts as `fill`.

    Parameters
    ----------
    rows, weights, fill
        One of each per track.
    intercept
        Added to the sum.
    """

    rows: tuple[int, ...]
    weights: tuple[float, ...]
    fill: tuple[float, ...]
    intercept: float

    imputed_rows: ClassVar[tuple[int, ...]] = ()

    def values(self, column: Column) -> Steps:
        """The sum, rounded to whole steps."""
        total = np.full(column.n_bins, self.intercept)
        for row, weight, fill in zip(self.rows, self.weights, self.fill, strict=True):
            track = column.observed[row]
            total += weight * np.where(track == MISSING, fill, track)
        return round_steps(total)


@dataclass(frozen=True)
class Constant:
    """One value at all bins, arcsinh units."""

    value: float

    rows: ClassVar[tuple[int, ...]] = ()
    imputed_rows: ClassVar[tuple[int, ...]] = ()

    def values(self, column: Column) -> Steps:
        """The value as steps."""
        step = int(np.clip(np.rint(self.value * STEPS_PER_UNIT), -LIMIT, LIMIT))
        return np.full(column.n_bins, step, dtype=np.int16)


@dataclass(frozen=True, eq=False)
class Carried:
    """The mean of some tracks of another species, at the bin to which each bin is mapped.

    Parameters
    ----------
    signal, other_rows
        The other species' tracks.
    bins
        Bin of the other species for each bin of this one, shape `(bin,)`; -1 where there is none.
    """

    signal: Signal
    other_rows: tuple[int, ...]
    bins: npt.NDArray[np.int64]

    rows: ClassVar[tuple[int, ...]] = ()
    imputed_rows: ClassVar[tuple[int, ...]] = ()

    def values(self, column: Column) -> Steps:
        """Compute the mean, rounded to whole steps. It is missing where a bin has no mapping."""
        wanted = self.bins[column.start : column.stop]
        places, inverse = np.unique(wanted[wanted >= 0], return_inverse=True)
        mean = np.full(column.n_bins, MISSING, dtype=np.int16)
        if places.size:
            carried = np.empty(places.size, dtype=np.int16)
            for first, stop in _runs(places, self.signal.chunk[1]):
                start, end = int(places[first]), int(places[stop - 1]) + 1
                near = self.signal.read(self.other_rows, start, end)
                whole = Mean(self.other_rows).values(Column(start, end, near))
                carried[first:stop] = whole[places[first:stop] - start]
            mean[wanted >= 0] = carried[inverse]
        return mean


def _runs(places: npt.NDArray[np.int64], chunk: int) -> list[tuple[int, int]]:
    """Split sorted bins into slices, one per chunk."""
    edges: Any = np.flatnonzero(np.diff(places // chunk)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), places.size], strict=True))
