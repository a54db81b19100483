"""Extend a trained model by biosamples, assays or a species, without touching what it knows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.axis.aliases import Alias
from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.axis.join import axis_of_store
from epixs.catalog.pairs import Pair
from epixs.errors import AxisError, TrainingError, counted
from epixs.models.description import signal_bounds
from epixs.models.folder import TrainedModel, new_model, write_model
from epixs.training.callbacks import EpochReport
from epixs.training.card import write_card
from epixs.training.cost import EPOCHS_OVER_JOINT, planned_epochs
from epixs.training.ended import ended_run
from epixs.training.plan import plan_run
from epixs.training.run import Probe, carry_out, collecting_only_here, new_folder

LABELS = ["biosample", "assay"]


@dataclass(frozen=True)
class Extension:
    """Additions of a store to a model.

    Parameters
    ----------
    axis
        The model's axis with the store's new experiments.
    fit_axis
        The same axis, with only the experiments that the extension is trained on: those with a new biosample,
        assay or species. For a kind that reads tracks, all of the species that are not set aside.
    species
        Species of the store.
    new_species
        Whether that species is new to the model.
    biosamples, assays
        The new labels.
    added
        Number of new experiments that the extended model is trained on or reads.
    untouched
        Number of new experiments whose biosample and assay are both known: nothing is fitted for them. For a
        kind that reads tracks, there are none, because it reads them.
    """

    axis: JointAxis
    fit_axis: JointAxis
    species: str
    new_species: bool
    biosamples: tuple[str, ...]
    assays: tuple[str, ...]
    added: int
    untouched: int


def plan_extension(
    trained: TrainedModel, store: str | Path, exclude: Sequence[Pair] = (), aliases: Sequence[Alias] = ()
) -> Extension:
    """Find the experiments and labels of a store that a model does not know.

    Parameters
    ----------
    trained
        The model.
    store
        A store with further experiments of a known species, on the same regions; or a store of a new species.
    exclude
        Experiments of the store that are never fitted.
    aliases
        Assays that the store names otherwise than the model, in addition to the aliases that the model knows.

    Raises
    ------
    AxisError
        If there is nothing new, or the store does not fit the model.
    """
    old, reads = trained.axis, trained.kind.reads_signal
    if not trained.kind.can_be_extended:
        raise TrainingError(
            f"models of kind {trained.kind.name} cannot be extended", next_step="train anew with all stores"
        )
    store_axis = axis_of_store(store, exclude, old, aliases)
    part = store_axis.parts[0]
    new_species = part.species not in old.species
    if not new_species:
        part = _grown(old.part(part.species), part, trained.folder, factors=trained.kind.has_genome_factors)
    known_biosamples = () if new_species else old.part(part.species).biosamples
    biosamples = tuple(name for name in part.biosamples if name not in known_biosamples)
    assays = tuple(name for name in store_axis.assays if name not in old.assays)
    table = part.experiments
    known = table["trained"] if "trained" in table else pd.Series(False, table.index)
    aside = table["excluded"] | table["held_out"]
    brings = ~known if reads else table["biosample"].isin(biosamples) | table["assay"].isin(assays)
    added = brings & ~aside
    untouched = ~(brings | known | aside)
    if not added.any():
        found = {
            "that are excluded": int((brings & aside).sum()),
            "new, whose biosamples and assays the model knows": int(untouched.sum()),
            "that the model was trained without, as they were excluded": int((aside & ~brings).sum()),
        }
        raise AxisError(
            f"{store} brings no new {'experiment' if reads else 'biosample, assay or species to fit'}",
            got=", ".join(f"{count} {what}" for what, count in found.items() if count) or "those it knows",
            next_step="impute with the model as it is, or train anew to learn from them",
        )
    fitted = ~(aside | untouched) if reads else added
    table = table.assign(excluded=table["excluded"] | untouched).drop(columns="trained", errors="ignore")
    part = replace(part, experiments=table)
    parts = tuple(part if p.species == part.species else p for p in old.parts)
    axis = JointAxis(
        (*parts, part) if new_species else parts,
        tuple(sorted({*old.assays, *store_axis.assays})),
        store_axis.assay_classes | old.assay_classes,
    )
    alone = tuple(
        replace(
            p,
            experiments=p.experiments.assign(
                excluded=~fitted if p.species == part.species else True, held_out=False
            ),
        )
        for p in axis.parts
    )
    fit_axis = replace(axis, parts=alone)
    counts = int(added.sum()), int(untouched.sum())
    return Extension(axis, fit_axis, part.species, new_species, biosamples, assays, *counts)


def _grown(old: SpeciesAxis, new: SpeciesAxis, folder: Path, *, factors: bool) -> SpeciesAxis:
    """Check a known species' new axis against its old one; column `trained` marks the known experiments."""
    if old.regions != new.regions:
        raise AxisError(
            f"{new.source} and {folder} do not fit together: regions of {new.species}",
            got=f"{len(new.regions)} regions, {new.regions.n_bins:,} bins, of which "
            f"{new.regions.first_difference(old.regions)}",
            expected=f"{len(old.regions)} regions, {old.regions.n_bins:,} bins, as in training",
            next_step="add the new experiments to the store it was trained on, with `epixs ingest --append`"
            + ("; for other regions, fit their genome factors with `epixs fit-genome`" if factors else ""),
        )
    flags = old.experiments.set_index(LABELS)[["excluded", "held_out"]]
    labels = pd.MultiIndex.from_frame(new.experiments[LABELS])
    gone = [label for label in flags.index if label not in labels]
    if gone:
        raise AxisError(
            f"{new.source} lacks {counted(len(gone), 'experiment')} of {folder}",
            got=" / ".join(gone[0]),
            expected="all those that the model knows, and more",
            next_step="take them back with `epixs remove --undo`, or train anew",
        )
    known = labels.isin(flags.index)
    files = old.experiments.set_index(LABELS)["accession"].reindex(labels).to_numpy()
    other = known & (files != new.experiments["accession"].to_numpy())
    if other.any():
        row = new.experiments[other].iloc[0]
        raise AxisError(
            f"{new.source} has {counted(int(other.sum()), 'other file')} than {folder} was trained on",
            got=f"{row['biosample']} / {row['assay']}: {row['accession']}",
            expected=files[other][0],
            next_step="train anew: what was learnt from the other file cannot be taken back",
        )
    before = flags.reindex(labels, fill_value=False)
    trained_on = known & ~before.any(axis=1).to_numpy(dtype=bool)
    taken_back = new.experiments[trained_on & new.experiments["excluded"].to_numpy()]
    if len(taken_back):
        row = taken_back.iloc[0]
        raise AxisError(
            f"{row['biosample']} / {row['assay']} cannot be excluded from {new.source}",
            got="an experiment that the model was trained on",
            expected="new experiments to exclude",
            next_step="leave it out of the table, or train anew",
        )
    return replace(
        new,
        experiments=new.experiments.assign(
            excluded=before["excluded"].to_numpy(dtype=bool) | new.experiments["excluded"].to_numpy(),
            held_out=before["held_out"].to_numpy(dtype=bool),
            trained=known,
        ),
    )


def extended_bounds(trained: TrainedModel, axis: JointAxis) -> dict[str, list[float]]:
    """Return the smallest and largest value that each assay may take in an extended model."""
    shown = signal_bounds(axis)
    known = {name: list(pair) for name, pair in trained.bounds.items()}
    if not trained.kind.reads_signal:
        return shown | known
    both = [*shown.items(), *known.items()]
    return {
        name: [
            min(pair[0] for of, pair in both if of == name),
            max(pair[1] for of, pair in both if of == name),
        ]
        for name in shown | known
    }


def extend(
    trained: TrainedModel,
    store: str | Path,
    out: str | Path,
    *,
    exclude: Sequence[Pair] = (),
    aliases: Sequence[Alias] = (),
    epochs: int | None = None,
    max_minutes: float | None = None,
    resume: bool = False,
    force: bool = False,
    report: Callable[[EpochReport], None] | None = None,
    on_probe: Callable[[Probe], None] | None = None,
) -> dict[str, Any]:
    """Fit the additions of a store to a model, with all that the model knows frozen; write a new model.

    The layers and the existing factors do not change. Only the given store is read.

    Kind `avocado`: new biosamples and assays get factors; a new species gets factors for its genome and its
    biosamples. The new model gives the old one's predictions bit for bit. The bounds of known assays do not
    change either.

    Kind `context`: new assays get factors. The new model reads the new tracks, so that predictions of their
    species change; those of other species may differ in mean and spread, because these are estimated from
    all tracks. Bounds widen to what the new tracks have shown. For a new species, the model learns how large
    its errors are, and how to mix zero-shot tracks.

    Parameters
    ----------
    trained
        The model; it is not changed.
    store, exclude, aliases
        As in `plan_extension`.
    out
        New or empty folder for the extended model.
    epochs, max_minutes
        As in `TrainingSettings`; by default planned as for training.
    resume, force
        As in `train`.
    report, on_probe
        As in `train`.

    Returns
    -------
    The same as `train`.

    Raises
    ------
    AxisError
        If there is nothing new, or the store does not fit the model.
    TrainingError
        If the memory budget does not suffice, the folder holds something else, or the run to resume is of
        another model, store or settings.
    """
    plan = plan_extension(trained, store, exclude, aliases)
    settings = trained.settings.replace(
        epochs=epochs or 0,
        max_minutes=max_minutes or 0.0,
        held_out_tracks=0,
        weight_decay=0.0,  # it would change frozen weights
        species_weight="by_bins",  # there is only one
        precision="float32",
    )
    settings = trained.kind.extension_settings(settings, plan.fit_axis, trained.axis)
    if not settings.training.epochs:
        settings = settings.replace(epochs=EPOCHS_OVER_JOINT * planned_epochs(plan.fit_axis, settings))
    if resume and (ended := ended_run(plan.axis, trained.settings, out, extends=trained.fingerprint)):
        return ended
    run = plan_run(plan.fit_axis, settings, out, resume=resume, force=force, extends=trained.fingerprint)
    model = new_model(plan.axis, trained.settings)
    trained.kind.take_over(model, plan.axis, trained)
    bounds = extended_bounds(trained, plan.axis)
    write = functools.partial(write_model, bounds=bounds, extends=trained.fingerprint)
    save = functools.partial(write, run.folder, model, plan.axis, trained.settings)
    sampler = trained.kind.extension_sampler(
        run.axis, run.settings, trained, batch_size=run.cost.batch_size, signal_bytes=run.cost.signal_bytes
    )
    with new_folder(run.folder), collecting_only_here(), sampler:
        done = carry_out(run, model, sampler, save, known=plan.axis, report=report, on_probe=on_probe)
    write_card(run.folder, done["errors"], done["held_out"])
    return done
