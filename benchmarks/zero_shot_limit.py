"""What zero-shot imputation could reach with the same inputs, had the networks seen the assay in the target species.

    python -m benchmarks.zero_shot_limit --data ../shared/data [--only human_to_mouse] [--epochs 16]

Of an assay of the target species, some tracks are excluded, and a context model is trained on both species. In training,
the assay's other tracks are targets like those of the other species, at the very bins that are predicted. Each excluded
track is predicted as in zero-shot imputation: no track of the assay is read. So it shows what a network of this kind can
make of the other tracks; a zero-shot network has not seen the assay in this species. Writes a section of
docs/results.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import epixs
from benchmarks.real_tracks import Bench, short
from benchmarks.sections import write_section
from epixs.axis.axis import JointAxis
from epixs.models.backend import keras
from epixs.models.context.kind import KIND
from epixs.report.tables import markdown_table
from epixs.sampling.around import Target, without
from epixs.sampling.context import ContextSampler
from epixs.sampling.panel import hidden_equations
from epixs.sampling.species import Species, labels_of, read_tracks

MARKS = ("H3K27me3", "H3K36me3", "H3K4me3")
EPOCHS = 16
BINS, TOGETHER = 200_000, 20_000
"""Number of bins at which a track is scored, and of bins predicted together."""


def score(axis: JointAxis, settings: epixs.Settings, assay: str) -> list[dict[str, object]]:
    """Train as if the assay were absent from the first species, and score its excluded tracks."""
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
        targets = species.targets(*labels_of(axis, part, excluded), read_tracks(part, excluded))
        return [
            {"assay": short(assay), "biosample": biosample}
            | agreement(model, sampler.known_entries(-1, as_absent(target, species), BINS))
            for biosample, target in zip(excluded["biosample"], targets, strict=True)
        ]


def as_absent(target: Target, species: Species) -> Target:
    """Return a target for which no track of its assay is read."""
    hidden = hidden_equations(species.bands, target.equations, target.biosample, target.assay)
    unread = without(target, species.panel.assay != target.assay)
    return dataclasses.replace(unread, equations=hidden)


def agreement(model: keras.Model, entries: epixs.Batch) -> dict[str, float]:
    """Compute the correlations of the networks' mean with what was observed."""
    parts = [slice(first, first + TOGETHER) for first in range(0, len(entries.value), TOGETHER)]
    predicted = [
        model.by_member({name: value[some] for name, value in entries.inputs.items()}).numpy().mean(axis=0)
        for some in parts
    ]
    table = pd.DataFrame({"predicted": np.concatenate(predicted)[:, 0, 0], "observed": entries.value[:, 0]})
    return {how: float(table.corr(method=how).iloc[0, 1]) for how in ("pearson", "spearman")}


def two_species(bench: Bench, settings: epixs.Settings) -> list[dict[str, object]]:
    """Exclude each track of three marks of the panel `beta` in turn; the other one of the mark is a target."""
    stores = [
        bench.ingest(name, f"two_species/{name}.catalog.tsv", f"two_species/{name}.regions.bed")
        for name in ("beta", "alpha")
    ]
    table = epixs.joint_axis(stores[:1]).parts[0].experiments
    rows = []
    for row in table[table["assay"].map(short).isin(MARKS)].sort_values(["assay", "biosample"]).itertuples():
        rows += score(epixs.joint_axis(stores, [("beta", row.biosample, row.assay)]), settings, row.assay)
        print(rows[-1], flush=True)
    return rows


def human_to_mouse(bench: Bench, settings: epixs.Settings) -> list[dict[str, object]]:
    """Exclude every third mouse track of each of two marks; the other six of the mark are targets."""
    human = bench.ingest("human-shared", "human_hg19/catalog.shared-names.tsv", "human_hg19/regions.bed")
    mouse = bench.ingest("mouse", "mouse_mm10/catalog.tsv", "mouse_mm10/regions.bed")
    table = epixs.joint_axis([mouse]).parts[0].experiments
    rows = []
    for assay in ("ChIP-seq_H3K27me3", "ChIP-seq_H3K4me3"):
        biosamples = sorted(table.loc[table["assay"] == assay, "biosample"])[::3]
        axis = epixs.joint_axis([mouse, human], [("mouse", biosample, assay) for biosample in biosamples])
        rows += score(axis, settings, assay)
        print(rows[-len(biosamples) :], flush=True)
    return rows


ARRANGEMENTS = {
    two_species: "human panel as two species",
    human_to_mouse: "human to mouse",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=[one.__name__ for one in ARRANGEMENTS])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="fewer epochs, to try it out")
    options = parser.parse_args()
    settings = epixs.make_settings("context", epochs=options.epochs)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="epixs-limit-") as work, epixs.open_client() as client:
        bench = Bench(options.data, Path(work), {}, client)
        for arrangement, name in ARRANGEMENTS.items():
            if options.only in (None, arrangement.__name__):
                rows += [{"arrangement": name} | row for row in arrangement(bench, settings)]
    table = pd.DataFrame(rows)
    means = table.groupby(["arrangement", "assay"], sort=False)[["pearson", "spearman"]].mean()
    lines = [
        "## What networks make of the same inputs if they have seen the assay",
        "",
        "`python -m benchmarks.zero_shot_limit --data DATA`: tracks are predicted without reading any track of their assay, by",
        "networks that were trained on other tracks of it in the same species, at the same bins.",
        "",
        markdown_table(table.round(3)),
        markdown_table(means.round(3).reset_index()).rstrip("\n"),
    ]
    print("\n".join(lines))
    if options.only is None and options.epochs == EPOCHS:
        write_section("results.md", "zero_shot_limit", lines)


if __name__ == "__main__":
    main()
