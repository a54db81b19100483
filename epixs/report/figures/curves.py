"""Draw learning curves of a training run, and its errors by species and assay beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epixs.errors import EpixsError
from epixs.exports.colours import BASELINE, IMPUTED, OBSERVED, PALE, as_hex
from epixs.models.description import read_description
from epixs.models.kinds import kind_named
from epixs.report.figures.canvas import INK_HEX, check_picture, drawing, save, short_names, shown
from epixs.training.history import GROUPED, read_history

HELD_OUT = "held out"

MOST_GROUPS = 30
"""Maximum number of species and assays whose errors are drawn: those furthest behind average activity."""


def curves(model: str | Path, *, out: str | Path) -> None:
    """Draw the learning curves of a run, and its errors by species and assay beside the baselines.

    Parameters
    ----------
    model
        Folder of the run.
    out
        Picture to write; its suffix sets the format.

    Raises
    ------
    TrainingError
        If the folder has no history.
    ConfigError
        If matplotlib is missing, or the picture's format or folder does not exist.
    """
    check_picture(Path(out))
    history = read_history(Path(model))
    with drawing() as plt:
        save(draw_curves(plt, history, keeps_last=keeps_last(Path(model))), Path(out))


def keeps_last(folder: Path) -> bool:
    """Whether the model in a folder has the weights of the last epoch, rather than of the lowest error."""
    try:
        return kind_named(read_description(folder).settings.kind).keeps_last
    except EpixsError:  # an unfinished run, or a foreign model, still has curves
        return False


def draw_curves(plt: Any, history: dict[str, list[float]], *, keeps_last: bool = False) -> Any:
    """Draw a history from `read_history`, and return the figure."""
    groups = [name.partition("/")[2] for name in history if name.startswith(GROUPED[0])]
    height = max(2.9, 1.0 + 0.17 * min(len(groups), MOST_GROUPS))
    figure, (axis, beside) = plt.subplots(
        1, 2, figsize=(7.2, height), layout="constrained", width_ratios=(1, 1.1), squeeze=True
    )
    kept = _draw_epochs(axis, history, keeps_last)
    _draw_groups(beside, history, groups, kept)
    return figure


def _draw_epochs(axis: Any, history: dict[str, list[float]], keeps_last: bool) -> int:
    """Draw loss and held-out errors by epoch. Returns the index, from 0, of the kept epoch."""
    epochs = history["epoch"]
    lines = {
        "training (weighted)" if keeps_last else "training": (history["loss"], BASELINE, "o"),
        HELD_OUT: (history["held_out_mse"], OBSERVED, "s"),
        "held-out tracks": (history["held_out_tracks_mse"], IMPUTED, "D"),
    }
    there = {name: line for name, line in lines.items() if np.isfinite(line[0]).any()}
    for name, (values, colour, marker) in there.items():
        axis.plot(
            epochs, values, color=as_hex(colour), marker=marker, markersize=3, linewidth=1.2, label=name
        )
    judges = [there[name][0] for name in ("held-out tracks", HELD_OUT) if name in there]
    best = len(epochs) - 1 if keeps_last or not judges else int(np.nanargmin(judges[0]))
    axis.axvline(epochs[best], color=INK_HEX, linewidth=0.8, linestyle=":")
    is_late = 2 * best >= len(epochs)
    axis.annotate(
        "kept", (epochs[best], 0.99), xycoords=("data", "axes fraction"), xytext=(-3 if is_late else 3, 0),
        textcoords="offset points", ha="right" if is_late else "left", va="top", size=7.5,
    )  # fmt: skip
    axis.set_xlabel("epoch")
    axis.set_ylabel("MSE, squared arcsinh units")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(epochs) == 1:
        axis.set_xticks(epochs, [f"{epochs[0]:g}"])
    if there:
        axis.legend()
    return best


def _draw_groups(axis: Any, history: dict[str, list[float]], groups: Sequence[str], kept: int) -> None:
    """Draw errors by species and assay in the kept epoch, beside average activity and the mean."""

    def errors(kind: str) -> dict[str, float]:
        return {group: history[f"{kind}{group}"][kept] for group in groups}

    model, average, mean = (errors(kind) for kind in GROUPED)
    worst = sorted(groups, key=lambda group: ("/" in group, -model[group] / max(average[group], 1e-12)))
    drawn = sorted(worst[:MOST_GROUPS], key=groups.index)[::-1]
    at = np.arange(len(drawn))
    for values, marker, colour, name in (
        (mean, "|", INK_HEX, "the mean"),
        (average, "D", as_hex(BASELINE), "average activity"),
        (model, "o", as_hex(IMPUTED), "model"),
    ):
        axis.plot(
            [values[group] for group in drawn],
            at,
            marker,
            color=colour,
            label=name,
            markersize=5,
            clip_on=False,
        )
    assays = short_names(group.partition("/")[2] for group in drawn if "/" in group)
    names = [
        f"{shown(species)}: {assays[assay]}" if assay else shown(species)
        for species, _, assay in (group.partition("/") for group in drawn)
    ]
    axis.set_yticks(at, names)
    axis.set_xlabel("MSE on what was held out, squared arcsinh units")
    axis.set_xlim(left=0)
    axis.grid(axis="y", color=as_hex(PALE), linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if drawn:
        axis.figure.legend(
            *axis.get_legend_handles_labels(), loc="outside lower right", ncols=3, handletextpad=0.2
        )
