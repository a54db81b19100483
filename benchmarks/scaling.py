"""Compare stage 2 with a joint fit on simulated chromosomes, and time it; writes to docs/performance.md.

    python -m benchmarks.scaling

There are two chromosomes of 120,000 bins. Stage 1 sees the first; stage 2 fits the genome factors of the second, with
labels and layers frozen. The joint fit sees both. All are scored on hidden tracks and held-out entries of the second.
All make the same number of passes over their positions, that of stage 2: a joint fit that stops sooner is easy to beat.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import epixs
from benchmarks.sections import write_section
from epixs.report.tables import markdown_table

HG38_BINS = 3_088_286_401 // 25
SEEDS = (0, 1, 2)
HELD_OUT = 0.1
HIDDEN_TRACKS = 8
LENGTHS = (15_000, 30_000, 60_000, 120_000)

ONE_FIT = """
import json, re, sys, time
import epixs
from epixs.cli.terminal import start_tensorflow
start_tensorflow()
from epixs.factors.fit import fit_genome
model = epixs.open_model(sys.argv[1])
for store in sys.argv[3:]:
    started = time.monotonic()
    done = fit_genome(model, store, store + ".factors", epochs=int(sys.argv[2]))
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e3
    print(json.dumps([time.monotonic() - started, peak]))
"""


def world(work: Path) -> dict[str, Path]:
    """Make stores of the human genome: both chromosomes, each alone, and growing parts of the second."""
    from epixs.simulation.simulate import simulate

    simulate(work / "world", size="large", seed=7)
    from epixs.catalog.experiments import write_catalog

    selection = epixs.select_experiments(work / "world" / "metadata.tsv")
    write_catalog(selection.table, work / "catalog.tsv", paths_from=work / "world")
    first, second = (work / "world" / "human.bed").read_text().splitlines(keepends=True)
    chrom, start, *_ = second.split("\t")
    beds = {"both": first + second, "first": first, "second": second}
    for bins in LENGTHS:
        beds[f"{bins}"] = f"{chrom}\t{start}\t{int(start) + 25 * bins}\tpart\n"
    stores = {}
    for name, text in beds.items():
        bed = work / f"{name}.bed"
        bed.write_text(text)
        stores[name] = work / f"{name}.zarr"
        epixs.ingest(work / "catalog.tsv", bed, stores[name], species="human")
    return stores


def passes_of_stage_2(store: Path) -> int:
    """Return the number of passes over the positions that stage 2 makes by default."""
    from epixs.training.cost import EPOCHS_OVER_JOINT, planned_epochs

    return EPOCHS_OVER_JOINT * planned_epochs(epixs.joint_axis([store]), epixs.make_settings("avocado"))


def hidden_pairs(store: Path, seed: int) -> list[tuple[str, str, str]]:
    """Choose experiments to hide from all fits, so that their biosamples and assays keep other experiments."""
    table = epixs.joint_axis([store]).parts[0].experiments.sample(frac=1, random_state=seed)
    hidden: list[tuple[str, str, str]] = []
    left = table
    for row in table.itertuples():
        without = left[left.index != row.Index]
        if row.biosample in set(without["biosample"]) and row.assay in set(without["assay"]):
            left = without
            hidden.append(("human", str(row.biosample), str(row.assay)))
        if len(hidden) == HIDDEN_TRACKS:
            break
    return hidden


def signal_of(store: Path, pairs: list[tuple[str, str, str]]) -> np.ndarray:
    """Read the signal of some experiments of a store, shape `(pair, bin)`."""
    table = epixs.open_compendium(store)
    at = {
        label: row
        for row, label in enumerate(
            zip(table["biosample"].to_numpy(), table["assay"].to_numpy(), strict=True)
        )
    }
    return np.asarray(table.signal[[at[pair[1:]] for pair in pairs]])


def beside_joint(stores: dict[str, Path], passes: int, work: Path) -> list[dict[str, object]]:
    """Measure MSE on the second chromosome: joint fit, stage 2 with its layers, and stage 2 after stage 1."""
    from epixs.factors.fit import fit_genome
    from epixs.training.dataset import dataset_of

    rows = []
    for seed in SEEDS:
        config = epixs.make_settings(
            "avocado", hidden=(256, 256), held_out=HELD_OUT, seed=seed, zero_shot=False, epochs=passes
        )
        pairs = hidden_pairs(stores["both"], seed)
        truth = signal_of(stores["second"], pairs)

        def on_hidden(path: Path, truth: Any = truth, pairs: Any = pairs) -> float:
            imputed = signal_of(path, pairs)[:, -truth.shape[1] :]
            shutil.rmtree(path)
            return float(np.mean((imputed - truth) ** 2))

        tracks, entries = {}, {}
        for name in ("both", "first"):
            epixs.train(epixs.joint_axis([stores[name]], pairs), config, work / f"{name}{seed}")
            model = epixs.open_model(work / f"{name}{seed}")
            factors, imputed = work / f"{name}{seed}.factors", work / "imputed.zarr"
            entries[name] = fit_genome(model, stores["second"], factors, epochs=passes)["held_out_mse"]
            epixs.impute(model, stores["second"], imputed, pairs=pairs, factors=epixs.open_factors(factors))
            tracks[name] = on_hidden(imputed)
        joint = epixs.open_model(work / f"both{seed}")
        epixs.impute(joint, stores["both"], work / "imputed.zarr", pairs=pairs)
        tracks["joint"] = on_hidden(work / "imputed.zarr")

        drawn = epixs.Sampler(joint.axis, held_out=HELD_OUT, seed=seed).held_out_entries(1_000_000)
        there = drawn.position[:, 0] >= joint.axis.parts[0].regions.first_bin[1]
        second = drawn.take(there)
        joint.model.compile(loss="mse")
        entries["joint"] = float(joint.model.evaluate(dataset_of(second), verbose=0))
        for what, errors in (("hidden tracks", tracks), ("held-out entries", entries)):
            rows.append(
                {
                    "MSE of": what,
                    "seed": seed,
                    "joint fit": errors["joint"],
                    "stage 2, layers of the joint fit": errors["both"],
                    "ratio": errors["both"] / errors["joint"],
                    "stage 2, layers of stage 1": errors["first"],
                    "ratio ": errors["first"] / errors["joint"],
                }
            )
            print(rows[-1], flush=True)
    return sorted(rows, key=lambda row: str(row["MSE of"]), reverse=True)


def by_bins(stores: dict[str, Path], model: Path, passes: int) -> list[dict[str, object]]:
    """Measure seconds and peak memory of stage 2 over growing regions, each in a separate process."""
    rows = []
    for bins in LENGTHS:
        # A process first fits the first store, so that starting and tracing are not timed.
        stores_of = [stores[f"{LENGTHS[0]}"], stores[f"{bins}"]]
        if bins == LENGTHS[0]:
            stores_of = stores_of[:1]
        for store in stores_of:
            shutil.rmtree(f"{store}.factors", ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", ONE_FIT, str(model), str(passes), *map(str, stores_of)],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"bins": bins, "seconds": seconds, "us per bin": 1e6 * seconds / bins, "peak MB": peak})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory(prefix="epixs-scaling-") as folder:
        work = Path(folder)
        stores = world(work)
        passes = passes_of_stage_2(stores["second"])
        quality = beside_joint(stores, passes, work)
        cost = by_bins(stores, work / "first0", passes)
        experiments = epixs.open_compendium(stores["second"]).sizes["experiment"]
    write_page(quality, passes, cost, experiments)


def _texts(rows: list[dict[str, object]], digits: int) -> pd.DataFrame:
    """Make a table whose real numbers have `digits` digits."""
    return pd.DataFrame(rows).map(lambda cell: f"{cell:.{digits}f}" if isinstance(cell, float) else cell)


def write_page(
    quality: list[dict[str, object]], passes: int, cost: list[dict[str, object]], experiments: int
) -> None:
    medians = pd.DataFrame(quality).groupby("MSE of", sort=False)[["ratio", "ratio "]].median()
    ratios = [
        f"{name}: {row['ratio']:.3f} with the layers of the joint fit, {row['ratio ']:.3f} with those of stage 1"
        for name, row in medians.iterrows()
    ]
    biggest = cost[-1]
    per_bin = float(str(biggest["us per bin"])) * 1e-6
    core_hours = per_bin * HG38_BINS * (os.cpu_count() or 1) / 3600
    lines = [
        "## Genome factors block by block: stage 2",
        "",
        "Written by `python -m benchmarks.scaling`; nothing here is typed by hand.",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. Simulated chromosomes,",
        f"{experiments} experiments, hidden layers of 256 nodes, one experiment per position.",
        "",
        "`epixs fit-genome` freezes labels and layers and fits the genome factors of any regions, block by block.",
        "",
        "### Beside a joint fit",
        "",
        "The joint fit saw two chromosomes, stage 1 the first of them. Stage 2 fits the genome factors of the second,",
        "once with labels and layers of the joint fit, which says what fitting block by block costs, and once with those",
        "of stage 1, which learnt from half as much.",
        f"{HIDDEN_TRACKS} experiments and, of the others, {HELD_OUT:.0%} of the (5 kbp position, experiment) blocks were hidden from",
        "all of them. MSE over the second chromosome, arcsinh units. Hidden tracks are the same values for all fits;",
        "held-out blocks are drawn by each for itself, some draws are harder than others, and their ratio is noisier.",
        "",
        f"Each fit makes at most {passes} passes over its positions, as stage 2 does by default; the joint fit and stage 1",
        "keep their best. By default those stop after a quarter of that, which on these chromosomes, all signal and",
        "little noise, is too soon, and would make stage 2 look better than it is.",
        "",
        markdown_table(_texts(quality, 4)),
        f"Median ratios of {'; of '.join(ratios)}.",
        "",
        "### Cost by bins",
        "",
        "One process; starting TensorFlow and tracing are outside, but for the first row.",
        "",
        markdown_table(_texts(cost, 1)),
        "### To a genome",
        "",
        f"hg38 has {HG38_BINS:,} bins: at {per_bin * 1e6:.1f} us per bin on {os.cpu_count()} cores, that is",
        f"{core_hours:,.0f} core-hours for such a panel, in {-(-HG38_BINS // 80_000):,} independent blocks. The factors",
        f"take {HG38_BINS * 29.225 * 4 / 1e9:.1f} GB. The time grows with the experiments, as epochs do.",
        "",
    ]  # fmt: skip
    write_section("performance.md", "stage 2", lines)


if __name__ == "__main__":
    main()
