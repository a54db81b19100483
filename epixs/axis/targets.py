"""Choose the target species, for which zero-shot imputation is meant, and the assays that they lack."""

from __future__ import annotations

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.errors import AxisError, closest


def named_targets(axis: JointAxis, target: str) -> tuple[str, ...]:
    """Parse the names of species, separated by commas.

    Raises
    ------
    AxisError
        If one is not on the axis.
    """
    names = tuple(dict.fromkeys(name.strip() for name in target.split(",") if name.strip()))
    unknown = [name for name in names if name not in axis.species]
    if unknown or not names:
        raise AxisError(
            "target species",
            got=f"{target!r}{closest(unknown[0], axis.species) if unknown else ''}",
            expected=f"one or more of {', '.join(axis.species)}",
        )
    return names


def targets_of(axis: JointAxis, named: str) -> tuple[tuple[str, ...], str]:
    """Return the target species and the reason: those that are named, else chosen ones."""
    return (named_targets(axis, named), "as asked for") if named else choose_targets(axis)


def choose_targets(axis: JointAxis) -> tuple[tuple[str, ...], str]:
    """Choose the target species, and give the reason.

    These are the species that lose all experiments of an assay by exclusion, while another species trains on
    that assay. If there is none, it is the species with the fewest training experiments, among those with
    excluded experiments if there are any.
    """
    whole = tuple(part.species for part in axis.parts if _loses_an_assay(axis, part))
    if whole:
        return whole, "an assay of it is excluded as a whole"
    trained = [part for part in axis.parts if len(part.training)]
    cut = [part for part in trained if part.experiments["excluded"].any()]
    if len(trained) < 2:
        return tuple(part.species for part in trained), "the only species"
    smallest = min(cut or trained, key=lambda part: (len(part.training), part.species))
    few = "has excluded experiments" if len(cut) == 1 else "has the fewest experiments to train on"
    return (smallest.species,), few


def _loses_an_assay(axis: JointAxis, part: SpeciesAxis) -> bool:
    excluded = set(part.experiments.loc[part.experiments["excluded"], "assay"])
    elsewhere = {assay for other in axis.parts if other is not part for assay in other.training["assay"]}
    return bool((excluded - set(part.training["assay"])) & elsewhere)


def lacking_assays(axis: JointAxis, targets: tuple[str, ...]) -> list[str]:
    """List the zero-shot assays: those that a target species lacks in training and another species has."""
    trained = {part.species: set(part.training["assay"]) for part in axis.parts}
    everywhere = set().union(*trained.values())
    return sorted(assay for assay in everywhere if any(assay not in trained[name] for name in targets))


def wanted_assays(axis: JointAxis, named: str) -> list[str]:
    """List the zero-shot assays that will probably be imputed.

    If a target is named, these are all assays that it lacks. Else they are those of its lacking assays of
    which it has excluded experiments.
    """
    targets, _ = targets_of(axis, named)
    lacking = lacking_assays(axis, targets)
    if named:
        return lacking
    tables = [axis.part(name).experiments for name in targets]
    excluded = {assay for table in tables for assay in table.loc[table["excluded"], "assay"]}
    return [assay for assay in lacking if assay in excluded]
