"""Draw observed against imputed values: one point per bin if there are few, else counts of bins."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.exports.colours import IMPUTED, OBSERVED, as_hex
from epixs.report.comparison import Comparison, Track
from epixs.report.figures.canvas import INK_HEX, short_names, shown

MOST_POINTS = 5_000
"""Maximum number of bins that are drawn as points. More bins are counted in cells."""

PER_UNIT, LIMIT = 64, 16
"""Cells per arcsinh unit of the grid in which bins are counted, and its limit in arcsinh units."""

MOST_CELLS = 120
"""Maximum number of cells that are drawn on each side."""

FEWEST_PER_MEAN = 20
"""Minimum number of bins for a mean observed value at an imputed value."""

SIDE, SIGNS = 2.35, 27
"""Side of a panel in inches, and number of characters of a title that fit above it."""

MOST_COLUMNS = 3


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of the observed and imputed values of one track.

    Parameters
    ----------
    title
        Name of the track.
    counts
        Number of bins by cell of the imputed and of the observed value, `PER_UNIT` cells per arcsinh unit.
    points
        Imputed and observed values, shape `(2, bin)`, of the first `MOST_POINTS` bins.
    bins, mse, pearson
        Number of bins where both have a value, and their mean squared error and correlation, arcsinh units.
    """

    title: str
    counts: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]
    bins: int
    mse: float
    pearson: float


def agreement_of(pair: Comparison, track: Track, bins: npt.NDArray[np.int64] | None = None) -> Agreement:
    """Count the bins of a whole track, or some bins, by imputed and observed value."""
    size = 2 * LIMIT * PER_UNIT
    counts = np.zeros(size * size, dtype=np.int64)
    points: list[npt.NDArray[np.float64]] = []
    sums = np.zeros((3, 3))  # of products of 1, imputed and observed
    error = 0.0
    for _, values in pair.blocks(track, bins):
        both = np.stack([values["imputed"], values["observed"]]).astype(np.float64)
        both = both[:, ~np.isnan(both).any(axis=0)]
        cell = np.clip(np.floor((both + LIMIT) * PER_UNIT), 0, size - 1).astype(np.int64)
        counts += np.bincount(cell[0] * size + cell[1], minlength=counts.size)
        error += float(np.square(both[1] - both[0]).sum())
        rows = np.vstack([np.ones(both.shape[1]), both])
        sums += rows @ rows.T
        if sum(part.shape[1] for part in points) <= MOST_POINTS:
            points.append(both[:, : MOST_POINTS + 1])
    title = track.titled(short_names([track.assay])[track.assay])
    number = int(sums[0, 0])
    return Agreement(
        title,
        counts.reshape(size, size),
        np.concatenate(points, axis=1),
        number,
        error / number if number else nan,
        _pearson(sums),
    )


def _pearson(sums: npt.NDArray[np.float64]) -> float:
    number = sums[0, 0]
    if not number:
        return nan
    products = sums[1:, 1:] / number - np.outer(sums[0, 1:], sums[0, 1:]) / number**2
    norm = products[0, 0] * products[1, 1]
    return float(products[0, 1] / sqrt(norm)) if norm > 1e-18 else nan


def draw_agreement(plt: Any, found: Sequence[Agreement], subtitle: str = "") -> Any:
    """Draw one panel per track, on one scale, and return the figure."""
    columns = min(MOST_COLUMNS, len(found))
    rows = ceil(len(found) / columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True, layout="constrained",
        figsize=(SIDE * columns + (1.6 if columns == 1 else 1.1), (SIDE + 0.3) * rows + 0.7),
    )  # fmt: skip
    low, high = _extent(found)
    cells = None
    for axis, one in zip(axes.flat, found, strict=False):
        cells = _draw_panel(axis, one, low, high, max(int(other.counts.max()) for other in found)) or cells
    for axis in list(axes.flat)[len(found) :]:
        axis.set_visible(False)
    for number in range(len(found)):
        row, column = divmod(number, columns)
        if column == 0:
            axes[row, column].set_ylabel("observed, arcsinh units")
        if number + columns >= len(found):
            axes[row, column].set_xlabel("imputed, arcsinh units")
            axes[row, column].tick_params(labelbottom=True)
    if subtitle:
        figure.suptitle(shown(subtitle, 60), size=7.5, color="#666666")
    if cells is not None:
        bar = figure.colorbar(cells, ax=axes, shrink=min(1.0, 0.75 / rows + 0.15), aspect=22 * rows, pad=0.02)
        bar.set_label("bins per cell")
        bar.ax.yaxis.set_major_formatter("{x:,.0f}")
        bar.outline.set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if columns == 1 else 2)
    return figure


def _extent(found: Sequence[Agreement]) -> tuple[int, int]:
    """Return the first and last cell of the grid that any track uses. They always include 0."""
    held = [np.flatnonzero(one.counts.any(axis=axis)) for one in found for axis in (0, 1) if one.bins]
    zero = LIMIT * PER_UNIT
    first = min([zero, *(int(cells[0]) for cells in held)])
    return first, max([zero + 1, *(int(cells[-1]) + 1 for cells in held)])


def _draw_panel(axis: Any, found: Agreement, low: int, high: int, most: int) -> Any:
    """Draw one track. Returns the cells for a colour scale, or None if points are drawn."""
    from matplotlib.colors import ListedColormap, LogNorm

    first, last = low / PER_UNIT - LIMIT, high / PER_UNIT - LIMIT
    margin = 0.02 * (last - first)
    axis.set_xlim(first - margin, last + margin)
    axis.set_ylim(first - margin, last + margin)
    axis.set_box_aspect(1)
    axis.set_title(textwrap.fill(found.title, SIGNS), loc="left", weight="bold")
    axis.plot([first, last], [first, last], color=INK_HEX, linewidth=0.7, linestyle=(0, (4, 3)), zorder=3,
              label="imputed = observed")  # fmt: skip
    axis.text(
        0.98, 0.03, f"{found.bins:,} bins, arcsinh units\nMSE {found.mse:.3f}, r {found.pearson:.2f}",
        ha="right", va="bottom",
        transform=axis.transAxes, size=7, bbox={"color": "white", "alpha": 0.75, "pad": 1, "linewidth": 0},
        zorder=5,
    )  # fmt: skip
    if not found.bins:
        return None
    width = max(1, -(-(high - low) // MOST_CELLS))
    cells = -(-(high - low) // width)
    grid = np.zeros((cells * width, cells * width), dtype=np.int64)
    grid[: high - low, : high - low] = found.counts[low:high, low:high]
    merged = grid.reshape(cells, width, cells, width).sum(axis=(1, 3))
    edges = (low + width * np.arange(cells + 1)) / PER_UNIT - LIMIT
    if found.bins <= MOST_POINTS:
        axis.scatter(*found.points, s=5, color=as_hex(OBSERVED), alpha=0.45, linewidth=0, rasterized=True)
        return None
    shades = ListedColormap(_blues())
    drawn = axis.pcolormesh(
        edges,
        edges,
        np.ma.masked_equal(merged.T, 0),
        norm=LogNorm(1, max(2, most)),
        cmap=shades,
        rasterized=True,
    )
    number = merged.sum(axis=1)
    middle = (edges[:-1] + edges[1:]) / 2
    some = number >= FEWEST_PER_MEAN
    mean = merged @ middle / np.maximum(number, 1)
    axis.plot(middle[some], mean[some], color=as_hex(IMPUTED), linewidth=1.4, zorder=4,
              label="mean observed at an imputed value")  # fmt: skip
    return drawn


def _blues() -> Any:
    """Return shades from light to dark, which are readable in black-and-white print."""
    import matplotlib

    return matplotlib.colormaps["Blues"](np.linspace(0.18, 1.0, 256))
