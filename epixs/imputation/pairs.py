"""Choose the pairs that a model can impute in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.catalog.pairs import Pair, why_unknown
from epixs.compendium.read import open_compendium
from epixs.errors import AxisError, a_few, closest, counted
from epixs.factors.store import FactorStore
from epixs.models.kinds import require_genome_factors

if TYPE_CHECKING:  # it imports TensorFlow
    from epixs.models.folder import TrainedModel


def check_store(trained: TrainedModel, path: str | Path, factors: FactorStore | None = None) -> str:
    """Check that a model can impute over the bins of a store; returns the store's species.

    Raises
    ------
    AxisError
        If it cannot; the message names the difference.
    TrainingError
        If genome factors are given for a kind of model that has none.
    """
    if factors is not None:
        require_genome_factors(trained.kind, f"genome factors {factors.path}")
    kind = str(open_compendium(path).attrs["kind"])
    if kind != "observed":
        raise AxisError(
            f"{path} is {kind}",
            expected="the observed compendium of the species",
            next_step="give the store that `epixs ingest` wrote",
        )
    return trained.kind.check_store(trained, path, factors)


def imputable(axis: JointAxis, pairs: Sequence[Pair]) -> list[Pair]:
    """Select the pairs whose biosample and assay each have a training experiment somewhere."""
    assays = trained_assays(axis)
    biosamples = {(part.species, name) for part in axis.parts for name in part.training["biosample"]}
    return [pair for pair in pairs if pair[2] in assays and pair[:2] in biosamples]


def trained_assays(axis: JointAxis) -> set[str]:
    """Return the assays that have a training experiment in some species."""
    return {assay for part in axis.parts for assay in part.training["assay"]}


def unknown_biosamples(
    trained: TrainedModel, path: str | Path, factors: FactorStore | None = None
) -> list[str]:
    """List the biosamples of a store that cannot be imputed: the model saw no training experiment of them."""
    known = set(trained.axis.part(check_store(trained, path, factors)).training["biosample"])
    return sorted(set(open_compendium(path).biosample.to_numpy()) - known)


def choose_pairs(
    axis: JointAxis, species: str, *, pairs: Sequence[Pair] | None = None, everything: bool = False
) -> list[Pair]:
    """Choose the pairs to impute: those asked for, all, or (by default) all that were not trained on.

    Raises
    ------
    AxisError
        If a pair asked for has a biosample or an assay that the model never saw.
    """
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
    chosen = [pair for pair in named if pair[0] == species]
    if not chosen:
        raise AxisError(
            "no pair of this store's species", got=sorted({p[0] for p in pairs}), expected=species
        )
    possible = set(imputable(axis, chosen))
    unknown = [pair for pair in chosen if pair not in possible]
    if unknown:
        part = axis.part(species)
        raise AxisError(
            f"{counted(len(unknown), 'pair')} cannot be imputed: biosample or assay had no part in training",
            got=a_few([f"{' / '.join(pair)}: {_why_not(axis, part, *pair[1:])}" for pair in unknown]),
            expected="a biosample and an assay that training saw",
        )
    return chosen


def _why_not(axis: JointAxis, part: SpeciesAxis, biosample: str, assay: str) -> str:
    """Explain why a pair cannot be imputed: a label is not known, or all its experiments are excluded."""
    aside = []
    if biosample in part.biosamples and biosample not in set(part.training["biosample"]):
        aside.append(f"all experiments of biosample {biosample!r} are excluded")
    if assay in axis.assays and assay not in trained_assays(axis):
        aside.append(f"all experiments of assay {assay!r} are excluded")
    return " and ".join(aside) or why_unknown(biosample, assay, set(part.biosamples), set(axis.assays))
