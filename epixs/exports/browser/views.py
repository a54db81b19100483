"""Answer a page's requests: the tracks of some compendia, and a track's values in a stretch of the genome."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.errors import RegionError
from epixs.exports.colours import colour_of
from epixs.exports.names import inert
from epixs.exports.places import BLOCK_BINS
from epixs.exports.source import LINES, Signal, Source
from epixs.genome.assembly import Assembly
from epixs.genome.regions import BIN_SIZE
from epixs.imputation.roles import TRAINED_ON

MOST_WINDOWS = 8_192
"""Maximum number of values per answer, however few bases per pixel are asked for."""


LIVE_BINS = 200_000
"""Maximum number of bins per stretch that a model computes: 5 Mb."""


WARM_BINS = 20_000


WINDOW_FUNCTIONS = ("mean", "min", "max")


@dataclass(frozen=True, eq=False)
class View:
    """Values of a track in windows of a stretch: arrays of one shape. Windows without a value are absent."""

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """One row of a source, as a page shows it."""

    source: Source
    row: int
    assembly: Assembly
    _computing: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[tuple[int, int], Signal] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Whether values are computed on request."""
        return not isinstance(self.source.held, str)

    def label(self, name: str) -> str:
        """Return one of the row's labels."""
        return str(self.source.labels[name][self.row])

    def described(self, number: int) -> dict[str, Any]:
        """Describe the track for the page. All texts are inert."""
        kind, output_type = self.label("kind"), self.label("output_type")
        return {
            "id": number,
            "kind": kind,
            "biosample": inert(self.label("biosample")),
            "assay": inert(self.label("assay")),
            "trained_on": self.source.role(self.row) == TRAINED_ON,
            "units": inert(f"arcsinh of {output_type}"),
            "colour": _css(self.label("assay_class"), kind),
            "line": _css(self.label("assay_class"), "observed"),
            "pale": _css(self.label("assay_class"), "upper"),
            "interval": self.source.has_spread,
            "most_bases": LIVE_BINS * BIN_SIZE if self.is_live and self._longest > LIVE_BINS else None,
        }

    @property
    def _longest(self) -> int:
        """Number of bins of the chromosome with the most bins."""
        counts: dict[str, int] = {}
        regions = self.source.regions
        for chrom, bins in zip(regions.chrom, regions.n_bins_each.tolist(), strict=True):
            counts[chrom] = counts.get(chrom, 0) + bins
        return max(counts.values())

    def view(
        self,
        chrom: str,
        start: int,
        end: int,
        bases_per_pixel: float,
        how: str = "mean",
        line: str = "signal",
    ) -> View:
        """Compute values in windows about as wide as a pixel.

        Parameters
        ----------
        chrom, start, end
            The stretch.
        bases_per_pixel
            Scale of the screen. A window is 25 bp, doubled until it spans at least a pixel.
        how
            One of `WINDOW_FUNCTIONS`, which combines a window's bins, in arcsinh units.
        line
            One of `LINES`: the signal, or an end of its interval.

        Raises
        ------
        RegionError
            If a model would have to compute more than `LIVE_BINS` bins.
        """
        width = BIN_SIZE
        while width < bases_per_pixel or (end - start) / width > MOST_WINDOWS:
            width *= 2
        stretches = self._stretches(chrom, start, end)
        bins = sum(stop - first for first, stop, _, _ in stretches)
        if self.is_live and bins > LIVE_BINS:
            raise RegionError(
                "too wide a view for a model", got=f"{bins:,} bins", expected=f"{LIVE_BINS:,} at most"
            )
        windows = _Windows(start // width, -(-end // width), how)
        if bins:
            for first, stop, base, last_base in stretches:
                for at in range(first, stop, BLOCK_BINS):
                    upto = min(stop, at + BLOCK_BINS)
                    with self._computing:
                        values = self._values(at, upto, line)
                    starts = base + BIN_SIZE * np.arange(at - first, upto - first)
                    windows.add(starts // width, starts, np.minimum(starts + BIN_SIZE, last_base), values)
        return windows.view()

    def _values(self, first: int, stop: int, line: str) -> Signal:
        """Read some bins. Live values are computed once for all lines, as a page asks for them together."""
        if not (self.is_live and self.source.has_spread):
            (values,) = self.source.reader([self.row], [line])(first, stop)
            return np.asarray(values)
        if (first, stop) not in self._kept:
            lines = self.source.reader([self.row] * len(LINES), tuple(LINES))(first, stop)
            self._kept[first, stop] = lines
            while len(self._kept) > 1 and sum(kept.shape[1] for kept in self._kept.values()) > LIVE_BINS:
                del self._kept[next(iter(self._kept))]
        return np.asarray(self._kept[first, stop][tuple(LINES).index(line)])

    def warm(self) -> None:
        """Compute a few bins, so that the first request does not wait for one-time work."""
        self.source.reader([self.row])(0, min(WARM_BINS, self.source.regions.n_bins))

    def has_bins(self, chrom: str, start: int, end: int) -> bool:
        """Whether a stretch touches the track's regions."""
        return bool(self._stretches(chrom, start, end))

    def _stretches(self, chrom: str, start: int, end: int) -> list[tuple[int, int, int, int]]:
        """List the bins `[first, stop)` that a stretch touches, their first base, and their region's end."""
        regions = self.source.regions
        stretches = []
        for index in np.flatnonzero(np.asarray(regions.chrom, dtype=object) == chrom).tolist():
            low, high = max(start, regions.start[index]), min(end, regions.end[index])
            if low < high:
                offset = (low - regions.start[index]) // BIN_SIZE
                stop = -(-(high - regions.start[index]) // BIN_SIZE)
                first = int(regions.first_bin[index])
                base = regions.start[index] + BIN_SIZE * offset
                stretches.append((first + offset, first + stop, base, regions.end[index]))
        return stretches


class _Windows:
    """Windows of a view that are being filled."""

    def __init__(self, first: int, stop: int, how: str) -> None:
        count = stop - first
        self._first, self._how = first, how
        self._bins = np.zeros(count)
        self._value = (
            np.zeros(count) if how == "mean" else np.full(count, np.inf if how == "min" else -np.inf)
        )
        self._start, self._end = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)

    def add(self, window: Any, start: Any, end: Any, values: Any) -> None:
        """Add bins. Those without a value are left out."""
        known = ~np.isnan(values)
        at, values = (window - self._first)[known], values[known].astype(np.float64)
        np.add.at(self._bins, at, 1)
        {"mean": np.add, "min": np.minimum, "max": np.maximum}[self._how].at(self._value, at, values)
        np.minimum.at(self._start, at, start[known])
        np.maximum.at(self._end, at, end[known])

    def view(self) -> View:
        """Return the windows that have a value."""
        some = self._bins > 0
        value = self._value[some] / (self._bins[some] if self._how == "mean" else 1)
        return View(self._start[some], self._end[some], value)


def _css(assay_class: str, kind: str) -> str:
    return "rgb({},{},{})".format(*colour_of(assay_class, kind))


def catalogue(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """List the tracks that a page can show, per species and assembly."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for number, track in enumerate(tracks):
        key = track.source.species, track.assembly.name
        group = groups.setdefault(
            key,
            {"species": inert(key[0]), "assembly": inert(key[1]), "genome": len(groups), "tracks": [],
             "locus": _first_locus(track)},
        )  # fmt: skip
        group["tracks"].append(track.described(number))
    for group in groups.values():
        _tell_apart(group["tracks"], tracks)
    return list(groups.values())


def _tell_apart(described: Sequence[dict[str, Any]], tracks: Sequence[Track]) -> None:
    """Add the name of its compendium, with a number, to each track that has the same labels as another."""
    same: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one in described:
        labels = tuple(one[name] for name in ("kind", "biosample", "assay", "trained_on"))
        same.setdefault(labels, []).append(one)
    for alike in same.values():
        for number, one in enumerate(alike, 1):
            name = inert(Path(tracks[one["id"]].source.name).name)
            one["compendium"] = f"{number}: {name}" if len(alike) > 1 else ""


def genomes_of(tracks: Sequence[Track]) -> list[Mapping[str, int]]:
    """List the chromosome sizes of each group of `catalogue`."""
    groups: dict[tuple[str, str], Mapping[str, int]] = {}
    for track in tracks:
        groups.setdefault((track.source.species, track.assembly.name), track.assembly.chrom_sizes)
    return list(groups.values())


def _first_locus(track: Track) -> str:
    """Return the locus at which a page opens: the first megabase of the track."""
    regions = track.source.regions
    return f"{regions.chrom[0]}:{regions.start[0] + 1}-{min(regions.end[0], regions.start[0] + 1_000_000)}"
