"""What zero-shot imputation could reach with the same inputs, had the networks seen the assay in the target species.

    python -m benchmarks.zero_shot_limit --data ../shared/data [--marks H3K4me3 ...] [--epochs 16]

Of the panel `beta` of `two_species`, the assay was measured in two biosamples. A context model is trained on both
panels without one of these tracks. In training, the other one is a target like those of `alpha`, at the very bins that
are predicted. It is predicted as in zero-shot imputation: no track of the assay is read. So it shows what a network
of this kind can make of the other tracks; a zero-shot network has not seen the assay in this species.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from epixs.axis.axis import JointAxis
from epixs.models.backend import keras
from epixs.models.context.kind import KIND
from epixs.sampling.around import without
from epixs.sampling.context import ContextSampler
from epixs.sampling.panel import hidden_equations
from epixs.sampling.species import labels_of, read_tracks

MARKS = ("H3K27me3", "H3K36me3", "H3K4me3")
BINS, TOGETHER = 200_000, 20_000
"""Number of bins at which a track is scored, and of bins predicted together."""


def score(axis: JointAxis, settings: epixs.Settings, assay: str) -> dict[str, float]:
    """Train as if the assay were absent, and score the excluded track."""
    batch = KIND.schedule(axis, settings).batch_size
    sizes = KIND.step_sizes(axis, settings, batch)
    keras.utils.set_random_seed(settings.training.seed)
    model = KIND.build(axis, settings)
    steps = sizes["steps_per_epoch"] * KIND.schedule(axis, settings).epochs
    KIND.compile(model, settings, steps)
    seed, episodes = settings.training.seed, settings.model.episodes
    with ContextSampler(
        axis, **sizes, held_share=0.0, episodes=episodes, focus=[assay], seed=seed
    ) as sampler:
        model.fit(epixs.training_dataset(sampler), steps_per_epoch=steps, shuffle=False, verbose=0)
        part, species = axis.parts[0], sampler.species[0]
        excluded = part.experiments[part.experiments["excluded"]]
        windows = read_tracks(part, excluded)
        target = species.targets(*labels_of(axis, part, excluded), windows)[0]
        hidden = hidden_equations(species.bands, target.equations, target.biosample, target.assay)
        target = dataclasses.replace(target, equations=hidden)
        unread = without(target, species.panel.assay != target.assay)
        entries = sampler.known_entries(-1, dataclasses.replace(unread, track=0), BINS)
        parts = [slice(first, first + TOGETHER) for first in range(0, len(entries.value), TOGETHER)]
        predicted = [
            model.by_member({name: value[some] for name, value in entries.inputs.items()})
            .numpy()
            .mean(axis=0)
            for some in parts
        ]
    table = pd.DataFrame({"predicted": np.concatenate(predicted)[:, 0, 0], "observed": entries.value[:, 0]})
    return {how: float(table.corr(method=how).iloc[0, 1]) for how in ("pearson", "spearman")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--marks", nargs="+", default=MARKS, choices=MARKS)
    parser.add_argument("--epochs", type=int, default=16, help="fewer epochs, to try it out")
    options = parser.parse_args()
    settings = epixs.make_settings("context", epochs=options.epochs)
    rows = []
    with tempfile.TemporaryDirectory(prefix="epixs-limit-") as name:
        stores = [Path(name) / f"{species}.zarr" for species in ("beta", "alpha")]
        for store in stores:
            panel = options.data / "two_species" / store.stem
            epixs.ingest(panel.with_suffix(".catalog.tsv"), panel.with_suffix(".regions.bed"), store)
        table = epixs.joint_axis(stores[0]).parts[0].experiments
        for mark in options.marks:
            for row in table[table["assay"].str.contains(f"_{mark}_")].itertuples():
                axis = epixs.joint_axis(stores, [("beta", row.biosample, row.assay)])
                rows.append({"mark": mark, "biosample": row.biosample} | score(axis, settings, row.assay))
                print(rows[-1], flush=True)
    scores = pd.DataFrame(rows).set_index(["mark", "biosample"])
    print(scores.groupby("mark").mean().round(3).to_string())
    print("all", scores.mean().round(3).to_dict())


if __name__ == "__main__":
    main()
