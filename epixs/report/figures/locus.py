"""Draw tracks along a locus: observed, imputed with its interval, average activity, and genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.compendium.schema import SPREAD
from epixs.exports.browser.genes import Gene, Genes
from epixs.exports.colours import BASELINE, IMPUTED, OBSERVED, PALE, as_hex
from epixs.report.comparison import Comparison, Place, Track
from epixs.report.figures.canvas import short_names, shown
from epixs.sampling.intervals import HALF_WIDTH

MOST_WINDOWS = 1_200
"""Maximum number of values that are drawn per track. Of more bins, each value is the mean of several."""

MOST_BESIDE = 6
"""Maximum number of measured tracks that are drawn below a zero-shot track."""

GENE_LANES = 4
"""Maximum number of rows for overlapping genes. Genes that fit into none are not drawn."""

SIGNS_PER_INCH = 15
WIDTH = 7.2
"""Width of a figure in inches, for a page with margins."""

LEFT = 1.25
"""Width of the names of rows in inches."""

TITLE = 0.26
"""Height of the name of an experiment, above its rows, in inches."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a figure: a name, a colour and one value per bin. `band` holds the ends of its interval."""

    name: str
    colour: str
    values: Floats
    band: tuple[Floats, Floats] | None = None


@dataclass(frozen=True, eq=False)
class Strip:
    """The rows of one experiment. They share a scale that reaches at least to `top`."""

    title: str
    units: str
    rows: Sequence[Row]
    top: float = 0.0


@dataclass(frozen=True, eq=False)
class View:
    """Content of a figure of a locus.

    Parameters
    ----------
    place, assembly
        Place on the genome.
    edges
        Start and end of each value, bp, shape `(window, 2)`.
    bins_per_window
        Number of bins averaged per value.
    strips
        One per experiment.
    genes
        Genes of the place; None if no genes were given.
    """

    place: Place
    assembly: str
    edges: npt.NDArray[np.int64]
    bins_per_window: int
    strips: Sequence[Strip]
    genes: Sequence[Gene] | None = field(default=None)


def view_of(pair: Comparison, tracks: Sequence[Track], place: Place, genes: Genes | None = None) -> View:
    """Read the content of a figure of some tracks at one place."""
    windows = Windows.of(place)
    short = short_names(track.assay for track in tracks)
    strips = []
    for track in tracks:
        values = {
            name: windows.mean(genes_of_place)
            for name, genes_of_place in pair.values(track, place.bins).items()
        }
        units = pair.units(pair.predicted, [track.imputed])
        if track.observed is not None:
            units = list(dict.fromkeys(units + pair.units(pair.observed, [track.observed])))
        top = track.highest if track.is_zero_shot else 0.0
        strips.append(
            Strip(
                track.titled(short[track.assay]),
                f"arcsinh of {shown(' or '.join(units), 60)}",
                _rows(track, values),
                top,
            )
        )
        if track.is_zero_shot and track.beside:
            strips.append(_beside(pair, track, windows, place))
    genes_of_place = (
        genes.within(place.chrom, int(place.start.min()), int(place.end.max())) if genes else None
    )
    return View(
        place, str(pair.observed.attrs["assembly"]), windows.edges, windows.bins, strips, genes_of_place
    )


def _beside(pair: Comparison, track: Track, windows: Windows, place: Place) -> Strip:
    """Read the measured tracks of a zero-shot track's biosample."""
    rows = track.beside[:MOST_BESIDE]
    names = [str(name) for name in pair.observed["assay"].to_numpy()[list(rows)]]
    short = short_names(names)
    drawn = [
        Row(short[name], as_hex(OBSERVED), windows.mean(values))
        for name, values in zip(names, pair.read(rows, place.bins), strict=True)
    ]
    every = pair.observed["biosample"].to_numpy() == track.biosample
    measured = int((every & (pair.observed["status"].to_numpy() == "ok")).sum())
    count = f"{len(rows)} of {measured}" if len(rows) < measured else str(len(rows))
    units = pair.units(pair.observed, rows)
    one = shown(units[0], 60) if len(units) == 1 else "its own units"
    return Strip(f"measured in {shown(track.biosample)} ({count})", f"arcsinh of {one}", drawn)


def _rows(track: Track, values: Mapping[str, Floats]) -> list[Row]:
    rows = []
    if "observed" in values:
        rows.append(Row("observed", as_hex(OBSERVED), values["observed"]))
    guess, band = values["imputed"], None
    if SPREAD.name in values and np.isfinite(values[SPREAD.name]).any():  # some tracks have no spread
        band = guess - HALF_WIDTH * values[SPREAD.name], guess + HALF_WIDTH * values[SPREAD.name]
    rows.append(Row("imputed" + ("\nand 80 % interval" if band else ""), as_hex(IMPUTED), guess, band))
    if "average" in values:
        count = len(track.average)
        rows.append(
            Row(f"average of {count}\nbiosample{'s' * (count != 1)}", as_hex(BASELINE), values["average"])
        )
    if "mean beside" in values:
        rows.append(Row("mean of the\nbiosample's tracks", as_hex(BASELINE), values["mean beside"]))
    return rows


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of neighbouring bins, so that no more values are drawn than can be told apart.

    Parameters
    ----------
    edges
        Start and end of each window, bp, shape `(window, 2)`.
    first
        First bin of each window.
    bins
        Number of bins per window. The last window of a stretch may have fewer.
    """

    edges: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    bins: int

    @classmethod
    def of(cls, place: Place, most: int = MOST_WINDOWS) -> Windows:
        """Make windows of bins that are in order. No window spans a gap between regions."""
        count = place.start.size
        bins = max(1, -(-count // most))
        begins = np.append(True, place.start[1:] > place.end[:-1])  # starts of stretches
        within = np.arange(count) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
        first = np.flatnonzero(within % bins == 0)
        last = np.append(first[1:], count) - 1
        return cls(np.stack([place.start[first], place.end[last]], axis=1), first, bins)

    def mean(self, values: npt.ArrayLike) -> Floats:
        """Average the bins of each window that have a value; NaN if none has."""
        each = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(each)
        total = np.add.reduceat(np.where(known, each, 0.0), self.first)
        number = np.add.reduceat(known.astype(np.int64), self.first)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def steps(edges: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return edges without gaps, one more than values. A gap becomes a value that is NaN and not drawn."""
    start, end = np.asarray(edges, dtype=np.float64).T
    gaps = np.flatnonzero(start[1:] > end[:-1]) + 1
    heights = np.insert(np.asarray(values, dtype=np.float64), gaps, np.nan)
    return np.append(np.insert(start, gaps, end[gaps - 1]), end[-1]), heights


def draw_locus(plt: Any, view: View, *, row_height: float = 0.5) -> Any:
    """Draw a view, and return the figure."""
    lanes = _lanes(view) if view.genes is not None else []
    heights = [row_height for strip in view.strips for _ in strip.rows]
    gaps = TITLE * len(view.strips)
    gene_height = 0.2 + 0.2 * max(1, len(lanes)) if view.genes is not None else 0.0
    height = sum(heights) + gaps + gene_height + 0.5
    figure = plt.figure(figsize=(WIDTH, height))
    top, scale = height, 1e6 if view.edges[-1, 1] - view.edges[0, 0] > 20_000 else 1e3
    limits = view.edges[0, 0] / scale, view.edges[-1, 1] / scale
    axis = None

    def below(inches: float) -> Any:
        nonlocal top
        top -= inches
        box = (LEFT / WIDTH, top / height, 1 - (LEFT + 0.12) / WIDTH, inches * 0.86 / height)
        new = figure.add_axes(box)
        new.set_xlim(*limits)
        return new

    for strip in view.strips:
        top -= TITLE
        at = (top - 0.02) / height
        figure.text(LEFT / WIDTH, at, strip.title, weight="bold", size=9, va="bottom")
        figure.text(1 - 0.12 / WIDTH, at, strip.units, size=7, va="bottom", ha="right", color="#666666")
        bottom, peak = _scale(strip)
        for row in strip.rows:
            axis = below(row_height)
            _draw_row(axis, view.edges / scale, row, bottom, peak)
    if view.genes is not None:
        axis = below(gene_height)
        _draw_genes(axis, view, lanes, scale)
    assert axis is not None
    axis.tick_params(axis="x", bottom=True, labelbottom=True)
    axis.spines["bottom"].set_visible(True)
    axis.xaxis.get_major_formatter().set_useOffset(False)
    axis.set_xlabel(f"{shown(view.place.chrom)} ({'Mb' if scale == 1e6 else 'kb'}, {shown(view.assembly)})")
    return figure


def _scale(strip: Strip) -> tuple[float, float]:
    """Return the lowest and highest value of an experiment's rows: one scale, so that heights compare."""
    some = [row.values for row in strip.rows] + [row.band[1] for row in strip.rows if row.band]
    values_of_rows = np.concatenate([values[~np.isnan(values)] for values in some])
    if not values_of_rows.size:
        return 0.0, 1.0
    low, high = min(0.0, float(values_of_rows.min())), max(strip.top, float(values_of_rows.max()))
    return low, max(1.04 * high, low + 1e-3)


def _draw_row(axis: Any, edges: Floats, row: Row, bottom: float, peak: float) -> None:
    along, heights = steps(edges, row.values)
    zero = np.where(np.isnan(heights), np.nan, 0.0)
    if row.band is None:
        axis.stairs(heights, along, baseline=zero, fill=True, color=row.colour, linewidth=0)
    else:
        low, high = (steps(edges, np.maximum(side, bottom))[1] for side in row.band)
        axis.stairs(high, along, baseline=low, fill=True, color=row.colour, alpha=0.3, linewidth=0)
        axis.stairs(heights, along, baseline=None, color=row.colour, linewidth=0.8)
    axis.set_ylim(bottom, peak)
    axis.set_yticks([0, _round(peak)] if peak > 0 else [0])
    _name_row(axis, row.name)
    axis.tick_params(axis="x", bottom=False, labelbottom=False)
    axis.axhline(0, color=as_hex(PALE), linewidth=0.7, zorder=0)
    axis.spines["bottom"].set_visible(False)


def _round(peak: float) -> float:
    """Return a round number below the highest value, to label the scale."""
    unit = 10 ** np.floor(np.log10(peak))
    return float(max(step for step in (1.0, 2.0, 5.0) if step * unit <= peak) * unit)


def _lanes(view: View) -> list[list[Gene]]:
    """Arrange genes in rows so that no gene overlaps another gene or its name."""
    assert view.genes is not None
    first, last = int(view.edges[0, 0]), int(view.edges[-1, 1])
    per_sign = (last - first) / ((WIDTH - LEFT) * SIGNS_PER_INCH)
    lanes: list[list[Gene]] = []
    ends: list[float] = []
    for gene in _distinct(view.genes):
        free = next((lane for lane, end in enumerate(ends) if end <= max(gene.start, first)), len(lanes))
        if free == GENE_LANES:
            continue
        if free == len(lanes):
            lanes.append([])
            ends.append(0.0)
        lanes[free].append(gene)
        ends[free] = min(gene.end, last) + per_sign * (len(_gene_name(gene)) + 2)
    return lanes


def _distinct(genes: Sequence[Gene]) -> list[Gene]:
    """Keep the longest gene per name. Genes without a name are merged where they touch."""
    named: dict[tuple[str, str], Gene] = {}
    nameless: list[Gene] = []
    for gene in sorted(genes, key=lambda gene: gene.start):
        if gene.name:
            known = named.get((gene.name, gene.strand))
            if known is None or gene.end - gene.start > known.end - known.start:
                named[gene.name, gene.strand] = gene
        elif nameless and gene.start <= nameless[-1].end:
            before = nameless.pop()
            nameless.append(Gene(gene.chrom, before.start, max(before.end, gene.end), "", "."))
        else:
            nameless.append(gene)
    return sorted([*named.values(), *nameless], key=lambda gene: gene.start)


def _gene_name(gene: Gene) -> str:
    arrow = {"+": " \N{RIGHTWARDS ARROW}", "-": " \N{LEFTWARDS ARROW}"}.get(gene.strand, "")
    return f"{shown(gene.name, 16)}{arrow}" if gene.name else ""


def _draw_genes(axis: Any, view: View, lanes: Sequence[Sequence[Gene]], scale: float) -> None:
    left, right = view.edges[0, 0] / scale, view.edges[-1, 1] / scale
    for lane, genes in enumerate(lanes):
        for gene in genes:
            start, end = max(gene.start / scale, left), min(gene.end / scale, right)
            axis.fill_between([start, end], -lane - 0.24, -lane + 0.24, color="#55607a", linewidth=0.6)
            axis.annotate(
                _gene_name(gene), (end, -lane), xytext=(3, 0), textcoords="offset points", va="center",
                size=7, style="italic", annotation_clip=True, clip_on=True,
            )  # fmt: skip
    axis.set_ylim(-max(1, len(lanes)) + 0.4, 0.6)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    _name_row(axis, "genes" if lanes else "no gene here")


def _name_row(axis: Any, name: str) -> None:
    axis.annotate(
        name, (0, 0.5), xycoords="axes fraction", xytext=(-24, 0), textcoords="offset points", ha="right",
        va="center",
    )  # fmt: skip
