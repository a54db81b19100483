"""Draw the share of observed values in intervals, against the share that they should hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from epixs.exports.colours import COLOURS, IMPUTED, as_hex
from epixs.report.calibration import Calibration, nominal
from epixs.report.figures.canvas import INK_HEX, short_names
from epixs.report.figures.scores import Drawn

MOST_ASSAYS = 40
"""Maximum number of assays whose 80 % interval is drawn. Those furthest from 80 % are kept."""


def draw_calibration(plt: Any, found: Sequence[Calibration], classes: Mapping[str, str]) -> Drawn:
    """Draw one line per track and one for all tracks, and the share in the 80 % interval by assay."""
    assays = _furthest(found)
    height = max(3.0, 0.9 + 0.19 * len(assays))
    figure, (axis, beside) = plt.subplots(
        1, 2, figsize=(7.2, height), layout="constrained", width_ratios=(1, 1.15), squeeze=True
    )
    axis.plot([0, 1], [0, 1], color=INK_HEX, linewidth=0.7, linestyle=(0, (4, 3)), label="as promised")
    for one in found:
        axis.plot(nominal(), one.observed, color=_colour(classes, one.assay), linewidth=0.7, alpha=0.5)
    counts = np.sum([one.counts for one in found], axis=0)
    whole = Calibration("", "", counts)
    axis.plot(nominal(), whole.observed, color=as_hex(IMPUTED), linewidth=2, label="all tracks together")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_box_aspect(1)
    axis.set_anchor("N")
    axis.set_xlabel("share that an interval is meant to hold")
    axis.set_ylabel("share of observed values in it")
    axis.legend(loc="upper left")
    names = short_names(assays)
    hints = []
    x, y, colours = [], [], []
    for at, assay in enumerate(assays[::-1]):
        for one in found:
            if one.assay == assay:
                x.append(one.within_80)
                y.append(at)
                colours.append(_colour(classes, assay))
                hints.append(f"{one.biosample} / {assay}: {one.within_80:.1%} of {one.bins:,} bins")
    beside.axvline(0.8, color=INK_HEX, linewidth=0.7, linestyle=(0, (4, 3)))
    beside.scatter(x, y, s=20, c=colours, edgecolors="white", linewidth=0.5, zorder=3, gid="within-80")
    beside.set_yticks(range(len(assays)), [names[assay] for assay in assays[::-1]])
    beside.set_ylim(-0.7, len(assays) - 0.3)
    beside.set_xlim(min(0.0 if min(x) < 0.4 else 0.4, min(x) - 0.02), 1.0)
    beside.set_xlabel("share of observed values in the 80 % interval")
    beside.tick_params(axis="y", length=0)
    beside.spines["left"].set_visible(False)
    beside.grid(axis="y", color="#e6e6e2", linewidth=0.6)
    return Drawn(figure, {"within-80": hints})


def _furthest(found: Sequence[Calibration]) -> list[str]:
    """Return the assays furthest from 80 %, at most `MOST_ASSAYS`, sorted by name."""
    off: dict[str, float] = {}
    for one in found:
        off[one.assay] = max(off.get(one.assay, 0.0), abs(one.within_80 - 0.8))
    kept = sorted(off, key=lambda assay: -off[assay])[:MOST_ASSAYS]
    return sorted(kept)


def _colour(classes: Mapping[str, str], assay: str) -> str:
    return as_hex(COLOURS.get(classes.get(assay, "other"), COLOURS["other"]))
