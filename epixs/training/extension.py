"""Extend a trained model by biosamples, assays or a species, without touching what it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from epixs.axis.aliases import Alias
from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.axis.join import axis_of_store
from epixs.catalog.pairs import Pair
from epixs.errors import AxisError
from epixs.models.description import signal_bounds
from epixs.models.folder import TrainedModel, new_model, write_model
from epixs.training.cost import EPOCHS_OVER_JOINT, check_memory, estimate_cost, planned_epochs
from epixs.training.run import (
    Probe,
    check_scales,
    collecting_only_here,
    deadline_of,
    fit_model,
    new_folder,
    sampler_of,
    state_in,
)
from epixs.training.watch import EpochReport

LABELS = ["biosample", "assay"]


@dataclass(frozen=True)
class Extension:
    """What a store adds to a model.

    Parameters
    ----------
    axis
        The model's axis with the store's new experiments.
    fit_axis
        The same, with only those experiments to train on that bring something new.
    species
        Of the store.
    new_species
        Whether the model does not know it.
    biosamples, assays
        The new ones.
    untouched
        New experiments whose biosample and assay are both known: there is nothing to fit for them.
    """

    axis: JointAxis
    fit_axis: JointAxis
    species: str
    new_species: bool
    biosamples: tuple[str, ...]
    assays: tuple[str, ...]
    untouched: int


def plan_extension(
    trained: TrainedModel, store: str | Path, exclude: Sequence[Pair] = (), aliases: Sequence[Alias] = ()
) -> Extension:
    """Find what a store has that a model does not know.

    Parameters
    ----------
    trained
        The model.
    store
        A store of a species that the model knows, on the same regions, with further experiments; or of a
        species it does not know.
    exclude
        Experiments of the store never to be fitted to.
    aliases
        Assays that the store names otherwise than the model, besides those that the model knows of.

    Raises
    ------
    AxisError
        If there is nothing new, or the store does not fit the model.
    """
    old = trained.axis
    found = axis_of_store(store, exclude, old, aliases)
    part = found.parts[0]
    new_species = part.species not in old.species
    if not new_species:
        part = _grown(old.part(part.species), part, trained.folder)
    known_biosamples = () if new_species else old.part(part.species).biosamples
    biosamples = tuple(name for name in part.biosamples if name not in known_biosamples)
    assays = tuple(name for name in found.assays if name not in old.assays)
    table = part.experiments
    brings = table["biosample"].isin(biosamples) | table["assay"].isin(assays)
    fitted = brings & ~table["excluded"] & ~table["held_out"]
    trained_on = table["trained"] if "trained" in table else pd.Series(False, table.index)
    untouched = ~(brings | trained_on | table["excluded"] | table["held_out"])
    if not fitted.any():
        raise AxisError(
            f"{store} brings no new biosample, assay or species to fit",
            got=f"{int(untouched.sum())} new experiment(s) whose biosample and assay the model knows",
            next_step="impute with the model as it is, or train anew to learn from them",
        )
    table = table.assign(excluded=table["excluded"] | untouched).drop(columns="trained", errors="ignore")
    part = replace(part, experiments=table)
    parts = tuple(part if p.species == part.species else p for p in old.parts)
    axis = JointAxis(
        (*parts, part) if new_species else parts,
        tuple(sorted({*old.assays, *found.assays})),
        found.assay_classes | old.assay_classes,
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
    return Extension(axis, fit_axis, part.species, new_species, biosamples, assays, int(untouched.sum()))


def _grown(old: SpeciesAxis, new: SpeciesAxis, folder: Path) -> SpeciesAxis:
    """A known species' share with further experiments; `trained` marks those the model knows."""
    if old.regions != new.regions:
        raise AxisError(
            f"{new.source} and {folder} do not fit together: regions of {new.species}",
            got=f"{len(new.regions)} regions, {new.regions.n_bins:,} bins, of which "
            f"{new.regions.first_difference(old.regions)}",
            expected=f"{len(old.regions)} regions, {old.regions.n_bins:,} bins, as in training",
            next_step="for other regions, fit their genome factors with `epixs fit-genome`",
        )
    flags = old.experiments.set_index(LABELS)[["excluded", "held_out"]]
    labels = pd.MultiIndex.from_frame(new.experiments[LABELS])
    gone = [label for label in flags.index if label not in labels]
    if gone:
        raise AxisError(
            f"{new.source} lacks {len(gone)} experiment(s) of {folder}",
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
            f"{new.source} has {int(other.sum())} other file(s) than {folder} was trained on",
            got=f"{row['biosample']} / {row['assay']}: {row['accession']}",
            expected=files[other][0],
            next_step="train anew: what was learnt from the other file cannot be taken back",
        )
    before = flags.reindex(labels, fill_value=False)
    return replace(
        new,
        experiments=new.experiments.assign(
            excluded=before["excluded"].to_numpy(dtype=bool) | new.experiments["excluded"].to_numpy(),
            held_out=before["held_out"].to_numpy(dtype=bool),
            trained=known,
        ),
    )


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
    """Fit what a store adds to a model, with all that the model knows frozen, and write a new model.

    New biosamples and assays get factors; a new species gets factors for its genome and its biosamples. The
    layers, and the factors that were there, stay as they are: predictions of the old model do not change by
    a bit. Bounds of known assays stay as well.

    Parameters
    ----------
    trained
        The model; it is not changed.
    store, exclude, aliases
        As in `plan_extension`.
    out
        New or empty folder for the extended model.
    epochs, max_minutes
        As in `TrainConfig`; by default planned as for training.
    resume, force
        As in `train`.
    report, on_probe
        As in `train`.

    Returns
    -------
    As from `train`.

    Raises
    ------
    AxisError
        If there is nothing new, or the store does not fit the model.
    TrainingError
        If the memory budget does not suffice, the folder holds something else, or the run to resume is of
        another model, store or settings.
    """
    out = Path(out)
    plan = plan_extension(trained, store, exclude, aliases)
    config = trained.config.replace(
        epochs=epochs or 0,
        max_minutes=max_minutes or 0.0,
        learning_rate=trained.config.learning_rate * trained.config.genome_multiplier,
        genome_multiplier=1.0,  # all that is fitted are factors
        held_out_tracks=0,
        weight_decay=0.0,  # it would move what is frozen
        species_weight="by_bins",  # there is only one
    )
    deadline = deadline_of(config)
    check_scales(plan.fit_axis)
    if not epochs:
        config = config.replace(epochs=EPOCHS_OVER_JOINT * planned_epochs(plan.fit_axis, config))
    cost = estimate_cost(plan.fit_axis, config)
    if not force:
        check_memory(cost, config)
    state = state_in(out, plan.fit_axis, config, resume=resume, extends=trained.fingerprint)
    model = new_model(plan.axis, trained.config)
    copy_known(trained, plan, model)
    freeze_known(trained, plan, model)
    bounds = signal_bounds(plan.axis) | {name: list(pair) for name, pair in trained.bounds.items()}

    def save(scores: dict[str, float]) -> None:
        write_model(out, model, plan.axis, trained.config, scores, bounds=bounds, extends=trained.fingerprint)

    with new_folder(out), collecting_only_here(), sampler_of(plan.fit_axis, config, cost) as sampler:
        return fit_model(
            model, plan.fit_axis, sampler, config, out, cost.epochs, save, deadline,
            state=state, extends=trained.fingerprint, known=plan.axis, report=report, on_probe=on_probe,
        )  # fmt: skip


def copy_known(trained: TrainedModel, plan: Extension, model: Any) -> None:
    """Give a new model what the old one knows; new labels begin at the mean of the old ones."""
    old = trained.model
    for mine, theirs, rows in (
        (model.biosample.table, old.biosample.table, _biosample_rows(trained, plan)),
        (model.assay.table, old.assay.table, plan.axis.assay_index(trained.axis.assays)),
    ):
        known = theirs.numpy()
        values = np.tile(known.mean(axis=0), (mine.shape[0], 1))
        values[rows] = known
        mine.assign(values)
    for mine, theirs in zip(model.genome.tables, old.genome.tables, strict=True):
        values = mine.numpy()
        values[: theirs.shape[0]] = theirs.numpy()  # a new species comes last
        mine.assign(values)
    for mine, theirs in zip(_layers(model), _layers(old), strict=True):
        mine.assign(theirs)


def freeze_known(trained: TrainedModel, plan: Extension, model: Any) -> None:
    """Leave only what is new to be trained."""
    for variable in _layers(model):
        variable.trainable = False
    for layer, rows in (
        (model.biosample, _biosample_rows(trained, plan)),
        (model.assay, plan.axis.assay_index(trained.axis.assays)),
    ):
        if rows.size == layer.n_labels:
            layer.table.trainable = False
        else:
            layer.freeze(rows)
    if not plan.new_species:
        for table in model.genome.tables:
            table.trainable = False
    model.settings["detached_assays"] = []  # the layers that this is for are frozen


def _biosample_rows(trained: TrainedModel, plan: Extension) -> npt.NDArray[np.int32]:
    """Where the old biosamples are among the new ones."""
    parts = trained.axis.parts
    return np.concatenate([plan.axis.biosample_index(part.species, part.biosamples) for part in parts])


def _layers(model: Any) -> list[Any]:
    """Layers and projections: all weights that are no factors."""
    return [
        variable for name, variable in model.shared_weights().items() if name not in ("biosample", "assay")
    ]
