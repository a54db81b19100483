"""How good zero-shot tracks of an extended model are, beside those of a model that was trained on both panels.

    python -m benchmarks.extension --data ../shared/data [--marks H3K4me3 ...] [--epochs 16]

A context model is trained on the panel `alpha` of `two_species`, as by someone who has no track of `beta`. It is extended
by `beta` without each mark in turn, and imputes that mark there. The joint model is trained on both panels without it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

import epixs

MARKS = ("H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9me3")
SHOWN = ["mse", "pearson", "spearman"]


def scores_of(model: Path, store: Path, out: Path, pairs: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Mean scores of imputed tracks by method."""
    epixs.impute(epixs.open_model(model), store, out, pairs=pairs)
    return epixs.evaluate(out, store).scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--marks", nargs="+", default=MARKS, choices=MARKS)
    parser.add_argument("--epochs", type=int, help="fewer epochs, to try it out")
    options = parser.parse_args()
    settings = epixs.make_settings("context", **({"epochs": options.epochs} if options.epochs else {}))
    frames = []
    with tempfile.TemporaryDirectory(prefix="epixs-extension-") as name:
        work = Path(name)
        alpha, beta = (work / f"{species}.zarr" for species in ("alpha", "beta"))
        for store in (alpha, beta):
            panel = options.data / "two_species" / store.stem
            epixs.ingest(panel.with_suffix(".catalog.tsv"), panel.with_suffix(".regions.bed"), store)
        started = time.monotonic()
        epixs.train(epixs.joint_axis(alpha), settings, work / "alpha")
        print(f"alpha alone: {time.monotonic() - started:.0f} s", flush=True)
        table = epixs.joint_axis(beta).parts[0].experiments
        for mark in options.marks:
            rows = table[table["assay"].str.contains(f"_{mark}_")]
            pairs = [("beta", row.biosample, row.assay) for row in rows.itertuples()]
            seconds = []
            for how in ("extended", "joint"):
                model, started = work / f"{how}-{mark}", time.monotonic()
                if how == "extended":
                    epixs.extend(epixs.open_model(work / "alpha"), beta, model, exclude=pairs)
                else:
                    epixs.train(epixs.joint_axis([beta, alpha], pairs), settings, model)
                seconds.append(time.monotonic() - started)
                scores = scores_of(model, beta, work / f"{how}-{mark}.zarr", pairs)
                scores["method"] = scores["method"].replace({"imputed": how})
                frames.append(scores if how == "extended" else scores[scores["method"] == how])
            print(
                f"{mark}: extended in {seconds[0]:.0f} s, trained jointly in {seconds[1]:.0f} s", flush=True
            )
    scores = pd.concat(frames)
    scores["mark"] = scores["assay"].str.split("_").str[1]
    print(scores.groupby(["mark", "method"])[SHOWN].mean().round(4).to_string())
    print(scores.groupby("method")[SHOWN].mean().round(4).to_string())


if __name__ == "__main__":
    main()
