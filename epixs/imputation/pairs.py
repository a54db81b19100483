"""Which pairs a model can impute in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.catalog.pairs import Pair, why_unknown
from epixs.compendium.read import open_compendium, regions_of
from epixs.errors import AxisError, closest
from epixs.factors.store import FactorStore
from epixs.models.folder import TrainedModel


def check_store(trained: TrainedModel, path: str | Path, factors: FactorStore | None = None) -> str:
    """Check that a store's bins are those a model (or its factors) was fitted to; returns its species.

    Raises
    ------
    AxisError
        Naming what differs.
    """
    dataset = open_compendium(path)
    if dataset.attrs["kind"] != "observed":
        raise AxisError(
            f"{path} is {dataset.attrs['kind']}",
            expected="the observed compendium of the species",
            next_step="give the store that `epixs ingest` wrote",
        )
    species = str(dataset.attrs["species"])
    if species not in trained.axis.species:
        raise AxisError(
            f"{path} and {trained.folder} do not fit together: species",
            got=repr(species),
            expected=f"one of {', '.join(trained.axis.species)}, which the model was trained on",
            next_step="train with this store, or give the store of one of these species",
        )
    known = trained.axis.part(species)
    if factors is not None:
        if factors.plan.model != trained.fingerprint:
            raise AxisError(
                f"{factors.path} belongs to another model than {trained.folder}",
                got=factors.plan.model,
                expected=trained.fingerprint,
                next_step="fit them with `epixs fit-genome` and this model",
            )
        known = factors.plan.part
        if known.species != species:
            raise AxisError(f"{factors.path}: species", got=known.species, expected=species)
    mine, theirs = known.regions, regions_of(dataset)
    if mine != theirs:
        raise AxisError(
            f"{path} and {trained.folder} do not fit together: regions of {species}",
            got=f"{len(theirs)} regions, {theirs.n_bins:,} bins, of which {theirs.first_difference(mine)}",
            expected=f"{len(mine)} regions, {mine.n_bins:,} bins on {mine.assembly}, as in training",
            next_step=f"use the store it was trained on ({known.source}), or fit genome factors of these "
            "regions with `epixs fit-genome`",
        )
    return species


def imputable(axis: JointAxis, pairs: Sequence[Pair]) -> list[Pair]:
    """Those pairs whose biosample and assay each have a training experiment somewhere."""
    assays = trained_assays(axis)
    biosamples = {(part.species, name) for part in axis.parts for name in part.training["biosample"]}
    return [pair for pair in pairs if pair[2] in assays and pair[:2] in biosamples]


def trained_assays(axis: JointAxis) -> set[str]:
    """Assays that have a training experiment in some species."""
    return {assay for part in axis.parts for assay in part.training["assay"]}


def unknown_biosamples(
    trained: TrainedModel, path: str | Path, factors: FactorStore | None = None
) -> list[str]:
    """Biosamples of a store of which the model saw no training experiment, so that none can be imputed."""
    known = set(trained.axis.part(check_store(trained, path, factors)).training["biosample"])
    return sorted(set(open_compendium(path).biosample.to_numpy()) - known)


def choose_pairs(
    trained: TrainedModel, species: str, *, pairs: Sequence[Pair] | None = None, everything: bool = False
) -> list[Pair]:
    """Pairs to impute: those asked for, all, or (by default) all that were not trained on.

    Raises
    ------
    AxisError
        If a pair asked for has a biosample or an assay that the model never saw.
    """
    axis = trained.axis
    if pairs is None:
        chosen = imputable(axis, axis.all_pairs(species) if everything else axis.missing_pairs(species))
        if not chosen:
            raise AxisError(f"nothing is left to impute in {species}", next_step="give --pairs or --all")
        return chosen
    named = dict.fromkeys(axis.joint_pair(pair) for pair in pairs)
    strangers = sorted({pair[0] for pair in named} - set(axis.species))
    if strangers:
        raise AxisError(
            "pairs of a species that the model does not know",
            got=f"{strangers[0]!r}{closest(strangers[0], axis.species)}",
            expected=f"one of {', '.join(axis.species)}",
        )
    mine = [pair for pair in named if pair[0] == species]
    if not mine:
        raise AxisError(
            "no pair of this store's species", got=sorted({p[0] for p in pairs}), expected=species
        )
    possible = set(imputable(axis, mine))
    unknown = [pair for pair in mine if pair not in possible]
    if unknown:
        part = axis.part(species)
        raise AxisError(
            f"{len(unknown)} pair(s) cannot be imputed: no training experiment of their biosample or assay",
            got="; ".join(f"{' / '.join(pair)}: {_why_not(axis, part, *pair[1:])}" for pair in unknown[:3])
            + (f"; and {len(unknown) - 3} more" if len(unknown) > 3 else ""),
            expected="a biosample and an assay that training saw",
        )
    return mine


def _why_not(axis: JointAxis, part: SpeciesAxis, biosample: str, assay: str) -> str:
    """Say why a pair cannot be imputed: a label is not known, or all its experiments are set aside."""
    aside = []
    if biosample in part.biosamples and biosample not in set(part.training["biosample"]):
        aside.append(f"all experiments of biosample {biosample!r} are excluded")
    if assay in axis.assays and assay not in trained_assays(axis):
        aside.append(f"all experiments of assay {assay!r} are excluded")
    return " and ".join(aside) or why_unknown(biosample, assay, set(part.biosamples), set(axis.assays))
