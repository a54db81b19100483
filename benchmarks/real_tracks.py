"""Run the protocols on real tracks and write their tables to docs/results.md.

    python -m benchmarks.real_tracks --data ../shared/data [--only mouse]

Seven protocols: one species with one track of each assay excluded, in four folds that exclude every track once; the same
with nothing excluded, to show what the inputs can tell; one species with one track left of a mark; one species with one
track of each biosample excluded, and with every track excluded once; two species in the same units, zero-shot; human to
mouse in different units, zero-shot.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.sections import DOCS, write_section
from epixs.evaluation.metrics import SHOWN
from epixs.evaluation.table import AVERAGE, IMPUTED, UNFAIR, ZERO_SHOT
from epixs.models.settings import Settings
from epixs.report.plot import plot
from epixs.report.tables import markdown_table
from epixs.sampling.intervals import HALF_WIDTH

PICTURED_FOLD, PICTURED, PICTURED_LOCUS = 2, "H3K4me3", "chr5:131,400,000-132,200,000"
MOUSE_FOLDS, BUSY = 6, 0.5
"""Number of folds of the mouse tracks, and load average of other processes above which measured seconds say little."""

CONTEXT = "context"
SETTINGS = {
    "avocado": epixs.make_settings("avocado", hidden=(256, 256)),
    CONTEXT: epixs.make_settings(CONTEXT),
}
"""Settings of both kinds of model: their defaults, except for the width of avocado's hidden layers."""

NEVER_MEASURED = {
    "H1": "H3K4me3",
    "IMR90": "H3K27me3",
    "aorta": "H3K36me3",
    "GM12878": "H3K9me3",
    "HeLa-S3": "H3K4me1",
}
HEADINGS = {"mse": "MSE", "pearson": "Pearson", "spearman": "Spearman"}
NICE = {UNFAIR: "average activity of the hidden tracks (unfair)"}


def folds() -> list[list[tuple[str, str, str]]]:
    """Make four folds of the human panel, each with one track of every assay and of every biosample."""
    biosamples, assays = list(NEVER_MEASURED), list(NEVER_MEASURED.values())
    return [
        [
            ("human", name, f"ChIP-seq_{assays[(i + shift) % 5]}_signal_p-value")
            for i, name in enumerate(biosamples)
        ]
        for shift in range(1, 5)
    ]


Scored = tuple[pd.DataFrame, list[dict[str, object]]]
"""Scores of a protocol's tracks, and what its runs took."""


class Bench:
    """Stores, models and imputations of one run, in a folder for temporary files.

    If there is a folder `scores`, it keeps those of the context model and of the baselines, for `benchmarks.seeds`.
    """

    def __init__(
        self,
        data: Path,
        work: Path,
        settings: Mapping[str, Settings],
        client: object,
        scores: Path | None = None,
    ) -> None:
        self.data, self.work, self.settings, self.client, self.scores = data, work, settings, client, scores

    def ingest(self, name: str, catalog: str, regions: str) -> Path:
        table = epixs.read_catalog(self.data / catalog)
        placed, _ = epixs.read_regions(self.data / regions, table.assembly)
        epixs.ingest(table, placed, self.work / f"{name}.zarr", client=self.client)
        return self.work / f"{name}.zarr"

    def hide(self, name: str, stores: Sequence[Path], pairs: list[tuple[str, str, str]]) -> Scored:
        """Train each kind on all stores without `pairs`, impute them in the first store and score."""
        tables, runs = [], []
        for kind, settings in self.settings.items():
            folder, imputed = self.work / f"{name}-{kind}", self.work / f"{name}-{kind}.zarr"
            started = time.monotonic()
            done = epixs.train(epixs.joint_axis(stores, pairs), settings, folder)
            trained = time.monotonic()
            epixs.impute(epixs.open_model(folder), stores[0], imputed, pairs=pairs)
            seconds = {
                "training s": round(trained - started),
                "imputing s": round(time.monotonic() - trained),
            }
            result = epixs.evaluate(imputed, stores[0])
            covered = coverage(imputed, stores[0])
            runs.append(
                {"run": name, "kind": kind, **seconds, "best epoch": done["best_epoch"], "covered": covered}
            )
            print(runs[-1], flush=True)
            print(result.summary().to_string(index=False, float_format="%.4f"), flush=True)
            is_imputed = result.scores["method"] == IMPUTED
            tables.append(result.scores[is_imputed].assign(method=kind))
        return pd.concat([*tables, result.scores[~is_imputed]]), runs


def paths_of_scores(folder: Path, protocol: str, seed: int) -> tuple[Path, Path]:
    """Return the files of a protocol's scores and runs with the context model of one seed."""
    scores, runs = (folder / f"{protocol}-{seed}-{what}.tsv" for what in ("scores", "runs"))
    return scores, runs


def kept(score: Callable[[Bench], Scored]) -> Callable[[Bench], Scored]:
    """Keep what a function scores in the bench's folder of scores."""

    @functools.wraps(score)
    def scored(bench: Bench) -> Scored:
        scores, runs = score(bench)
        if bench.scores and CONTEXT in bench.settings:
            seed = bench.settings[CONTEXT].training.seed
            paths = paths_of_scores(bench.scores, score.__name__.removeprefix("score_"), seed)
            for path, table, column in zip(
                paths, (scores, pd.DataFrame(runs)), ("method", "kind"), strict=True
            ):
                others = [kind for kind in bench.settings if kind != CONTEXT]
                table[~table[column].isin(others)].to_csv(path, sep="\t", index=False)
        return scores, runs

    return scored


def expected_and_true(table: pd.DataFrame) -> str:
    """How expected and true Pearson of the context model's tracks go together."""
    if "expected_pearson" not in table:
        return ""
    mine = table.loc[table["method"] == "context", ["expected_pearson", "pearson"]].dropna()
    rank, off = (
        mine.corr(method="spearman").iloc[0, 1],
        (mine["expected_pearson"] - mine["pearson"]).abs().mean(),
    )
    return (
        f"`expected_pearson`, which the model gives before anything is measured, and Pearson over {len(mine)} tracks: "
        f"Spearman {rank:.2f}; off by {off:.2f} in the mean."
    )


def coverage(imputed: Path, store: Path) -> float:
    """Return the share of bins observed within 1.2816 spreads, averaged over tracks; NaN without spreads."""
    predicted, observed = epixs.open_compendium(imputed), epixs.open_compendium(store)
    if "spread" not in predicted:
        return float("nan")
    truth = observed.signal.sel(experiment=predicted["experiment"].to_numpy())
    inside = abs(truth - predicted.signal) <= HALF_WIDTH * predicted.spread
    return float(inside.where(np.isfinite(truth)).mean("bin").mean())


def better_than_average(table: pd.DataFrame) -> str:
    """Count the tracks on which each kind is better than average activity, by MSE and by Pearson's correlation."""
    labels = ["biosample", "assay"]
    average = table[table["method"] == AVERAGE].set_index(labels)
    texts = []
    for kind in [kind for kind in SETTINGS if kind in set(table["method"])]:
        own = table[table["method"] == kind].set_index(labels).reindex(average.index)
        counts = [
            int((own["mse"] < average["mse"]).sum()),
            int((own["pearson"] > average["pearson"]).sum()),
        ]
        texts.append(f"{kind}: MSE on {counts[0]}, Pearson on {counts[1]} of {len(average)} tracks")
    return "Better than average activity: " + "; ".join(texts) + "."


def short(assay: str) -> str:
    """Shorten `ChIP-seq_H3K4me3_signal_p-value` to `H3K4me3`."""
    return assay.removeprefix("ChIP-seq_").removesuffix("_signal_p-value")


def means(scores: pd.DataFrame, by: str, metrics: Sequence[str]) -> pd.DataFrame:
    """Average each metric per method: one row per value of `by`, and an overall row."""
    named = scores.assign(assay=scores["assay"].map(short), method=scores["method"].replace(NICE))
    rows = []
    for name, part in [*named.groupby(by, sort=True), ("all", named)]:
        for method, rows_of_method in part.groupby("method", sort=False):
            rows.append(
                {by: name, "method": method, "tracks": len(rows_of_method)}
                | rows_of_method[list(metrics)].mean().to_dict()
            )
    return pd.DataFrame(rows)


def by_track(scores: pd.DataFrame, metrics: Sequence[str]) -> str:
    """Show each metric of each track, a table per metric and a column per method."""
    texts = []
    for metric in metrics:
        table = scores.pivot_table(index=["assay", "biosample"], columns="method", values=metric)
        methods = [one for one in (*SETTINGS, AVERAGE, *ZERO_SHOT, UNFAIR) if one in table]
        table = table[methods].rename(columns=NICE).reset_index()
        table["assay"] = table["assay"].map(short)
        texts += [f"{HEADINGS[metric]} of each track:", "", markdown_table(table)]
    return "\n".join(texts)


@kept
def score_one_species(bench: Bench) -> Scored:
    """Hide every track of the human panel once, in four folds."""
    store = bench.ingest("human", "human_hg19/catalog.tsv", "human_hg19/regions.bed")
    scores, runs = [], []
    for number, pairs in enumerate(folds(), 1):
        table, made = bench.hide(f"fold{number}", [store], pairs)
        scores.append(table.assign(fold=number))
        runs += made
    return pd.concat(scores), runs


def seen(bench: Bench) -> str:
    """Impute the tracks of the human panel by a context model that was trained on all of them."""
    store = bench.ingest("human", "human_hg19/catalog.tsv", "human_hg19/regions.bed")
    folder = bench.work / "seen"
    epixs.train(epixs.joint_axis([store]), SETTINGS["context"], folder)
    pairs = [pair for fold in folds() for pair in fold]
    epixs.impute(epixs.open_model(folder), store, bench.work / "seen.zarr", pairs=pairs)
    scores = epixs.evaluate(bench.work / "seen.zarr", store).scores
    scores = scores[scores["method"].isin([IMPUTED, AVERAGE])]
    return "\n".join(
        [
            "## One species: no human track excluded",
            "",
            "The same tracks, imputed by a context model that was trained on all of them. As always, a track is not read",
            "for itself. This is no test of a model: it shows what a network of this kind can make of the inputs.",
            "",
            markdown_table(means(scores, "assay", ["mse", "pearson"])),
        ]
    )


def single_tracks(bench: Bench) -> str:
    """Exclude all tracks of one mark but one, for each mark in turn."""
    store = bench.ingest("human", "human_hg19/catalog.tsv", "human_hg19/regions.bed")
    every, tables = [pair for fold in folds() for pair in fold], []
    for kept in folds()[0]:
        pairs = [pair for pair in every if pair[2] == kept[2] and pair != kept]
        table, _ = bench.hide(f"single-{short(kept[2])}", [store], pairs)
        tables.append(table[table["method"].isin([*bench.settings, AVERAGE])])
    scores = pd.concat(tables)
    return "\n".join(
        [
            "## One species: one track left of a mark",
            "",
            "Of one mark at a time, three of the four human tracks are excluded. Average activity is the fourth itself.",
            "",
            by_track(scores, ["mse", "pearson"]),
            markdown_table(means(scores, "assay", ["mse", "pearson"])),
            better_than_average(scores),
        ]
    )


def draw(bench: Bench) -> None:
    """Draw one of the hidden tracks of the human panel, from what `score_one_species` has written."""
    _, biosample, assay = next(pair for pair in folds()[PICTURED_FOLD - 1] if short(pair[2]) == PICTURED)
    imputed = bench.work / f"fold{PICTURED_FOLD}-{[*bench.settings][-1]}.zarr"
    plot(
        imputed,
        bench.work / "human.zarr",
        biosample=biosample,
        assay=assay,
        locus=PICTURED_LOCUS,
        out=DOCS / "track.png",
    )


def one_species(bench: Bench) -> str:
    table, runs = score_one_species(bench)
    draw(bench)
    folded = means(table.assign(fold=table["fold"].map(str)), "fold", ["mse"])
    return "\n".join(
        [
            "## One species: every human track excluded once",
            "",
            "20 tracks of 5 biosamples x 5 histone marks over 42 ENCODE Pilot Regions (1,126,469 bins, hg19). Four",
            "folds, each without one track of every mark; imputed from the other 15. MSE in arcsinh units.",
            "",
            markdown_table(means(table, "assay", SHOWN["corrected"])),
            better_than_average(table),
            expected_and_true(table),
            "",
            by_track(table, ["mse", "pearson"]),
            "By fold:",
            "",
            markdown_table(folded),
            markdown_table(pd.DataFrame(runs)),
            "Fold 1 by the command line (`fold1.tsv` with columns `species biosample assay`):",
            "",
            "    epixs ingest human_hg19/catalog.tsv --regions human_hg19/regions.bed --out human.zarr",
            "    epixs train human.zarr --out fold1 --exclude fold1.tsv --model context",
            "    epixs impute fold1 human.zarr --out fold1.zarr --pairs fold1.tsv",
            "    epixs evaluate fold1.zarr human.zarr",
            "",
            "`fold1.tsv`: " + "; ".join(f"{b} {short(a)}" for _, b, a in folds()[0]) + ".",
            "",
        ]
    )


@kept
def score_two_species(bench: Bench) -> Scored:
    """Hide each assay of the panel `beta` in turn."""
    stores = [
        bench.ingest(name, f"two_species/{name}.catalog.tsv", f"two_species/{name}.regions.bed")
        for name in ("beta", "alpha")
    ]
    beta = epixs.joint_axis(stores[:1]).parts[0].experiments
    scores, runs = [], []
    for mark in ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3"):
        assay = f"ChIP-seq_{mark}_signal_p-value"
        pairs = [("beta", b, assay) for b in beta.loc[beta["assay"] == assay, "biosample"]]
        table, made = bench.hide(f"zero-shot-{mark}", stores, pairs)
        scores.append(table)
        runs += made
    table = pd.concat(scores)
    return table[table["method"].isin([*ZERO_SHOT, *bench.settings, UNFAIR])], runs


def two_species(bench: Bench) -> str:
    table, _ = score_two_species(bench)
    return "\n".join(
        [
            "## Two species, same units: zero-shot",
            "",
            'The human tracks arranged as two "species" with disjoint biosamples and disjoint genomes: alpha (H1, IMR90,',
            "aorta) and beta (GM12878, HeLa-S3). All of beta's tracks of one mark are hidden, the model is trained on",
            "both, and beta's tracks of that mark are imputed. Baselines are what a zero-shot user has, but for the last,",
            "which sees the hidden tracks of the other biosample.",
            "",
            markdown_table(means(table, "assay", SHOWN["corrected"])),
            expected_and_true(table),
            "",
            by_track(table, ["mse", "pearson"]),
            "    epixs ingest two_species/alpha.catalog.tsv --regions two_species/alpha.regions.bed --out alpha.zarr",
            "    epixs ingest two_species/beta.catalog.tsv --regions two_species/beta.regions.bed --out beta.zarr",
            "    epixs train beta.zarr alpha.zarr --out model --exclude two_species/zero_shot.exclude.tsv --model context",
            "    epixs impute model beta.zarr --out imputed.zarr --pairs two_species/zero_shot.exclude.tsv",
            "    epixs evaluate imputed.zarr beta.zarr",
            "",
        ]
    )


@kept
def score_human_to_mouse(bench: Bench) -> Scored:
    """Hide each mark that both species have from mouse, and train with human."""
    human = bench.ingest("human-shared", "human_hg19/catalog.shared-names.tsv", "human_hg19/regions.bed")
    mouse = bench.ingest("mouse", "mouse_mm10/catalog.tsv", "mouse_mm10/regions.bed")
    experiments = epixs.joint_axis([mouse]).parts[0].experiments
    scores, runs = [], []
    for mark in ("H3K4me3", "H3K27me3", "H3K4me1"):
        assay = f"ChIP-seq_{mark}"
        pairs = [("mouse", b, assay) for b in experiments.loc[experiments["assay"] == assay, "biosample"]]
        table, made = bench.hide(f"mouse-{mark}", [mouse, human], pairs)
        scores.append(table)
        runs += made
    table = pd.concat(scores)
    return table[table["method"].isin([*ZERO_SHOT, *bench.settings, UNFAIR])], runs


def human_to_mouse(bench: Bench) -> str:
    table, _ = score_human_to_mouse(bench)
    return "\n".join(
        [
            "## Human to mouse, different units: zero-shot",
            "",
            "Human tracks are -log10 p, mouse tracks fold change, so errors in arcsinh units mean little; correlations",
            "over the mouse regions count. All mouse tracks of one mark are hidden; the model is trained on human and on",
            "the other mouse assays. Mouse has the other two marks of the table in common with the human panel, no more.",
            "",
            markdown_table(means(table, "assay", ["pearson", "spearman"])),
            expected_and_true(table),
            "",
            by_track(table, ["pearson", "spearman"]),
        ]
    )


@kept
def score_mouse(bench: Bench) -> Scored:
    """Hide one track of each mouse biosample, assays in turn."""
    store = bench.ingest("mouse", "mouse_mm10/catalog.tsv", "mouse_mm10/regions.bed")
    table = epixs.joint_axis([store]).parts[0].experiments
    assays, count = sorted(set(table["assay"])), table["assay"].value_counts()
    measured = set(zip(table["biosample"], table["assay"], strict=True))
    pairs = []
    for number, biosample in enumerate(sorted(set(table["biosample"]))):
        turn = [assays[(2 * number + k) % len(assays)] for k in range(len(assays))]
        pairs.append(
            ("mouse", biosample, next(a for a in turn if (biosample, a) in measured and count[a] > 2))
        )
    scores, runs = bench.hide("mouse-within", [store], pairs)
    return scores[scores["method"].isin([*bench.settings, AVERAGE])], runs


def mouse(bench: Bench) -> str:
    scores, _ = score_mouse(bench)
    return "\n".join(
        [
            "## One species: a track of each mouse biosample",
            "",
            by_track(scores, ["mse", "pearson"]),
            better_than_average(scores),
            expected_and_true(scores),
            "",
        ]
    )


def mouse_folds(bench: Bench) -> str:
    """Exclude every mouse track once, in folds drawn at random, for the context model alone."""
    store = bench.ingest("mouse", "mouse_mm10/catalog.tsv", "mouse_mm10/regions.bed")
    table = epixs.joint_axis([store]).parts[0].experiments
    order = np.random.default_rng(0).permutation(len(table))
    alone = Bench(bench.data, bench.work, {"context": SETTINGS["context"]}, bench.client)
    tables, covered = [], []
    for fold in range(MOUSE_FOLDS):
        rows = table.iloc[np.sort(order[fold::MOUSE_FOLDS])]
        pairs = [("mouse", b, a) for b, a in zip(rows["biosample"], rows["assay"], strict=True)]
        scores, runs = alone.hide(f"mouse-fold{fold}", [store], pairs)
        tables.append(scores[scores["method"].isin(["context", AVERAGE])])
        covered.append(runs[0]["covered"] * len(pairs))
    scores = pd.concat(tables)
    return "\n".join(
        [
            "## One species: every mouse track excluded once",
            "",
            f"{len(table)} tracks in {MOUSE_FOLDS} folds drawn at random; the context model alone.",
            "",
            markdown_table(means(scores, "assay", ["mse", "pearson"])),
            better_than_average(scores),
            f"The 80 % interval held {sum(covered) / len(table):.1%} of the bins, in the mean over tracks.",
            expected_and_true(scores),
            "",
            by_track(scores, ["mse", "pearson"]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=[one.__name__ for one in PROTOCOLS])
    parser.add_argument("--kinds", nargs="+", choices=[*SETTINGS], default=[*SETTINGS])
    parser.add_argument("--scores", type=Path, help="folder for benchmarks.seeds --work")
    options = parser.parse_args()
    if options.scores:
        options.scores.mkdir(parents=True, exist_ok=True)
    settings = {kind: SETTINGS[kind] for kind in options.kinds}
    work = Path(tempfile.mkdtemp(prefix="epixs-real-"))
    try:
        with epixs.open_client() as client:
            bench = Bench(options.data, work, settings, client, options.scores)
            for protocol in PROTOCOLS:
                if options.only not in (None, protocol.__name__):
                    continue
                started, is_busy = time.monotonic(), os.getloadavg()[0] > BUSY
                page = protocol(bench)
                minutes = f"{(time.monotonic() - started) / 60:.0f} minutes"
                page += (
                    f"\nThis took {minutes}{', while other work ran on the same cores' if is_busy else ''}.\n"
                )
                if settings.keys() == SETTINGS.keys():
                    write_section("results.md", protocol.__name__, page.split("\n"))
                else:
                    print(page)
    finally:
        shutil.rmtree(work, ignore_errors=True)


PROTOCOLS = (one_species, seen, single_tracks, mouse, mouse_folds, two_species, human_to_mouse)


if __name__ == "__main__":
    main()
