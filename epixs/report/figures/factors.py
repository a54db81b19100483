"""Draw a model's factors of assays and biosamples, along the two directions in which they vary most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.axis.axis import JointAxis
from epixs.exports.colours import COLOURS, SERIES, as_hex
from epixs.report.figures.canvas import INK_HEX, short_names, shown
from epixs.report.figures.scores import MOST_HINTS, Drawn

MOST_NAMED = 45
"""Maximum number of points that are named. Of more, only some names would fit, which looks like a choice."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorMap:
    """Factors of some labels as points of a plane.

    Parameters
    ----------
    title
        Kind of the labels.
    points
        First two principal components, shape `(label, 2)`.
    explained
        Share of the variance that each of the two explains.
    names, groups
        One name and one group per point.
    colours
        Colour of each group.
    """

    title: str
    points: Floats
    explained: tuple[float, float]
    names: Sequence[str]
    groups: Sequence[str]
    colours: dict[str, str]


def principal(factors: npt.ArrayLike) -> tuple[Floats, tuple[float, float]]:
    """Project rows on the two directions in which they vary most. The largest value of each is positive."""
    table = np.asarray(factors, dtype=np.float64)
    centred = table - table.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(table), 2))
    projected = centred @ directions[:2].T
    points[:, : projected.shape[1]] = projected
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1, 1)
    shares = np.zeros(2)
    variance = float((sizes**2).sum())
    if variance > 0:
        shares[: min(2, sizes.size)] = sizes[:2] ** 2 / variance
    return points, (float(shares[0]), float(shares[1]))


def factor_maps(axis: JointAxis, factors: Mapping[str, npt.NDArray[Any]]) -> list[FactorMap]:
    """Make one map for each of `assay` and `biosample` that has factors and more than two labels.

    Parameters
    ----------
    axis
        The model's axis.
    factors
        Factors from `Kind.label_factors`.
    """
    makers = {"assay": assay_map, "biosample": biosample_map}
    maps = [makers[name](axis, values) for name, values in factors.items() if name in makers]
    return [one_map for one_map in maps if len(one_map.names) > 2]


def assay_map(axis: JointAxis, factors: npt.NDArray[Any]) -> FactorMap:
    """Map the assays that were trained on, coloured by class."""
    trained = {str(assay) for part in axis.parts for assay in part.training["assay"]}
    kept = [number for number, assay in enumerate(axis.assays) if assay in trained]
    points, explained = principal(factors[kept])
    assays = [axis.assays[number] for number in kept]
    classes = [axis.assay_classes.get(assay, "other") for assay in assays]
    colours = {name: as_hex(COLOURS.get(name, COLOURS["other"])) for name in sorted(set(classes))}
    names = short_names(assays)
    return FactorMap("Assays", points, explained, [names[a] for a in assays], classes, colours)


def biosample_map(axis: JointAxis, factors: npt.NDArray[Any]) -> FactorMap:
    """Map the biosamples of all species that were trained on, coloured by species."""
    trained = {(part.species, str(name)) for part in axis.parts for name in part.training["biosample"]}
    pairs = [(part.species, biosample) for part in axis.parts for biosample in part.biosamples]
    kept = [number for number, pair in enumerate(pairs) if pair in trained]
    points, explained = principal(factors[kept])
    colours = {name: as_hex(SERIES[at % len(SERIES)]) for at, name in enumerate(axis.species)}
    groups = [pairs[number][0] for number in kept]
    names = [shown(pairs[number][1], 24) for number in kept]
    return FactorMap("Biosamples", points, explained, names, groups, colours)


def draw_factors(plt: Any, maps: Sequence[FactorMap]) -> Drawn:
    """Draw one panel per map."""
    figure, axes = plt.subplots(
        1, len(maps), squeeze=False, layout="constrained", figsize=(3.7 * len(maps), 3.9)
    )
    hints: dict[str, list[str]] = {}
    for number, (axis, one_map) in enumerate(zip(axes[0], maps, strict=True)):
        hints |= _draw_map(axis, one_map, f"factors-{number}")
    return Drawn(figure, hints)


def _draw_map(axis: Any, found: FactorMap, gid: str) -> dict[str, list[str]]:
    axis.set_title(found.title, loc="left", weight="bold")
    groups = np.asarray(found.groups, dtype=object)
    hints = {}
    markers = "o^sDvP*X"
    for number, (group, colour) in enumerate(found.colours.items()):
        at = np.flatnonzero(groups == group)
        if not at.size:
            continue
        axis.scatter(
            *found.points[at].T, s=30, color=colour, marker=markers[number % len(markers)],
            edgecolors="white",
            linewidth=0.6, label=shown(group.replace("_", " ")), gid=f"{gid}-{number}", zorder=3,
        )  # fmt: skip
        if len(groups) <= MOST_HINTS:
            hints[f"{gid}-{number}"] = [f"{found.names[i]} ({group})" for i in at.tolist()]
    for setter, part, share in (
        (axis.set_xlabel, "first", found.explained[0]),
        (axis.set_ylabel, "second", found.explained[1]),
    ):
        setter(f"{part} principal component ({share:.0%})")
    axis.margins(0.16)
    axis.tick_params(labelbottom=False, labelleft=False, length=0)
    axis.axhline(0, color="#e6e6e2", linewidth=0.7, zorder=0)
    axis.axvline(0, color="#e6e6e2", linewidth=0.7, zorder=0)
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, handletextpad=0.2, columnspacing=1.0)
    if len(found.names) <= MOST_NAMED:
        axis.figure.canvas.draw()  # so that names are placed where points will be
        _name_points(axis, found)
    return hints


OFFSETS = ((5, 0, "left"), (-5, 0, "right"), (0, 7, "center"), (0, -7, "center"),
           (5, 7, "left"), (-5, 7, "right"),
           (5, -7, "left"), (-5, -7, "right"), (0, 14, "center"), (0, -14, "center"),
           (14, 14, "left"), (-14, 14, "right"), (14, -14, "left"), (-14, -14, "right"),
           (0, 24, "center"), (0, -24, "center"), (20, 24, "left"), (-20, 24, "right"),
           (20, -24, "left"), (-20, -24, "right"))  # fmt: skip
"""Offsets of a name from its point, in typographic points, best first."""

NEAR = 8
"""Maximum offset of a name without a line to its point."""


def _name_points(axis: Any, found: FactorMap) -> None:
    """Write each name where it covers points and other names least."""
    per_point = axis.figure.dpi / 72
    pixels = axis.transData.transform(found.points)
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in pixels]
    frame = axis.bbox.extents
    for number in np.argsort(-pixels[:, 1], kind="stable"):
        x, y = pixels[number]
        name = found.names[number]
        wide, high = 3.9 * per_point * len(name), 8 * per_point
        boxes = []
        for right, up, anchor in OFFSETS:
            left = {"left": 0.0, "right": wide, "center": wide / 2}[anchor]
            x0, y0 = x + right * per_point - left, y + up * per_point - high / 2
            boxes.append((x0, y0, x0 + wide, y0 + high))
        costs = [
            sum(_overlap(box, other) for at, other in enumerate(taken) if at != number)
            + 3 * (_area(box) - _overlap(box, frame))
            for box in boxes
        ]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        right, up, anchor = OFFSETS[best]
        axis.annotate(
            name, found.points[number], xytext=(right, up), textcoords="offset points", ha=anchor,
            va="center", size=6.5, color=INK_HEX, zorder=4,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#999999", "shrinkA": 0, "shrinkB": 2}
            if max(abs(right), abs(up)) > NEAR else None,
        )  # fmt: skip


Box = tuple[float, float, float, float]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(first: Any, second: Any) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, float(wide)) * max(0.0, float(high))
