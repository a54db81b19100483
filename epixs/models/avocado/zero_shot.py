"""Which assays leave the genome factors alone in training, for the sake of zero-shot imputation.

An assay that a target species lacks has left its mark in the other species' genome factors, where a network
would learn to read it from; in the target nothing ever wrote it there. Such assays are *detached*: their
entries train labels and layers, but not the genome factors. Where that would leave a species without a single
track to shape its genome factors, the rule is off for that species: it can teach the target nothing anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from epixs.axis.axis import JointAxis
from epixs.axis.targets import lacking_assays, targets_of

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
    targets, reason = targets_of(axis, target)
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
