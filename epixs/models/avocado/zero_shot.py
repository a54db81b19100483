"""Choose the assays that do not train the genome factors, for the sake of zero-shot imputation.

If an assay that a target species lacks trained the other species' genome factors, the network would learn to
read it from them; in the target, no such experiment has trained the factors. Such assays are *detached*:
their entries train labels and layers, but not the genome factors. If that would leave a species without a
track to shape its genome factors, the rule is off for that species: the target learns nothing from it anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

from epixs.axis.axis import JointAxis
from epixs.axis.targets import lacking_assays, targets_of
from epixs.errors import counted

FEW_SHAPING = 4
"""Number of tracks below which genome factors can hardly be learnt."""


@dataclass(frozen=True)
class ZeroShot:
    """Choice of the experiments that shape the genome factors of a joint axis.

    Parameters
    ----------
    targets
        Target species of zero-shot imputation; none if the rule is off.
    reason
        Why these species are the targets.
    detached
        Assays whose entries do not train the genome factors, because a target lacks them in training.
    exempt
        Species without this rule, because all of their training experiments are of detached assays.
    shaping
        Number of training experiments that shape each species' genome factors.
    """

    targets: tuple[str, ...]
    reason: str
    detached: tuple[str, ...]
    exempt: tuple[str, ...]
    shaping: dict[str, int]


def plan_zero_shot(axis: JointAxis, *, enabled: bool = True, target: str = "") -> ZeroShot:
    """Choose the assays that are detached.

    Parameters
    ----------
    axis
        Axis that is trained over.
    enabled
        Whether the rule applies at all.
    target
        Target species of zero-shot imputation, several separated by commas; by default chosen from the
        excluded and measured experiments, never from the order of the stores (`choose_targets`).

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
    """Note species whose genome factors few tracks shape, and those from which a target learns nothing."""
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
                f"only {shaping} of {counted(tracks, 'track')} of {part.species} shape its genome "
                f"factors: the others are of assays that {targets} lacks. Another --target, or "
                "`zero_shot = false` in the configuration, lets them"
            )
    return notes
