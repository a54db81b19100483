"""Try training settings on the real tracks and write their table to docs/settings.md.

    python -m benchmarks.settings --data ../shared/data --runs settings.tsv

Every run is appended to `--runs` as it ends. A second call only makes the missing runs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

import epixs
from benchmarks.real_tracks import SETTINGS, Bench, folds, short
from benchmarks.sections import DOCS
from epixs.evaluation.table import AVERAGE, IMPUTED
from epixs.report.tables import markdown_table

FEW = 8
COLUMNS = ["protocol", "split", "settings", "entries", "tracks", "pearson", "average", "best_epoch"]
IMPUTATION: dict[str, dict[str, object]] = {
    "defaults": {},
    "defaults, seed 1": {"seed": 1},
    "precision float32": {"precision": "float32"},
    "batch_size 10000": {"batch_size": 10_000},
    "experiments_per_position 4": {"experiments_per_position": 4},
    "held_out_tracks 2": {"held_out_tracks": 2},
    "learning_rate 5e-4": {"learning_rate": 5e-4},
    "learning_rate 5e-4, genome_multiplier 10": {"learning_rate": 5e-4, "genome_multiplier": 10.0},
    "learning_rate 1e-4, genome_multiplier 50": {"learning_rate": 1e-4, "genome_multiplier": 50.0},
    "genome_multiplier 10": {"genome_multiplier": 10.0},
    "genome_multiplier 40": {"genome_multiplier": 40.0},
    "genome_dropout 0": {"genome_dropout": 0.0},
    "genome_dropout 0.5": {"genome_dropout": 0.5},
    "weight_decay 0.1": {"weight_decay": 0.1},
    "epochs 4": {"epochs": 4},
    "epochs 16": {"epochs": 16},
}
FEW_REGIONS: dict[str, dict[str, object]] = {
    f"batch_size {size}": {"batch_size": size} for size in (40_000, 16_000, 6_000, 2_500)
}
ZERO_SHOT: dict[str, dict[str, object]] = {"defaults": {}, "zero_shot off": {"zero_shot": False}}


class Runs:
    """The runs made so far, in a TSV."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = pd.read_csv(path, sep="\t") if path.is_file() else pd.DataFrame(columns=COLUMNS)

    def lacks(self, protocol: str, split: str, settings: str) -> bool:
        key = self.table[["protocol", "split", "settings"]].astype(str) == [protocol, split, settings]
        return not key.all(axis=1).any()

    def add(self, **row: object) -> None:
        new = pd.DataFrame([row], columns=COLUMNS)
        self.table = new if self.table.empty else pd.concat([self.table, new], ignore_index=True)
        self.table.to_csv(self.path, sep="\t", index=False)


def splits(bench: Bench, protocol: str) -> Iterator[tuple[str, list[Path], list[tuple[str, str, str]]]]:
    """Yield name, stores (the first is imputed) and hidden pairs of each split of a protocol."""
    if protocol in ("imputation", "few regions"):
        regions = bench.data / "human_hg19" / "regions.bed"
        if protocol == "few regions":
            lines = regions.read_text(encoding="utf-8").splitlines(keepends=True)
            regions = bench.work / "few.bed"
            regions.write_text("".join(lines[:FEW]), encoding="utf-8")
        store = bench.ingest(protocol.replace(" ", "_"), "human_hg19/catalog.tsv", str(regions))
        for number, pairs in enumerate(folds()[:2], 1):
            yield f"fold {number}", [store], pairs
        return
    stores = [
        bench.ingest(name, f"two_species/{name}.catalog.tsv", f"two_species/{name}.regions.bed")
        for name in ("beta", "alpha")
    ]
    beta = epixs.joint_axis(stores[:1]).parts[0].experiments
    for mark in ("H3K4me3", "H3K27me3", "H3K36me3"):
        assay = f"ChIP-seq_{mark}_signal_p-value"
        yield (
            short(assay),
            stores,
            [("beta", b, assay) for b in beta.loc[beta["assay"] == assay, "biosample"]],
        )


def run_missing(
    bench: Bench, protocol: str, variants: dict[str, dict[str, object]], runs: Runs, say: Callable[..., None]
) -> None:
    for split, stores, pairs in splits(bench, protocol):
        for name, changes in variants.items():
            if not runs.lacks(protocol, split, name):
                continue
            folder = bench.work / "model"
            done = epixs.train(
                epixs.joint_axis(stores, pairs), SETTINGS["avocado"].replace(**changes), folder
            )
            epixs.impute(epixs.open_model(folder), stores[0], bench.work / "model.zarr", pairs=pairs)
            scores = epixs.evaluate(bench.work / "model.zarr", stores[0]).scores
            means = scores.groupby("method")[["mse", "pearson"]].mean()
            runs.add(
                protocol=protocol,
                split=split,
                settings=name,
                entries=done["held_out_mse"],
                tracks=means.loc[IMPUTED, "mse"],
                pearson=means.loc[IMPUTED, "pearson"],
                average=means["mse"].get(AVERAGE),
                best_epoch=done["best_epoch"],
            )
            say(runs.table.iloc[-1:].to_string(header=False, index=False), flush=True)
            shutil.rmtree(folder)
            shutil.rmtree(bench.work / "model.zarr")


def table_of(runs: pd.DataFrame, protocol: str) -> str:
    of_protocol = runs[runs["protocol"] == protocol]
    wide = of_protocol.pivot_table(index="settings", columns="split", values="tracks", sort=False)
    wide["MSE, mean"] = wide.mean(axis=1)
    extra = of_protocol.groupby("settings")[["pearson", "entries"]].mean()
    wide["Pearson, mean"] = extra["pearson"]
    wide["held-out entries, MSE"] = extra["entries"]
    return markdown_table(wide.reset_index())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    options = parser.parse_args()
    runs = Runs(options.runs)
    work = Path(tempfile.mkdtemp(prefix="epixs-settings-"))
    try:
        with epixs.open_client() as client:
            bench = Bench(options.data.resolve(), work, {"avocado": SETTINGS["avocado"]}, client)
            run_missing(bench, "imputation", IMPUTATION, runs, print)
            run_missing(bench, "few regions", FEW_REGIONS, runs, print)
            run_missing(bench, "zero-shot", ZERO_SHOT, runs, print)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lines = [
        "# Training settings tried on real tracks",
        "",
        "Written by `python -m benchmarks.settings --data DATA --runs RUNS.tsv`; nothing here is typed by hand. Hidden",
        "layers of 256 nodes; each row changes one setting of the defaults. MSE of the hidden tracks in arcsinh units.",
        "",
        "## One species: the first two folds of docs/results.md",
        "",
        table_of(runs.table, "imputation"),
        f"## One species, {FEW} of the 42 regions: how large a batch",
        "",
        table_of(runs.table, "few regions"),
        "## Two species: zero-shot for each hidden mark",
        "",
        table_of(runs.table, "zero-shot"),
    ]
    (DOCS / "settings.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
