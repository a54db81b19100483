"""Run all of epixs on a simulated world, from bigWigs to the paper's two tables."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from epixs.axis.join import joint_axis
from epixs.catalog.experiments import read_catalog, write_catalog
from epixs.catalog.pairs import Pair
from epixs.catalog.portal import select_experiments
from epixs.cluster.client import open_client
from epixs.errors import ConfigError, StoreError
from epixs.evaluation.scores import evaluate
from epixs.evaluation.table import AVERAGE, IMPUTED, UNFAIR, ZERO_SHOT, Evaluation, method_means
from epixs.genome.bed import read_regions
from epixs.imputation.write import impute
from epixs.ingestion.run import ingest
from epixs.models.folder import open_model
from epixs.models.settings import make_settings
from epixs.report.comparison import Comparison
from epixs.report.figures.canvas import has_matplotlib
from epixs.report.loci import MOST_SIGNAL, chosen_places
from epixs.report.plot import plot
from epixs.report.tables import write_report
from epixs.simulation.simulate import simulate
from epixs.storage.files import check_new_folder
from epixs.training.run import train

EXCLUDED_SHARE = 1 / 3

ZERO_SHOT_CLASS = "protein_binding"

SETTINGS = {
    "demo": make_settings(
        "avocado", hidden=(128, 128), batch_size=2_000, learning_rate=1e-3, genome_multiplier=10.0, epochs=80
    ),
    "tiny": make_settings("avocado", hidden=(32, 32), epochs=3, batch_size=1_000, held_out=0.1),
}
"""Settings of the paper's model, for its tables."""


@dataclass(frozen=True)
class DemoResult:
    """The scores behind the two tables."""

    mouse_only: Evaluation
    joint: Evaluation
    zero_shot: Evaluation


def demo(folder: Path, *, size: str = "demo", seed: int = 0, console: Console | None = None) -> DemoResult:
    """Simulate, catalog, ingest, train, impute and evaluate; print the paper's two tables for that world.

    Parameters
    ----------
    folder
        New or empty folder.
    size
        `"demo"` (minutes) or `"tiny"` (seconds, for tests).
    seed
        Seed of the world and of training.
    console
        Console to print to.

    Raises
    ------
    StoreError
        If the folder is not empty.
    """
    console = console or Console()
    check_new_folder(folder, StoreError)
    if size not in SETTINGS:
        raise ConfigError("size", got=repr(size), expected=" or ".join(SETTINGS))
    config = SETTINGS[size].replace(seed=seed)
    with _step(console, "simulate a two-species world as bigWigs"):
        simulate(folder / "world", size=size, seed=seed)
    with _step(console, "choose experiments from its portal table"):
        write_catalog(
            select_experiments(folder / "world" / "metadata.tsv").table, folder / "world" / "catalog.tsv"
        )
    stores = {}
    with _step(console, "ingest human and mouse"), open_client() as client:
        for species in ("human", "mouse"):
            catalog = read_catalog(folder / "world" / "catalog.tsv", species)
            regions, _ = read_regions(folder / "world" / f"{species}.bed", catalog.assembly)
            stores[species] = folder / f"{species}.zarr"
            ingest(catalog, regions, stores[species], client=client)
    human, mouse = stores["human"], stores["mouse"]
    third = choose_excluded(mouse, seed)
    protein = _pairs_of_class(mouse, ZERO_SHOT_CLASS)
    runs = {
        "mouse_only": ("train on mouse alone, impute excluded tracks", [mouse], third),
        "joint": ("train on mouse and human jointly", [mouse, human], third),
        "zero_shot": ("train jointly without any mouse protein binding (zero-shot)", [mouse, human], protein),
    }
    results = {}
    for name, (what, sources, excluded) in runs.items():
        with _step(console, what):
            train(joint_axis(sources, excluded), config, folder / name)
            impute(open_model(folder / name), mouse, folder / f"{name}.zarr", pairs=excluded)
            results[name] = evaluate(folder / f"{name}.zarr", mouse)
            write_report(
                results[name],
                folder / f"{name}-report",
                imputed=folder / f"{name}.zarr",
                store=mouse,
                model=folder / name,
            )
    result = DemoResult(**results)
    console.print()
    console.print(imputation_table(result))
    console.print(zero_shot_table(result))
    looks = [(f"{folder}/zero_shot-report/report.html", "the scores as a page")]
    if has_matplotlib():
        looks.insert(
            0, (f"{folder}/zero_shot.png", _draw(folder / "zero_shot.png", folder / "zero_shot.zarr", mouse))
        )
    console.print(f"Everything is in {folder}/ : two compendia, three models, their imputations and reports.")
    for path, what in looks:
        console.print(f"  {path}: {what}", highlight=False, soft_wrap=True)
    console.print("Next, the tracks in your browser, and every mouse track that nobody measured:")
    for command in next_commands(folder):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    return result


def next_commands(folder: Path) -> list[str]:
    """Return commands to run next on the demo's files."""
    at, called = shlex.quote(str(folder)), Path(sys.argv[0])
    is_elsewhere = called.name == "epixs" and shutil.which("epixs") != shutil.which(called)
    epixs = shlex.quote(str(called)) if is_elsewhere else "epixs"  # `make demo` calls the one in .venv
    return [
        f"{epixs} browse {at}/mouse.zarr {at}/zero_shot.zarr",
        f"{epixs} impute {at}/joint {at}/mouse.zarr --out {at}/mouse.imputed.zarr",
    ]


def _draw(out: Path, imputed: Path, store: Path) -> str:
    """Plot the first zero-shot track at the place with most observed signal; returns a description."""
    pair = Comparison.open(imputed, store)
    track = pair.tracks()[0]
    place = next(place for why, place in chosen_places(pair, track) if why == MOST_SIGNAL)
    plot(imputed, store, out=out, biosample=track.biosample, assay=track.assay, locus=place.locus)
    return f"{track.name}, zero-shot, beside what was observed, at the 100 kb with {MOST_SIGNAL}"


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    console.print(f"[bold]>[/] {what} ...", end=" ", highlight=False)
    started = time.monotonic()
    yield
    console.print(f"{time.monotonic() - started:.0f} s", highlight=False)


def choose_excluded(store: Path, seed: int) -> list[Pair]:
    """Choose a third of a store's experiments, so that each assay and each biosample keeps one."""
    axis = joint_axis([store])
    part = axis.parts[0]
    table = part.experiments[["biosample", "assay"]]
    left = {name: table[name].value_counts().to_dict() for name in ("biosample", "assay")}
    chosen: list[Pair] = []
    for index in np.random.default_rng(seed).permutation(len(table)):
        biosample, assay = table.iloc[int(index)]
        if (
            len(chosen) < EXCLUDED_SHARE * len(table)
            and left["biosample"][biosample] > 1
            and left["assay"][assay] > 1
        ):
            chosen.append((part.species, biosample, assay))
            left["biosample"][biosample] -= 1
            left["assay"][assay] -= 1
    return chosen


def _pairs_of_class(store: Path, assay_class: str) -> list[Pair]:
    part = joint_axis([store]).parts[0]
    rows = part.experiments[part.experiments["assay_class"] == assay_class]
    return [(part.species, b, a) for b, a in zip(rows["biosample"], rows["assay"], strict=True)]


def _mse_row(name: str, scores: pd.DataFrame, method: str, classes: Sequence[str]) -> list[str]:
    rows = scores[scores["method"] == method]
    cells = [f"{rows['mse'].mean():.4f}"]
    for assay_class in classes:
        part = rows.loc[rows["assay_class"] == assay_class, "mse"]
        cells.append(f"{part.mean():.4f}" if len(part) else "-")
    return [name, *cells]


def imputation_table(result: DemoResult) -> Table:
    """Tabulate the MSE of excluded mouse tracks by assay class (the paper's table 1, simulated)."""
    joint, alone = result.joint.scores, result.mouse_only.scores
    classes = sorted(set(joint["assay_class"]))
    count = (joint["method"] == IMPUTED).sum()
    title = f"MSE of {count} excluded mouse tracks (simulated world)"
    names = [name.replace("_", " ") for name in classes]
    table = Table("", "overall", *names, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_row(*_mse_row(AVERAGE, joint, AVERAGE, classes))
    table.add_row(*_mse_row("mouse only", alone, IMPUTED, classes))
    table.add_row(*_mse_row("mouse + human", joint, IMPUTED, classes), style="bold")
    return table


def zero_shot_table(result: DemoResult) -> Table:
    """Tabulate scores of mouse protein binding, with none in training (the paper's table 2, simulated)."""
    scores = result.zero_shot.scores
    count = (scores["method"] == IMPUTED).sum()
    title = f"Zero-shot: {count} mouse protein-binding tracks, none seen in mouse (simulated world)"
    table = Table("", "MSE", "Pearson", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    means = {row["method"]: row for row in method_means(scores)}
    for method in (*ZERO_SHOT, IMPUTED, UNFAIR):
        if method in means:
            name = {IMPUTED: "mouse + human, zero-shot", UNFAIR: "average of the hidden tracks (unfair)"}
            table.add_row(
                name.get(method, method),
                f"{means[method]['mse']:.4f}",
                f"{means[method]['pearson']:.4f}",
                style="bold" if method == IMPUTED else None,
            )
    return table
