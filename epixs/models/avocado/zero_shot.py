"""Which assays leave the genome factors alone in training, for the sake of zero-shot imputation.

An assay that a target species lacks has left its mark in the other species' genome factors, where a network
would learn to read it from; in the target nothing ever wrote it there. Such assays are *detached*: their
entries train labels and layers, but not the genome factors. Where that would leave a species without a single
track to shape its genome factors, the rule is off for that species: it can teach the target nothing anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from epixs.axis.axis import JointAxis, SpeciesAxis
from epixs.errors import AxisError, closest

FEW_SHAPING = 4
"""Tracks from which genome factors can hardly be learnt."""


@dataclass(frozen=True)
class ZeroShot:
    """Which experiments shape the genome factors of a joint axis.

    Parameters
    ----------
    targets
        Species that zero-shot imputation is meant for; none where the rule is off.
    reason
        Why those.
    detached
        Assays whose entries leave the genome factors alone: a target lacks them in training.
    exempt
        Species in which they do not, for all of its training experiments are of such assays.
    shaping
        Number of training experiments that shape each species' genome factors.
    """

    targets: tuple[str, ...]
    reason: str
    detached: tuple[str, ...]
    exempt: tuple[str, ...]
    shaping: dict[str, int]


def plan_zero_shot(axis: JointAxis, *, enabled: bool = True, target: str = "") -> ZeroShot:
    """Decide which assays are detached.

    Parameters
    ----------
    axis
        What is trained over.
    enabled
        Whether the rule applies at all.
    target
        Species that zero-shot imputation is meant for, several separated by commas; by default chosen by what
        is excluded and measured, never by the order of the stores (`choose_targets`).

    Raises
    ------
    AxisError
        If a target is not on the axis.
    """
    targets, reason = (_named(axis, target), "as asked for") if target else choose_targets(axis)
    if not enabled:
        targets, reason = (), "zero_shot is off"
    detached = lacking_assays(axis, targets)
    shaping, exempt = {}, []
    for part in axis.parts:
        attached = int((~part.training["assay"].isin(detached)).sum())
        if not attached and len(part.training):
            exempt.append(part.species)
        shaping[part.species] = attached or len(part.training)
    return ZeroShot(targets, reason, tuple(detached), tuple(exempt), shaping)


def _named(axis: JointAxis, target: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in target.split(",") if name.strip()))
    unknown = [name for name in names if name not in axis.species]
    if unknown or not names:
        raise AxisError(
            "target species",
            got=f"{target!r}{closest(unknown[0], axis.species) if unknown else ''}",
            expected=f"one or more of {', '.join(axis.species)}",
        )
    return names


def choose_targets(axis: JointAxis) -> tuple[tuple[str, ...], str]:
    """Species that zero-shot imputation is meant for, and why.

    Those of which excluded experiments leave no experiment of an assay that another species trains on. Where
    there is none, the one with the fewest training experiments: of those with excluded experiments, if any.
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
    """Assays that a target species lacks in training and another species has: zero-shot ones."""
    trained = {part.species: set(part.training["assay"]) for part in axis.parts}
    everywhere = set().union(*trained.values())
    return sorted(assay for assay in everywhere if any(assay not in trained[name] for name in targets))


def remarks_on_shaping(axis: JointAxis, zero_shot: ZeroShot) -> list[str]:
    """Note species whose genome factors few of their tracks shape, or which teach a target nothing."""
    targets = ", ".join(zero_shot.targets)
    notes = [
        f"no assay of {species} is trained on in {targets}: its own tracks shape its genome factors, and "
        "zero-shot imputation learns nothing from it"
        for species in zero_shot.exempt
    ]
    for part in axis.parts:
        shaping, tracks = zero_shot.shaping[part.species], len(part.training)
        if shaping < min(tracks, max(FEW_SHAPING, tracks / 2)):
            notes.append(
                f"only {shaping} of {tracks:,} track{'s' * (tracks != 1)} of {part.species} shape its genome "
                f"factors: the others are of assays that {targets} lacks. Another --target, or "
                "`zero_shot = false` in the configuration, lets them"
            )
    return notes
