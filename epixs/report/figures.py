"""Pictures, drawn with matplotlib (the `viz` extra)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from epixs.catalog.pairs import why_unknown
from epixs.compendium.read import experiments_of, open_compendium, provenance_of
from epixs.errors import AxisError, ConfigError, EpixsWarning
from epixs.evaluation.scores import check_fit
from epixs.genome.locus import parse_locus
from epixs.training.history import GROUPED, read_history

INK = "#3b3b3b"


OBSERVED = "#2f5d8a"


IMPUTED = "#c8643c"


AVERAGE = "#8f8f8f"


MOST_GROUPS = 30
"""Species and assays whose errors are drawn, those furthest behind average activity first."""


FORMATS = (".png", ".svg", ".pdf")


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            "pictures need matplotlib",
            got="it is not installed",
            next_step="install it with `pip install 'epixs[viz]'`",
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot(
    imputed: str | Path, store: str | Path, *, biosample: str, assay: str, locus: str, out: str | Path
) -> list[str]:
    """Draw one experiment along a locus: observed, imputed and average activity, on one scale.

    Parameters
    ----------
    imputed, store
        The two compendia.
    biosample, assay
        The experiment.
    locus
        For instance `"chr19:3,000,000-3,100,000"`.
    out
        Picture to write; its ending says the format.

    Returns
    -------
    Notes on what was drawn otherwise than asked for.

    Raises
    ------
    AxisError
        If a store does not hold the experiment.
    RegionError
        If the locus lies outside the regions.
    ConfigError
        If matplotlib is missing, or the picture's format or folder does not exist.
    """
    _check_picture(Path(out))
    plt = _pyplot()
    predicted, observed = open_compendium(imputed), open_compendium(store)
    check_fit(imputed, predicted, store, observed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EpixsWarning)  # a note says it
        here = observed.epixs.sel(locus)
    here = here.isel(
        bin=np.argsort(here["bin_start"].to_numpy(), kind="stable")
    )  # regions may be in any order
    bins = here["bin"].to_numpy()
    edges = _edges(here)
    training = provenance_of(predicted)["training"][str(observed.attrs["species"])]
    trained, aliases = training["experiments"], training.get("aliases", {})
    table = experiments_of(observed)
    wanted = aliases.get(assay, assay)
    joint = table["assay"].map(lambda name: aliases.get(name, name))
    named = table[(table["biosample"] == biosample) & (joint == wanted)]
    measured = named.index[named["status"] == "ok"]
    readable = table[table["status"] == "ok"]
    rows = [
        int(i)
        for i, b, a in zip(readable.index, readable["biosample"], joint[readable.index], strict=True)
        if a == wanted and b != biosample and [b, a] in trained
    ]
    if len(named) and not _rows(predicted, biosample, assay, aliases):
        raise AxisError(
            f"{biosample} / {assay} was measured and is not imputed in {imputed}",
            next_step="impute it: name it in a table for `epixs impute --pairs`, or use --all",
        )
    at = _row(imputed, predicted, biosample, assay, aliases)
    guess = predicted.signal[at].isel(bin=bins).to_numpy()
    panels = [("imputed", guess, IMPUTED, _units(predicted, [at]))]
    if len(measured):
        values = here.signal[int(measured[0])].to_numpy()
        panels.insert(0, ("observed", values, OBSERVED, _units(observed, [int(measured[0])])))
    if rows:
        panels.append(
            (
                f"average activity\n({len(rows)} biosample{'s' * (len(rows) != 1)})",
                here.signal[rows].mean("experiment").to_numpy(),
                AVERAGE,
                _units(observed, rows),
            )
        )
    shown = np.concatenate([values[~np.isnan(values)] for _, values, _, _ in panels])
    top, bottom = (float(shown.max()) * 1.05, min(0.0, float(shown.min()))) if shown.size else (1.0, 0.0)
    figure, axes = plt.subplots(
        len(panels),
        1,
        sharex=True,
        squeeze=False,
        figsize=(10, 1.15 * len(panels) + 0.7),
        layout="constrained",
    )
    axes = axes[:, 0]
    for axis, (name, values, colour, units) in zip(axes, panels, strict=True):
        axis.fill_between(*_with_gaps(edges, values), color=colour, linewidth=0, step="post")
        axis.set_ylim(bottom, max(top, bottom + 1e-3))
        axis.set_ylabel(
            f"{name}\narcsinh of {units}", rotation=0, ha="right", va="center", color=INK, fontsize=8
        )
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(f"{here['bin_chrom'].to_numpy()[0]} (Mb, {observed.attrs['assembly']})")
    axes[-1].set_xlim(edges[0, 0], edges[-1, 1])
    axes[0].set_title(f"{assay} in {biosample}", loc="left", fontsize=10, color=INK)
    figure.savefig(str(out), dpi=130)
    plt.close(figure)
    notes = _clipped(locus, here)
    if not len(measured):
        why = f"cannot be used ({named['status'].iloc[0]})" if len(named) else "was not measured"
        notes.append(f"{biosample} / {assay} {why}: no observed panel")
    apart = int((edges[1:, 0] > edges[:-1, 1]).sum())
    if apart:
        notes.append(f"{locus} lies across {apart + 1} regions; between them nothing is drawn")
    return notes


def _units(dataset: Any, rows: Sequence[int]) -> str:
    """The tracks' own units of some experiments, as an axis shows them."""
    kinds = dict.fromkeys(str(kind) for kind in dataset.output_type.to_numpy()[list(rows)])
    return "\nor ".join(part for kind in kinds for part in kind.split(" | "))


def _edges(here: Any) -> Any:
    """Start and end of each bin in Mb, shape `(bin, 2)`."""
    return np.stack([here["bin_start"].to_numpy(), here["bin_end"].to_numpy()], axis=1) / 1e6


def _with_gaps(edges: Any, values: Any) -> tuple[Any, Any, Any]:
    """Steps, zeros and values: one at each bin's start, and nothing from where a stretch of bins ends."""
    last = np.append(edges[1:, 0] > edges[:-1, 1], True)
    at = np.flatnonzero(last) + 1
    heights = np.insert(np.asarray(values, dtype=float), at, np.nan)
    # The last bin of a stretch ends in a step of its own, without which it would have no width.
    steps = np.insert(edges[:, 0], at, edges[last, 1])
    closing = np.flatnonzero(np.isnan(heights))
    heights = np.insert(heights, closing, heights[closing - 1])
    steps = np.insert(steps, closing, steps[closing])
    return steps, np.zeros(steps.size), heights


def curves(model: str | Path, *, out: str | Path) -> None:
    """Draw the learning curves of a run, and its errors by species and assay beside the baselines.

    Parameters
    ----------
    model
        Folder of the run.
    out
        Picture to write; its ending says the format.

    Raises
    ------
    TrainingError
        If the folder has no history.
    ConfigError
        If matplotlib is missing, or the picture's format or folder does not exist.
    """
    _check_picture(Path(out))
    history = read_history(Path(model))
    plt = _pyplot()
    groups = [name.partition("/")[2] for name in history if name.startswith(GROUPED[0])]
    height = max(3.2, 0.9 + 0.22 * min(len(groups), MOST_GROUPS))
    figure, (axis, beside) = plt.subplots(
        1, 2, figsize=(12, height), layout="constrained", width_ratios=(1, 1.2), squeeze=True
    )
    kept = _draw_curves(axis, history)
    _draw_groups(beside, history, groups, kept)
    figure.savefig(str(out), dpi=130)
    plt.close(figure)


def _draw_curves(axis: Any, history: dict[str, list[float]]) -> int:
    """Loss and held-out errors by epoch; returns which epoch, counted from 0, was kept."""
    epochs = history["epoch"]
    lines = {
        "training": (history["loss"], AVERAGE),
        "held-out blocks": (history["held_out_mse"], OBSERVED),
        "held-out tracks": (history["held_out_tracks_mse"], IMPUTED),
    }
    shown = {name: line for name, line in lines.items() if np.isfinite(line[0]).any()}
    for name, (values, colour) in shown.items():
        axis.plot(epochs, values, color=colour, marker="o", markersize=3, label=name)
    chosen_by = shown.get("held-out tracks", shown["held-out blocks"])[0]
    best = int(np.nanargmin(chosen_by))
    axis.axvline(epochs[best], color=INK, linewidth=0.8, linestyle=":")
    axis.annotate("kept", (epochs[best], 0.98), xycoords=("data", "axes fraction"), xytext=(3, 0),
                  textcoords="offset points", va="top", color=INK)  # fmt: skip
    axis.set_xlabel("epoch")
    axis.set_ylabel("MSE, squared arcsinh units")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return best


def _draw_groups(axis: Any, history: dict[str, list[float]], groups: Sequence[str], kept: int) -> None:
    """Errors by species and assay in the kept epoch, beside average activity and the mean."""

    def errors(kind: str) -> dict[str, float]:
        return {group: history[f"{kind}{group}"][kept] for group in groups}

    model, average, mean = (errors(kind) for kind in GROUPED)
    worst = sorted(groups, key=lambda group: ("/" in group, -model[group] / max(average[group], 1e-12)))
    shown = sorted(worst[:MOST_GROUPS], key=groups.index)[::-1]
    at = np.arange(len(shown))
    for values, marker, colour, name in (
        (mean, "|", INK, "the mean"),
        (average, "D", AVERAGE, "average activity"),
        (model, "o", IMPUTED, "model"),
    ):
        axis.plot([values[group] for group in shown], at, marker, color=colour, label=name, markersize=6)
    axis.set_yticks(at, [group.replace("/", ": ") for group in shown], fontsize=8)
    axis.set_xlabel("MSE of held-out entries, squared arcsinh units")
    axis.set_xlim(left=0)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if shown:
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3)


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(
            "picture", got=str(out), expected=f"a name that ends with one of {', '.join(FORMATS)}"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"picture {out}: no folder {out.parent}", next_step="make the folder first")


def _clipped(locus: str, drawn: Any) -> list[str]:
    """A note, if a locus reaches outside the regions."""
    chrom, start, end = parse_locus(locus)
    low, high = int(drawn["bin_start"].min()), int(drawn["bin_end"].max())
    if low <= start and end <= high:
        return []
    return [f"{locus} reaches outside the regions; drawn is {chrom}:{low:,}-{high:,}"]


def _row(path: str | Path, dataset: Any, biosample: str, assay: str, aliases: dict[str, str]) -> int:
    """Row of an experiment, whichever of its assay's names is given."""
    found = _rows(dataset, biosample, assay, aliases)
    if not found:
        table = experiments_of(dataset)
        why = why_unknown(biosample, assay, set(table["biosample"]), set(table["assay"]))
        raise AxisError(
            f"{path} does not hold the experiment",
            got=f"{biosample} / {assay}: {why}",
            expected="one of its experiments",
            next_step=f"list them with `epixs info {path}`",
        )
    return found[0]


def _rows(dataset: Any, biosample: str, assay: str, aliases: dict[str, str]) -> list[int]:
    table = experiments_of(dataset)
    joint = table["assay"].map(lambda name: aliases.get(name, name))
    return table.index[(table["biosample"] == biosample) & (joint == aliases.get(assay, assay))].tolist()
