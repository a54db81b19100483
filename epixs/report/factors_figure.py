"""A picture of the factors of a model's biosamples and assays, on the two axes that show them best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epixs.exports.h5ad import LabelTable, label_tables
from epixs.exports.hub import COLOURS
from epixs.models.folder import TrainedModel, open_model
from epixs.report.figures import INK, _check_picture, _pyplot

SPECIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Apart for the colour-blind too."""


MARKERS = "osD^vP*X"

MOST_NAMES = 45
"""Labels that are written; of more, only points are drawn."""


def plot_factors(model: str | Path | TrainedModel, *, out: str | Path) -> None:
    """Draw the factors of a model's biosamples and assays on their first two principal components.

    Parameters
    ----------
    model
        A model folder, or what `open_model` gives.
    out
        Picture to write; its ending says the format.

    Raises
    ------
    TrainingError
        If the folder holds no model, or its labels have no factors.
    ConfigError
        If matplotlib is missing, or the picture's format or folder does not exist.
    """
    _check_picture(Path(out))
    plt = _pyplot()
    tables = label_tables(model if isinstance(model, TrainedModel) else open_model(model))
    figure, axes = plt.subplots(
        1, len(tables), figsize=(6.5 * len(tables), 5.6), layout="constrained", squeeze=False
    )
    for axis, table in zip(axes[0], tables, strict=True):
        _draw(axis, table)
    figure.savefig(str(out), dpi=130)
    plt.close(figure)


def _draw(axis: Any, table: LabelTable) -> None:
    points, shares = principal_components(table.values)
    by = "species" if table.what == "biosamples" else "assay_class"
    groups = list(dict.fromkeys(table.labels[by]))
    for number, group in enumerate(groups):
        mine = (table.labels[by] == group).to_numpy()
        axis.scatter(
            *points[mine].T, s=26, color=_colour(by, group, number), marker=MARKERS[number % len(MARKERS)],
            label=_plain(str(group) or "other"), linewidth=0,
        )  # fmt: skip
    names = table.labels[table.what[:-1]].tolist()
    for name, at in zip(names if len(names) <= MOST_NAMES else [], points, strict=False):
        axis.annotate(
            _plain(_short(name)), at, xytext=(4, 2), textcoords="offset points", fontsize=6, color=INK
        )
    for name, share, setter in zip("12", shares, (axis.set_xlabel, axis.set_ylabel), strict=True):
        setter(f"component {name} ({share:.0%} of the variance)")
    axis.set_title(f"{len(names)} {table.what}, {table.values.shape[1]} factors each", loc="left", color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(0.14)
    axis.legend(frameon=False, fontsize=8)


def principal_components(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], list[float]]:
    """The first two principal components, shape `(label, 2)`, and their shares of the variance."""
    centred = values.astype(np.float64) - values.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(values), 2))
    count = min(2, sizes.size)
    points[:, :count] = left[:, :count] * sizes[:count]
    total = float((sizes**2).sum()) or 1.0
    return points, [float(sizes[i] ** 2) / total if i < count else 0.0 for i in range(2)]


def _colour(by: str, group: str, number: int) -> Any:
    if by == "assay_class":
        return tuple(part / 255 for part in COLOURS.get(group, COLOURS["other"]))
    return SPECIES_COLOURS[number % len(SPECIES_COLOURS)]


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:25]}..."


def _plain(text: str) -> str:
    """Text as it is: matplotlib reads what stands between dollar signs as mathematics."""
    return text.replace("$", r"\$")
