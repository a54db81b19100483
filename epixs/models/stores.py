"""Check that a store fits a trained model, and find the tracks that the model may read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.axis.join import axis_of_store, species_of
from epixs.compendium.read import open_compendium, regions_of
from epixs.errors import AxisError

if TYPE_CHECKING:
    from epixs.models.folder import TrainedModel

LABELS = ["biosample", "assay"]


def check_species(trained: TrainedModel, store: str | Path) -> str:
    """Check that a store is of a species that a model was trained on, and return its name.

    Raises
    ------
    AxisError
        If it is not.
    """
    return known_species(trained.axis, trained.folder, store)


def known_species(axis: JointAxis, folder: Path, store: str | Path) -> str:
    """Return a store's species, which must be one of the model in `folder`, trained over `axis`.

    Raises
    ------
    AxisError
        If it is not.
    """
    species = species_of(store)
    if species not in axis.species:
        raise AxisError(
            f"{store} and {folder} do not fit together: species",
            got=repr(species),
            expected=f"one of {', '.join(axis.species)}, which the model was trained on",
            next_step="train with this store, or give the store of one of these species",
        )
    return species


def check_bins(trained: TrainedModel, store: str | Path, known: SpeciesAxis) -> None:
    """Check that a store's bins are those that a model, or its factors, was fitted to.

    Raises
    ------
    AxisError
        If they differ; the message names the difference.
    """
    fitted, stored = known.regions, regions_of(open_compendium(store))
    if fitted != stored:
        raise AxisError(
            f"{store} and {trained.folder} do not fit together: regions of {known.species}",
            got=f"{len(stored)} regions, {stored.n_bins:,} bins, of which {stored.first_difference(fitted)}",
            expected=f"{len(fitted)} regions, {fitted.n_bins:,} bins on {fitted.assembly}, as in training",
            next_step=f"use the store it was trained on ({known.source}), or fit genome factors of these "
            "regions with `epixs fit-genome`",
        )


def observed_in(trained: TrainedModel, store: str | Path) -> SpeciesAxis:
    """Find the tracks of a store that a model knows from training, over the store's own regions.

    Returns
    -------
    A species axis with the `regions` and `row` numbers of the store; its `training` are the experiments that
    the model was trained on. Experiments that the model does not know are left out.

    Raises
    ------
    AxisError
        If species or assembly differ, or the store lacks an experiment that was trained on, or has another
        file for it.
    """
    known = trained.axis.part(check_species(trained, store))
    stored = axis_of_store(store, (), trained.axis).parts[0]
    if stored.regions.assembly != known.regions.assembly:
        raise AxisError(
            f"assembly of {store}",
            got=stored.regions.assembly,
            expected=known.regions.assembly,
            next_step="ingest the species' experiments over regions of that assembly",
        )
    rows = stored.experiments.set_index(LABELS)
    for row in known.training.itertuples():
        label = (row.biosample, row.assay)
        file = rows["accession"].get(label)
        if file != row.accession:
            raise AxisError(
                f"{store} and {trained.folder} do not fit together: experiments of {known.species}",
                got=f"{'no' if file is None else f'file {file} as'} {' / '.join(map(str, label))}",
                expected=f"{row.accession}, which the model was trained on",
                next_step="ingest the same experiments over the regions to impute",
            )
    flags = known.experiments.set_index(LABELS)[["excluded", "held_out"]]
    labels = pd.MultiIndex.from_frame(stored.experiments[LABELS])
    flagged = flags.reindex(labels).reset_index(drop=True)
    table = stored.experiments.assign(excluded=flagged["excluded"], held_out=flagged["held_out"])
    table = table[labels.isin(flags.index)].astype({"excluded": bool, "held_out": bool})
    return replace(stored, biosamples=known.biosamples, experiments=table.reset_index(drop=True))


def check_experiments(trained: TrainedModel, store: str | Path) -> str:
    """Check that a store, of any regions, has the tracks that a model reads; return its species.

    Raises
    ------
    AxisError
        As in `observed_in`.
    """
    return observed_in(trained, store).species
