"""Draw scores: skill by biosample and assay, and each track against each baseline."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.evaluation.metrics import HIGHER_IS_BETTER
from epixs.evaluation.table import AVERAGE, IMPUTED, ZERO_SHOT
from epixs.exports.colours import BEST, COLOURS, PALE, WORST, as_hex
from epixs.report.figures.canvas import INK_HEX, short_names, shown

NICE = {
    "mse": "MSE", "pearson": "Pearson r", "spearman": "Spearman r", "gwcorr": "Pearson r",
    "gwspear": "Spearman r",
}  # fmt: skip
"""Names of metrics as people write them. Other metrics keep their names in tables."""

TRACK = ("species", "role", "assay_class", "assay", "biosample")
"""Columns that identify a track. A table of one species may lack the first."""

BEST_BASELINE = "each track's best baseline that needs no experiment of the assay in this species"
"""Name of the baseline of tracks without average activity (zero-shot ones): the best of `ZERO_SHOT`."""

MOST_NUMBERS = 300
"""Maximum number of cells of a matrix whose numbers are written in them."""

MOST_NAMED_CELLS = 90
"""Maximum number of rows or columns of a matrix that are named."""

MOST_HINTS = 3_000

MOST_ACROSS = 4
"""Maximum number of baselines whose panels stand side by side. More stand below each other."""

FEWEST_LOG = 4.0
"""Least ratio of largest to smallest error for axes of logarithms: below it, hardly any tick has a name."""

MARKERS = {"excluded": "o", "held out": "s", "zero-shot": "^", "training": "x"}
"""Marker of a point by the track's role. Any other role is a diamond."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure, and for pages the texts of an artist's points or cells, by the artist's name."""

    figure: Any
    hints: Mapping[str, Sequence[str]]


def tracks_of(scores: pd.DataFrame) -> pd.DataFrame:
    """Make one row per imputed track: its labels, `skill`, and `against`, the baseline of the skill.

    Skill is 1 - MSE / MSE of average activity; for a track without it, 1 - MSE / the smallest MSE of the
    zero-shot baselines. It is NaN if the track's units are not those that the model was trained on.
    """
    keys = [name for name in TRACK if name in scores]
    errors = scores.pivot_table(index=keys, columns="method", values="mse", sort=False, dropna=False)
    errors = errors.reindex(pd.MultiIndex.from_frame(scores[keys].drop_duplicates()))
    imputed = errors[IMPUTED] if IMPUTED in errors else pd.Series(np.nan, index=errors.index)
    nothing = pd.Series(np.nan, index=errors.index)
    average = errors.get(AVERAGE, nothing)
    free = [method for method in ZERO_SHOT if method in errors]
    hardest = errors[free].min(axis=1) if free else nothing
    rival = average.fillna(hardest)
    tracks = pd.DataFrame({"mse": imputed, "skill": 1 - imputed / rival.where(rival > 0)})
    tracks["against"] = np.where(average.notna(), AVERAGE, np.where(hardest.notna(), BEST_BASELINE, ""))
    tracks = tracks.reset_index()
    if "same_units" in scores:
        same = scores.drop_duplicates(keys).set_index(keys)["same_units"].reindex(errors.index).to_numpy()
        tracks.loc[~same.astype(bool), "skill"] = np.nan
    return tracks


@dataclass(frozen=True, eq=False)
class Matrix:
    """Skill by biosample and assay, with the means of both.

    Parameters
    ----------
    skill
        Skill, shape `(biosample, assay)`; NaN where there is no such track.
    biosamples, assays
        Names of rows and columns.
    """

    skill: Floats
    biosamples: Sequence[str]
    assays: Sequence[str]

    @classmethod
    def of(cls, tracks: pd.DataFrame) -> Matrix:
        """Arrange tracks: assays by class and mean skill, biosamples by mean skill."""
        named = tracks.assign(row=_row_names(tracks))
        table = named.pivot_table(index="row", columns="assay", values="skill", dropna=False)
        rows = named.groupby("row")["skill"].mean().sort_values(ascending=False, kind="stable").index
        assays = named.groupby(["assay_class", "assay"], as_index=False)["skill"].mean()
        order = np.lexsort((-assays["skill"].fillna(-np.inf), assays["assay_class"]))
        columns = list(dict.fromkeys(assays["assay"].iloc[order]))
        values = table.reindex(index=rows, columns=columns).to_numpy(dtype=np.float64)
        return cls(values, list(rows), columns)


def _row_names(tracks: pd.DataFrame) -> pd.Series[str]:
    """Name biosamples, with their species if there are several."""
    names = tracks["biosample"].astype(str)
    if "species" in tracks and len(set(tracks["species"])) > 1:
        return tracks["species"].astype(str) + ": " + names
    return names


def draw_skill(plt: Any, tracks: pd.DataFrame) -> Drawn:
    """Draw skill as a matrix of biosamples x assays, with means at its right and below."""
    from matplotlib.colors import LinearSegmentedColormap

    matrix = Matrix.of(tracks)
    values = matrix.skill
    rows, columns = values.shape
    cell = float(np.clip(min(5.4 / max(1, columns), 9.0 / max(1, rows)), 0.1, 0.42))
    wide = max(cell, 0.42 if columns <= 14 and values.size <= MOST_NUMBERS else cell)
    names = short_names(matrix.assays)
    row_room = 0.075 * max(len(shown(name)) for name in matrix.biosamples) + 0.2
    column_room = 0.062 * max(len(name) for name in names.values()) + 0.2
    # One more row and one more column hold means, half a cell apart from the others.
    size = row_room + wide * (columns + 1.5) + 0.15, column_room + cell * (rows + 1.5) + 0.85
    size = max(size[0], 3.4), size[1]
    figure = plt.figure(figsize=size)
    axis = figure.add_axes(
        (row_room / size[0], 0.75 / size[1], wide * (columns + 1.5) / size[0], cell * (rows + 1.5) / size[1])
    )
    scale = LinearSegmentedColormap.from_list("skill", [WORST, "#f7f7f5", BEST])
    limit = _limit(values)
    across, down = _edges(columns), _edges(rows)
    means = _with_means(values)
    masked = np.ma.masked_invalid(means)
    axis.set_facecolor("white")
    axis.pcolormesh(
        across, down, np.zeros_like(means), cmap=LinearSegmentedColormap.from_list("no", [as_hex(PALE)] * 2),
        edgecolors="white", linewidth=0.6 if cell > 0.14 else 0,
    )  # fmt: skip
    drawn = axis.pcolormesh(
        across, down, masked, cmap=scale, vmin=-limit, vmax=limit, edgecolors="white",
        linewidth=0.6 if cell > 0.14 else 0, gid="skill",
    )  # fmt: skip
    for gap in (columns, rows):
        line = axis.axvspan if gap == columns else axis.axhspan
        line(gap, gap + 0.5, facecolor="white", edgecolor="none", zorder=2)
    if rows == columns:
        axis.axhspan(rows, rows + 0.5, facecolor="white", edgecolor="none", zorder=2)
    if means.size <= MOST_NUMBERS and wide > 0.3:
        for i, j in zip(*np.nonzero(~np.isnan(means)), strict=True):
            dark = abs(means[i, j]) > 0.6 * limit
            axis.text(
                _middle(across, j), _middle(down, i), _short_number(means[i, j]),
                ha="center", va="center", size=6.5, color="white" if dark else INK_HEX, zorder=3,
            )  # fmt: skip
    _name_cells(axis, matrix, names, cell, wide)
    bar_box = (
        row_room / size[0],
        0.42 / size[1],
        min(2.2 / size[0], 1 - row_room / size[0] - 0.05),
        0.09 / size[1],
    )
    bar = figure.colorbar(drawn, cax=figure.add_axes(bar_box), orientation="horizontal")
    bar.outline.set_visible(False)
    against = set(tracks["against"]) - {""}
    rival = next(iter(against)).replace("_", " ") if len(against) == 1 else "a baseline"
    bar.set_label(textwrap.fill(f"skill: 1 - MSE / MSE of {rival}", 46), size=7)
    bar.ax.tick_params(labelsize=6.5, length=2)
    return Drawn(figure, {"skill": _cell_hints(matrix, names, means)})


def _short_number(value: float) -> str:
    return (
        f"{value:+.2f}".replace("+0.", "+.").replace("-0.", "\N{MINUS SIGN}.").replace("-", "\N{MINUS SIGN}")
    )


def _limit(values: Floats) -> float:
    """Return the end of the colour scale: most absolute skills are less. It is at most 1 (perfect)."""
    some = np.abs(values[~np.isnan(values)])
    return float(np.clip(np.quantile(some, 0.95) if some.size else 0.1, 0.1, 1.0))


def _edges(count: int) -> Floats:
    """Return the edges of cells: one cell per row, a gap of half a cell, and one cell for the mean."""
    return np.append(np.arange(count + 1.0), [count + 0.5, count + 1.5])


def _middle(edges: Floats, cell: int) -> float:
    return float((edges[cell] + edges[cell + 1]) / 2)


def _with_means(values: Floats) -> Floats:
    """Add to the matrix a gap, the means of rows and columns, and the mean of all tracks in the corner."""
    rows, columns = values.shape
    whole = np.full((rows + 2, columns + 2), np.nan)
    whole[:rows, :columns] = values
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    with np.errstate(invalid="ignore"):
        whole[:rows, -1] = filled.sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
        whole[-1, :columns] = filled.sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        whole[-1, -1] = filled.sum() / known.sum() if known.any() else np.nan
    return whole


def _name_cells(axis: Any, matrix: Matrix, names: Mapping[str, str], cell: float, wide: float) -> None:
    rows, columns = matrix.skill.shape
    axis.set_xlim(0, columns + 1.5)
    axis.set_ylim(rows + 1.5, 0)
    axis.xaxis.tick_top()
    axis.tick_params(length=0, pad=3)
    across = [(j + 0.5, names[name]) for j, name in enumerate(matrix.assays)]
    down = [(i + 0.5, shown(name)) for i, name in enumerate(matrix.biosamples)]
    for ticks, count, room, set_ticks, middle in (
        (across, columns, wide, axis.set_xticks, columns + 1.0),
        (down, rows, cell, axis.set_yticks, rows + 1.0),
    ):
        kept = ticks if count <= MOST_NAMED_CELLS else []
        size = float(np.clip(72 * room * 0.8, 4.0, 7.5))
        labelled = [*kept, (middle, "mean")]
        options = {"rotation": 90} if set_ticks == axis.set_xticks else {}
        set_ticks([at for at, _ in labelled], [text for _, text in labelled], fontsize=size, **options)
    axis.spines[["left", "bottom"]].set_visible(False)


def _cell_hints(matrix: Matrix, names: Mapping[str, str], means: Floats) -> list[str]:
    """Make one text per cell, row by row, in the order of drawing."""
    if means.size > MOST_HINTS:
        return []
    rows = [*matrix.biosamples, "", "mean"]
    columns = [*(names[name] for name in matrix.assays), "", "mean"]
    return [
        f"{row} / {column}: " + (f"{means[i, j]:+.3f}" if not np.isnan(means[i, j]) else "none")
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]


def titled(name: str) -> str:
    """Write the name of a table's column in words."""
    return NICE.get(name, name.replace("_", " "))


def draw_points(plt: Any, scores: pd.DataFrame, metrics: Sequence[str]) -> Drawn:
    """Draw each track's score by the model (vertical) against its score by each baseline (horizontal).

    There is one panel per metric and baseline. In the shaded half, the model is better. Errors are only drawn
    where units are those of training.
    """
    methods = [method for method in dict.fromkeys(scores["method"]) if method != IMPUTED]
    is_tall = len(methods) == 1 or len(methods) > MOST_ACROSS
    first, second = (methods, metrics) if is_tall else (metrics, methods)
    panels = [(one, other) if not is_tall else (other, one) for one in first for other in second]
    rows, columns = len(first), len(second)
    side = 2.5 if columns <= 3 else 1.9
    figure, axes = plt.subplots(
        rows,
        columns,
        squeeze=False,
        layout="constrained",
        figsize=(side * columns + 0.3, (side + 0.2) * rows + 0.4),
    )
    hints: dict[str, list[str]] = {}
    for number, (axis, (metric, method)) in enumerate(zip(axes.flat, panels, strict=True)):
        hints |= _draw_against(axis, scores, metric, method, f"points-{number}")
    handles = _legend(plt, scores)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), handletextpad=0.3)
    return Drawn(figure, hints)


def _draw_against(
    axis: Any, scores: pd.DataFrame, metric: str, method: str, gid: str
) -> dict[str, list[str]]:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    keys = [name for name in TRACK if name in scores]
    is_error = metric not in HIGHER_IS_BETTER
    comparable = scores[scores["same_units"]] if is_error and "same_units" in scores else scores
    table = comparable.pivot_table(index=keys, columns="method", values=metric, sort=False)
    both = table[[IMPUTED, method]].dropna() if {IMPUTED, method} <= set(table) else table.iloc[:0]
    name = shown(method, 30)
    axis.set_xlabel(f"{titled(metric)}, {name}" if len(name) <= 16 else f"{titled(metric)},\n{name}")
    axis.set_ylabel(f"{titled(metric)}, imputed")
    axis.set_box_aspect(1)
    if both.empty:
        axis.text(0.5, 0.5, "no track has both", ha="center", transform=axis.transAxes, color="#666666")
        axis.set_xticks([])
        axis.set_yticks([])
        return {}
    x, y = both[method].to_numpy(), both[IMPUTED].to_numpy()
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    is_log = is_error and 0 < low < high / FEWEST_LOG
    if is_log:
        axis.set_xscale("log")
        axis.set_yscale("log")
        decades = np.log10(high / low)
        named = (1.0, 2.0, 5.0) if decades < 1.2 else (1.0, 3.0) if decades < 2.5 else (1.0,)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(subs=named))
            side.set_major_formatter("{x:g}")
            side.set_minor_locator(NullLocator())
    else:
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(5))
    low, high = _span(np.concatenate([x, y]), is_log)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    better = y < x if is_error else y > x
    axis.fill_between(
        [low, high], [low, high], low if is_error else high, color="#eef3f8", linewidth=0, zorder=0
    )
    axis.plot([low, high], [low, high], color=INK_HEX, linewidth=0.7, zorder=1)
    axis.set_title(f"imputed better on {int(better.sum())} of {len(both)}", size=7, loc="right", pad=3)
    labels = both.index.to_frame(index=False)
    hints: dict[str, list[str]] = {}
    for number, (_, part) in enumerate(labels.groupby(["assay_class", "role"], sort=False)):
        at, name = part.index.to_numpy(), f"{gid}-{number}"
        colour = as_hex(COLOURS.get(str(part["assay_class"].iloc[0]), COLOURS["other"]))
        marker = MARKERS.get(str(part["role"].iloc[0]), "D")
        edge = {} if marker == "x" else {"edgecolors": "white"}
        axis.scatter(
            x[at],
            y[at],
            s=24,
            marker=marker,
            color=colour,
            linewidth=0.5 if edge else 1.0,
            zorder=3,
            gid=name,
            **edge,
        )
        if len(both) <= MOST_HINTS:
            hints[name] = [
                f"{labels['biosample'][i]} / {labels['assay'][i]}: imputed {y[i]:.4f}, {method} {x[i]:.4f}"
                for i in at
            ]
    return hints


def _span(values: Floats, is_log: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if is_log:
        room = max((high / low) ** 0.06, 1.1)
        return low / room, high * room
    room = max(0.06 * (high - low), 0.02)
    return low - room, high + room


def _legend(plt: Any, scores: pd.DataFrame) -> list[Any]:
    """Explain the colours and markers that are used."""
    from matplotlib.lines import Line2D

    classes = sorted({str(name) for name in scores["assay_class"]})
    roles = list(dict.fromkeys(str(role) for role in scores["role"]))
    dots = [
        Line2D([], [], marker="o", linestyle="", color=as_hex(COLOURS.get(name, COLOURS["other"])),
               label=shown(name.replace("_", " ")))
        for name in classes
    ]  # fmt: skip
    shapes = [
        Line2D(
            [],
            [],
            marker=MARKERS.get(role, "D"),
            linestyle="",
            color=INK_HEX,
            fillstyle="none",
            label=shown(role),
        )
        for role in roles
    ]
    return dots + (shapes if len(roles) > 1 else [])
