"""Impute assays zero-shot in the simulated world, and compare with what its rules allow; writes to docs/tables.md.

    python -m benchmarks.planted [--targets H3K4me3 H3K36me3 CTCF] [--epochs 8]

All mouse tracks of a target are hidden, and a context model of mouse and human imputes them. What the rules allow is the
correlation of a track with itself without noise: nobody can know the noise.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.sections import write_section
from epixs.evaluation.table import IMPUTED, ZERO_SHOT
from epixs.report.tables import markdown_table
from epixs.simulation.simulate import ASSAYS, SIZES, draw_species, planted_signal

TARGETS = ("H3K4me3", "H3K36me3", "CTCF")
SEED = 0


def allowed(store: Path, target: str) -> float:
    """Mean correlation of a target's mouse tracks with themselves without noise, arcsinh units."""
    mouse, assay = SIZES["demo"][1], next(one for one in ASSAYS if one.target == target)
    genome, _ = draw_species(mouse, np.random.Generator(np.random.PCG64([SEED, 1])))
    observed, found = epixs.open_compendium(store), []
    for track in observed.epixs.experiments.query(f"assay.str.contains('_{target}_')").itertuples():
        biosample = int(track.biosample.rsplit("-", 1)[1])
        planted = [
            planted_signal(assay, elements, biosample, n_bins)
            for elements, (_, _, n_bins) in zip(genome, mouse.regions, strict=True)
        ]
        true = observed.signal[track.Index].to_numpy()
        found.append(np.corrcoef(np.arcsinh(np.concatenate(planted)), true)[0, 1])
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="epixs-planted-") as name:
        work = Path(name)
        epixs.simulate(work / "world", seed=SEED)
        epixs.make_catalog(work / "world/metadata.tsv", work / "world/catalog.tsv")
        for species in ("mouse", "human"):
            regions = work / f"world/{species}.bed"
            epixs.ingest(work / "world/catalog.tsv", regions, work / f"{species}.zarr", species=species)
        mouse = work / "mouse.zarr"
        table = epixs.joint_axis(mouse).parts[0].experiments
        for target in options.targets:
            of_target = table[table["assay"].str.contains(f"_{target}_")]
            pairs = [("mouse", row.biosample, row.assay) for row in of_target.itertuples()]
            axis = epixs.joint_axis([mouse, work / "human.zarr"], pairs)
            epixs.train(axis, epixs.make_settings("context", epochs=options.epochs), work / target)
            epixs.impute(epixs.open_model(work / target), mouse, work / f"{target}.zarr", pairs=pairs)
            scores = epixs.evaluate(work / f"{target}.zarr", mouse).scores
            mean = scores.groupby("method")[["mse", "pearson"]].mean()
            fair = mean.loc[[method for method in ZERO_SHOT if method in mean.index]]
            could = allowed(mouse, target)
            rows.append(
                {
                    "target": target, "tracks": len(pairs), "mse": mean.loc[IMPUTED, "mse"],
                    "pearson": mean.loc[IMPUTED, "pearson"], "the rules allow": could,
                    "share of it": mean.loc[IMPUTED, "pearson"] / could,
                    "best baseline, mse": fair["mse"].min(), "best baseline, pearson": fair["pearson"].max(),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    lines = [
        "## Simulated: zero-shot, and what the rules of the world allow",
        "",
        f"`python -m benchmarks.planted`: all mouse tracks of one target are hidden, a context model of mouse and human ({options.epochs}",
        "epochs) imputes them. The rules allow the correlation of a track with itself without noise.",
        "",
        markdown_table(pd.DataFrame(rows)).rstrip("\n"),
    ]
    write_section("tables.md", "planted", lines)


if __name__ == "__main__":
    main()
