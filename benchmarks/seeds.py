"""Run the context model on real tracks with several seeds; writes a section of docs/results.md.

    python -m benchmarks.seeds --data ../shared/data [--seeds 0 1 2] [--work seeds]

The protocols are those of `benchmarks.real_tracks`. The folder `--work` keeps the scores of each protocol and seed: if
the run was interrupted, it goes on from there. `python -m benchmarks.real_tracks --data DATA --scores WORK` puts
those of the first seed there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import epixs
from benchmarks.real_tracks import (
    CONTEXT,
    Bench,
    paths_of_scores,
    score_human_to_mouse,
    score_mouse,
    score_one_species,
    score_two_species,
    short,
)
from benchmarks.sections import write_section
from epixs.evaluation.table import AVERAGE, UNFAIR
from epixs.report.tables import markdown_table

LABELS = ["biosample", "assay"]
PROTOCOLS = {
    "human, every track excluded once": score_one_species,
    "mouse, one track of each biosample": score_mouse,
    "human panel as two species, zero-shot": score_two_species,
    "human to mouse, zero-shot": score_human_to_mouse,
}


def scores_of(
    protocol: str, seed: int, data: Path, work: Path, client: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and runs of a protocol with a seed: from `work` if they are there, else they are computed."""
    score = PROTOCOLS[protocol]
    paths = paths_of_scores(work, score.__name__.removeprefix("score_"), seed)
    if not all(path.exists() for path in paths):
        settings = {CONTEXT: epixs.make_settings(CONTEXT, seed=seed)}
        with tempfile.TemporaryDirectory(prefix="epixs-seeds-") as folder:
            score(Bench(data, Path(folder), settings, client, work))
    return pd.read_csv(paths[0], sep="\t"), pd.read_csv(paths[1], sep="\t")


def better_than_all(table: pd.DataFrame, metric: str, better: Callable[[pd.DataFrame], pd.Series]) -> int:
    """Count the tracks on which the model is better than the best fair baseline."""
    wide = table.pivot_table(index=LABELS, columns="method", values=metric)
    baselines = better(wide.drop(columns=[CONTEXT, UNFAIR], errors="ignore"))
    return int(((wide[CONTEXT] < baselines) if metric == "mse" else (wide[CONTEXT] > baselines)).sum())


def measures(protocol: str, table: pd.DataFrame, runs: pd.DataFrame) -> dict[str, tuple[float, float | None]]:
    """Each measure of a protocol: that of the model, and that of the best fair baseline."""
    found: dict[str, tuple[float, float | None]] = {}
    fair = table[table["method"] != UNFAIR]

    def add(name: str, part: pd.DataFrame, metric: str) -> None:
        of_method = part.groupby("method")[metric].mean()
        rest = of_method.drop(CONTEXT)
        found[name] = float(of_method[CONTEXT]), float(rest.min() if metric == "mse" else rest.max())

    same_units = protocol != "human to mouse, zero-shot"
    if same_units:
        add("MSE", fair, "mse")
    add("Pearson", fair, "pearson")
    if "zero-shot" in protocol:
        add("Spearman", fair, "spearman")
        for assay, part in fair.groupby("assay"):
            add(f"Pearson, {short(str(assay))}", part, "pearson")
    n = int((table["method"] == CONTEXT).sum())
    if same_units:
        found[f"tracks of {n} with better MSE than any baseline"] = (
            better_than_all(fair, "mse", lambda wide: wide.min(axis=1)),
            None,
        )
    found[f"tracks of {n} with better Pearson than any baseline"] = (
        better_than_all(fair, "pearson", lambda wide: wide.max(axis=1)),
        None,
    )
    if same_units:
        weights = table[table["method"] == CONTEXT].groupby("fold").size() if "fold" in table else None
        covered = runs["covered"]
        found["share of bins in the 80 % interval"] = (
            float(
                covered.mean() if weights is None else (covered * weights.to_numpy()).sum() / weights.sum()
            ),
            None,
        )
    mine = table[table["method"] == CONTEXT]
    if "expected_pearson" in mine and mine["expected_pearson"].notna().sum() > 2:
        rank = mine[["expected_pearson", "pearson"]].corr(method="spearman").iloc[0, 1]
        found["Spearman of expected and true Pearson"] = float(rank), None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], dict[str, float]] = {}
    with epixs.open_client() as client:
        for seed in options.seeds:
            for protocol in PROTOCOLS:
                tables = scores_of(protocol, seed, options.data, options.work, client)
                for measure, (value, baseline) in measures(protocol, *tables).items():
                    row = found.setdefault((protocol, measure), {})
                    row[f"seed {seed}"] = value
                    if baseline is not None:
                        row["best baseline"] = baseline
    table = pd.DataFrame(found).T
    seeds = [f"seed {seed}" for seed in options.seeds]
    if len(seeds) > 1:
        table["median"] = table[seeds].median(axis=1)
    shown = table.reindex(columns=["best baseline", *seeds, *(["median"] if len(seeds) > 1 else [])])
    shown = shown.map(lambda value: "" if pd.isna(value) else f"{value:.4g}")
    lines = [
        "## The context model by seed",
        "",
        f"`python -m benchmarks.seeds --data DATA --seeds {' '.join(map(str, options.seeds))}`: the context model in the four protocols",
        f"above. The best fair baseline by each measure is shown; within a species, {AVERAGE} is the only one.",
        "",
        markdown_table(shown.rename_axis(["protocol", "measure"]).reset_index()).rstrip("\n"),
    ]
    print("\n".join(lines))
    write_section("results.md", "seeds", lines)


if __name__ == "__main__":
    main()
