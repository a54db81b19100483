"""Make the paper's tables of real and of simulated tracks by cross-validation; writes docs/tables.md.

    python -m benchmarks.tables --data ../shared/data [--run two-species ...] [--seeds 1] [--models context]

Runs the files of `pipelines/`, two of them with another split too. In the folder `--work` it resumes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

import epixs
from benchmarks.sections import write_section
from epixs.crossvalidation.settings import Config, read_config
from epixs.report.tables import typeset

PIPELINES = Path(__file__).parents[1] / "pipelines"

CORE = ("H1", "HeLa-S3")
"""Human biosamples that "part of human" has."""


def whole(config: Config) -> Config:
    return config


def by_assay(config: Config) -> Config:
    """Assays of histones held out, of training sets with another species."""
    return replace(
        config,
        split=replace(config.split, by="assay", assay_class="histone"),
        training_sets=tuple(one for one in config.training_sets if one.others),
    )


def by_experiment(config: Config) -> Config:
    """Experiments held out; four folds, because a network needs what three would hold out."""
    return replace(config, split=replace(config.split, by="experiment", folds=4))


@dataclass(frozen=True)
class Run:
    """A cross-validation: its file in `pipelines/`, what is changed in it, and what its section says."""

    file: str
    title: str
    world: str
    change: Callable[[Config], Config] = whole


RUNS = {
    "two-species": Run("two-species", "One human panel as two species: each assay held out whole", "panel"),
    "two-species-experiment": Run(
        "two-species", "One human panel as two species: experiments held out", "panel", by_experiment
    ),
    "human-mouse": Run("human-mouse", "Mouse, alone and with human: experiments held out", "real"),
    "human-mouse-assay": Run(
        "human-mouse", "Mouse with human: histone marks held out whole", "real", by_assay
    ),
    "table1": Run("table1", "Simulated: experiments of mouse held out", "simulated"),
    "table2": Run("table2", "Simulated: assays of protein binding held out", "simulated"),
    "differs": Run(
        "table1", "Simulated, with H3K27ac at other elements in mouse: which assay differs", "differs"
    ),
    "table2-class": Run("table2-class", "Simulated: protein binding held out as a class", "simulated"),
}


def make_world(world: str, data: Path, folder: Path) -> None:
    """Ingest what the heads of the files in `pipelines/` say."""
    if world == "panel":
        for name in ("alpha", "beta"):
            _ingest(data / f"two_species/{name}.catalog.tsv", data / f"two_species/{name}.regions.bed",
                    folder / f"{name}.zarr")  # fmt: skip
    elif world == "real":
        human = data / "human_hg19/catalog.shared-names.tsv"
        _ingest(human, data / "human_hg19/regions.bed", folder / "human.zarr")
        _ingest(data / "mouse_mm10/catalog.tsv", data / "mouse_mm10/regions.bed", folder / "mouse.zarr")
        table = pd.read_csv(human, sep="\t", dtype=str)[["species", "biosample", "assay"]]
        table[table["biosample"].isin(CORE)].to_csv(folder / "not-core.tsv", sep="\t", index=False)
    else:
        if not (folder / "world").exists():
            epixs.simulate(folder / "world", differs=["H3K27ac"] if world == "differs" else [])
            epixs.make_catalog(folder / "world/metadata.tsv", folder / "world/catalog.tsv")
        for name in ("mouse", "human"):
            _ingest(folder / "world/catalog.tsv", folder / f"world/{name}.bed", folder / f"{name}.zarr", name)


def _ingest(catalog: Path, regions: Path, store: Path, species: str | None = None) -> None:
    epixs.ingest(catalog, regions, store, species=species)


def section(name: str, run: Run, data: Path, work: Path, models: list[str], seeds: int) -> None:
    """Carry out a run and write its section."""
    folder = work / run.world
    folder.mkdir(parents=True, exist_ok=True)
    make_world(run.world, data, folder)
    shutil.copy(PIPELINES / f"crossvalidate-{run.file}.toml", folder)
    config = run.change(read_config(folder / f"crossvalidate-{run.file}.toml"))
    config = replace(
        config,
        run=replace(config.run, seeds=config.run.seeds[:seeds]),
        models={one: settings for one, settings in config.models.items() if one in models},
    )
    scores = epixs.crossvalidate(
        config, out=folder / name, progress=lambda done: print(f"{name}: {done.tiles_done} fits", flush=True)
    )
    minutes = epixs.info(folder / name).table["seconds"].sum() / 60
    found = epixs.tables(folder / name)
    by = config.split.by + (f" of class {config.split.assay_class}" if config.split.assay_class else "")
    lines = [
        f"## {run.title}",
        "",
        f"`pipelines/crossvalidate-{run.file}.toml`, split by {by}; {scores['fold'].nunique()} folds, "
        f"{counted(len(config.run.seeds), 'seed')}, {minutes:.0f} minutes.",
        "",
        typeset(found, "markdown").strip("\n"),
        "",
        *(f"* {note}" for note in found.notes),
    ]
    write_section("tables.md", name, lines)
    print("\n".join(lines), flush=True)


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


HEAD = f"""# Tables of the paper

Written by `python -m benchmarks.tables --data DATA`; nothing here is typed by hand. {len(os.sched_getaffinity(0))} cores,
{platform.machine()}. Mean MSE in arcsinh units, or Spearman where units differ, with 95 % intervals over biosamples; what the
columns mean, and how it is tested, stands in [significance.md](significance.md), the baselines in
[baselines.md](baselines.md).

"""  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("tables"))
    parser.add_argument("--run", nargs="+", choices=[*RUNS], default=[*RUNS])
    parser.add_argument("--models", nargs="+", default=["context", "factorization"])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    page = PIPELINES.parent / "docs" / "tables.md"
    if not page.exists():
        page.write_text(HEAD, encoding="utf-8")
    for name in options.run:
        section(name, RUNS[name], options.data, options.work, options.models, options.seeds)


if __name__ == "__main__":
    main()
