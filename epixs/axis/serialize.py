"""The joint axis as JSON holds it, in models and factor stores; what is read is checked in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.errors import AxisError
from epixs.genome.regions import Regions


def axis_to_dict(axis: JointAxis) -> dict[str, Any]:
    """Everything a model needs to find its rows again, as JSON holds it."""
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


def axis_from_dict(content: dict[str, Any], *, whole: bool = True) -> JointAxis:
    """Inverse of `axis_to_dict`; one that is not whole has labels without an experiment.

    Raises
    ------
    AxisError
        If something is missing.
    """
    try:
        parts = tuple(_species_from(entry, whole) for entry in _list_of(dict, content["species"]))
        axis = JointAxis(parts, tuple(_names(content["assays"])), dict(content["assay_classes"]))
        shown = {name for part in parts for name in part.experiments["assay"]}
        if len(set(axis.species)) != len(parts) or not parts:
            raise ValueError(f"species are {axis.species}")
        if set(axis.assays) != set(axis.assay_classes) or not shown <= set(axis.assays):
            raise ValueError("the experiments have other assays")
        if whole and shown != set(axis.assays):
            raise ValueError("the assays are not those of the experiments")
        _list_of(str, [*axis.assay_classes.values()])
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AxisError("the model's axis is damaged", got=f"{type(error).__name__}: {error}") from error
    return axis


_EXPERIMENT_FIELDS = {
    "row": int,
    "biosample": str,
    "assay": str,
    "assay_class": str,
    "accession": str,
    "output_type": str,
    "signal_mean": float,
    "signal_min": float,
    "signal_max": float,
    "excluded": bool,
    "held_out": bool,
}


def _list_of(kind: type, values: Any) -> list[Any]:
    if type(values) is not list or any(type(value) is not kind for value in values):
        raise TypeError(f"expected a list of {kind.__name__}, got {str(values)[:60]!r}")
    return values


def _names(values: Any) -> list[str]:
    """Sorted, distinct names."""
    names = _list_of(str, values)
    if names != sorted(set(names)):
        raise ValueError(f"names are not sorted, or come twice: {names[:5]}")
    return names


def _species_from(entry: dict[str, Any], whole: bool) -> SpeciesAxis:
    """One species of `axis_to_dict`, every field checked."""
    species, source, plan, assembly = _list_of(
        str, [entry[key] for key in ("species", "source", "plan", "assembly")]
    )
    names, chroms, starts, ends = (list(column) for column in zip(*entry["regions"], strict=True))
    regions = Regions(
        assembly,
        tuple(_list_of(str, names)),
        tuple(_list_of(str, chroms)),
        tuple(_list_of(int, starts)),
        tuple(_list_of(int, ends)),
    )
    if not regions.sound:
        raise ValueError(f"{species}: impossible regions")
    experiments = pd.DataFrame(_list_of(dict, entry["experiments"]), columns=[*_EXPERIMENT_FIELDS])
    for name, kind in _EXPERIMENT_FIELDS.items():
        _list_of(kind, experiments[name].tolist())
    summary = experiments[["signal_min", "signal_mean", "signal_max"]].to_numpy()
    if not np.isfinite(summary).all() or (summary[:, 0] > summary[:, 2]).any():
        raise ValueError(f"{species}: an experiment's signal_min, signal_mean or signal_max is impossible")
    biosamples = tuple(_names(entry["biosamples"]))
    shown = set(experiments["biosample"])
    if not shown <= set(biosamples) or (whole and shown != set(biosamples)):
        raise ValueError(f"{species}: the biosamples are not those of the experiments")
    if experiments.duplicated(["biosample", "assay"]).any() or (experiments["row"] < 0).any():
        raise ValueError(f"{species}: an experiment comes twice, or its row is negative")
    aliases = entry.get("aliases", {})
    if type(aliases) is not dict:
        raise TypeError(f"{species}: aliases are no table")
    _list_of(str, [*aliases.values()])
    return SpeciesAxis(species, source, plan, regions, biosamples, experiments, aliases=aliases)
