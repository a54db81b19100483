"""Write the joint axis as JSON, for models and factor stores, and read it back with all checks."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

import pandas as pd
from msgspec import Meta

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.declared import Count, Finite, checked
from epixs.errors import AxisError, EpixsError
from epixs.genome.regions import Regions

AT_LEAST_ONE = Meta(min_length=1)


class SavedExperiment(TypedDict):
    """One row of the experiment table of a species."""

    row: Count
    biosample: str
    assay: str
    assay_class: str
    accession: str
    output_type: str
    signal_mean: Finite
    signal_min: Finite
    signal_max: Finite
    excluded: bool
    held_out: bool


class SavedSpecies(TypedDict):
    """One species of a joint axis; a region is its name, chromosome, start and end."""

    species: str
    source: str
    plan: str
    assembly: str
    regions: Annotated[list[tuple[str, str, int, int]], AT_LEAST_ONE]
    biosamples: list[str]
    experiments: Annotated[list[SavedExperiment], AT_LEAST_ONE]
    aliases: NotRequired[dict[str, str]]


class SavedAxis(TypedDict):
    """A joint axis."""

    assays: list[str]
    assay_classes: dict[str, str]
    species: list[SavedSpecies]


def axis_to_dict(axis: JointAxis) -> dict[str, Any]:
    """Return, as JSON can hold it, everything that a model needs to find its rows again."""
    return {
        "assays": list(axis.assays),
        "assay_classes": axis.assay_classes,
        "species": [
            {
                "species": part.species,
                "source": part.source,
                "plan": part.plan,
                "assembly": part.regions.assembly,
                "regions": [
                    list(row)
                    for row in zip(
                        part.regions.name,
                        part.regions.chrom,
                        part.regions.start,
                        part.regions.end,
                        strict=True,
                    )
                ],
                "biosamples": list(part.biosamples),
                **({"aliases": part.aliases} if part.aliases else {}),
                "experiments": part.experiments.to_dict("records"),
            }
            for part in axis.parts
        ],
    }


def axis_from_dict(
    content: Any,
    problem: str = "the axis is damaged",
    error: type[EpixsError] = AxisError,
    *,
    whole: bool = True,
) -> JointAxis:
    """Read an axis that `axis_to_dict` wrote; unless `whole`, it may have labels without an experiment.

    Raises
    ------
    EpixsError
        Of type `error`, with `problem`, if something is missing or contradicts something else.
    """
    saved: SavedAxis = checked(SavedAxis, content, problem, error)
    try:
        parts = tuple(_species_from(entry, whole) for entry in saved["species"])
        axis = JointAxis(parts, tuple(_names(saved["assays"])), saved["assay_classes"])
        measured = {name for part in parts for name in part.experiments["assay"]}
        if len(set(axis.species)) != len(parts) or not parts:
            raise ValueError(f"species are {axis.species}")
        if set(axis.assays) != set(axis.assay_classes) or not measured <= set(axis.assays):
            raise ValueError("the experiments have other assays")
        if whole and measured != set(axis.assays):
            raise ValueError("the assays are not those of the experiments")
    except (ValueError, OverflowError) as refused:
        raise error(problem, got=str(refused)) from refused
    return axis


def _names(names: list[str]) -> list[str]:
    """Check that names are sorted and distinct, and return them."""
    if names != sorted(set(names)):
        raise ValueError(f"names are not sorted, or come twice: {names[:5]}")
    return names


def _species_from(entry: SavedSpecies, whole: bool) -> SpeciesAxis:
    """Read one species that `axis_to_dict` wrote, and check that its fields fit together."""
    species = entry["species"]
    name, chrom, start, end = zip(*entry["regions"], strict=True)
    regions = Regions(entry["assembly"], name, chrom, start, end)
    if not regions.sound:
        raise ValueError(f"{species}: impossible regions")
    experiments = pd.DataFrame(entry["experiments"], columns=[*SavedExperiment.__annotations__])
    if (experiments["signal_min"] > experiments["signal_max"]).any():
        raise ValueError(f"{species}: signal_min of an experiment is above its signal_max")
    biosamples = tuple(_names(entry["biosamples"]))
    measured = set(experiments["biosample"])
    if not measured <= set(biosamples) or (whole and measured != set(biosamples)):
        raise ValueError(f"{species}: the biosamples are not those of the experiments")
    if experiments.duplicated(["biosample", "assay"]).any():
        raise ValueError(f"{species}: an experiment comes twice")
    labels = (species, entry["source"], entry["plan"], regions, biosamples, experiments)
    return SpeciesAxis(*labels, aliases=entry.get("aliases", {}))
