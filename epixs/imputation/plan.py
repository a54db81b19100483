"""Plan an imputed store: its experiments, and its provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.catalog.pairs import Pair
from epixs.compendium.plan import Plan
from epixs.compendium.read import open_compendium, regions_of
from epixs.compendium.schema import EXPECTED_PEARSON, EXPERIMENT_LABELS
from epixs.factors.store import FactorStore
from epixs.models.folder import TrainedModel
from epixs.storage.fingerprint import digest
from epixs.storage.location import absolute


def provenance(
    trained: TrainedModel,
    species: str,
    factors: FactorStore | None = None,
    store: str | Path | None = None,
) -> dict[str, Any]:
    """Collect the provenance of an imputed store of a species.

    If the kind of model reads signal to impute, the provenance names the store that it reads.
    """
    content: dict[str, Any] = {
        "model": trained.folder.name,
        "model_fingerprint": trained.fingerprint,
        "model_kind": trained.settings.kind,
        "training": {part.species: _training_of(part) for part in trained.axis.parts},
        "ranges": {assay: list(bounds) for assay, bounds in trained.bounds.items()},
        **trained.kind.provenance(trained, species),
    }
    if trained.kind.reads_signal and store is not None:
        content["signal"] = {"source": absolute(store), "plan": str(open_compendium(store).attrs["plan"])}
    if factors is None:
        return content
    part = factors.plan.part
    seen, fitted = content["training"][part.species], _training_of(part)
    new = [at for at, pair in enumerate(fitted["experiments"]) if pair not in seen["experiments"]]
    for name in ("experiments", "accessions"):
        fitted[name] = seen[name] + [fitted[name][at] for at in new]
    fitted["held_out"] = seen["held_out"]
    content["training"][part.species] = fitted
    return content | {"factors": factors.path, "factors_fingerprint": factors.fingerprint}


def _training_of(part: SpeciesAxis) -> dict[str, Any]:
    held_out = part.experiments[part.experiments["held_out"]]
    return {
        "source": part.source,
        "plan": part.plan,
        "experiments": part.training[["biosample", "assay"]].to_numpy().tolist(),
        "accessions": part.training["accession"].tolist(),
        "held_out": held_out[["biosample", "assay"]].to_numpy().tolist(),
        **({"aliases": part.aliases} if part.aliases else {}),
    }


def plan_imputation(
    trained: TrainedModel,
    pairs: Sequence[Pair],
    factors: FactorStore | None = None,
    store: str | Path | None = None,
) -> Plan:
    """Plan the imputed store of pairs of one species, over the bins of a store that `check_store` passed."""
    axis = trained.axis
    species = pairs[0][0]
    regions = regions_of(open_compendium(store)) if store else axis.part(species).regions
    rows = [
        {
            "biosample": biosample,
            "assay": axis.part(species).store_name(assay),  # so that observed and imputed match by name
            "assay_class": axis.assay_classes[assay],
            "accession": imputed_accession(trained.fingerprint, species, biosample, assay),
            "output_type": units_of(axis, species, assay),
            "strand": next((s for s in ("plus", "minus") if f"_{s}_strand" in assay), ""),
            "source": f"model {trained.folder.name} {trained.fingerprint}",
            "source_size": -1,
            "md5sum": "",
        }
        for _, biosample, assay in pairs
    ]
    experiments = pd.DataFrame(rows)[[variable.name for variable in EXPERIMENT_LABELS]]
    expected = trained.kind.expected_pearson(trained, pairs)
    if expected is not None:
        experiments[EXPECTED_PEARSON.name] = expected
    return Plan(
        "imputed", species, experiments, regions, "zero", provenance(trained, species, factors, store)
    )


def units_of(axis: JointAxis, species: str, assay: str) -> str:
    """Describe the units of a track that a model imputes.

    They are those of the assay's tracks in the species. If it has none, they may be those of other species or
    those of its other tracks of the class: which of them, if they differ, is not known.
    """
    own = axis.units(species)
    if assay in own:
        return " | ".join(own[assay])
    elsewhere, kind = axis.units()[assay], axis.assay_classes[assay]
    here = {unit for other, units in own.items() if axis.assay_classes[other] == kind for unit in units}
    if not here or set(elsewhere) <= here:
        return " | ".join(elsewhere)
    return " or ".join([*elsewhere, *sorted(here - set(elsewhere))])


def imputed_accession(model: str, species: str, biosample: str, assay: str) -> str:
    """Make an imputed experiment's accession, one per model fingerprint, species, biosample and assay."""
    return f"imputed-{model[:8]}-{digest([species, biosample, assay])[:12]}"
